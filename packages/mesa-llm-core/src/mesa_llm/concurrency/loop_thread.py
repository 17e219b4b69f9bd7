"""An event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, override

from mesa_llm.concurrency import worker_thread
from mesa_llm.concurrency.cross_thread import AwaitedCall, BlockingCall, WakeUpQueue, nothing


class _ThreadPerCall(ThreadPoolExecutor):
    """What asyncio takes as an executor, without a pool: each call has a thread of its own, which ends with it.

    A pool of a few threads would decide which agents may wait at the same time. A large one grows without need: it
    starts another thread whenever one that has just finished has not yet said so.
    """

    @override
    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return worker_thread.start(functools.partial(fn, *args, **kwargs), name="mesa-llm-to-thread")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """An event loop whose `asyncio.to_thread` has room for everybody."""
    loop = asyncio.new_event_loop()
    loop.set_default_executor(_ThreadPerCall())
    return loop


class LoopThread:
    """An event loop that runs on its own daemon thread until closed.

    Args:
        name: the thread's name.
    """

    def __init__(self, name: str) -> None:
        self.loop = new_event_loop()
        self._wake_up_queue = WakeUpQueue(self.loop)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while True:
            try:
                self.loop.run_forever()
            except (KeyboardInterrupt, SystemExit):  # raised by a task, whose future passes it on
                continue
            return

    def is_running_here(self) -> bool:
        """Whether the calling code runs on this loop's thread."""
        return threading.get_ident() == self._thread.ident

    def submit[T](
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        begins_anyway: bool = False,
        context: contextvars.Context | None = None,
        ended: Callable[[], object] = nothing,
    ) -> Future[T]:
        """Run a coroutine here. Cancelling the future cancels it.

        Args:
            coroutine: what to run.
            begins_anyway: whether it begins even if it is cancelled before, to be cancelled where it first waits.
            context: the context that it runs in; by default a copy of the caller's.
            ended: called on this thread when it has ended.
        """
        context = contextvars.copy_context() if context is None else context
        return self._put(BlockingCall(coroutine, self.loop, context=context, ended=ended, begins_anyway=begins_anyway))

    def send[T](
        self, coroutine: Coroutine[Any, Any, T], *, context: contextvars.Context, ended: Callable[[], object]
    ) -> AwaitedCall[T]:
        """Run a coroutine here, to be awaited on the caller's event loop.

        Args:
            coroutine: what to run. It begins in any case, to be cancelled where it first waits.
            context: the context that it runs in.
            ended: called on this thread when it has ended.
        """
        return self._put(AwaitedCall(coroutine, self.loop, context=context, ended=ended))

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
    """Close several loop threads, with one time limit for all of them.

    Args:
        loop_threads: what is closed, as by `LoopThread.close`.
        timeout: seconds to wait.

    Returns:
        Whether all of them have ended.
    """
    ending = {loop_thread.submit(loop_thread._cancel_all()): loop_thread for loop_thread in loop_threads}
    ended, blocked = wait(ending, timeout)
    for future in ended:
        loop_thread = ending[future]
        loop_thread.loop.call_soon_threadsafe(loop_thread.loop.stop)
        loop_thread._thread.join(timeout)
        if loop_thread._thread.is_alive():
            blocked.add(future)
        else:
            loop_thread.loop.close()
    return not blocked
