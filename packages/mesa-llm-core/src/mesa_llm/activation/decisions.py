"""The places in an agent's step that a runner needs to know of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from mesa_llm.activation.turn import ModelCall, Turn, agents_own, current_turn
from mesa_llm.concurrency import worker_thread

if TYPE_CHECKING:
    from mesa import Agent

_deciding: ContextVar[Turn | None] = ContextVar("mesa_llm_deciding", default=None)
agents_own.append(_deciding)


async def adecide[T](agent: Agent, decision: Callable[[], Awaitable[T]]) -> T:
    """Make a decision, then wait at the turn point.

    A decision made as part of another one (a reasoning that calls its parent's `aplan`) belongs to it and does not
    wait. Neither does one that an agent asks of another.

    Args:
        agent: who decides.
        decision: makes the decision; changes nothing that others can see, so that it can be made again.

    Returns:
        The decision, when it is the agent's turn. At once if nobody runs agents in parallel.
    """
    turn = current_turn()
    if turn is None or turn.agent is not agent or _deciding.get() is turn:
        return await decision()
    await turn.abegin_decision()
    with _marked_as_deciding(turn):
        decided = await decision()
    await turn.atake()
    return decided


def decide[T](agent: Agent, decision: Callable[[], T]) -> T:
    """Blocking form of `adecide`.

    Raises:
        TurnError: on a thread whose event loop runs agents.
    """
    turn = current_turn()
    if turn is None or turn.agent is not agent or _deciding.get() is turn:
        return decision()
    turn.begin_decision()
    with _marked_as_deciding(turn):
        decided = decision()
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


@contextmanager
def _marked_as_deciding(turn: Turn) -> Iterator[None]:
    token = _deciding.set(turn)
    try:
        yield
    finally:
        _deciding.reset(token)
        turn.end_decision()


@contextmanager
def model_call(call: ModelCall | None = None) -> Iterator[ModelCall]:
    """Marks the time in which an agent waits for a model. For sync and async code alike.

        with model_call() as call:
            call.response = my_client.generate(request)

    Args:
        call: says how the call can be cancelled; by default it cannot.

    Yields:
        The call; set its `response`, so that its tokens are counted.
    """
    call = call or ModelCall()
    turn = current_turn()
    if turn is None:
        yield call
        return
    turn.call_started(call)
    try:
        yield call
    except BaseException as error:
        call.error = error
        raise
    finally:
        turn.call_ended(call)


@contextmanager
def queued() -> Iterator[None]:
    """Marks the time in which a call waits for a place among others: it does not count for `decide_timeout`."""
    turn = current_turn()
    if turn is None:
        yield
        return
    leave = turn.queue()
    try:
        yield
    finally:
        leave()


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
