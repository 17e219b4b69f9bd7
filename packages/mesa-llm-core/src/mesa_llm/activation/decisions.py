"""The places in an agent's step that a runner needs to know of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mesa_llm.activation.context import current_turn, enter, is_deciding, leave
from mesa_llm.activation.schedules import stepping_on
from mesa_llm.concurrency import worker_thread

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.activation.turn import Turn


async def adecide[**P, T](agent: Agent, decision: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a decision, then wait at the turn point.

    A decision made as part of another one (a reasoning that calls its parent's `aplan`) belongs to it and does not
    wait. Neither does one that an agent asks of another.

    Args:
        agent: who decides.
        decision: makes the decision; changes nothing that others can see, so that it can be made again.
        *args: passed on to it.
        **kwargs: passed on to it.

    Returns:
        The decision, when it is the agent's turn. At once if nobody runs agents in parallel.
    """
    turn = current_turn()
    if turn is None:
        with stepping_on((agent,)):
            return await decision(*args, **kwargs)
    if turn.agent is not agent or is_deciding(turn):
        return await decision(*args, **kwargs)
    await turn.abegin_decision()
    with _InDecision(turn):
        decided = await decision(*args, **kwargs)
    await turn.atake()
    return decided


def decide[**P, T](agent: Agent, decision: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Blocking form of `adecide`.

    Raises:
        TurnError: on a thread whose event loop runs agents.
    """
    turn = current_turn()
    if turn is None:
        with stepping_on((agent,)):
            return decision(*args, **kwargs)
    if turn.agent is not agent or is_deciding(turn):
        return decision(*args, **kwargs)
    turn.begin_decision()
    with _InDecision(turn):
        decided = decision(*args, **kwargs)
    turn.take()
    return decided


async def in_thread[T](function: Callable[[], T]) -> T:
    """Carry an agent's step or decision on in a thread of its own, with the caller's context variables.

    Args:
        function: what runs there.

    Returns:
        What the function returns; what it raises is raised.
    """
    turn = current_turn()
    if turn is not None:
        turn.goes_on_in_thread()
    return await asyncio.wrap_future(worker_thread.start(function))


class _InDecision:
    """A decision in progress. A class, not a generator: a step makes thousands of them at a time."""

    __slots__ = ("_token", "_turn")

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def __enter__(self) -> None:
        self._token = enter(deciding=self._turn)

    def __exit__(self, *exception: object) -> None:
        leave(self._token)
        self._turn.end_decision()


async def my_turn() -> None:
    """Wait until everybody has decided and it is the calling agent's turn to act.

    For agents that decide by other means than a `Reasoning`. Returns at once outside a parallel step.

    Raises:
        TurnError: if the agent's step has ended.
    """
    turn = current_turn()
    if turn is not None:
        await turn.atake()


def wait_my_turn() -> None:
    """Blocking form of `my_turn`, for a `step` that runs in a thread.

    Raises:
        TurnError: if the agent's step has ended, or on a thread whose event loop runs agents.
    """
    turn = current_turn()
    if turn is not None:
        turn.take()
