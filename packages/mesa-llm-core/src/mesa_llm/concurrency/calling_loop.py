"""Runs a coroutine to its end from ordinary code.

`asyncio.run` makes a new loop each time and refuses to work where one is running. Here each thread keeps one loop
for as long as it lives, so the coroutine runs in the thread that asked for it. Where a loop is running already (in
Jupyter, or in an agent that is just acting), it runs on a helper thread while the calling thread waits. So it does
where the calling thread is one of ours that lives for one call only: a loop takes three file descriptors, and there may
be a thousand such threads.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import os
import select
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import FrameType
from typing import Any

from mesa_llm.concurrency import fork_safe_lock, in_forked_child, worker_thread
from mesa_llm.concurrency.loop_thread import LoopThread, close_all, new_event_loop

GRACE = 1.0
"""Seconds that cancelled code gets to end before it is left behind; a parallel step in it waits half as long."""

N_SHARED = 8


class _KeptLoop:
    """The event loop of a thread."""

    def __init__(self) -> None:
        self.loop = new_event_loop()
        self._process = os.getpid()
        self._wakeup: tuple[socket.socket, socket.socket] | None = None

    @contextmanager
    def woken_by_signals(self) -> Iterator[None]:
        """Wake the loop up when a signal comes, on the main thread.

        Without this, one that comes just before the loop begins to wait for events is noticed at the next event only.
        """
        if self._wakeup is None:
            self._wakeup = socket.socketpair()
            for end in self._wakeup:
                end.setblocking(False)
            # In an empty context: the loop keeps it, and the caller's references its agent and model.
            woken = self._wakeup[0]
            contextvars.Context().run(lambda: self.loop.add_reader(woken, woken.recv, 4096))
        before = signal.set_wakeup_fd(self._wakeup[1].fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)

    def close(self) -> None:
        """Close it, in the thread's own process or in a forked one."""
        if os.getpid() != self._process:
            if self.loop.is_running():  # the fork was made by what it runs
                return
            _unshare(self.loop)
        self.loop.close()
        for end in self._wakeup or ():
            end.close()


class _ClosesItsLoop:
    """Closes a loop when the thread ends, as nothing but the thread's locals refers to it.

    The loop itself may live on: the frames of an error refer to it, and are collected some time later.
    """

    def __init__(self, kept: _KeptLoop) -> None:
        self.kept = kept

    def __del__(self) -> None:
        self.kept.close()


def _unshare(loop: asyncio.AbstractEventLoop) -> None:
    """Give a loop that came here by a fork a selector of its own: closing the shared one would deafen the parent."""
    selector = getattr(loop, "_selector", None)
    if hasattr(select, "epoll") and selector is not None and hasattr(selector, "fileno"):
        with select.epoll() as own:
            os.dup2(own.fileno(), selector.fileno())


_of_thread = threading.local()


def _a_task_is_running() -> bool:
    return asyncio._get_running_loop() is not None and asyncio.current_task() is not None


def run[T](
    coroutine: Coroutine[Any, Any, T],
    *,
    may_break_off: Callable[[], bool] = _a_task_is_running,
    what: Callable[[], str] = lambda: "A coroutine",
) -> T:
    """Run a coroutine to its end and return its result, with the caller's context variables.

    Runs on the calling thread's kept loop, or on a helper thread if this thread is running a loop. Tasks that it leaves
    behind are cancelled. An interrupt (Ctrl-C) breaks off code that is just running, or else cancels the coroutine;
    then `KeyboardInterrupt` is raised.

    Args:
        coroutine: what to run.
        may_break_off: asked at an interrupt: whether the running code is a user's and may take long, so that it is
            broken off. A second interrupt breaks off anything.
        what: names what is running, in the warning that it was called off and left behind.
    """
    if asyncio._get_running_loop() is not None:  # the public function raises instead of answering
        return _run_on_helper(coroutine, what)
    if worker_thread.is_running_here():
        return _run_on_shared(coroutine)
    if not hasattr(_of_thread, "closing"):
        _of_thread.closing = _ClosesItsLoop(_KeptLoop())
    kept: _KeptLoop = _of_thread.closing.kept
    loop = kept.loop
    try:
        task = loop.create_task(coroutine, context=contextvars.copy_context())
        with _interruptible(task, kept, may_break_off) as interrupts:
            try:
                result = loop.run_until_complete(task)
            finally:
                if task.done():
                    _end_all(loop, what)
    except asyncio.CancelledError:
        if interrupts:
            raise KeyboardInterrupt from None
        raise
    except (KeyboardInterrupt, SystemExit):
        _end_all(loop, what)
        raise
    if interrupts:  # they came too late to end the coroutine, and must not be lost
        raise KeyboardInterrupt
    return result


@contextmanager
def _interruptible(task: asyncio.Task[Any], kept: _KeptLoop, may_break_off: Callable[[], bool]) -> Iterator[list[int]]:
    """Let Ctrl-C end a task. Yields the interrupts there have been."""
    interrupts: list[int] = []

    def interrupt(signum: int, frame: object) -> None:
        interrupts.append(signum)
        if may_break_off() or len(interrupts) > 1:
            raise KeyboardInterrupt
        task.cancel()

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not ours:
        yield interrupts
        return
    with kept.woken_by_signals():
        signal.signal(signal.SIGINT, interrupt)
        try:
            yield interrupts
        finally:
            if signal.getsignal(signal.SIGINT) is interrupt:
                signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_all(loop: asyncio.AbstractEventLoop, what: Callable[[], str]) -> None:
    """Cancel all tasks of a loop that does not run, and give them a moment to end."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if not left:
        return
    waiting = loop.create_task(asyncio.wait(left, timeout=GRACE))
    while not waiting.done():
        with suppress(KeyboardInterrupt, SystemExit):  # raised by one of the tasks, while the others are ending
            loop.run_until_complete(waiting)
    ended, ignoring = waiting.result()
    for task in ended:
        if not task.cancelled():
            task.exception()  # retrieved, so that it is not reported as never retrieved
    if ignoring:
        _warn_left_behind(what())


def _warn_left_behind(what: str) -> None:
    warnings.warn(
        f"{what} did not end within {GRACE:g} s after it was called off, and was left behind: its code blocks a "
        "thread or ignores cancellation.",
        RuntimeWarning,
        stacklevel=3,
    )


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


@contextmanager
def keeping_helpers() -> Iterator[None]:
    """Within this, the calling thread uses its helper threads again: to start one takes longer than most coroutines."""
    before = getattr(_of_thread, "helpers", None)
    helpers = _of_thread.helpers = []
    try:
        yield
    finally:
        _of_thread.helpers = before
        close_all(helpers, GRACE)


def _run_on_helper[T](coroutine: Coroutine[Any, Any, T], what: Callable[[], str]) -> T:
    helpers: list[LoopThread] | None = getattr(_of_thread, "helpers", None)
    helper = helpers.pop() if helpers else LoopThread("mesa-llm-nested")
    call: Future[T] | None = None
    try:
        with heeding_cancellation():
            call = helper.submit(coroutine)  # it may run, and interrupt this, before there is a future
            return result_of(call)
    finally:
        if call is not None:
            call.cancel()
        if helpers is not None and call is not None and call.done() and not asyncio.all_tasks(helper.loop):
            helpers.append(helper)
        elif not helper.close(GRACE):
            _warn_left_behind(what())


def result_of[T](future: Future[T]) -> T:
    """Wait for a future, as its `result` does, and miss no signal.

    Python runs signal handlers between instructions. A signal that comes just before the main thread begins to wait for
    a lock does not wake it up, so the main thread looks up from time to time.
    """
    if threading.current_thread() is not threading.main_thread():
        return future.result()
    while True:
        try:
            return future.result(timeout=_LOOKS_UP_S)
        except TimeoutError:
            if future.done():  # it is the outcome itself, or the outcome came just now
                return future.result()


_LOOKS_UP_S = 0.5


@contextmanager
def heeding_cancellation() -> Iterator[None]:
    """Let a signal that cancels a task end what blocks the main thread while it runs an event loop.

    `asyncio.run` answers the first Ctrl-C by cancelling its main task, which notices when it next awaits something: not
    while it blocks. In here, handlers of SIGINT and SIGTERM run as ever; if one cancels the current task, or has just
    done so, `asyncio.CancelledError` is raised where the thread blocks; `KeyboardInterrupt` if it cancels another one.
    """
    if asyncio._get_running_loop() is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, current = asyncio.get_running_loop(), asyncio.current_task()
    handlers: dict[int, Any] = {}

    def handle(signum: int, frame: FrameType | None) -> None:
        before = {task: task.cancelling() for task in asyncio.all_tasks(loop)}
        handlers[signum](signum, frame)
        cancelled = {task for task, times in before.items() if task.cancelling() > times}
        if current in cancelled:
            raise asyncio.CancelledError
        if cancelled:
            raise KeyboardInterrupt

    try:
        for signum in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(signum)
            if callable(handler):
                handlers[signum] = handler
                signal.signal(signum, handle)
        if getattr(current, "_must_cancel", False):  # cancelled before, while it was not waiting for anything
            raise asyncio.CancelledError
        yield
    finally:
        for caught, handler in handlers.items():
            if signal.getsignal(caught) is handle:
                signal.signal(caught, handler)


# Loop threads shared by calls from threads that live for one call only. What runs there may block, waiting for others
# of such threads: these run one level deeper, on other loop threads, so that none waits for itself.
_shared: dict[tuple[int, int], LoopThread] = {}
_level: ContextVar[int] = ContextVar("mesa_llm_shared_loop_level", default=0)
_calls = itertools.count()
_sharing = fork_safe_lock()  # protects the making of shared loop threads


def _run_on_shared[T](coroutine: Coroutine[Any, Any, T]) -> T:
    level = _level.get()
    place = level, next(_calls) % N_SHARED
    with _sharing:
        loop_thread = _shared.get(place)
        if loop_thread is None:
            loop_thread = _shared[place] = LoopThread("mesa-llm-shared")
    token = _level.set(level + 1)
    try:
        call = loop_thread.submit(coroutine)
    finally:
        _level.reset(token)
    try:
        return call.result()
    finally:
        call.cancel()


_of_the_parent: list[LoopThread] = []  # kept alive: their selectors are shared with the parent


@in_forked_child
def _forget_after_fork() -> None:
    global _of_thread, _shared
    _of_the_parent.extend(_shared.values())
    _of_thread, _shared = threading.local(), {}
