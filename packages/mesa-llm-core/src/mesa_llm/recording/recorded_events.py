"""The events of a recording as a sequence that does not hold them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import overload

from mesa_llm.recording.event import SimulationEvent
from mesa_llm.recording.load import load_recording
from mesa_llm.recording.writer import EventWriter


class RecordedEvents(Sequence[SimulationEvent]):
    """The events recorded so far, read from the file each time.

    Args:
        writer: what writes the file.
    """

    def __init__(self, writer: EventWriter) -> None:
        self._writer = writer

    def __len__(self) -> int:
        return self._writer.events

    def __iter__(self) -> Iterator[SimulationEvent]:
        self._writer.flush()
        count = self._writer.events
        return itertools.islice(load_recording(self._writer.path), count) if count else iter(())

    @overload
    def __getitem__(self, index: int) -> SimulationEvent: ...
    @overload
    def __getitem__(self, index: slice) -> list[SimulationEvent]: ...
    def __getitem__(self, index: int | slice) -> SimulationEvent | list[SimulationEvent]:
        places = range(len(self))[index]
        if isinstance(places, range):
            wanted = set(places)
            found = {place: event for place, event in enumerate(self) if place in wanted}
            return [found[place] for place in places]
        return next(itertools.islice(self, places, None))
