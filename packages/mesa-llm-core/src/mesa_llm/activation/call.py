"""A model call: whose it is, how long it may take, how long it has waited, and how it has ended.

Its identity is the agent, which of the agent's own steps it is, and which call of that step. Parallel stepping and
plain Mesa give a call the same identity, so journals, seeds and traces that use it work in both.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from mesa_llm.activation.context import current_agent_step, current_turn, note_asking
from mesa_llm.activation.mesa_model import step_of
from mesa_llm.activation.once import warn_of_calls_in_a_row
from mesa_llm.activation.turn import is_off_record
from mesa_llm.concurrency import fork_safe_lock

if TYPE_CHECKING:
    from mesa import Agent, Model

    from mesa_llm.activation.turn import Turn
    from mesa_llm.errors import DecisionTimeoutError

_COUNT = "_mesa_llm_count"
_ALONE = "_mesa_llm_one_at_a_time"
_counting = fork_safe_lock()  # protects counts of calls and tallies: an agent may ask from several threads


@dataclass(slots=True, eq=False)
class CallOrigin:
    """Where in a run a model call is made. The same in every run of the same model with the same answers.

    Attributes:
        step: which of the agent's own steps it is; 1 for the first, 0 before it. After a step, calls count with it.
        agent_id: the agent's `unique_id`.
        agent_class: the name of its class.
        call: which call of the agent in this step it is; 1 for the first. Calls that an agent makes side by side are
            numbered as they come.
        model: the Mesa model.
        model_step: the model's step, see `step_of`; not part of the identity.
    """

    step: int
    agent_id: int
    agent_class: str
    call: int
    model: Any
    model_step: int


@dataclass(slots=True)
class Tally:
    """Counts what came of a model's answers: of one agent in a parallel step, or of agents that no runner stepped.

    Attributes:
        decisions: decisions made, in which tools or actions were on offer.
        without_call: those of them that hold no valid tool call.
        asked_again: how often the model was asked again because its answer could not be used.
        tool_calls: tool calls that were made and actions that were taken, whether or not they failed.
        refused: those of them that were refused: an unknown tool, arguments that do not fit, a `ToolError`.
        crashed: those of them in which the tool, or the action, raised another exception.
        calls: calls to models that have ended.
        failed_calls: those of them that failed.
        prompt_tokens: tokens read.
        completion_tokens: tokens written.
        cost: the price of all calls whose price is known, in US dollars.
        retries: how often calls were sent again.
        latency_s: the latencies of the answers that have one, added up, in seconds.
        measured_calls: the calls that have one.
        replayed_calls: calls that were answered from a journal.
        shared_calls: calls that had the answer to an identical one.
    """

    decisions: int = 0
    without_call: int = 0
    asked_again: int = 0
    tool_calls: int = 0
    refused: int = 0
    crashed: int = 0
    calls: int = 0
    failed_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    retries: int = 0
    latency_s: float = 0.0
    measured_calls: int = 0
    replayed_calls: int = 0
    shared_calls: int = 0

    def add(self, call: ModelCall) -> None:
        """Count a call to a model that has ended."""
        response = call.response
        self.calls += 1
        self.failed_calls += call.error is not None
        self.retries += getattr(call.error if response is None else response, "retries", 0)
        if response is not None:
            self.prompt_tokens += response.usage.prompt_tokens
            self.completion_tokens += response.usage.completion_tokens
            self.cost += response.cost or 0.0
            self.latency_s += response.latency_s or 0.0
            self.measured_calls += response.latency_s is not None
            self.replayed_calls += response.source == "journal"
            self.shared_calls += response.source == "shared"

    def __add__(self, other: Tally) -> Tally:
        return Tally(*[getattr(self, part.name) + getattr(other, part.name) for part in fields(self)])


@dataclass(slots=True)
class OneAtATime:
    """What agents did in one step of their model without a runner: in steps that Mesa made, and outside of any step.

    Attributes:
        model_step: which step of the model.
        tallies: what the answers were worth, by the class of the agents.
        has_stepped: whether there was a step, and not only calls outside of any.
    """

    model_step: int
    tallies: dict[str, Tally] = field(default_factory=dict)
    has_stepped: bool = False

    @property
    def tally(self) -> Tally:
        """What all the answers were worth."""
        return sum(self.tallies.values(), Tally())


@dataclass(slots=True)
class _Count:
    """An agent's own step, and how many calls it has made in it. Kept on the agent, and copied with it."""

    step: int = 0
    calls: int = 0


class AgentStep:
    """One of an agent's own steps, made by a runner or by the agent itself; numbers the calls that the agent makes.

    Attributes:
        agent: the agent.
        index: which of the agent's own steps it is; 1 for the first, 0 before it.
    """

    __slots__ = ("__weakref__", "_count", "_on_timeout", "_tallies", "agent", "index")

    def __init__(self, agent: Agent, count: _Count, tallies: tuple[Tally, ...] = ()) -> None:
        self.agent = agent
        self.index = count.step
        self._count = count
        self._tallies = tallies or (Tally(),)
        self._on_timeout: tuple[Callable[[DecisionTimeoutError], object], ...] = ()

    @property
    def tally(self) -> Tally:
        """What the answers were worth in this step; without a runner, in all such steps within the model's.

        A turn keeps the calls of its step itself.
        """
        return self._tallies[0]

    def count(self, name: str) -> None:
        """Count one more in the field of this name of `Tally`."""
        with _counting:
            for tally in self._tallies:
                setattr(tally, name, getattr(tally, name) + 1)

    def add(self, call: ModelCall) -> None:
        """Count a call to a model that has ended."""
        with _counting:
            for tally in self._tallies:
                tally.add(call)

    def next_call(self) -> CallOrigin:
        """The identity of the next call, without its request."""
        with _counting:
            self._count.calls += 1
            call = self._count.calls
        agent = self.agent
        return CallOrigin(
            step=self.index,
            agent_id=agent.unique_id,
            agent_class=type(agent).__name__,
            call=call,
            model=agent.model,
            model_step=step_of(agent.model),
        )

    def on_timeout(self, callback: Callable[[DecisionTimeoutError], object]) -> None:
        """Have a client called with the error when the agent's time to decide is up; on the thread of the step."""
        self._on_timeout += (callback,)

    def time_is_up(self, error: DecisionTimeoutError) -> None:
        """Called by the runner with the error that the agent ends with, before it cancels the agent's calls."""
        for callback in self._on_timeout:
            callback(error)


def begin_agent_step(agent: Agent, *, alone: bool = False) -> AgentStep:
    """The next of an agent's own steps, which begins. No runner makes it if it is `alone`."""
    return _agent_step(agent, _Count(_count_of(agent).step + 1), _tallies_alone(agent, steps=True) if alone else ())


def last_agent_step(agent: Agent, *, alone: bool = True) -> AgentStep:
    """The last of an agent's own steps, for calls outside of them; a runner that lets it make these has a tally."""
    return _agent_step(agent, _count_of(agent), _tallies_alone(agent) if alone else ())


def _agent_step(agent: Agent, count: _Count, tallies: tuple[Tally, ...]) -> AgentStep:
    setattr(agent, _COUNT, count)
    return AgentStep(agent, count, tallies)


def counter_of(agent: Any) -> Callable[[str], object]:
    """A function that counts what an agent does, by a name of `Tally`, in its step or else in its last one.

    Off record it counts nothing.
    """
    agent_step = current_agent_step()
    if agent_step is not None and agent_step.agent is agent:
        return agent_step.count
    if is_off_record() or not hasattr(agent, "model"):
        return lambda name: None
    return last_agent_step(agent).count


def one_at_a_time(owner: Agent | Model) -> OneAtATime:
    """What an agent, or all agents of a model, did without a runner in the current step of the model.

    Those that have left the model meanwhile count in the model.
    """
    now = step_of(getattr(owner, "model", owner))
    known: OneAtATime | None = getattr(owner, _ALONE, None)
    return known if known is not None and known.model_step == now else OneAtATime(now)


def _tallies_alone(agent: Agent, *, steps: bool = False) -> tuple[Tally, ...]:
    """The tallies in which an agent without a runner counts: its own, and its model's for its class."""
    tallies: tuple[Tally, ...] = ()
    with _counting:
        for owner in (agent, agent.model):
            known = one_at_a_time(owner)
            known.has_stepped |= steps
            tallies += (known.tallies.setdefault(type(agent).__name__, Tally()),)
            setattr(owner, _ALONE, known)
    return tallies


def _count_of(agent: Agent) -> _Count:
    count: _Count | None = getattr(agent, _COUNT, None)
    return _Count() if count is None else count


def nothing_to_cancel() -> None:
    """What cancels a call that cannot be cancelled, or has ended."""


class ModelCall:
    """One call to a model, from its start to its end. Clients find it at `request.call`.

    Waiting is noted on the transport loop only; the rest may be read from any thread.

    Attributes:
        agent_step: the step of the agent that makes it; `None` if no agent does, and when the call has ended.
        origin: its identity; `None` if no agent makes it, and when the call has ended.
        cancel: ends a call that blocks a thread, when the agent's step is called off.
        response: the `LLMResponse`; set by the caller, as soon as the call has one.
        error: what the call has raised.
        off_record: whether it is off the record: no journal keeps it, and no other call shares it.
        asked_ahead: whether it was sent before its agent's turn, by a step that looks ahead.
        lane: how soon it is needed: 0 if an agent waits for it, 1 if one will soon, 2 if one may later. Limits serve
            low numbers first.
        known: the answer, if it was asked ahead; a journal records it instead of asking its inner client.
        passed_journal: whether it was asked ahead through a journal, which has to record the answer if it is used.
        started: when it was sent, on the clock of `time.perf_counter`, in seconds.
        turn: the turn of the agent; `None` if nobody runs agents in parallel, and when the call has ended.
    """

    __slots__ = (
        "__weakref__",
        "_clock",
        "_is_sent",
        "_listeners",
        "_resume",
        "_wait_began",
        "_waited",
        "_waits",
        "agent_step",
        "asked_ahead",
        "cancel",
        "error",
        "known",
        "lane",
        "off_record",
        "origin",
        "passed_journal",
        "response",
        "started",
        "turn",
    )

    def __init__(self) -> None:
        self.agent_step: AgentStep | None = None
        self.origin: CallOrigin | None = None
        self.cancel: Callable[[], object] = nothing_to_cancel
        self.response: Any = None
        self.error: BaseException | None = None
        self.off_record = False
        self.asked_ahead = False
        self.lane = 0
        self.known: Any = None
        self.passed_journal = False
        self.started = time.perf_counter()
        self.turn: Turn | None = None
        self._is_sent = False
        self._waits = 0  # queues in which it waits: a client may ask its inner one several times at once
        self._clock: Callable[[], float] = time.monotonic
        self._wait_began = 0.0
        self._waited = 0.0
        self._resume: Callable[[], None] | None = None
        self._listeners: tuple[Callable[[bool], None], ...] = ()

    def claim(self) -> bool:
        """Whether nothing has been sent in this call yet; from now on, something has."""
        with _counting:
            was_sent, self._is_sent = self._is_sent, True
        return not was_sent

    def identify(self) -> None:
        """Make it the next call of the agent that is calling, if one is. Called when the request is sent."""
        self.started = time.perf_counter()
        self.turn = current_turn()
        self.off_record = self.turn is not None and self.turn.off_record
        self.agent_step = current_agent_step()
        self.origin = None if self.agent_step is None else self.agent_step.next_call()
        if self.turn is None:
            note_asking(self.agent)
            warn_of_calls_in_a_row(self)

    def detach(self) -> None:
        """Forget the agent: the client has ended, and what it leaves behind must not keep the model alive."""
        self.agent_step = self.origin = self.turn = None

    @property
    def agent(self) -> Agent | None:
        """The agent that makes the call; `None` if no agent does, and when the call has ended."""
        return None if self.agent_step is None else self.agent_step.agent

    def seconds_left(self) -> float:
        """Seconds left of the agent's time to decide, time in queues excluded; infinite without a limit."""
        return math.inf if self.turn is None else self.turn.seconds_left()

    @property
    def waited(self) -> float:
        """Seconds that the call has waited in queues so far, in our own limits; queues that overlap count once."""
        return self._waited + (self._clock() - self._wait_began if self._waits else 0.0)

    @contextmanager
    def queued(self) -> Iterator[None]:
        """Marks time that the call waits in a queue of ours: it does not count toward `decide_timeout`."""
        self.begin_waiting()
        try:
            yield
        finally:
            self.end_waiting()

    def begin_waiting(self) -> None:
        """The call is queued."""
        self._waits += 1
        if self._waits == 1:
            self._clock = asyncio.get_running_loop().time
            self._wait_began = self._clock()
            self._resume = None if self.turn is None else self.turn.queue()
            for listener in self._listeners:
                listener(True)

    def end_waiting(self) -> None:
        """The call leaves the queue."""
        self._waits -= 1
        if self._waits == 0:
            self._waited += self._clock() - self._wait_began
            if self._resume is not None:
                self._resume()
                self._resume = None
            for listener in self._listeners:
                listener(False)

    @contextmanager
    def watched(self, listener: Callable[[bool], None]) -> Iterator[None]:
        """Have a client called when the call begins to wait in a queue (`True`), and when it goes on (`False`).

        Args:
            listener: called on the transport loop, in pairs.
        """
        self._listeners += (listener,)
        if self._waits:
            listener(True)
        try:
            yield
        finally:
            self._listeners = tuple(other for other in self._listeners if other is not listener)
            if self._waits:
                listener(False)

    def __reduce__(self) -> tuple[type[ModelCall], tuple[()]]:
        return ModelCall, ()  # the copy of a request has not been sent


class model_call:  # noqa: N801 - used as `contextlib.suppress` is
    """Marks the time in which an agent waits for a model. For sync and async code alike.

        with model_call() as call:
            call.response = my_client.generate(request)

    Entering gives the call; set its `response`, so that its tokens are counted.

    Args:
        call: the call; by default a new one, which cannot be cancelled.
    """

    __slots__ = ("_agent_step", "_call", "_turn")

    def __init__(self, call: ModelCall | None = None) -> None:
        self._call = call = ModelCall() if call is None else call
        self._turn = call.turn or current_turn()
        self._agent_step = call.agent_step or current_agent_step()

    def __enter__(self) -> ModelCall:
        if self._turn is not None:
            self._turn.call_started(self._call)
        return self._call

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        call = self._call
        call.error = error
        if self._turn is not None:
            self._turn.call_ended(call)
        elif self._agent_step is not None:
            self._agent_step.add(call)
        call.cancel = nothing_to_cancel
        call.response = None  # a client may keep requests, and with them their calls
