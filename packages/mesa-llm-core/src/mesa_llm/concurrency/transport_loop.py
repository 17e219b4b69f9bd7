"""The one event loop that carries all requests to models.

It starts on first use, on a daemon thread, and runs client code only: never an agent, a tool or a model. So nothing
that an agent blocks can stop a request, and connections live as long as the process. A forked child starts a fresh one.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from mesa_llm.concurrency.cross_thread import AwaitedCall, nothing
from mesa_llm.concurrency.forks import in_forked_child
from mesa_llm.concurrency.loop_thread import LoopThread

_transport: LoopThread | None = None
_starting = threading.Lock()  # protects the making of _transport


def _get() -> LoopThread:
    global _transport  # noqa: PLW0603 - one loop for the process is the point
    with _starting:
        if _transport is None:
            _transport = LoopThread("mesa-llm-transport")
        return _transport


def submit[T](
    coroutine: Coroutine[Any, Any, T],
    *,
    begins_anyway: bool = False,
    context: contextvars.Context | None = None,
    ended: Callable[[], object] = nothing,
) -> Future[T]:
    """Run a coroutine on the transport loop. May be called from any thread; cancelling the future cancels it.

    Args:
        coroutine: what to run.
        begins_anyway: whether it begins even if it is cancelled before, to be cancelled where it first waits.
        context: the context that it runs in; by default a copy of the caller's.
        ended: called on the transport loop's thread when it has ended.
    """
    return _get().submit(coroutine, begins_anyway=begins_anyway, context=context, ended=ended)


def send[T](
    coroutine: Coroutine[Any, Any, T], *, context: contextvars.Context, ended: Callable[[], object]
) -> AwaitedCall[T]:
    """Run a coroutine on the transport loop, to be awaited on the caller's event loop.

    Args:
        coroutine: what to run. It begins in any case, to be cancelled where it first waits.
        context: the context that it runs in.
        ended: called on the transport loop's thread when it has ended.
    """
    return _get().send(coroutine, context=context, ended=ended)


def call_later(seconds: float, callback: Callable[[], object]) -> Callable[[], object]:
    """Call something short on the transport loop's thread after some time; returns what calls it off.

    May be called from any thread.
    """
    loop = _get().loop
    timer: asyncio.TimerHandle | None = None

    def begin() -> None:
        nonlocal timer
        timer = loop.call_later(seconds, callback)

    def end() -> None:
        if timer is not None:
            timer.cancel()

    # In an empty context: the loop keeps it for as long as the timer might have run.
    loop.call_soon_threadsafe(begin, context=contextvars.Context())
    return lambda: loop.call_soon_threadsafe(end)


def is_running_here() -> bool:
    """Whether the calling code runs on the transport loop's thread."""
    return _transport is not None and _transport.is_running_here()


_of_the_parent: list[LoopThread] = []


@in_forked_child
def _forget_after_fork() -> None:
    global _transport, _starting
    if _transport is not None:
        # Kept alive, not closed: the selector is shared with the parent, and closing it here would deafen it there.
        _of_the_parent.append(_transport)
    _transport, _starting = None, threading.Lock()
