"""Which call of which agent in which step a model call is: what a journal knows it by."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mesa_llm.activation.turn import Lent, Turn, _turn, agents_own, current_turn

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.errors import DecisionTimeoutError

_ORDINAL = "_mesa_llm_ordinal"


def next_ordinal(model: Any) -> int:
    """Count one more step of agents of a model; 1 for the first.

    Not `model.steps`: Mesa 4 has none, and in one step a model may step several sets of agents. The count is kept on
    the model, so it goes along when the model is copied or pickled.

    Args:
        model: the Mesa model.

    Returns:
        The number of the step that begins.
    """
    ordinal: int = getattr(model, _ORDINAL, 0) + 1
    setattr(model, _ORDINAL, ordinal)
    return ordinal


class Activation:
    """One agent's part in one step: numbers the calls that it makes.

    Args:
        agent: who steps.
        ordinal: which step of agents of its model it is, see `next_ordinal`.
        around: the activation of the agent that makes this step, if one does.
        within: the turn within which the agent steps by itself.

    Attributes:
        outermost: the ordinal of the step within which it is made: its own, unless an agent of the same model steps
            others while it acts.
    """

    __slots__ = ("__weakref__", "_numbers", "_on_timeout", "_within", "agent", "ordinal", "outermost")

    def __init__(
        self, agent: Agent, ordinal: int, *, around: Activation | None = None, within: Turn | None = None
    ) -> None:
        self.agent = agent
        self.ordinal = ordinal
        self._within = within
        self.outermost: int = ordinal if around is None or around.agent.model is not agent.model else around.outermost
        self._numbers = itertools.count(1)  # counting is atomic: an agent may ask from several threads
        self._on_timeout: tuple[Callable[[DecisionTimeoutError], object], ...] = ()

    def next_call(self) -> CallOrigin:
        """The place of the next call."""
        return CallOrigin(
            step=self.ordinal,
            outermost_step=self.outermost,
            agent_id=self.agent.unique_id,
            agent_class=type(self.agent).__name__,
            call=next(self._numbers),
            model=self.agent.model,
        )

    def on_timeout(self, callback: Callable[[DecisionTimeoutError], object]) -> None:
        """Have a client told if the agent's time to decide is up; on the thread of the step.

        Args:
            callback: gets the error that the agent ends with.
        """
        self._on_timeout += (callback,)

    def time_is_up(self, error: DecisionTimeoutError) -> None:
        """Called by who runs the agent, before its calls are cancelled.

        Args:
            error: what the agent ends with.
        """
        for callback in self._on_timeout:
            callback(error)


@dataclass(frozen=True, slots=True, eq=False)
class CallOrigin:
    """Where in a run a model call is made. The same in every run of the same model with the same answers.

    Attributes:
        step: which step of agents of its model it is; 1 for the first.
        outermost_step: the step within which that one is made; itself, unless an agent steps others while it acts.
        agent_id: the agent's `unique_id`.
        agent_class: the name of its class.
        call: which call of the agent in this step it is; 1 for the first. Calls that an agent makes side by side are
            numbered as they come.
        model: the Mesa model.
    """

    step: int
    outermost_step: int
    agent_id: int
    agent_class: str
    call: int
    model: Any


# Only of agents that step by themselves: those in a parallel step have theirs at their turn.
_activation: ContextVar[Activation | None] = ContextVar("mesa_llm_activation", default=None)
agents_own.append(_activation)


def current_activation() -> Activation | None:
    """The activation of the agent that is calling, or for which a client works; `None` outside agents' steps."""
    turn = _turn.get()
    if isinstance(turn, Lent):
        if turn.activation is not None:
            return turn.activation
        turn = turn.turn
    alone = _activation.get()
    if alone is not None and alone._within is turn:
        return alone
    return None if turn is None else turn.activation


@contextmanager
def activated(activation: Activation) -> Iterator[None]:
    """Make calls of an agent that nobody runs in parallel known as its own.

    Args:
        activation: the step that the calls belong to.
    """
    token = _activation.set(activation)
    try:
        yield
    finally:
        _activation.reset(token)


def lend() -> tuple[Lent, Context]:
    """Give a call its place. Called by the outermost client, in the context of the agent, when it sends a request.

    Returns:
        What the client has of the agent from here on, to be given back when the call has ended; and the context that
        the client works in, which holds nothing else of the agent.
    """
    turn, activation = current_turn(), current_activation()
    lent = Lent(turn, activation, None if activation is None else activation.next_call())
    context = copy_context()
    context.run(_enter, lent)
    return lent, context


def _enter(lent: Lent) -> None:
    _turn.set(lent)
    for variable in agents_own:
        if variable.get() is not None:
            variable.set(None)


def current_origin() -> CallOrigin | None:
    """The place of the call that is being made, for clients; `None` for calls made outside agents' steps."""
    lent = _turn.get()
    return lent.origin if isinstance(lent, Lent) else None
