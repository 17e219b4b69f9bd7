"""Work and results handed from one thread to the event loop of another, many at a time.

Waking a loop up costs more than what it is woken for: a system call here, a switch of threads there. Calls that set out
together, or come back together, wake it up once. `asyncio.run_coroutine_threadsafe` and `asyncio.wrap_future` do the
same, and follow the same rules, with one waking for each call.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, override


class Mailbox:
    """What other threads want an event loop to call, in the order in which they ask.

    Args:
        loop: the loop; held weakly.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._waiting: deque[Callable[[], object]] = deque()
        self._is_woken = False

    def put(self, callback: Callable[[], object]) -> None:
        """Have something short called on the loop's thread; it must not raise. May be called from any thread.

        Raises:
            RuntimeError: if the loop is closed.
        """
        self._waiting.append(callback)
        loop = None if self._is_woken else self._loop()
        if loop is None:
            return
        try:
            self._is_woken = True  # before: else it might be emptied before it is marked, and nobody would come again
            loop.call_soon_threadsafe(self._empty)
        except BaseException:  # Ctrl-C in between included: whoever comes next must wake it up
            self._is_woken = False
            raise

    def _empty(self) -> None:
        self._is_woken = False  # first: whoever comes from now on wakes the loop up again
        while self._waiting:
            self._waiting.popleft()()


class Call[T](Future[T]):
    """A coroutine that runs on the event loop of another thread, with the context variables of who made it.

    Cancelling it cancels the coroutine.

    Args:
        coroutine: what to run.
        loop: the loop.
        begins_anyway: whether it begins even if it is cancelled before, to be cancelled where it first waits.
    """

    def __init__(
        self, coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, *, begins_anyway: bool = False
    ) -> None:
        super().__init__()
        self.begins_anyway = begins_anyway
        self._coroutine = coroutine
        self._context = contextvars.copy_context()
        self._loop = loop
        self._task: asyncio.Task[T] | None = None
        self._is_cancelling = False  # touched on the loop's thread only

    def start(self) -> None:
        """Begin to run it. Called on the loop's thread."""
        self._task = self._loop.create_task(self._coroutine, context=self._context)
        self._task.add_done_callback(self._finish)
        if self.cancelled():  # before it could begin
            if self.begins_anyway:
                self._loop.call_soon(self._cancel_task)
            else:
                self._cancel_task()

    @override
    def cancel(self) -> bool:
        """Cancel the coroutine, unless it has ended. May be called from any thread."""
        if not super().cancel():
            return False
        if self._task is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel_task)
        return True

    def _cancel_task(self) -> None:
        if self._task is not None and not self._is_cancelling:  # a second time would interrupt how it ends
            self._is_cancelling = True
            self._task.cancel()

    def _finish(self, task: asyncio.Task[T]) -> None:
        error = None
        if task.cancelled():
            super().cancel()
        else:
            error = task.exception()  # so that it is not reported as never retrieved, whoever still listens
        if not self.set_running_or_notify_cancel():
            return
        if error is not None:
            self.set_exception(error)
        else:
            self.set_result(task.result())


async def outcome[T](call: Future[T]) -> T:
    """Wait on the caller's event loop for a call that runs elsewhere. Cancelling the waiting cancels the call."""
    loop = asyncio.get_running_loop()
    mailbox = _mailbox_of(loop)
    arrival: asyncio.Future[None] = loop.create_future()

    def arrive() -> None:
        if not arrival.done():
            arrival.set_result(None)

    def tell(call: Future[T]) -> None:
        if not loop.is_closed():  # else nobody waits any more
            mailbox.put(arrive)

    call.add_done_callback(tell)
    try:
        await arrival
    except BaseException:
        call.cancel()
        raise
    if call.cancelled():
        raise asyncio.CancelledError
    return call.result()


_mailboxes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Mailbox] = weakref.WeakKeyDictionary()


def _mailbox_of(loop: asyncio.AbstractEventLoop) -> Mailbox:
    mailbox = _mailboxes.get(loop)
    if mailbox is None:  # a loop runs on one thread, so nobody else makes it at the same time
        mailbox = _mailboxes[loop] = Mailbox(loop)
    return mailbox


if hasattr(os, "register_at_fork"):
    # A thread that was just waking a loop up is not in the child, so it might never be woken there.
    os.register_at_fork(after_in_child=_mailboxes.clear)
