"""Recordings as files: written event by event while the model runs, and saved as separate files."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mesa_llm.activation.values import without_addresses
from mesa_llm.recording.events import SimulationEvent, load_recording, model_event

if TYPE_CHECKING:
    from mesa_llm.recording.run_writer import RunWriter

_logger = logging.getLogger(__name__)

_BUFFER = 64 * 1024  # bytes

type Format = Literal["json", "jsonl"]


class EventWriter:
    """Appends events to a file of JSON Lines: first the metadata, then a line for each event.

    The file and its folder are made with the first event. If it cannot be written, an error is logged, and events are
    counted as lost from then on: a full disk does not end a simulation.
    """

    def __init__(self, path: Path, metadata: Mapping[str, Any], *, flush_every: int | None = None) -> None:
        self.path = path
        self.metadata = metadata
        self.events = 0  # in the file and in the buffer
        self.lost = 0
        self.error: OSError | None = None
        # Of the `simulation_end` that `close` writes: the model's step, and how the simulation has ended.
        self.step = 0
        self.status = "unknown"
        self._flush_every = flush_every
        # Protects all that follows, and the counts: under eager activation, agents record from several threads.
        self._lock = threading.Lock()
        self._file: FileIO | None = None
        self._closed = False
        self._written = 0  # bytes in the file, up to the last whole event
        self._held: list[bytes] = []
        self._held_bytes = 0

    def append(self, event: SimulationEvent) -> None:
        """Append an event, with the next number."""
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
        """Hand buffered events to the operating system, where they survive a crash of the process."""
        with self._lock:
            self._flush()

    def read(self) -> Iterator[SimulationEvent]:
        """The events written so far, one at a time."""
        self.flush()
        return itertools.islice(load_recording(self.path), self.events) if self.events else iter(())

    def end(self) -> SimulationEvent:
        """The last event, if the simulation ended now."""
        content = {"status": self.status, "final_step": self.step, "total_events": self.events}
        return self._numbered(model_event("simulation_end", self.step, content))

    def close(self) -> None:
        """Write `simulation_end` and close the file, if it exists. A later event reopens it."""
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
        """Drop the file and the buffered events after a fork: both belong to the parent process."""
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
            self._file.truncate(self._written)  # drop simulation_end: the simulation goes on
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


class RecordedEvents(Sequence[SimulationEvent]):
    """The events recorded so far, read from the file each time."""

    def __init__(self, writer: EventWriter | RunWriter) -> None:
        self._writer = writer

    def __len__(self) -> int:
        return self._writer.events

    def __iter__(self) -> Iterator[SimulationEvent]:
        return self._writer.read()

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return list(self)[index]
        return next(itertools.islice(self, range(len(self))[index], None))


class AgentSummary:
    """Counts the events of one agent."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int]] = Counter()
        self._first: str | None = None
        self._last: str | None = None

    def add(self, event: SimulationEvent) -> None:
        """Count an event."""
        self._counts[event.event_type, event.step] += 1
        self._last = event.timestamp.isoformat()
        self._first = self._first or self._last

    def as_json(self) -> dict[str, Any]:
        """The counts, and the times of the first and the last event."""
        return {
            "total_events": self._counts.total(),
            "event_types": sorted({event_type for event_type, _ in self._counts}),
            "active_steps": sorted({step for _, step in self._counts}),
            "first_event": self._first,
            "last_event": self._last,
        }


def save_recording(
    path: Path,
    format: Format,  # noqa: A002
    metadata: Mapping[str, Any],
    events: Iterable[SimulationEvent],
    end: SimulationEvent,
) -> None:
    """Write a recording to a temporary file, then move it to `path`, so that an older file is replaced as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    events = chain(events, [end])
    if format == "json":
        lines = _document(metadata, events)
    else:
        lines = map(as_line, chain([{"metadata": metadata}], (event.as_json() for event in events)))
    try:
        with unfinished.open("wb") as file:
            file.writelines(lines)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _document(metadata: Mapping[str, Any], events: Iterable[SimulationEvent]) -> Iterable[bytes]:
    summaries: dict[str, AgentSummary] = {}
    yield b'{\n"metadata": ' + as_line(metadata) + b',\n"events": [\n'
    for number, event in enumerate(events):
        yield (b",\n" if number else b"") + as_line(event.as_json()).rstrip()
        if event.agent_id is not None:
            summaries.setdefault(str(event.agent_id), AgentSummary()).add(event)
    yield b'\n],\n"agent_summaries": '
    yield as_line({agent_id: summary.as_json() for agent_id, summary in summaries.items()})
    yield b"}\n"


def as_line(value: Mapping[str, Any]) -> bytes:
    """Plain data as one line of JSON, in UTF-8. Lone surrogates, which models can send, are escaped."""
    text = without_addresses(json.dumps(value, ensure_ascii=False))
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _write(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
