"""Writes a run on a thread of its own: only a call that waits for its own write waits for the file."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import queue
import threading
from pathlib import Path

from filelock import FileLock, Timeout

from mesa_llm.activation.call import ModelCall
from mesa_llm.concurrency import in_forked_child
from mesa_llm.errors import JournalError
from mesa_llm.journal.schema import connect, hint
from mesa_llm.journal.store import Run, Write, remove_if_empty

type _Queued = tuple[Write, asyncio.Future[None] | threading.Event | None]

_BATCH = 500
"""The most writes in one transaction."""
_PATIENCE = 0.5
"""Seconds that a client which is just ending gets to release the run."""


class Writer:
    """Holds a run's lock, and commits writes in the order in which they come, all that are waiting at once.

    While one batch is being committed, the next one gathers.
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
        self._writes: queue.SimpleQueue[_Queued | None] = queue.SimpleQueue()
        self._putting = threading.Lock()  # protects that no write is queued after the end
        self._is_closed = False
        self.last_write: Write | None = None
        """What is written at the very end. Set, not put: the end may come from the garbage collector."""
        self._failure: JournalError | None = None
        self._is_raised = False
        self._thread = threading.Thread(target=self._write_all, name="mesa-llm-journal", daemon=True)
        _running.add(self)
        self._thread.start()

    def put(self, write: Write, done: asyncio.Future[None] | threading.Event | None = None) -> None:
        """Write something soon, in order; `done` is resolved after the commit. A `JournalError` if it cannot be."""
        with self._putting:
            if self._failure is not None:
                self._is_raised = True
                raise JournalError(str(self._failure)) from self._failure
            if self._is_closed:
                raise JournalError(f"The journal {self._path} was closed. Make a new client to go on.")
            self._writes.put((write, done))

    async def write(self, write: Write, call: ModelCall) -> None:
        """Write a call's outcome, and wait for the commit: not a part of `decide_timeout`. Raises as `put`."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.put(write, done)
        with call.queued():
            await done

    def drain(self) -> None:
        """Wait until all that was put is written. Raises as `put`."""
        written = threading.Event()
        self.put(lambda connection: None, written)
        written.wait()

    def end(self) -> None:
        """Begin the end, after all that was put. Waits for nothing: the garbage collector may call it."""
        if not self._is_closed:
            self._is_closed = True
            self._writes.put(None)  # unlike an Event, this may interrupt itself

    def close(self) -> None:
        """Wait until all is written and the run is released. A second time does nothing.

        A `JournalError` if something could not be written, and no call has raised that.
        """
        with self._putting:
            self.end()
        self._thread.join()
        if self._failure is not None and not self._is_raised:
            self._is_raised = True
            raise self._failure

    def _write_all(self) -> None:
        has_ended = False
        while not has_ended:
            batch = [self._writes.get()]
            while len(batch) < _BATCH and not self._writes.empty():
                batch.append(self._writes.get())
            has_ended = None in batch
            self._commit([write for write in batch if write is not None])
        last = [] if self.last_write is None else [(self.last_write, None)]
        self._commit([*last, (lambda connection: remove_if_empty(connection, self._run), None)])
        self._connection.close()
        self._unlock()
        _running.discard(self)

    def _commit(self, writes: list[_Queued]) -> None:
        if self._failure is None:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                with self._connection:  # commits, or rolls back
                    for write, _ in writes:
                        write(self._connection)
            except Exception as error:
                # No write may follow one that is missing: the run would have a hidden gap.
                why = error if isinstance(error, JournalError) else f"{error}. {hint(error)}"
                self._failure = JournalError(f"The journal {self._path} cannot be written any more: {why}")
                self._failure.__cause__ = error
        for _, done in writes:
            if isinstance(done, threading.Event):
                done.set()
        waiting = [done for _, done in writes if isinstance(done, asyncio.Future)]
        self._is_raised |= self._failure is not None and bool(waiting)
        if waiting and not (loop := waiting[0].get_loop()).is_closed():  # of all: the transport loop
            loop.call_soon_threadsafe(_resolve, waiting, self._failure)

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
in_forked_child(_running.clear)  # their threads are the parent's
