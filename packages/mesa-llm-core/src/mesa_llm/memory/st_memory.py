"""Memory of the last few steps."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from mesa_llm.errors import ConfigurationError
from mesa_llm.memory.entries import Group, GroupedEntries, MemoryEntry, events_of
from mesa_llm.memory.memory import MAX_TOKENS, Memory

if TYPE_CHECKING:
    from mesa import Agent


class StepMemory(Memory):
    """Base of memories that keep steps word for word."""

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


class ShortTermMemory(StepMemory):
    """Remembers the last `n` steps in which something happened, as far as there is room, and nothing older.

    Args:
        agent: the agent that remembers.
        n: how many steps are kept, at least 1.
        display: without effect, see `Memory`.
        additive_event_types: see `Memory`.
        max_tokens: how many tokens of a prompt it takes at most, see `Memory`.

    Raises:
        ConfigurationError: if `n` is less than 1 or `max_tokens` less than 100.
    """

    def __init__(
        self,
        agent: Agent[Any],
        n: int = 5,
        display: bool = True,
        additive_event_types: Iterable[str] | None = None,
        *,
        max_tokens: int | None = MAX_TOKENS,
    ) -> None:
        if n < 1:
            raise ConfigurationError(f"n must be at least 1 step, got {n!r}.")
        super().__init__(agent, display=display, additive_event_types=additive_event_types, max_tokens=max_tokens)
        self.n = n

    @property
    def _most_steps(self) -> int | None:
        return self.n

    def _store(self, entry: MemoryEntry) -> None:
        super()._store(entry)
        self._drop_steps_before_last(self.n)

    def get_prompt_ready(self) -> str:
        """The memory as text for a prompt, without the observation just made, which the prompt has elsewhere."""
        return self._lines(self._past())
