"""What an agent's place in a parallel step offers to core; runners implement it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesa import Agent


class Turn(ABC):
    """One agent's turn in one parallel step.

    The methods come in pairs: those that begin with `a` wait on the event loop that runs the agent, the others block
    the agent's thread. All of them raise `StepAborted` when the step has been called off, and `TurnError` after the
    agent's step has ended.

    Attributes:
        agent: whose turn it is.
    """

    agent: Agent

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
    async def atake(self) -> None:
        """Wait at the turn point until it is the agent's turn. Returns at once if it holds the turn."""

    @abstractmethod
    def take(self) -> None:
        """Blocking form of `atake`.

        Raises:
            TurnError: on a thread whose event loop runs agents, unless the agent holds the turn already.
        """

    @abstractmethod
    def call_started(self, cancel: Callable[[], object]) -> None:
        """The agent waits for a model: the next agent may start, and a thread's slot is free.

        Args:
            cancel: ends the call, when the agent's step is called off.
        """

    @abstractmethod
    def call_ended(self, cancel: Callable[[], object]) -> None:
        """The model has answered; a thread waits here until there is a slot for it again.

        Args:
            cancel: as given to `call_started`.
        """

    @abstractmethod
    def stage(self, commit: Callable[[], None], drop: Callable[[], None]) -> None:
        """Register what the agent has written before its turn.

        Args:
            commit: called once, when the agent acts, or in its place among the acts if it ends without one.
            drop: called once instead, if the step is called off before that.
        """


_turn: ContextVar[Turn | None] = ContextVar("mesa_llm_turn", default=None)


def current_turn() -> Turn | None:
    """The turn of the agent that is calling, `None` if nobody runs agents in parallel."""
    return _turn.get()


def entered(turn: Turn) -> Context:
    """A copy of the caller's context variables in which `turn` is the current turn."""
    context = copy_context()
    context.run(_turn.set, turn)
    return context


def turn_in(model: Any) -> Turn | None:
    """The current turn if it is one in this model; `None` in a model of its own that an agent looks ahead with."""
    turn = current_turn()
    return turn if turn is not None and turn.agent.model is model else None


def stage(agent: Agent, commit: Callable[[], None]) -> None:
    """Do a write of core's own when the agent acts; at once if it does so now, or nobody runs it in parallel."""
    turn = current_turn()
    if turn is None or turn.acting or turn.agent is not agent:
        commit()
    else:
        turn.stage(commit, lambda: None)
