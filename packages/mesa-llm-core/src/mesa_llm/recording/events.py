"""The events of a recording, and how they are read back: one by one, or as a data frame."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mesa_llm.errors import RecordingError
from mesa_llm.journal import Journal

if TYPE_CHECKING:
    import pandas as pd

_logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class SimulationEvent:
    """One thing that happened in a simulation.

    Attributes:
        event_id: the recording's id and the number of the event in it, from 0.
        timestamp: when it was recorded, in UTC.
        step: the model's step in which it happened.
        agent_id: the `unique_id` of the agent; `None` for events of the model.
        event_type: of an agent `observation`, `plan`, `plan_execution`, `action`, `message`, `state_change`, or
            another type of its memory's entries; of the model `simulation_start`, `step_start`, `step_end`, `error`,
            `simulation_end`.
        content: what happened.
        metadata: where the event comes from.
    """

    event_id: str
    timestamp: datetime
    step: int
    agent_id: int | None
    event_type: str
    content: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The event with its time as ISO 8601 text."""
        event = {name: getattr(self, name) for name in self.__dataclass_fields__}  # asdict would copy the content
        event["timestamp"] = self.timestamp.isoformat()
        return event


def model_event(event_type: str, step: int, content: dict[str, Any]) -> SimulationEvent:
    """An event of the model, without a number yet."""
    return SimulationEvent("", datetime.now(UTC), step, None, event_type, content, {"source": "model"})


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """A recording on disk, with what it says about itself."""

    path: Path
    metadata: Mapping[str, Any]
    _read: Callable[[], Iterable[Mapping[str, Any]]]

    def __iter__(self) -> Iterator[SimulationEvent]:
        """The events in the order in which they were recorded, each read when it is asked for."""
        for number, event in enumerate(self._read()):
            try:
                names = ("event_id", "step", "agent_id", "event_type", "content")
                timestamp, metadata = datetime.fromisoformat(event["timestamp"]), event.get("metadata") or {}
                yield SimulationEvent(**{name: event[name] for name in names}, timestamp=timestamp, metadata=metadata)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise RecordingError(f"{self.path}: event {number} cannot be read: {error!r}.") from error


def open_recording(path: str | Path, run: str | None = None) -> RecordingFile:
    """The recording in a file of any kind; arguments and errors as for `load_recording`."""
    path = Path(path)
    with path.open("rb") as file:
        if file.read(len(_SQLITE)) == _SQLITE:
            return _in_journal(path, run)
        file.seek(0)
        first = file.readline()
    header = _parsed(first)
    if isinstance(header, dict) and "metadata" in header and "events" not in header:
        recording = RecordingFile(path, header["metadata"], lambda: _read_lines(path))
    else:
        document = _read_document(path) if header is None else header
        if not isinstance(document, dict) or "events" not in document:
            raise RecordingError(f"{path} is not a recording: it has neither a line of metadata nor events.")
        recording = RecordingFile(path, document.get("metadata", {}), lambda: document["events"])
    version = recording.metadata.get("schema_version", SCHEMA_VERSION)
    if version > SCHEMA_VERSION:
        raise RecordingError(
            f"{path} has schema version {version!r}, and this version of mesa-llm-core reads {SCHEMA_VERSION}: update "
            "mesa-llm-core."
        )
    return recording


_SQLITE = b"SQLite format 3\0"


def _in_journal(path: Path, run: str | None) -> RecordingFile:
    """The recording of a run in a journal, with what an own file would say about itself."""
    recorded = Journal(path).run(run)
    identity = recorded.identity
    metadata: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "simulation_id": recorded.name,
        "start_time": datetime.fromtimestamp(recorded.started, UTC).isoformat(),
        "model_class": identity.get("model", {}).get("class", ""),
        "completion_status": recorded.status,
        **{name: identity[name] for name in ("versions", "seed") if name in identity},
        **{name: value for name, value in identity.get("model", {}).items() if name == "parameters"},
    }

    def read() -> Iterator[Mapping[str, Any]]:
        for event in Journal(path).events(recorded.name):
            yield {
                "event_id": f"{recorded.name}_{event.number:06d}",
                "timestamp": datetime.fromtimestamp(event.time, UTC).isoformat(),
                "step": event.step,
                "agent_id": event.agent_id,
                "event_type": event.type,
                "content": json.loads(event.content),
                "metadata": json.loads(event.metadata),
            }

    return RecordingFile(path, metadata, read)


def load_recording(path: str | Path, *, run: str | None = None) -> Iterator[SimulationEvent]:
    """The events of a recording, in the order in which they were recorded.

    Each is read when it is asked for, so a recording may be larger than memory. An incomplete last line, as a crash
    leaves behind, is skipped and logged as a warning. A file that is still being written can be read too.

    Args:
        path: a journal; JSON Lines as recorded; or one JSON document as saved, also by mesa-llm 0.3.
        run: the name of the run in a journal; by default the newest that is not a copy of another.

    Raises:
        FileNotFoundError: if the file does not exist.
        RecordingError: if it is not a recording, a pickled one, or one of a later version.
        JournalError: if a journal does not hold the run, or is damaged.
    """
    return iter(open_recording(path, run))


def recording_to_dataframe(path: str | Path, *, run: str | None = None) -> pd.DataFrame:
    """A recording as a data frame, one row for each event.

    Args:
        path: as for `load_recording`.
        run: likewise.

    Returns:
        Columns `event_id`, `timestamp` (UTC), `step`, `agent_id` (nullable integer), `event_type`, `content` and
        `metadata` (dictionaries). `pandas.json_normalize(frame["content"])` makes columns of the content.

    Raises:
        FileNotFoundError: if the file does not exist.
        RecordingError: if it cannot be read.
    """
    import pandas as pd  # noqa: PLC0415 - slow to import, and few need it

    names = SimulationEvent.__dataclass_fields__
    events = list(load_recording(path, run=run))
    frame = pd.DataFrame({name: [getattr(event, name) for event in events] for name in names}, columns=list(names))
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], utc=True)
    return frame.astype({"step": "int64", "agent_id": "Int64"})


def _read_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open("rb") as file:
        file.readline()
        for number, line in enumerate(file, start=2):
            event = _parsed(line)
            if isinstance(event, dict):
                yield event
            elif line.endswith(b"\n"):
                raise RecordingError(f"{path}, line {number} is not an event: {line[:80]!r}. Remove the line.")
            else:
                _logger.warning("%s: the last line (%d) is incomplete and was left out.", path, number)


def _read_document(path: Path) -> Any:
    data = path.read_bytes()
    if data.startswith(b"\x80"):
        raise RecordingError(
            f"{path} is a pickle, which can run any code when it is read, so it is not. Save the recording in mesa-llm "
            "0.3 with format='json'."
        )
    document = _parsed(data)
    if document is None:
        raise RecordingError(f"{path} is not a recording: it is not JSON.")
    return document


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
