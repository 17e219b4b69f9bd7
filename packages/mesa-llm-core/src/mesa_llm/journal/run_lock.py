"""Keeps a run to one writer, across processes."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

from filelock import FileLock, Timeout

from mesa_llm.errors import JournalError

_PATIENCE = 0.5
"""Seconds that a client which is just ending gets to release the run."""


class RunLock:
    """The right to write a run. The system takes it back when the process ends, however it ends; a fork has none.

    Args:
        path: the journal.
        run_id: the run's id in it.
        name: the run's name, for messages.

    Raises:
        JournalError: if somebody else writes the run.
    """

    def __init__(self, path: Path, run_id: int, name: str) -> None:
        # Beside the journal, not in it: SQLite's own locks are for a transaction, and for the whole file.
        self._lock = FileLock(path.with_name(f"{path.name}-{run_id}.lock"), timeout=0, thread_local=False)
        try:
            if not self._is_free():
                gc.collect()  # a client that nobody refers to any more, but which is part of a cycle with its model
                if not self._is_free(patience=_PATIENCE):
                    raise JournalError(
                        f"Run {name!r} of {path} is being written by another client, in this process or another. "
                        "Close that one first, or record another run."
                    )
        except OSError as error:
            raise JournalError(f"Run {name!r} of {path} cannot be locked: {error}.") from error

    def _is_free(self, patience: float = 0.0) -> bool:
        """Whether the lock could be taken, which it is then."""
        try:
            self._lock.acquire(timeout=patience, poll_interval=0.01)
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Let others write the run. A second time does nothing."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):  # where a file that is open cannot be removed, it stays, empty
                Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock.release()
