"""Memory of the last steps word for word, and of older ones in one text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mesa_llm.errors import ConfigurationError
from mesa_llm.memory.entries import MemoryEntry
from mesa_llm.memory.lt_memory import LONG_TERM_TOKENS, LongTermMemory
from mesa_llm.memory.memory import MAX_TOKENS, Memory
from mesa_llm.memory.st_memory import StepMemory

if TYPE_CHECKING:
    from mesa import Agent


class STLTMemory(StepMemory, LongTermMemory):
    """Remembers the last steps word for word, and has a model consolidate older ones into one text.

    When more than `short_term_capacity + consolidation_capacity` steps are kept, all but the last one and the
    `short_term_capacity` before it are consolidated: one call every `consolidation_capacity` steps. When the entries
    take more tokens than there is room for, the oldest are consolidated earlier, until a quarter of the room is free.

    Args:
        agent: the agent that remembers.
        short_term_capacity: how many steps are kept word for word, at least 1. Steps in which nothing happened do not
            count.
        consolidation_capacity: how many more are kept before they are consolidated together; 0 for no long-term part:
            then no model is asked, and the oldest steps are dropped.
        display: without effect, see `Memory`.
        llm_model: the model that consolidates; by default the agent's.
        api_base: the base URL of its server, see `Memory`.
        additive_event_types: see `Memory`.
        max_tokens: how many tokens of a prompt the memory takes at most, see `Memory`.
        long_term_tokens: how many of them the long-term part takes at most, see `LongTermMemory`.

    Raises:
        ConfigurationError: if one of these cannot work.
    """

    def __init__(
        self,
        agent: Agent[Any],
        short_term_capacity: int = 5,
        consolidation_capacity: int = 2,
        display: bool = True,
        llm_model: str | None = None,
        api_base: str | None = None,
        additive_event_types: Iterable[str] | None = None,
        *,
        max_tokens: int | None = MAX_TOKENS,
        long_term_tokens: int = LONG_TERM_TOKENS,
    ) -> None:
        if short_term_capacity < 1:
            raise ConfigurationError(f"short_term_capacity must be at least 1 step, got {short_term_capacity!r}.")
        LongTermMemory.__init__(
            self,
            agent,
            display,
            llm_model,
            api_base,
            additive_event_types,
            max_tokens=max_tokens,
            long_term_tokens=long_term_tokens,
        )
        self.capacity = short_term_capacity
        self.consolidation_capacity = max(consolidation_capacity, 0)

    def _store(self, entry: MemoryEntry) -> None:
        if self.consolidation_capacity:
            super()._store(entry)
        else:
            Memory._store(self, entry)

    def _n_to_drop(self, entries: Sequence[MemoryEntry]) -> int:
        if self.consolidation_capacity:
            return super()._n_to_drop(entries)
        return max(Memory._n_to_drop(self, entries), self._n_before_last(entries, self.capacity))

    def _pending(self) -> Sequence[MemoryEntry]:
        if not self.consolidation_capacity:
            return ()
        return self._kept[: max(self._beyond_the_steps(), self._beyond_the_room())]

    def _beyond_the_steps(self) -> int:
        """How many entries belong to steps that are no longer kept."""
        steps = sorted({entry.step for entry in self._kept})
        if len(steps) <= self.capacity + self.consolidation_capacity:
            return 0
        first = steps[-self.capacity - 1]
        return sum(entry.step < first for entry in self._kept)

    def _beyond_the_room(self) -> int:
        """How many entries must go until a quarter of the room is free; 0 while they fit."""
        room = self._room
        if room is None or not self._n_over(self._kept, room):
            return 0
        return self._n_over(self._kept, room * 3 // 4)
