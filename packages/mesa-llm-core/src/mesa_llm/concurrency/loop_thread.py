"""An event loop on a thread of its own, and calls to it from other threads, many at a time.

Waking a loop up costs a system call and a switch of threads, more than the work that it is woken for. Calls that are
sent together, or return together, share one wake-up. `asyncio.run_coroutine_threadsafe` and `asyncio.wrap_future` have
the same semantics with one wake-up for each call.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, override

from mesa_llm.concurrency import in_forked_child, worker_thread


class WakeUpQueue:
    """Callbacks from other threads for one event loop, which it holds weakly; called in the order of their arrival."""

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
        if not self._is_woken:
            self._wake()

    def _wake(self) -> None:
        loop = self._loop()
        if loop is None:
            return
        self._is_woken = True  # before the call: the loop may empty the queue at once
        try:
            loop.call_soon_threadsafe(self._empty, context=self._context)
        except BaseException:
            # Such as Ctrl-C, perhaps between queueing and waking. Other threads may have relied on this wake-up.
            self._is_woken = False
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._empty, context=self._context)
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
    """A coroutine that runs on the event loop of another thread, in a context of its own.

    It is in one of three states: `_task` is `None` until the loop's thread starts it, then its task, then `None` again.
    `start` sets the task before it asks whether the call was cancelled, and a cancellation is set before it looks for
    the task; so one of the two notices the other, whichever comes first.

    Attributes:
        begins_anyway: whether it starts even if it was cancelled before, and is cancelled where it first waits.
    """

    __slots__ = ("_context", "_coroutine", "_ended", "_is_cancelling", "_loop", "_task", "begins_anyway")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context,
        ended: Callable[[], object] | None,
        begins_anyway: bool,
    ) -> None:
        super().__init__()
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
        if self._ended is not None:
            self._ended()
        # Retrieved in any case, so that asyncio does not report it as never retrieved.
        self._deliver(task, None if task.cancelled() else task.exception())

    def _deliver(self, task: asyncio.Task[T], error: BaseException | None) -> None:
        raise NotImplementedError


class BlockingCall[T](_Sent[T], Future[T]):
    """A coroutine on another thread's event loop, for which a thread can wait. Cancelling it cancels the coroutine."""

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
    """A coroutine on another thread's event loop, awaited on the one where this is made.

    It does what a `BlockingCall` does at half the cost, but no thread can wait for it. A task that is cancelled while
    it awaits this must cancel it.
    """

    __slots__ = ("_arrival", "_home", "_is_cancelled")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context,
        ended: Callable[[], object],
    ) -> None:
        super().__init__(coroutine, loop, context, ended, begins_anyway=True)
        home = asyncio.get_running_loop()
        self._arrival: asyncio.Future[T] = home.create_future()
        self._home = _wake_up_queue_of(home)
        self._is_cancelled = False

    def __await__(self) -> Generator[Any, None, T]:
        return self._arrival.__await__()

    def cancel(self) -> None:
        """Cancel the coroutine, unless it has ended; what awaits it goes on at once. May be called from any thread."""
        self._is_cancelled = True
        self._send_home(self._arrival.cancel)
        self._call_off()

    @override
    def _is_called_off(self) -> bool:
        return self._is_cancelled

    @override
    def _deliver(self, task: asyncio.Task[T], error: BaseException | None) -> None:
        if task.cancelled():
            self._send_home(self._arrival.cancel)
        elif error is not None:
            self._send_home(functools.partial(self._arrive, self._arrival.set_exception, error))
        else:
            self._send_home(functools.partial(self._arrive, self._arrival.set_result, task.result()))

    def _arrive(self, resolve: Callable[[Any], None], outcome: Any) -> None:
        if not self._arrival.done():
            resolve(outcome)

    def _send_home(self, callback: Callable[[], object]) -> None:
        if not self._arrival.get_loop().is_closed():  # else nobody waits any more
            self._home.put(callback)


_wake_up_queues: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, WakeUpQueue] = weakref.WeakKeyDictionary()


def _wake_up_queue_of(loop: asyncio.AbstractEventLoop) -> WakeUpQueue:
    queue = _wake_up_queues.get(loop)
    if queue is None:  # a loop runs on one thread, so nobody else makes it at the same time
        queue = _wake_up_queues[loop] = WakeUpQueue(loop)
    return queue


# A thread that was just waking a loop up is not in the child, so the loop might never be woken there.
in_forked_child(_wake_up_queues.clear)


class _ThreadPerCall(ThreadPoolExecutor):
    """What asyncio takes as an executor, without a pool: each call has a thread of its own, which ends with it.

    A pool of a few threads would decide which agents may wait at the same time. A large one grows without need: it
    starts another thread whenever one that has just finished has not yet said so.
    """

    @override
    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return worker_thread.start(functools.partial(fn, *args, **kwargs), name="mesa-llm-to-thread")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """An event loop whose `asyncio.to_thread` never waits for a free thread."""
    # In an empty context: the loop's own wake-up keeps it, and the first caller's references its agent and model.
    loop = contextvars.Context().run(asyncio.new_event_loop)
    loop.set_default_executor(_ThreadPerCall())
    return loop


class LoopThread:
    """An event loop that runs on its own daemon thread until closed."""

    def __init__(self, name: str) -> None:
        self.loop = new_event_loop()
        self._wake_up_queue = WakeUpQueue(self.loop)
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._is_stopping:
            with suppress(KeyboardInterrupt, SystemExit):  # raised by a task, whose future passes it on
                self.loop.run_forever()

    def is_running_here(self) -> bool:
        """Whether the calling code runs on this loop's thread."""
        return asyncio._get_running_loop() is self.loop  # the public function raises instead of answering

    def submit[T](
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        begins_anyway: bool = False,
        context: contextvars.Context | None = None,
        ended: Callable[[], object] | None = None,
    ) -> Future[T]:
        """Run a coroutine here. May be called from any thread; cancelling the future cancels it.

        Args:
            coroutine: what to run.
            begins_anyway: whether it begins even if it is cancelled before, to be cancelled where it first waits.
            context: the context that it runs in; by default a copy of the caller's.
            ended: called on this thread when it has ended.
        """
        context = contextvars.copy_context() if context is None else context
        return self._put(BlockingCall(coroutine, self.loop, context, ended, begins_anyway))

    def send[T](
        self, coroutine: Coroutine[Any, Any, T], *, context: contextvars.Context, ended: Callable[[], object]
    ) -> AwaitedCall[T]:
        """Run a coroutine here, to be awaited on the caller's event loop. It begins in any case, as in `submit`."""
        return self._put(AwaitedCall(coroutine, self.loop, context, ended))

    def _put[S: BlockingCall[Any] | AwaitedCall[Any]](self, sent: S) -> S:
        try:
            self._wake_up_queue.put(sent.start)
        except BaseException:  # Ctrl-C, say: nobody will wait for it
            sent.begins_anyway = False
            sent.cancel()
            raise
        return sent

    def close(self, timeout: float | None = None) -> bool:
        """Cancel what still runs, stop the loop and wait for its thread to end.

        Args:
            timeout: seconds to wait; a thread that is still blocked then is left behind.

        Returns:
            Whether the thread has ended.
        """
        return close_all([self], timeout)

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            if not task.cancelling():  # a second time would interrupt how it ends
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.loop.shutdown_asyncgens()


def close_all(loop_threads: Iterable[LoopThread], timeout: float | None = None) -> bool:
    """Close several loop threads as `LoopThread.close` does, with one time limit in seconds for all of them."""
    ending = {loop_thread.submit(loop_thread._cancel_all()): loop_thread for loop_thread in loop_threads}
    ended, blocked = wait(ending, timeout)
    for future in ended:
        loop_thread = ending[future]
        loop_thread._is_stopping = True  # the loop forgets that it was stopped if a task raises SystemExit
        loop_thread.loop.call_soon_threadsafe(loop_thread.loop.stop)
        loop_thread._thread.join(timeout)
        if loop_thread._thread.is_alive():
            blocked.add(future)
        else:
            loop_thread.loop.close()
    return not blocked
