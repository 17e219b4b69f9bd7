"""The identity of a model call: which agent, in which of its own steps, and which call of that step.

Parallel stepping and plain Mesa give a call the same identity, so journals, seeds and traces that use it work in both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mesa_llm.activation.clock import step_of
from mesa_llm.activation.turn import Lent, Turn, _turn, agents_own, current_turn

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.errors import DecisionTimeoutError

_COUNT = "_mesa_llm_count"
_counting = threading.Lock()  # protects counts of calls: an agent may ask from several threads


@dataclass(slots=True)
class _Count:
    """An agent's own step, and how many calls it has made in it. Kept on the agent, and copied with it."""

    step: int = 0
    calls: int = 0


class AgentStep:
    """One of an agent's own steps, made by a runner or by the agent itself; numbers the calls that the agent makes.

    Args:
        agent: the agent.
        count: which of its steps it is; counts its calls.
        within: the turn within which the agent steps by itself.

    Attributes:
        agent: the agent.
        index: which of the agent's own steps it is; 1 for the first, 0 before it.
    """

    __slots__ = ("__weakref__", "_count", "_on_timeout", "_within", "agent", "index")

    def __init__(self, agent: Agent, count: _Count, within: Turn | None) -> None:
        self.agent = agent
        self.index = count.step
        self._count = count
        self._within = within
        self._on_timeout: tuple[Callable[[DecisionTimeoutError], object], ...] = ()

    def next_call(self) -> CallOrigin:
        """The identity of the next call, but for its request."""
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
        """Have a client called when the agent's time to decide is up; on the thread of the step.

        Args:
            callback: gets the error that the agent ends with.
        """
        self._on_timeout += (callback,)

    def time_is_up(self, error: DecisionTimeoutError) -> None:
        """Called by the runner, before it cancels the agent's calls.

        Args:
            error: what the agent ends with.
        """
        for callback in self._on_timeout:
            callback(error)


def begin_agent_step(agent: Agent, *, within: Turn | None = None) -> AgentStep:
    """Count one more of an agent's own steps.

    Args:
        agent: the agent.
        within: the turn within which the agent steps by itself.

    Returns:
        The step that begins.
    """
    count = _Count(_count_of(agent).step + 1)
    setattr(agent, _COUNT, count)
    return AgentStep(agent, count, within)


def last_agent_step(agent: Agent) -> AgentStep:
    """The last of an agent's own steps, for a call that the agent makes outside of them.

    Args:
        agent: the agent.
    """
    count = _count_of(agent)
    setattr(agent, _COUNT, count)
    return AgentStep(agent, count, current_turn())


def _count_of(agent: Agent) -> _Count:
    count: _Count | None = getattr(agent, _COUNT, None)
    return _Count() if count is None else count


@dataclass(frozen=True, slots=True, eq=False)
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


# Only of agents that step by themselves: those in a parallel step have theirs at their turn.
_agent_step: ContextVar[AgentStep | None] = ContextVar("mesa_llm_agent_step", default=None)
agents_own.append(_agent_step)


def current_agent_step() -> AgentStep | None:
    """The step of the agent that is calling, or for which a client works; `None` outside agents' steps."""
    turn = _turn.get()
    if isinstance(turn, Lent):
        if turn.agent_step is not None:
            return turn.agent_step
        turn = turn.turn
    alone = _agent_step.get()
    if alone is not None and alone._within is turn:
        return alone
    return None if turn is None else turn.agent_step


@contextmanager
def in_agent_step(agent_step: AgentStep) -> Iterator[None]:
    """Make calls of an agent that no runner steps known as its own.

    Args:
        agent_step: the step that the calls belong to.
    """
    token = _agent_step.set(agent_step)
    try:
        yield
    finally:
        _agent_step.reset(token)


def lend() -> tuple[Lent, Context]:
    """Give a call its identity. Called by the outermost client, in the context of the agent, when it sends a request.

    Returns:
        What the client has of the agent from here on, to be given back when the call has ended; and the context that
        the client works in, which holds nothing else of the agent.
    """
    turn, agent_step = current_turn(), current_agent_step()
    lent = Lent(turn, agent_step, None if agent_step is None else agent_step.next_call())
    context = copy_context()
    context.run(_enter, lent)
    return lent, context


def _enter(lent: Lent) -> None:
    _turn.set(lent)
    for variable in agents_own:
        if variable.get() is not None:
            variable.set(None)


def current_origin() -> CallOrigin | None:
    """The origin of the call that is being made, for clients; `None` for calls that no agent makes."""
    lent = _turn.get()
    return lent.origin if isinstance(lent, Lent) else None
