"""Writes to a journal on a thread of its own: whoever waits for a write waits, and nobody else does."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import os
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from mesa_llm.activation.call import ModelCall
from mesa_llm.errors import JournalError
from mesa_llm.journal.damage import way_out

type Write = Callable[[sqlite3.Connection], object]
type _Waiting = asyncio.Future[None] | None

_BATCH = 500
"""The most writes in one transaction."""
_LINGER = 0.005
"""Seconds after which a write is begun that nobody waits for, so that it shares its commit with others."""


class Writer:
    """Commits writes in the order in which they come, as many at once as are waiting.

    While one batch is being committed the next one gathers, so a commit is shared by the more calls the more there
    are at the same time.

    Args:
        path: the journal, for messages.
        connection: where to write. The writer closes it.
        last: the last write.
        on_end: called when all is written and the connection is closed, on the writer's thread.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, *, last: Write, on_end: Callable[[], object]
    ) -> None:
        self._path = path
        self._connection = connection
        self._last = last
        self._on_end = on_end
        self._writes: deque[tuple[Write, _Waiting]] = deque()
        self._due: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_due = False  # saves waking the thread again and again
        self._putting = threading.Lock()  # protects that nothing is put after the last write
        self._is_closed = False
        self._failure: JournalError | None = None
        self._is_told = False
        self._thread = threading.Thread(target=self._run, name="mesa-llm-journal", daemon=True)
        _running.add(self)
        self._thread.start()

    def put(self, write: Write) -> None:
        """Have something written soon, after all that was put before it. Called on an event loop.

        Args:
            write: does it, on the writer's thread; the commit follows.

        Raises:
            JournalError: if an earlier write has failed, or the writer is closed.
        """
        if self._put(write, None):
            asyncio.get_running_loop().call_later(_LINGER, self._wake_up)

    async def write(self, write: Write, call: ModelCall) -> None:
        """Have something written, and wait until it is committed. The wait does not count for `decide_timeout`.

        Args:
            write: does it, on the writer's thread; the commit follows.
            call: the call whose outcome it is.

        Raises:
            JournalError: if it cannot be written, or the writer is closed.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._put(write, done)
        if not self._is_due:
            loop.call_soon(self._wake_up)  # after those that are ready now: they write too
        with call.queued():
            await done

    def end(self) -> None:
        """Have the writer end when all is written. May be called by the garbage collector: it waits for nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._due.put(None)  # unlike an Event, this may interrupt itself

    def close(self) -> None:
        """Wait until all is written and the writer has ended. A second time does nothing.

        Raises:
            JournalError: if something could not be written, and nobody has been told so yet.
        """
        with self._putting:
            self.end()
        self._thread.join()
        if self._failure is not None and not self._is_told:
            self._is_told = True
            raise self._failure

    def _put(self, write: Write, done: _Waiting) -> bool:
        """Returns whether it is the first of its batch."""
        with self._putting:
            if self._failure is not None:
                self._is_told = True
                raise JournalError(str(self._failure)) from self._failure
            if self._is_closed:
                raise JournalError(f"The journal {self._path} was closed. Make a new client to go on.")
            self._writes.append((write, done))
            return len(self._writes) == 1

    def _wake_up(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._due.put(None)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self._due.get()
            self._is_due = False
            is_last = self._is_closed  # read before the writes: none comes after it is set
            while self._writes:
                self._write([self._writes.popleft() for _ in range(min(len(self._writes), _BATCH))])
        self._write([(self._last, None)])
        self._connection.close()
        self._on_end()
        _running.discard(self)

    def _write(self, writes: list[tuple[Write, _Waiting]]) -> None:
        if self._failure is None:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                with self._connection:  # commits, or rolls back
                    for write, _ in writes:
                        write(self._connection)
            except Exception as error:
                # What came after a write that is missing would leave a gap in the run that nobody sees.
                said = error if isinstance(error, JournalError) else f"{error}. {way_out(error)}"
                self._failure = JournalError(f"The journal {self._path} cannot be written any more: {said}")
                self._failure.__cause__ = error
        waiting = [done for _, done in writes if done is not None]
        self._is_told |= self._failure is not None and bool(waiting)
        for loop, group in itertools.groupby(waiting, key=lambda done: done.get_loop()):
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, list(group), self._failure)


def _resolve(waiting: list[asyncio.Future[None]], failure: JournalError | None) -> None:
    for done in waiting:
        if done.done():  # cancelled
            continue
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(JournalError(str(failure)))


_running: set[Writer] = set()


def _close_all() -> None:
    """Write what is left when the process ends."""
    with contextlib.ExitStack() as stack:
        for writer in tuple(_running):
            stack.callback(writer.close)


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_running.clear)  # their threads are the parent's
