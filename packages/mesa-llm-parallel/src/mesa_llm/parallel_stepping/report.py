"""What a parallel step took, as data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from mesa_llm.clients.messages import Source  # at runtime, for libraries that read annotations, as pydantic does
from mesa_llm.errors import ConfigurationError
from mesa_llm.parallel_stepping.failures import described

if TYPE_CHECKING:
    import pandas as pd

    from mesa_llm.activation.call import ModelCall

type Phase = Literal["decide", "wait", "act", "settle"]
type Outcome = Literal["acted", "ended", "failed", "failed acting", "fell back", "called off", "left"]

FAILURES = frozenset({"failed", "failed acting", "fell back"})


class Span(NamedTuple):
    """A stretch of one agent's step.

    Attributes:
        phase: `decide`; `wait` for its turn, or for the others before it decides again; `act`; or `settle`.
        start: seconds since the step began.
        end: seconds since the step began.
    """

    phase: Phase
    start: float
    end: float


@dataclass(unsafe_hash=True, slots=True)
class CallSpan:
    """One call to a model.

    Attributes:
        phase: where it was made. One made in `act` held its agent's turn, and everybody waited for it.
        start: seconds since the step began.
        end: seconds since the step began.
        prompt_tokens: tokens read.
        completion_tokens: tokens written.
        cost: its price in US dollars; `None` where it is not known.
        retries: how often it was sent again before the answer came.
        error: what it has failed with, as text; `None` if it was answered.
        source: who answered: the `model`; a `rule` in Python, whose latency is simulated; a `journal`, from an earlier
            run; or the model, to an identical call with which this one `shared` its answer.
        latency_s: seconds that the exchange took which gave the answer (see `LLMResponse.latency_s`). `None` for a
            call that failed, was replayed or shared, and where the client does not measure it.
        waited_s: seconds that it waited in queues of our own limits.
    """

    phase: Phase
    start: float
    end: float
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    retries: int = 0
    error: str | None = None
    source: Source = "model"
    latency_s: float | None = None
    waited_s: float = 0.0

    @classmethod
    def of(cls, call: ModelCall, phase: Phase, *, start: float, end: float) -> Self:
        """What is to be reported of a call that has ended.

        Args:
            call: the call.
            phase: where it was made.
            start: seconds since the step began.
            end: seconds since the step began.
        """
        response, error = call.response, call.error
        if response is None:
            retries = getattr(error, "retries", 0)
            text = None if error is None else described(error)
            return cls(phase, start, end, retries=retries, error=text, waited_s=call.waited)
        return cls(
            phase,
            start,
            end,
            prompt_tokens=response.usage.prompt_tokens,
            completion_tokens=response.usage.completion_tokens,
            cost=response.cost,
            retries=response.retries,
            error=None if error is None else described(error),
            source=response.source,
            latency_s=response.latency_s,
            waited_s=call.waited,
        )

    @property
    def duration_s(self) -> float:
        """Seconds that its agent waited for it, those in limits and between attempts included."""
        return self.end - self.start


class _Totals:
    """Sums over model calls."""

    __slots__ = ()

    def _model_calls(self) -> Iterable[CallSpan]:
        raise NotImplementedError

    @property
    def calls(self) -> int:
        """How many calls to models were made and ended."""
        return sum(1 for _ in self._model_calls())

    @property
    def calls_while_acting(self) -> int:
        """How many of them were made by an agent that held its turn, so that everybody waited."""
        return sum(call.phase == "act" for call in self._model_calls())

    @property
    def failed_calls(self) -> int:
        """How many of them failed."""
        return sum(call.error is not None for call in self._model_calls())

    @property
    def prompt_tokens(self) -> int:
        """Tokens read."""
        return sum(call.prompt_tokens for call in self._model_calls())

    @property
    def completion_tokens(self) -> int:
        """Tokens written."""
        return sum(call.completion_tokens for call in self._model_calls())

    @property
    def tokens(self) -> int:
        """Tokens read and written."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def cost(self) -> float:
        """The price of all calls whose price is known, in US dollars."""
        return sum((call.cost for call in self._model_calls() if call.cost is not None), 0.0)

    @property
    def retries(self) -> int:
        """How often calls were sent again."""
        return sum(call.retries for call in self._model_calls())

    @property
    def latency_s(self) -> float:
        """Seconds that the answers took, added up: the latencies of all calls that have one.

        Each is the time of one exchange, from the request being sent to the answer being read. Waiting in limits,
        pauses between attempts, failed calls and replayed answers do not count. Exchanges that overlapped count in
        full, each for itself. This is not what a step takes whose agents wait one after the other: that is only known
        when it is run.
        """
        return sum((call.latency_s for call in self._model_calls() if call.latency_s is not None), 0.0)

    @property
    def measured_calls(self) -> int:
        """How many calls have a latency: those whose latencies `latency_s` adds up."""
        return sum(call.latency_s is not None for call in self._model_calls())

    @property
    def replayed_calls(self) -> int:
        """How many calls were answered from a journal."""
        return sum(call.source == "journal" for call in self._model_calls())

    @property
    def shared_calls(self) -> int:
        """How many calls had the answer to an identical one."""
        return sum(call.source == "shared" for call in self._model_calls())


@dataclass(unsafe_hash=True, slots=True, kw_only=True)
class AgentReport(_Totals):
    """One agent's part in a parallel step.

    Attributes:
        agent_id: its `unique_id`.
        agent_class: the name of its class.
        outcome: `acted`; `ended` without a turn; `failed` to decide; `failed acting`; `fell back` on what `on_error`
            does; `called off` because others failed; `left` the model before it could act.
        error: what it has failed with, as text; `None` if it has not.
        spans: what it did when.
        model_calls: its calls to models, in the order in which they ended.
        conflicts: what it was refused because another agent had been first, in words.
        settle_error: what settling has failed with, as text; `None` if it has not.
        decisions: decisions that it made with tools on offer.
        without_call: those of them that hold no valid tool call.
        asked_again: how often its model was asked again because an answer could not be used.
        tool_calls: tool calls that it made, whether or not they failed.
        refused_tool_calls: those of them that were refused: an unknown tool, arguments that do not fit, a `ToolError`.
        crashed_tool_calls: those of them in which the tool raised another exception.
    """

    agent_id: int
    agent_class: str
    outcome: Outcome
    error: str | None = None
    spans: tuple[Span, ...] = ()
    model_calls: tuple[CallSpan, ...] = ()
    conflicts: tuple[str, ...] = ()
    settle_error: str | None = None
    decisions: int = 0
    without_call: int = 0
    asked_again: int = 0
    tool_calls: int = 0
    refused_tool_calls: int = 0
    crashed_tool_calls: int = 0

    def _model_calls(self) -> Iterable[CallSpan]:
        return self.model_calls

    def seconds(self, phase: Phase) -> float:
        """How long it was in a phase.

        Args:
            phase: the phase.
        """
        return sum((span.end - span.start for span in self.spans if span.phase == phase), 0.0)

    @property
    def failed(self) -> bool:
        """Whether it could not decide, or failed while acting."""
        return self.outcome in FAILURES


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAheadReport:
    """What looking ahead took in a step with `activation="sequential"`, and what came of it.

    Attributes:
        rounds: the longest chain of answers that agents used, each asked when the one before it was known: about how
            many latencies the step takes.
        turns_waited: how many agents had to wait for an answer at their turn.
        asked_ahead: how many calls were sent before their agents' turns.
        used_ahead: how many of them agents used.
        wasted_calls: how many of them nobody used.
        wasted_tokens: tokens that those took which were answered. They are not among the step's own.
        wasted_cost: their price in US dollars, as far as it is known. It is not part of the step's own.
        looks: begin and end of each look, in seconds since the step began.
        copy_s: seconds that copies of the model took.
        failed_looks: how often an agent raised an exception in a look.
    """

    rounds: int = 0
    turns_waited: int = 0
    asked_ahead: int = 0
    used_ahead: int = 0
    wasted_calls: int = 0
    wasted_tokens: int = 0
    wasted_cost: float = 0.0
    looks: tuple[tuple[float, float], ...] = ()
    copy_s: float = 0.0
    failed_looks: int = 0

    @property
    def look_s(self) -> float:
        """Seconds that the looks took, copies read included."""
        return sum((end - start for start, end in self.looks), 0.0)


@dataclass(frozen=True, kw_only=True)
class StepReport(_Totals):
    """What one parallel step took. Plain data: it pickles, and keeps no agent alive.

    ```python
    from mesa import Model
    from mesa_llm.llm_agent import LLMAgent
    from mesa_llm.parallel_stepping import step_agents_parallel_sync
    from mesa_llm.reasoning import CoTReasoning
    from mesa_llm.testing import ScriptedLLM

    llm = ScriptedLLM("Action: rest.")
    village = Model()
    agents = [LLMAgent(village, CoTReasoning, client=llm, step_prompt="What do you do?") for _ in range(3)]
    step_agents_parallel_sync(agents)
    report = village.parallel_reports[-1]
    print(len(report.agents), report.calls, report.failures)
    #> 3 6 0
    ```

    Attributes:
        step: the number of the model's step; 1 during the first.
        started: when it began, in seconds since 1970.
        mode: `asyncio` or `threading`.
        activation: `simultaneous`, `eager` or `sequential`.
        wall_s: seconds from begin to end.
        decide_s: seconds in which agents decided (under `eager`: in which nobody acted).
        act_s: seconds in which agents acted.
        settle_s: seconds in which agents settled.
        agents: one report an agent, in the order of the step.
        error: what the step has failed with, as text; `None` if it has not.
        look_ahead: what looking ahead took, with `sequential`; `None` otherwise.
    """

    step: int
    started: float
    mode: str
    activation: str
    wall_s: float
    decide_s: float
    act_s: float
    settle_s: float
    agents: tuple[AgentReport, ...]
    error: str | None = None
    look_ahead: LookAheadReport | None = None

    def _model_calls(self) -> Iterable[CallSpan]:
        return (call for agent in self.agents for call in agent.model_calls)

    @cached_property
    def _by_id(self) -> dict[int, AgentReport]:
        return {agent.agent_id: agent for agent in self.agents}

    def of_agent(self, agent_id: int) -> AgentReport | None:
        """One agent's part; `None` if it did not take part.

        Args:
            agent_id: the agent's `unique_id`.
        """
        return self._by_id.get(agent_id)

    @property
    def failures(self) -> int:
        """How many agents could not decide, or failed while acting; those that fell back included."""
        return sum(agent.failed for agent in self.agents)

    @property
    def fallbacks(self) -> int:
        """How many agents fell back on what `on_error` does."""
        return sum(agent.outcome == "fell back" for agent in self.agents)

    @property
    def conflicts(self) -> int:
        """How often an agent was refused something because another one had been first."""
        return sum(len(agent.conflicts) for agent in self.agents)

    @property
    def decisions(self) -> int:
        """How many decisions agents made with tools on offer."""
        return sum(agent.decisions for agent in self.agents)

    @property
    def without_call(self) -> int:
        """How many of them hold no valid tool call."""
        return sum(agent.without_call for agent in self.agents)

    @property
    def asked_again(self) -> int:
        """How often a model was asked again because its answer could not be used."""
        return sum(agent.asked_again for agent in self.agents)

    @property
    def tool_calls(self) -> int:
        """How many tool calls agents made, whether or not they failed."""
        return sum(agent.tool_calls for agent in self.agents)

    @property
    def refused_tool_calls(self) -> int:
        """How many of them were refused: an unknown tool, arguments that do not fit, a `ToolError`."""
        return sum(agent.refused_tool_calls for agent in self.agents)

    @property
    def crashed_tool_calls(self) -> int:
        """In how many of them the tool raised another exception."""
        return sum(agent.crashed_tool_calls for agent in self.agents)

    @property
    def settle_failures(self) -> int:
        """How many agents could not settle, and will try again."""
        return sum(agent.settle_error is not None for agent in self.agents)

    @property
    def rounds(self) -> int:
        """With `sequential`, how many answers were waited for one after the other; 0 otherwise."""
        return 0 if self.look_ahead is None else self.look_ahead.rounds

    @property
    def wasted_calls(self) -> int:
        """How many calls were asked ahead and not used. They are not among `calls`."""
        return 0 if self.look_ahead is None else self.look_ahead.wasted_calls

    @property
    def wasted_tokens(self) -> int:
        """Tokens that those calls took. They are not among `tokens`."""
        return 0 if self.look_ahead is None else self.look_ahead.wasted_tokens

    @property
    def wasted_cost(self) -> float:
        """What those calls cost, in US dollars. It is not part of `cost`."""
        return 0.0 if self.look_ahead is None else self.look_ahead.wasted_cost

    @property
    def peak_concurrency(self) -> int:
        """The most calls that were in flight at once, counting none while it waited in a queue of our own limits."""
        calls = self._model_calls()
        edges = sorted(edge for call in calls for edge in ((call.start + call.waited_s, 1), (call.end, -1)))
        return max(accumulate(change for _, change in edges), default=0)

    def as_dict(self, *, totals: bool = True) -> dict[str, Any]:
        """The report as JSON could hold it; `from_dict` reads it.

        Args:
            totals: with all totals.
        """
        names = ("step", "started", "mode", "activation", *(TOTALS if totals else _PHASES), "error")
        return {name: getattr(self, name) for name in names} | {
            "agents": [_as_dict(agent) for agent in self.agents],
            "look_ahead": None if self.look_ahead is None else asdict(self.look_ahead),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The report that `as_dict` has written, also as JSON. Totals are added up again.

        Args:
            data: the dictionary.

        Raises:
            ConfigurationError: if it is no such dictionary.
        """
        try:
            plain = {name: value for name, value in data.items() if name not in _ADDED_UP}
            agents = tuple(map(_agent_of, data["agents"]))
            return cls(**plain | {"agents": agents, "look_ahead": _look_ahead_of(data.get("look_ahead"))})
        except (AttributeError, KeyError, TypeError) as error:
            raise ConfigurationError(f"This is no step report as as_dict() gives it: {error}.") from error

    def to_dataframe(self) -> pd.DataFrame:
        """One row an agent, in the order of the step.

        Returns:
            A frame of shape (agents, 26), indexed by `agent_id`.
        """
        import pandas as pd  # noqa: PLC0415 - only who asks for a frame waits for the import

        rows = [
            {
                "agent_id": agent.agent_id,
                "agent_class": agent.agent_class,
                "outcome": agent.outcome,
                "error": agent.error,
                "decide_s": agent.seconds("decide"),
                "wait_s": agent.seconds("wait"),
                "act_s": agent.seconds("act"),
                "settle_s": agent.seconds("settle"),
                "calls": agent.calls,
                "calls_while_acting": agent.calls_while_acting,
                "failed_calls": agent.failed_calls,
                "prompt_tokens": agent.prompt_tokens,
                "completion_tokens": agent.completion_tokens,
                "cost": agent.cost,
                "retries": agent.retries,
                "latency_s": agent.latency_s,
                "measured_calls": agent.measured_calls,
                "replayed_calls": agent.replayed_calls,
                "shared_calls": agent.shared_calls,
                "conflicts": len(agent.conflicts),
                "decisions": agent.decisions,
                "without_call": agent.without_call,
                "asked_again": agent.asked_again,
                "tool_calls": agent.tool_calls,
                "refused_tool_calls": agent.refused_tool_calls,
                "crashed_tool_calls": agent.crashed_tool_calls,
                "settle_error": agent.settle_error,
            }
            for agent in self.agents
        ]
        return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["agent_id"]).set_index("agent_id")


TOTALS = (
    "wall_s",
    "decide_s",
    "act_s",
    "settle_s",
    "failures",
    "fallbacks",
    "conflicts",
    "decisions",
    "without_call",
    "asked_again",
    "tool_calls",
    "refused_tool_calls",
    "crashed_tool_calls",
    "settle_failures",
    "calls",
    "calls_while_acting",
    "failed_calls",
    "prompt_tokens",
    "completion_tokens",
    "tokens",
    "cost",
    "retries",
    "latency_s",
    "measured_calls",
    "replayed_calls",
    "shared_calls",
    "peak_concurrency",
    "rounds",
    "wasted_calls",
    "wasted_tokens",
    "wasted_cost",
)
"""The numbers of a step's report."""

_PHASES = ("wall_s", "decide_s", "act_s", "settle_s")


def _as_dict(agent: AgentReport) -> dict[str, Any]:
    """An agent's part as JSON could hold it; `asdict` takes several times as long."""
    return {
        **{name: getattr(agent, name) for name in _OF_AGENT},
        "spans": [span._asdict() for span in agent.spans],
        "model_calls": [{name: getattr(call, name) for name in _OF_CALL} for call in agent.model_calls],
        "conflicts": list(agent.conflicts),
    }


_OF_AGENT = tuple(part.name for part in fields(AgentReport))
_OF_CALL = tuple(part.name for part in fields(CallSpan))

_ADDED_UP = frozenset(TOTALS) - {field.name for field in fields(StepReport)}


def _look_ahead_of(data: Mapping[str, Any] | None) -> LookAheadReport | None:
    return None if data is None else LookAheadReport(**{**data, "looks": tuple(map(tuple, data["looks"]))})


def _agent_of(data: Mapping[str, Any]) -> AgentReport:
    return AgentReport(
        **{
            **data,
            "spans": tuple(Span(**span) for span in data["spans"]),
            "model_calls": tuple(CallSpan(**call) for call in data["model_calls"]),
            "conflicts": tuple(data["conflicts"]),
        }
    )
