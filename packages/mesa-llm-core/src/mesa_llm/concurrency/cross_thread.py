"""Calls from one thread to the event loop of another, many at a time.

Waking a loop up costs a system call and a switch of threads, more than the work that it is woken for. Calls that are
sent together, or return together, share one wake-up. `asyncio.run_coroutine_threadsafe` and `asyncio.wrap_future` have
the same semantics with one wake-up for each call.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from typing import Any, override

from mesa_llm.concurrency.forks import in_forked_child


class WakeUpQueue:
    """Callbacks from other threads for one event loop, called in the order in which they were put.

    Args:
        loop: the loop; held weakly.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._waiting: deque[Callable[[], object]] = deque()
        self._is_woken = False
        # An empty context: the first caller's references its agent and model, and the loop would keep both alive.
        self._context = contextvars.Context()

    def put(self, callback: Callable[[], object]) -> None:
        """Have something short called on the loop's thread. May be called from any thread.

        Raises:
            RuntimeError: if the loop is closed.
        """
        self._waiting.append(callback)
        loop = None if self._is_woken else self._loop()
        if loop is None:
            return
        try:
            self._is_woken = True  # before the call: the loop may empty the queue at once
            loop.call_soon_threadsafe(self._empty, context=self._context)
        except BaseException:  # Ctrl-C included: the next caller must wake the loop up
            self._is_woken = False
            raise

    def _empty(self) -> None:
        self._is_woken = False  # first: a callback put from now on wakes the loop up again
        try:
            while self._waiting:
                self._waiting.popleft()()
        except BaseException:  # such as Ctrl-C: the other callbacks must still run
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._empty, context=self._context)
            raise


class _Sent[T]:
    """A coroutine that runs on the event loop of another thread.

    Args:
        coroutine: what to run.
        loop: the loop.
        context: the context that it runs in.
        ended: called on the loop's thread when it has ended.

    Attributes:
        begins_anyway: whether it starts even if it was cancelled before, and is cancelled where it first waits.
    """

    __slots__ = ("_context", "_coroutine", "_ended", "_is_cancelling", "_loop", "_task", "begins_anyway")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        loop: asyncio.AbstractEventLoop,
        *,
        context: contextvars.Context,
        ended: Callable[[], object],
        begins_anyway: bool,
    ) -> None:
        self.begins_anyway = begins_anyway
        self._coroutine = coroutine
        self._context = context
        self._ended = ended
        self._loop = loop
        self._task: asyncio.Task[T] | None = None
        self._is_cancelling = False  # touched on the loop's thread only

    def start(self) -> None:
        """Begin to run it. Called on the loop's thread."""
        self._task = self._loop.create_task(self._coroutine, context=self._context)
        self._task.add_done_callback(self._finish, context=self._context)
        if self._is_called_off():  # before it could begin
            if self.begins_anyway:
                self._loop.call_soon(self._cancel_task)
            else:
                self._cancel_task()

    def _is_called_off(self) -> bool:
        raise NotImplementedError

    def _call_off(self) -> None:
        """Cancel the coroutine if it runs. May be called from any thread."""
        if self._task is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel_task)

    def _cancel_task(self) -> None:
        if self._task is not None and not self._is_cancelling:  # a second time would interrupt how it ends
            self._is_cancelling = True
            self._task.cancel()

    def _finish(self, task: asyncio.Task[T]) -> None:
        self._task = None  # so that nothing is left that only the garbage collector can take away
        self._ended()
        # Retrieved in any case, so that asyncio does not report it as never retrieved.
        self._deliver(task, None if task.cancelled() else task.exception())

    def _deliver(self, task: asyncio.Task[T], error: BaseException | None) -> None:
        raise NotImplementedError


class BlockingCall[T](_Sent[T], Future[T]):
    """A coroutine that runs on the event loop of another thread, for which a thread can wait.

    Cancelling it cancels the coroutine. The arguments are those of `LoopThread.submit`, and the loop.
    """

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        loop: asyncio.AbstractEventLoop,
        *,
        context: contextvars.Context,
        ended: Callable[[], object],
        begins_anyway: bool,
    ) -> None:
        _Sent.__init__(self, coroutine, loop, context=context, ended=ended, begins_anyway=begins_anyway)
        Future.__init__(self)

    @override
    def cancel(self) -> bool:
        """Cancel the coroutine, unless it has ended. May be called from any thread."""
        if not Future.cancel(self):
            return False
        self._call_off()
        return True

    @override
    def _is_called_off(self) -> bool:
        return self.cancelled()

    @override
    def _deliver(self, task: asyncio.Task[T], error: BaseException | None) -> None:
        if task.cancelled():
            Future.cancel(self)
        if not self.set_running_or_notify_cancel():
            return
        if error is not None:
            self.set_exception(error)
        else:
            self.set_result(task.result())


class AwaitedCall[T](_Sent[T]):
    """A coroutine that runs on the event loop of another thread, awaited on the one where this is made.

    Awaiting it gives what the coroutine returns or raises. A task that is cancelled meanwhile must cancel it.
    It does what a `BlockingCall` does, at half the cost: a thread cannot wait for it. The arguments are those of
    `LoopThread.send`, and the loop.
    """

    __slots__ = ("_arrival", "_home", "_is_cancelled")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        loop: asyncio.AbstractEventLoop,
        *,
        context: contextvars.Context,
        ended: Callable[[], object],
    ) -> None:
        super().__init__(coroutine, loop, context=context, ended=ended, begins_anyway=True)
        home = asyncio.get_running_loop()
        self._arrival: asyncio.Future[T] = home.create_future()
        self._home = _wake_up_queue_of(home)
        self._is_cancelled = False

    def __await__(self) -> Generator[Any, None, T]:
        return self._arrival.__await__()

    def cancel(self) -> None:
        """Cancel the coroutine, unless it has ended; who awaits it goes on at once. May be called from any thread."""
        self._is_cancelled = True
        self._tell(self._arrival.cancel)
        self._call_off()

    @override
    def _is_called_off(self) -> bool:
        return self._is_cancelled

    @override
    def _deliver(self, task: asyncio.Task[T], error: BaseException | None) -> None:
        if task.cancelled():
            self._tell(self._arrival.cancel)
        elif error is not None:
            self._tell(functools.partial(self._fail, error))
        else:
            self._tell(functools.partial(self._arrive, task.result()))

    def _arrive(self, result: T) -> None:
        if not self._arrival.done():
            self._arrival.set_result(result)

    def _fail(self, error: BaseException) -> None:
        if not self._arrival.done():
            self._arrival.set_exception(error)

    def _tell(self, what: Callable[[], object]) -> None:
        if not self._arrival.get_loop().is_closed():  # else nobody waits any more
            self._home.put(what)


def nothing() -> None:
    """Nothing is to be done."""


_wake_up_queues: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, WakeUpQueue] = weakref.WeakKeyDictionary()


def _wake_up_queue_of(loop: asyncio.AbstractEventLoop) -> WakeUpQueue:
    queue = _wake_up_queues.get(loop)
    if queue is None:  # a loop runs on one thread, so nobody else makes it at the same time
        queue = _wake_up_queues[loop] = WakeUpQueue(loop)
    return queue


# A thread that was just waking a loop up is not in the child, so the loop might never be woken there.
in_forked_child(_wake_up_queues.clear)
