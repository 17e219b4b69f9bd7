"""Streams events to a file."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from mesa_llm.recording.event import SimulationEvent, as_line

_logger = logging.getLogger(__name__)

_BUFFER = 64 * 1024  # bytes


@dataclass(slots=True)
class LastWords:
    """What the last event of a file says, if the simulation ended now.

    Attributes:
        step: the model's step.
        status: `completed`, `interrupted`, `failed`, or `unknown`.
    """

    step: int = 0
    status: str = "unknown"


class EventWriter:
    """Appends events to a file of JSON Lines: first the metadata, then a line for each event.

    The file and its folder are made with the first event. If it cannot be written, that is logged as an error, and
    events are counted as lost from then on: a full disk is no reason to end a simulation.

    Args:
        path: the file; must not exist yet.
        metadata: what the first line says.
        flush_every: how many events are held back at most; by default as many as fit in 64 KiB.

    Attributes:
        events: how many events the file has, those held back included.
        lost: how many could not be written.
        error: why not.
        last_words: goes into the `simulation_end` that `close` writes.
    """

    def __init__(self, path: Path, metadata: Mapping[str, Any], *, flush_every: int | None = None) -> None:
        self.path = path
        self.metadata = metadata
        self.events = 0
        self.lost = 0
        self.error: OSError | None = None
        self.last_words = LastWords()
        self._flush_every = flush_every
        # Protects all that follows, and the counts: agents that step eagerly record from several threads.
        self._lock = threading.Lock()
        self._file: FileIO | None = None
        self._closed = False
        self._written = 0  # bytes in the file, up to the last whole event
        self._held: list[bytes] = []
        self._held_bytes = 0

    def append(self, event: SimulationEvent) -> None:
        """Append an event, and give it its number."""
        with self._lock:
            if self.error is not None:
                self.lost += 1
                return
            line = as_line(self._numbered(event).as_json())
            self.events += 1
            self._held.append(line)
            self._held_bytes += len(line)
            if self._held_bytes >= _BUFFER or len(self._held) == self._flush_every:
                self._flush()

    def flush(self) -> None:
        """Hand what is held back to the operating system: from here on it outlives the process."""
        with self._lock:
            self._flush()

    def end(self) -> SimulationEvent:
        """The event that would be the last one, if the simulation ended now."""
        content = {"status": self.last_words.status, "final_step": self.last_words.step, "total_events": self.events}
        return self._numbered(model_event("simulation_end", self.last_words.step, content))

    def close(self) -> None:
        """Write `simulation_end` and close the file. Does nothing if there is none. An event after that reopens it."""
        with self._lock:
            self._flush()
            if self._file is None:
                return
            try:
                _write(self._file, as_line(self.end().as_json()))
                self._file.close()
            except OSError as error:
                self._give_up(error)
            self._file = None
            self._closed = True

    def forget(self) -> None:
        """Let go of the file and of what is held back, as after a fork: both are another process's."""
        self._held.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _numbered(self, event: SimulationEvent) -> SimulationEvent:
        return replace(event, event_id=f"{self.metadata['simulation_id']}_{self.events:06d}")

    def _flush(self) -> None:
        if not self._held:
            return
        data = b"".join(self._held)
        try:
            if self._file is None:
                self._open()
            assert self._file is not None
            _write(self._file, data)
        except OSError as error:
            self._give_up(error)
        else:
            self._written += len(data)
        self._held.clear()
        self._held_bytes = 0

    def _open(self) -> None:
        if self._closed:
            self._file = FileIO(self.path, "r+")
            self._file.truncate(self._written)  # the simulation has not ended after all
            self._file.seek(self._written)
            self._closed = False
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = FileIO(self.path, "x")
        header = as_line({"metadata": self.metadata})
        _write(self._file, header)
        self._written = len(header)

    def _give_up(self, error: OSError) -> None:
        self.error = error
        self.lost += len(self._held)
        self.events -= len(self._held)
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.truncate(self._written)
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        _logger.error(
            "The recording %s cannot be written, so this and all later events are lost: %s. The simulation goes on.",
            self.path,
            error,
        )


def model_event(event_type: str, step: int, content: dict[str, Any]) -> SimulationEvent:
    """An event of the model, without a number yet."""
    return SimulationEvent("", datetime.now(UTC), step, None, event_type, content, {"source": "model"})


def _write(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
