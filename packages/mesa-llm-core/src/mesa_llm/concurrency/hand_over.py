"""Work and results handed from one thread to the event loop of another, many at a time.

Waking a loop up costs more than what it is woken for: a system call here, a switch of threads there. Calls that set out
together, or come back together, wake it up once. `asyncio.run_coroutine_threadsafe` and `asyncio.wrap_future` do the
same, and follow the same rules, with one waking for each call.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Generator
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
        # Not that of whoever comes first: an agent's leads to its model, and the loop would keep it for a while.
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
            self._is_woken = True  # before: else it might be emptied before it is marked, and nobody would come again
            loop.call_soon_threadsafe(self._empty, context=self._context)
        except BaseException:  # Ctrl-C in between included: whoever comes next must wake it up
            self._is_woken = False
            raise

    def _empty(self) -> None:
        self._is_woken = False  # first: whoever comes from now on wakes the loop up again
        try:
            while self._waiting:
                self._waiting.popleft()()
        except BaseException:  # Ctrl-C, say: it is not to be the end of the others
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
        begins_anyway: whether it begins even if it is called off before, to be cancelled where it first waits.
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
        # Retrieved in any case, so that it is not reported as never retrieved, whoever still listens.
        self._deliver(task, None if task.cancelled() else task.exception())

    def _deliver(self, task: asyncio.Task[T], error: BaseException | None) -> None:
        raise NotImplementedError


class Call[T](_Sent[T], Future[T]):
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


class Errand[T](_Sent[T]):
    """A coroutine that runs on the event loop of another thread, awaited on the one where this is made.

    Awaiting it gives what the coroutine returns or raises. Whoever is cancelled while he awaits it must cancel it. It
    does what a `Call` does, at half the cost: a thread cannot wait for it. The arguments are those of
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
        self._home = _mailbox_of(home)
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


_mailboxes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Mailbox] = weakref.WeakKeyDictionary()


def _mailbox_of(loop: asyncio.AbstractEventLoop) -> Mailbox:
    mailbox = _mailboxes.get(loop)
    if mailbox is None:  # a loop runs on one thread, so nobody else makes it at the same time
        mailbox = _mailboxes[loop] = Mailbox(loop)
    return mailbox


if hasattr(os, "register_at_fork"):
    # A thread that was just waking a loop up is not in the child, so it might never be woken there.
    os.register_at_fork(after_in_child=_mailboxes.clear)
