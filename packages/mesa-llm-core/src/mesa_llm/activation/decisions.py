"""The places in an agent's step that a runner needs to know of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from mesa_llm.activation.turn import ModelCall, Turn, agents_own, current_turn, nothing_to_cancel
from mesa_llm.concurrency import worker_thread

if TYPE_CHECKING:
    from mesa import Agent

_deciding: ContextVar[Turn | None] = ContextVar("mesa_llm_deciding", default=None)
agents_own.append(_deciding)


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
    if turn is None or turn.agent is not agent or _deciding.get() is turn:
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
    if turn is None or turn.agent is not agent or _deciding.get() is turn:
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


def model_call(call: ModelCall | None = None) -> AbstractContextManager[ModelCall]:
    """Marks the time in which an agent waits for a model. For sync and async code alike.

        with model_call() as call:
            call.response = my_client.generate(request)

    Args:
        call: says how the call can be cancelled; by default it cannot.

    Returns:
        A context manager that gives the call; set its `response`, so that its tokens are counted.
    """
    return _InCall(ModelCall() if call is None else call)


# Written out, as there are thousands of them at a time: as a generator each would be three more objects.


class _InDecision:
    """A decision in progress."""

    __slots__ = ("_token", "_turn")

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def __enter__(self) -> None:
        self._token = _deciding.set(self._turn)

    def __exit__(self, *exception: object) -> None:
        _deciding.reset(self._token)
        self._turn.end_decision()


class _InCall:
    """A call in progress."""

    __slots__ = ("_call", "_turn")

    def __init__(self, call: ModelCall) -> None:
        self._call = call
        self._turn = current_turn()

    def __enter__(self) -> ModelCall:
        if self._turn is not None:
            self._turn.call_started(self._call)
        return self._call

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        call, turn = self._call, self._turn
        if turn is not None:
            call.error = error
            turn.call_ended(call)
        call.cancel = nothing_to_cancel  # a report keeps the call, and is not to keep what it was made with


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
