"""Memory of the last few steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mesa_llm.errors import ConfigurationError
from mesa_llm.memory.memory import MAX_TOKENS, MemoryEntry
from mesa_llm.memory.step_entries import StepMemory

if TYPE_CHECKING:
    from mesa import Agent


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
        if self._kept[0].step != entry.step:
            self._drop_steps_before_last(self.n)

    def get_prompt_ready(self) -> str:
        """The memory as text for a prompt, without the observation just made, which the prompt has elsewhere."""
        return self._lines(self._past())
