"""The one event loop that carries all requests to models.

It starts on first use, on a daemon thread, and runs client code only: never an agent, a tool or a model. So nothing
that an agent blocks can stop a request, and connections live as long as the process. A forked child starts a fresh one.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable

from mesa_llm.concurrency import fork_safe_lock, in_forked_child
from mesa_llm.concurrency.loop_thread import LoopThread

_transport: LoopThread | None = None
_starting = fork_safe_lock()  # protects the making of _transport


def get() -> LoopThread:
    """The thread of the transport loop. May be called from any thread."""
    global _transport  # noqa: PLW0603 - one loop for the process is the point
    if _transport is None:
        with _starting:
            if _transport is None:
                _transport = LoopThread("mesa-llm-transport")
    return _transport


def call_later(seconds: float, callback: Callable[[], object]) -> Callable[[], object]:
    """Call something short on the transport loop's thread after some time; returns what calls it off.

    May be called from any thread.
    """
    loop = get().loop
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
    global _transport  # noqa: PLW0603
    if _transport is not None:
        # Kept alive, not closed: the selector is shared with the parent, and closing it here would deafen it there.
        _of_the_parent.append(_transport)
    _transport = None
