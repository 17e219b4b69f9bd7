"""Writes a run on a thread of its own: only a call that waits for its own write waits for the file."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import itertools
import os
import queue
import threading
from collections import deque
from pathlib import Path

from filelock import FileLock, Timeout

from mesa_llm.activation.decisions import queued
from mesa_llm.errors import JournalError
from mesa_llm.journal.schema import connect, hint
from mesa_llm.journal.store import Run, Write, remove_if_empty

type _Waiting = asyncio.Future[None] | None

_BATCH = 500
"""The most writes in one transaction."""
_LINGER = 0.005
"""Seconds after which a write begins for which no call waits, so that it shares its commit with others."""
_PATIENCE = 0.5
"""Seconds that a client which is just ending gets to release the run."""


class Writer:
    """Holds a run's lock, and commits writes in the order in which they come, all that are waiting at once.

    While one batch is being committed the next one gathers, so the more calls there are at the same time, the more of
    them share a commit.

    Args:
        path: the journal.
        run: the run.

    Raises:
        JournalError: if another client writes the run, or the file cannot be opened.
    """

    def __init__(self, path: Path, run: Run) -> None:
        self._path = path
        self._run = run
        self._lock = _lock(path, run)
        try:
            self._connection = connect(path)
        except BaseException:
            self._unlock()
            raise
        self._writes: deque[tuple[Write, _Waiting]] = deque()
        self._due: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_due = False  # saves waking the thread again and again
        self._putting = threading.Lock()  # protects that no write comes after the last
        self._is_closed = False
        self._failure: JournalError | None = None
        self._is_raised = False
        self._thread = threading.Thread(target=self._write_all, name="mesa-llm-journal", daemon=True)
        _running.add(self)
        self._thread.start()

    def put(self, write: Write) -> None:
        """Write something soon, after all that was put before it. Called on an event loop.

        Args:
            write: called on the writer's thread; the commit follows.

        Raises:
            JournalError: if an earlier write has failed, or the writer is closed.
        """
        if self._put(write, None):
            asyncio.get_running_loop().call_later(_LINGER, self._wake_up)

    async def write(self, write: Write) -> None:
        """Write something, and wait until it is committed. The wait does not count toward `decide_timeout`.

        Args:
            write: called on the writer's thread; the commit follows.

        Raises:
            JournalError: if it cannot be written, or the writer is closed.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._put(write, done)
        if not self._is_due:
            loop.call_soon(self._wake_up)  # after those that are ready now: they write too
        with queued():
            await done

    def end(self) -> None:
        """Begin the end, after all that was put. Waits for nothing: the garbage collector may call it."""
        if not self._is_closed:
            self._is_closed = True
            self._due.put(None)  # unlike an Event, this may interrupt itself

    def close(self) -> None:
        """Wait until all is written and the run is released. A second time does nothing.

        Raises:
            JournalError: if something could not be written, and no call has raised that.
        """
        with self._putting:
            self.end()
        self._thread.join()
        if self._failure is not None and not self._is_raised:
            self._is_raised = True
            raise self._failure

    def _put(self, write: Write, done: _Waiting) -> bool:
        """Returns whether it is the first of its batch."""
        with self._putting:
            if self._failure is not None:
                self._is_raised = True
                raise JournalError(str(self._failure)) from self._failure
            if self._is_closed:
                raise JournalError(f"The journal {self._path} was closed. Make a new client to go on.")
            self._writes.append((write, done))
            return len(self._writes) == 1

    def _wake_up(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._due.put(None)

    def _write_all(self) -> None:
        is_last = False
        while not is_last:
            self._due.get()
            self._is_due = False
            is_last = self._is_closed  # read before the writes: none comes after it is set
            while self._writes:
                self._commit([self._writes.popleft() for _ in range(min(len(self._writes), _BATCH))])
        self._commit([(lambda connection: remove_if_empty(connection, self._run), None)])
        self._connection.close()
        self._unlock()
        _running.discard(self)

    def _commit(self, writes: list[tuple[Write, _Waiting]]) -> None:
        if self._failure is None:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                with self._connection:  # commits, or rolls back
                    for write, _ in writes:
                        write(self._connection)
            except Exception as error:
                # No write may follow one that is missing: the run would have a gap that nobody sees.
                why = error if isinstance(error, JournalError) else f"{error}. {hint(error)}"
                self._failure = JournalError(f"The journal {self._path} cannot be written any more: {why}")
                self._failure.__cause__ = error
        waiting = [done for _, done in writes if done is not None]
        self._is_raised |= self._failure is not None and bool(waiting)
        for loop, group in itertools.groupby(waiting, key=lambda done: done.get_loop()):
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, list(group), self._failure)

    def _unlock(self) -> None:
        with contextlib.suppress(OSError):  # where an open file cannot be removed, it stays, empty
            Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()


def _lock(path: Path, run: Run) -> FileLock:
    """The right to write a run. The system releases it when the process ends, however it ends; a fork lacks it."""
    # Beside the journal, not in it: SQLite's own locks last for a transaction, and lock the whole file.
    lock = FileLock(path.with_name(f"{path.name}-{run.number}.lock"), thread_local=False)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            gc.collect()  # a client that is garbage, in a cycle with its model
            lock.acquire(timeout=_PATIENCE, poll_interval=0.01)
    except Timeout:
        raise JournalError(
            f"Run {run.name!r} of {path} is being written by another client, in this process or another. "
            "Close that one first, or record another run."
        ) from None
    except OSError as error:
        raise JournalError(f"Run {run.name!r} of {path} cannot be locked: {error}.") from error
    return lock


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
