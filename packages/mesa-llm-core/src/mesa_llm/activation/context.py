"""Which agent the running code belongs to: one context variable, which holds everything that core knows of it.

A step that asks models before the agents' turns come runs the agents to come on a throw-away copy of the model, to find
out what they will ask, and its `Answers` answer them. Whatever reaches beyond the model (a file, a window, a counter in
a module) must not do so there: `looking_ahead()` says when.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context, ContextVar, Token, copy_context
from typing import TYPE_CHECKING, Any, Protocol, Self, TypedDict, Unpack
from weakref import ref

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.activation.call import AgentStep, CallOrigin, ModelCall
    from mesa_llm.activation.turn import Turn


class Running(TypedDict, total=False):
    """What the running code belongs to. A dict, the cheapest to copy with a change: a step makes thousands of them.

    Attributes:
        turn: the turn of the agent, if a runner steps it.
        agent_step: the step of an agent that no runner steps.
        deciding: the turn for which a decision is being made.
        stepping: the agent whose `step` or `astep` runs, hooks included.
        call: the model call that the code of a client works for.
        asked: gets the ids of agents that ask a model outside of their steps and of a runner.
        writes: what keeps the agent's writes to its memory until they can be awaited.
        answers: what answers the agent's model calls, if a step asks ahead.
        journal: what records the model calls of code that belongs to no agent, such as a model's own `step`; held
            weakly, since timers and connections may keep the context.
    """

    turn: Turn | None
    agent_step: AgentStep | None
    deciding: Turn | None
    stepping: Agent | None
    call: ModelCall | None
    asked: set[int] | None
    writes: AwaitedWrites | None
    answers: Answers | None
    journal: ref[CallRecorder] | None


_running: ContextVar[Running] = ContextVar("mesa_llm_running", default=Running())  # noqa: B039 - never changed


def current_turn() -> Turn | None:
    """The turn of the calling agent; `None` if nobody runs agents in parallel, and in the code of a client."""
    return _running.get().get("turn")


def current_agent_step() -> AgentStep | None:
    """The step of the calling agent; `None` outside agents' steps, and in the code of a client."""
    running = _running.get()
    agent_step, turn = running.get("agent_step"), running.get("turn")
    return turn.agent_step if agent_step is None and turn is not None else agent_step


def current_call() -> ModelCall | None:
    """The call that a client is answering; `None` outside the code of clients."""
    return _running.get().get("call")


def current_origin() -> CallOrigin | None:
    """The identity of the call that a client is answering; `None` for a call that no agent makes.

    The same as `request.call.origin`.
    """
    call = current_call()
    return None if call is None else call.origin


def current_writes() -> AwaitedWrites | None:
    """What keeps the calling agent's writes to its memory until they can be awaited; `None` if it need not wait."""
    return _running.get().get("writes")


def current_answers() -> Answers | None:
    """What answers the calling agent's model calls; `None` if no step asks ahead, and in the code of a client."""
    return _running.get().get("answers")


JOURNAL = "_mesa_llm_journal"
"""The attribute of a recorded model that holds the `CallRecorder` of its run."""


class CallRecorder(Protocol):
    """Records the model calls of a run, whichever clients the agents ask."""

    def around(self, client: Any) -> Any:
        """The client that asks `client` and records the outcome, or answers from the record: the same each time."""
        ...


def current_journal() -> CallRecorder | None:
    """What records the model calls of the calling agent, or of the code of its model; `None` if nothing does."""
    running = _running.get()
    turn, agent_step = running.get("turn"), running.get("agent_step")
    agent = turn.agent if turn is not None else None if agent_step is None else agent_step.agent
    journal: CallRecorder | None = None if agent is None else getattr(agent.model, JOURNAL, None)
    if journal is None and (held := running.get("journal")) is not None:
        return held()
    return journal


def is_deciding(turn: Turn) -> bool:
    """Whether the running code makes a decision for a turn."""
    return _running.get().get("deciding") is turn


def is_stepping(agent: Agent) -> bool:
    """Whether the running code is part of an agent's `step` or `astep`."""
    return _running.get().get("stepping") is agent


def note_asking(agent: Agent | None) -> None:
    """Add an agent that no runner steps to `Running.asked`, if such a set is open and the agent makes no step."""
    running = _running.get()
    asked = running.get("asked")
    if asked is not None and agent is not None and running.get("stepping") is None:
        asked.add(agent.unique_id)


def asks_by_itself() -> bool:
    """Whether the running code is part of no agent's step, no runner's, and no method that a patched agent set does."""
    running = _running.get()
    return running.get("turn") is running.get("stepping") is running.get("asked") is None


def turn_in(model: Any) -> Turn | None:
    """The current turn if it is one in this model; `None` in a model of its own that an agent looks ahead with."""
    turn = current_turn()
    return turn if turn is not None and turn.agent.model is model else None


def enter(**changes: Unpack[Running]) -> Token[Running]:
    """Change fields of `Running`, until `leave` is called with what this returns."""
    return _running.set({**_running.get(), **changes})


leave = _running.reset


class within:  # noqa: N801 - used as `contextlib.suppress` is
    """Change fields of `Running` for as long as the block lasts."""

    __slots__ = ("_changes", "_token")

    def __init__(self, **changes: Unpack[Running]) -> None:
        self._changes = changes

    def __enter__(self) -> None:
        self._token = enter(**self._changes)

    def __exit__(self, *exception: object) -> None:
        leave(self._token)


class AwaitedWrites(list[Callable[[], Awaitable[None]]]):
    """While entered, writes to memories with an `aadd_to_memory` of their own are kept, in order, until `flush`."""

    __slots__ = ("_token",)

    def __enter__(self) -> Self:
        self._token = enter(writes=self)
        return self

    def __exit__(self, *exception: object) -> None:
        leave(self._token)

    async def flush(self) -> None:
        """Make the writes that are kept, one after the other."""
        pending = self[:]
        self.clear()
        for write in pending:
            await write()


def entered(turn: Turn, context: Context | None = None) -> Context:
    """A copy of a context, by default the caller's, in which `turn` is the current turn."""
    copied = copy_context() if context is None else context.copy()
    copied.run(_running.set, Running(turn=turn))
    return copied


def detached(call: ModelCall) -> Context:
    """A copy of the caller's context for the code of a client: it knows the call, and nothing else of the agent.

    A client's timers and connections keep the context in which they were made, and may outlive the call by minutes;
    they must not keep the agent's step and model alive as well.
    """
    copied = copy_context()
    copied.run(_running.set, Running(call=call))
    return copied


class LookEnded(BaseException):
    """Ends an agent's step on a copy: what follows depends on an answer that is not known yet.

    A `BaseException`, so that `except Exception` in an agent's code does not catch it.
    """


class Answers(ABC):
    """Answers the model calls of agents that run within a step which asks ahead.

    Attributes:
        looking_ahead: whether the agents run on a copy.
    """

    __slots__ = ()

    looking_ahead: bool = False

    @abstractmethod
    def ask(self, client: Any, request: Any) -> Any:
        """Answer a request; blocks the calling thread.

        Args:
            client: the `LLMClient` that answers what is not known yet.
            request: the `LLMRequest`.

        Returns:
            The `LLMResponse`.

        Raises:
            LookEnded: on a copy, if the answer is not known.
            Exception: what the client raises.
        """

    @abstractmethod
    async def aask(self, client: Any, request: Any) -> Any:
        """Like `ask`, awaited."""

    def sees(self, agent: Agent, others: Iterable[Agent]) -> None:
        """Note whom an agent sees: what it asks depends on what they have done.

        Args:
            agent: who looks around.
            others: who is in sight.
        """


def looking_ahead() -> bool:
    """Whether the calling code runs on a throw-away copy of its model, to find out what agents will ask.

    Only with `ParallelStepping(activation="sequential")`. Code that reaches beyond the model, such as a counter in a
    module, a log of your own, or a window, does nothing then: it runs again at the agent's turn.
    """
    answers = current_answers()
    return answers is not None and answers.looking_ahead
