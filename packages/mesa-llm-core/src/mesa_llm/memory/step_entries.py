"""Memories in the form that mesa-llm 0.3 keeps them in: one entry for several events, with its content by type."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, MutableSequence, Sequence
from operator import attrgetter
from typing import Any, overload

from mesa_llm.activation import step_of
from mesa_llm.memory.memory import Memory, MemoryEntry, first_of_last_steps

type Group = tuple[MemoryEntry, Sequence[MemoryEntry]]
"""An entry of mesa-llm 0.3, and the entries of ours that it stands for."""


class GroupedEntries(MutableSequence[MemoryEntry]):  # noqa: PLW1641 - it can change, so it has no hash
    """What a memory holds, oldest first, read and changed like the deque of mesa-llm 0.3.

    A view: it shows the memory as it is now, and the memory changes with it. Each entry is made when it is read, so
    changing the content of one changes nothing.

    Args:
        memory: whose entries these are.
        grouped: puts entries, given oldest first, into groups.
    """

    def __init__(self, memory: Memory, grouped: Callable[[Iterable[MemoryEntry]], Iterable[Group]]) -> None:
        self._memory = memory
        self._grouped = grouped

    def _change(self, change: Callable[[list[Sequence[MemoryEntry]]], Any]) -> None:
        groups = [events for _, events in self._grouped(self._memory._stored())]
        change(groups)
        self._memory._hold(itertools.chain.from_iterable(groups))

    def _wholes(self) -> list[MemoryEntry]:
        return [whole for whole, _ in self._grouped(self._memory.entries)]

    def __len__(self) -> int:
        return len(self._wholes())

    @overload
    def __getitem__(self, index: int) -> MemoryEntry: ...
    @overload
    def __getitem__(self, index: slice) -> list[MemoryEntry]: ...
    def __getitem__(self, index: int | slice) -> MemoryEntry | list[MemoryEntry]:
        return self._wholes()[index]

    def __setitem__(self, index: int | slice, value: Any) -> None:
        many = isinstance(index, slice)
        events: Any = [events_of(entry, self._memory) for entry in (value if many else [value])]
        self._change(lambda groups: groups.__setitem__(index, events if many else events[0]))

    def __delitem__(self, index: int | slice) -> None:
        self._change(lambda groups: groups.__delitem__(index))

    def insert(self, index: int, value: MemoryEntry) -> None:
        """Insert an entry before a position."""
        self._change(lambda groups: groups.insert(index, events_of(value, self._memory)))

    def appendleft(self, value: MemoryEntry) -> None:
        """Insert an entry as the oldest."""
        self.insert(0, value)

    def popleft(self) -> MemoryEntry:
        """Remove the oldest entry and return it."""
        return self.pop(0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Iterable) and self._wholes() == list(other)

    def __repr__(self) -> str:
        return repr(self._wholes())


def events_of(entry: MemoryEntry, memory: Memory) -> list[MemoryEntry]:
    """The single events of an entry of mesa-llm 0.3; one of ours is one event."""
    if entry.type:
        return [entry]
    step = step_of(memory.agent.model) if entry.step is None else entry.step
    return [
        MemoryEntry(step, name, event if isinstance(event, Mapping) else {"content": event})
        for name, events in entry.content.items()
        for event in (events if isinstance(events, list) else [events])
    ]


class StepMemory(Memory):
    """Base of memories that keep steps word for word."""

    @property
    def _most_steps(self) -> int | None:
        """How many steps a prompt shows; `None` if that depends on the room alone."""
        return None

    def _past(self) -> tuple[MemoryEntry, ...]:
        past = super()._past()
        first = 0 if self._most_steps is None else first_of_last_steps(past, self._most_steps)
        return tuple([entry for entry in past if entry.step >= first])

    @property
    def short_term_memory(self) -> GroupedEntries:
        """The steps that are kept word for word, oldest first, in the form of mesa-llm 0.3: one entry a step.

        The content of an entry holds the step's events by their type: a list for `additive_event_types`, and the last
        event for other types.
        """
        return GroupedEntries(self, self._by_step)

    @short_term_memory.setter
    def short_term_memory(self, entries: Iterable[MemoryEntry]) -> None:
        self._hold([event for entry in entries for event in events_of(entry, self)])

    def _by_step(self, entries: Iterable[MemoryEntry]) -> Iterable[Group]:
        for _, of_step in itertools.groupby(entries, attrgetter("step")):
            events = list(of_step)
            yield self._as_one(events), events

    def format_short_term(self) -> str:
        """The entries that are kept word for word, one a line, oldest first."""
        return self._lines(self.entries)
