"""Memory of the last few steps."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from mesa_llm.errors import ConfigurationError
from mesa_llm.memory.entries import Group, GroupedEntries, MemoryEntry, before_observation, events_of
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
        """The entries that are kept word for word, oldest first, with a heading for each step."""
        return self._lines(self.entries)

    def _n_before_last(self, entries: Sequence[MemoryEntry], n: int) -> int:
        """How many entries are older than the last `n` steps if there are twice as many steps; 0 otherwise.

        So `n` to `2 n - 1` steps are kept: prompts begin alike for `n` steps, and can be cached. An observation just
        made does not count as a step yet.
        """
        past = before_observation(entries)
        if not past or past[-1].step - past[0].step < 2 * n - 1:
            return 0
        steps = sorted({entry.step for entry in past})
        return sum(entry.step < steps[-n] for entry in past) if len(steps) >= 2 * n else 0


class ShortTermMemory(StepMemory):
    """Remembers the last `n` to `2 n - 1` steps in which something happened, as far as there is room.

    When there are `2 n` of them, all but the last `n` are dropped at once. Between, prompts begin alike, so that
    servers can cache them.

    Args:
        agent: the agent that remembers.
        n: how many steps are kept at the least, at least 1.
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

    def _n_to_drop(self, entries: Sequence[MemoryEntry]) -> int:
        return max(super()._n_to_drop(entries), self._n_before_last(entries, self.n))

    def get_prompt_ready(self) -> str:
        """The memory as text for a prompt, without the observation just made, which the prompt has elsewhere."""
        return self._lines(self._past())
