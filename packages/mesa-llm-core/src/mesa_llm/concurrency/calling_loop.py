"""A coroutine run to its end from ordinary code.

`asyncio.run` makes a new loop each time and refuses to work where one is running. Here each thread keeps one loop
for as long as it lives, so the coroutine runs in the thread that asked for it. Where a loop is running already (in
Jupyter, or in an agent that is just acting), it runs on a helper thread while the calling thread waits.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import select
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from mesa_llm.concurrency.loop_thread import LoopThread, new_event_loop


class _KeptLoop:
    """An event loop that closes when its thread ends."""

    def __init__(self) -> None:
        self.loop = new_event_loop()
        self._process = os.getpid()

    def __del__(self) -> None:
        if os.getpid() != self._process:
            _unshare(self.loop)
        self.loop.close()


def _unshare(loop: asyncio.AbstractEventLoop) -> None:
    """Give a loop that came here by a fork a selector of its own: closing the shared one would deafen the parent."""
    selector = getattr(loop, "_selector", None)
    if hasattr(select, "epoll") and selector is not None and hasattr(selector, "fileno"):
        with select.epoll() as own:
            os.dup2(own.fileno(), selector.fileno())


_kept = threading.local()


def _a_task_is_running() -> bool:
    return asyncio._get_running_loop() is not None and asyncio.current_task() is not None


def run[T](coroutine: Coroutine[Any, Any, T], *, may_break_off: Callable[[], bool] = _a_task_is_running) -> T:
    """Run a coroutine to its end and return its result, with the caller's context variables.

    Runs on the calling thread's kept loop, or on a helper thread if this thread is running a loop. An interrupt
    (Ctrl-C) breaks off code that is just running, or else cancels the coroutine; then `KeyboardInterrupt` is raised.

    Args:
        coroutine: what to run.
        may_break_off: asked at an interrupt: whether the code that is just running is somebody's who may take long,
            so that it is broken off. A second interrupt breaks off anything.
    """
    if asyncio._get_running_loop() is not None:  # the public function raises instead of answering
        return _run_on_helper(coroutine)
    if not hasattr(_kept, "loop"):
        _kept.loop = _KeptLoop()
    loop: asyncio.AbstractEventLoop = _kept.loop.loop
    task = loop.create_task(coroutine, context=contextvars.copy_context())
    try:
        with _interruptible(task, loop, may_break_off) as interrupts:
            return loop.run_until_complete(task)
    except asyncio.CancelledError:
        if interrupts:
            raise KeyboardInterrupt from None
        raise
    except (KeyboardInterrupt, SystemExit):
        _finish(task, loop)
        raise


@contextmanager
def _interruptible(
    task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop, may_break_off: Callable[[], bool]
) -> Iterator[list[int]]:
    """Let Ctrl-C end a task. Yields the interrupts there have been."""
    interrupts: list[int] = []

    def interrupt(signum: int, frame: object) -> None:
        interrupts.append(signum)
        if may_break_off() or len(interrupts) > 1:
            raise KeyboardInterrupt
        task.cancel()
        loop.call_soon_threadsafe(lambda: None)  # wakes the loop up

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupts
    finally:
        if ours and signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _finish(task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop) -> None:
    """End a task, and then all others of its loop, after an exception has broken the loop off."""
    for tasks in ({task}, asyncio.all_tasks(loop)):
        left = [other for other in tasks if not other.done()]
        for other in left:
            other.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        for other in left:
            if not other.cancelled():
                other.exception()  # retrieved, so that it is not reported as never retrieved


def run_unsuspended[T](coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, without any loop: so one body serves sync and async callers.

    Raises:
        RuntimeError: if the coroutine suspends.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} suspended, but was to run through without waiting.")


def _run_on_helper[T](coroutine: Coroutine[Any, Any, T]) -> T:
    helper = LoopThread("mesa-llm-nested")
    call = helper.submit(coroutine)
    try:
        return call.result()
    finally:
        call.cancel()
        helper.close()


def _forget_after_fork() -> None:
    global _kept  # noqa: PLW0603
    _kept = threading.local()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
