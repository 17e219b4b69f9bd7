"""What an agent's place in a parallel step offers to core; runners implement it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.activation.origin import AgentStep, CallOrigin


def nothing_to_cancel() -> None:
    """What cancels a call that cannot be cancelled, or has ended."""


@dataclass(slots=True, eq=False)
class ModelCall:
    """One call to a model, from its start to its end.

    Attributes:
        cancel: ends a call that blocks a thread, when the agent's step is called off.
        response: the `LLMResponse`; set by whoever makes the call, as soon as there is one.
        error: what the call has raised.
        started: when it was sent, on the clock of `time.perf_counter`, in seconds.
    """

    cancel: Callable[[], object] = nothing_to_cancel
    response: Any = None
    error: BaseException | None = None
    started: float = field(default_factory=time.perf_counter)


class Turn(ABC):
    """One agent's turn in one parallel step.

    The methods come in pairs: those that begin with `a` wait on the event loop that runs the agent, the others block
    the agent's thread. All of them raise `StepAborted` when the step has been called off, and `TurnError` after the
    agent's step has ended.

    Attributes:
        agent: whose turn it is.
        error: what its decision has failed with, so far.
        called_off: whether the agent's step has been ended from outside: the whole step was, or its time was up.
    """

    __slots__ = ()

    agent: Agent
    error: BaseException | None = None
    called_off: bool = False

    @property
    def agent_step(self) -> AgentStep | None:
        """Which of the agent's own steps this is; `None` leaves its calls without an identity."""
        return None

    @property
    @abstractmethod
    def acting(self) -> bool:
        """Whether the agent holds its turn: it alone may change the world now."""

    @abstractmethod
    async def abegin_decision(self) -> None:
        """Begin to decide. An agent that holds its turn gives it back, and waits until the others have acted."""

    @abstractmethod
    def begin_decision(self) -> None:
        """Blocking form of `abegin_decision`.

        Raises:
            TurnError: on a thread whose event loop runs agents: waiting there would stop all of them.
        """

    @abstractmethod
    def end_decision(self) -> None:
        """The decision is made, or has failed."""

    @abstractmethod
    def atake(self) -> Awaitable[None]:
        """Wait at the turn point until it is the agent's turn. Returns at once if it holds the turn."""

    @abstractmethod
    def take(self) -> None:
        """Blocking form of `atake`.

        Raises:
            TurnError: on a thread whose event loop runs agents, unless the agent holds the turn already.
        """

    def goes_on_in_thread(self) -> None:
        """The agent, whose step is a coroutine, now waits for a thread that carries its decision on.

        So waiting is not the end of its start yet: the next agent starts when the thread waits for a model, or has
        come to its turn point or its end.
        """

    @abstractmethod
    def call_started(self, call: ModelCall) -> None:
        """The agent waits for a model: the next agent may start, and a thread's slot is free.

        Args:
            call: the call.
        """

    @abstractmethod
    def call_ended(self, call: ModelCall) -> None:
        """The call has ended, well or not; a thread waits here until there is a slot for it again.

        Args:
            call: the call; its `response` is set if there was an answer.
        """

    @abstractmethod
    def queue(self) -> Callable[[], None]:
        """The agent waits for a place, be it for its call or for its thread: this time is not its own.

        Returns:
            What is to be called when it has the place, or gives up.
        """

    @abstractmethod
    def stage(self, commit: Callable[[], None], drop: Callable[[], None]) -> None:
        """Register what the agent has written before its turn.

        Args:
            commit: called once, when the agent acts, or in its place among the acts if it ends without one.
            drop: called once instead, if the step is called off before that.
        """

    @abstractmethod
    def claim(self, place: Hashable) -> None:
        """The agent has taken a place, of which there are not enough for all.

        Args:
            place: anything hashable that all agents of the step call the same, such as a cell.
        """

    @abstractmethod
    def is_claimed(self, place: Hashable) -> bool:
        """Whether another agent has taken the place in this step, after everybody had decided.

        Args:
            place: the place, as it was claimed.
        """

    @abstractmethod
    def conflicted(self, refusal: str) -> None:
        """The agent was refused something because another one had been first.

        Args:
            refusal: what the agent was told.
        """


_turn: ContextVar[Turn | Lent | None] = ContextVar("mesa_llm_turn", default=None)


def current_turn() -> Turn | None:
    """The turn of the agent that is calling, or for which a client works; `None` if nobody runs agents in parallel."""
    turn = _turn.get()
    return turn.turn if isinstance(turn, Lent) else turn


agents_own: list[ContextVar[Any]] = []
"""Further context variables that hold an agent or its turn, and are no business of a client's; `None` when unset."""


class Lent:
    """What a call has of the agent that makes it, for as long as it lasts.

    A client's timers and connections keep the context in which they were made, and may outlive the call by minutes;
    they are not to keep the agent's step and model as well.

    Attributes:
        turn: the agent's turn.
        agent_step: which of the agent's own steps it is.
        origin: the identity of the call.
    """

    __slots__ = ("agent_step", "origin", "turn")

    def __init__(self, turn: Turn | None, agent_step: AgentStep | None, origin: CallOrigin | None) -> None:
        self.turn = turn
        self.agent_step = agent_step
        self.origin = origin

    def give_back(self) -> None:
        """The call has ended."""
        self.turn = self.agent_step = self.origin = None


def entered(turn: Turn, context: Context | None = None) -> Context:
    """A copy of a context, by default the caller's, in which `turn` is the current turn.

    Args:
        turn: the turn.
        context: the context to copy.
    """
    copied = copy_context() if context is None else context.copy()
    copied.run(_turn.set, turn)
    return copied


def turn_in(model: Any) -> Turn | None:
    """The current turn if it is one in this model; `None` in a model of its own that an agent looks ahead with.

    Args:
        model: the Mesa model.
    """
    turn = current_turn()
    return turn if turn is not None and turn.agent.model is model else None


def claim(agent: Agent, place: Hashable) -> None:
    """Say that the agent has taken something that only one, or only so many, can have.

    For tools: whoever wants it later in the same parallel step can be told that it came second. Does nothing if nobody
    runs agents in parallel.

    Args:
        agent: who has taken it.
        place: what; anything that can be a key, such as `("cell", (3, 7))`.
    """
    turn = turn_in(agent.model)
    if turn is not None:
        turn.claim(place)


def is_claimed(agent: Agent, place: Hashable) -> bool:
    """Whether another agent has taken it in this step, after everybody had decided: a reason for a `ConflictError`.

    Args:
        agent: who asks.
        place: the place, as it was claimed.
    """
    turn = turn_in(agent.model)
    return turn is not None and turn.is_claimed(place)


def stage(agent: Agent, commit: Callable[[], None]) -> None:
    """Do a write of core's own when the agent acts; at once if it does so now, or nobody runs it in parallel.

    Args:
        agent: whose write it is.
        commit: does the write.
    """
    turn = current_turn()
    if turn is None or turn.acting or turn.agent is not agent:
        commit()
    else:
        turn.stage(commit, lambda: None)
