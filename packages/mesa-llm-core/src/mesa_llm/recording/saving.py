"""Saves a recording as one file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from mesa_llm.errors import ConfigurationError
from mesa_llm.recording.event import SimulationEvent, as_line

type Format = Literal["json", "jsonl"]


class AgentSummary:
    """Counts the events of one agent."""

    def __init__(self) -> None:
        self._events = 0
        self._types: set[str] = set()
        self._steps: set[int] = set()
        self._first: str | None = None
        self._last: str | None = None

    def add(self, event: SimulationEvent) -> None:
        """Count an event."""
        self._events += 1
        self._types.add(event.event_type)
        self._steps.add(event.step)
        self._last = event.timestamp.isoformat()
        if self._first is None:
            self._first = self._last

    def as_json(self) -> dict[str, Any]:
        """The counts, and when the first and the last event were."""
        return {
            "total_events": self._events,
            "event_types": sorted(self._types),
            "active_steps": sorted(self._steps),
            "first_event": self._first,
            "last_event": self._last,
        }


def check_format(format: Format) -> None:  # noqa: A002
    """Raise a `ConfigurationError` if recordings are not saved in a format."""
    if format in get_args(Format.__value__):
        return
    reason = (
        " Pickle files can run any code when they are read, so none are written." if str(format) == "pickle" else ""
    )
    raise ConfigurationError(f"format must be 'json' or 'jsonl', got {format!r}.{reason}")


def save_recording(
    path: Path,
    format: Format,  # noqa: A002
    metadata: Mapping[str, Any],
    events: Iterable[SimulationEvent],
    end: SimulationEvent,
) -> None:
    """Write a recording, event by event, beside the file and then in its place: what was there is never half replaced.

    Args:
        path: the file.
        format: `json` or `jsonl`.
        metadata: what it says about itself.
        events: all of its events but the last.
        end: the last one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    lines = _json_lines if format == "jsonl" else _document
    try:
        with unfinished.open("wb") as file:
            file.writelines(lines(metadata, chain(events, [end])))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _json_lines(metadata: Mapping[str, Any], events: Iterable[SimulationEvent]) -> Iterable[bytes]:
    yield as_line({"metadata": metadata})
    for event in events:
        yield as_line(event.as_json())


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
