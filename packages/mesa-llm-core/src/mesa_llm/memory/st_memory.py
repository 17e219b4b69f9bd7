"""Memory of the last few steps."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING

from mesa_llm.errors import ConfigurationError
from mesa_llm.memory.memory import Memory, MemoryEntry

if TYPE_CHECKING:
    from mesa import Agent


class ShortTermMemory(Memory):
    """Remembers everything of the last `n` steps in which something happened, and nothing older.

    Args:
        agent: whose memory it is.
        n: how many steps are kept, at least 1.

    Raises:
        ConfigurationError: if `n` is less than 1.
    """

    def __init__(self, agent: Agent, n: int = 5) -> None:
        if n < 1:
            raise ConfigurationError(f"n must be at least 1 step, got {n!r}.")
        super().__init__(agent)
        self.n = n
        self._steps: dict[int, list[MemoryEntry]] = {}

    def _store(self, entry: MemoryEntry) -> None:
        self._steps.setdefault(entry.step, []).append(entry)
        while len(self._steps) > self.n:
            del self._steps[next(iter(self._steps))]

    def _stored(self) -> Iterable[MemoryEntry]:
        return chain.from_iterable(self._steps.values())

    def format_short_term(self) -> str:
        """The entries, one a line, oldest first."""
        return _as_lines(self.entries)

    def get_prompt_ready(self) -> str:
        """The memory as text for a prompt; without an observation just made, which has a place of its own there."""
        entries = self.entries
        return _as_lines(entries[:-1] if entries and entries[-1].type == "observation" else entries)


def _as_lines(entries: Iterable[MemoryEntry]) -> str:
    return "\n".join(map(str, entries)) or "Nothing yet."
