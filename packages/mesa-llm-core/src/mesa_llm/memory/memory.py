"""The base of all memories: entries, and when they count as remembered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import current_turn, step_of

if TYPE_CHECKING:
    from mesa import Agent


@dataclass(frozen=True, slots=True)
class MemoryEntry:
    """One thing remembered.

    Attributes:
        step: the model's step in which it happened.
        type: `observation`, `plan`, `action`, `message`, or a name of the user's own.
        content: what happened.
    """

    step: int
    type: str
    content: Mapping[str, Any]
    _line: str | None = field(default=None, init=False, repr=False, compare=False)

    def __str__(self) -> str:
        """The entry as one line of a prompt; the same one ever after, as what happened does not change."""
        line = self._line
        if line is None:
            details = "; ".join(f"{key}: {value}" for key, value in self.content.items())
            line = f"[step {self.step}] {self.type}: {details}"
            object.__setattr__(self, "_line", line)
        return line


class Memory(ABC):
    """Base of memories. A subclass says what it keeps (`_store`, `entries`) and how it reads (`get_prompt_ready`).

    What an agent writes into its own memory while it decides is staged: the agent itself can read it at once, and it
    is kept when the agent acts. If the step is called off before that, it is gone.

    Args:
        agent: whose memory it is.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._staged: list[MemoryEntry] = []

    @abstractmethod
    def _store(self, entry: MemoryEntry) -> None:
        """Keep an entry for good."""

    @abstractmethod
    def _stored(self) -> Iterable[MemoryEntry]:
        """The entries kept for good, oldest first."""

    @abstractmethod
    def get_prompt_ready(self) -> str:
        """The memory as text for a prompt."""

    @property
    def entries(self) -> tuple[MemoryEntry, ...]:
        """All entries, oldest first; those of a decision in progress last."""
        return (*self._stored(), *self._staged)

    def add_to_memory(self, type: str, content: Mapping[str, Any]) -> None:  # noqa: A002 - mesa-llm's name
        """Remember something.

        Args:
            type: `observation`, `plan`, `action`, `message`, or a name of your own.
            content: what happened.

        Raises:
            TypeError: if `content` is not a mapping.
        """
        if not isinstance(content, Mapping):
            raise TypeError(f"content must be a mapping such as {{'text': …}}, got {content!r}.")
        entry = MemoryEntry(step_of(self.agent.model), type, content)
        turn = current_turn()
        if turn is None or turn.acting or turn.agent is not self.agent:
            self._remember(entry)
            return
        self._staged.append(entry)
        turn.stage(lambda: self._keep(entry), lambda: self._unstage(entry))

    async def aadd_to_memory(self, type: str, content: Mapping[str, Any]) -> None:  # noqa: A002
        """Like `add_to_memory`."""
        self.add_to_memory(type, content)

    def _keep(self, entry: MemoryEntry) -> None:
        self._unstage(entry)
        self._remember(entry)

    def _remember(self, entry: MemoryEntry) -> None:
        """Keep an entry for good, and have it recorded."""
        self._store(entry)

    def _unstage(self, entry: MemoryEntry) -> None:
        self._staged = [staged for staged in self._staged if staged is not entry]

    def process_step(self, pre_step: bool = False) -> None:
        """Called before and after each step of the agent, for memories that have something to do then.

        Args:
            pre_step: whether the step is about to begin.
        """

    async def aprocess_step(self, pre_step: bool = False) -> None:
        """Like `process_step`."""
        self.process_step(pre_step)

    async def asettle(self) -> Callable[[], None] | None:
        """What the memory owes itself after a step and needs a model for, such as consolidating entries.

        Called after the agent has acted; in a parallel step after everybody has, for all agents at the same time. Asks
        the model and changes nothing. If it raises, the step stands all the same, and what is owed stays owed: after
        the agent's next step it is called again.

        Returns:
            What keeps the results, called in the order of the agents; `None` if nothing is owed.
        """
        return None

    def get_communication_history(self) -> str:
        """The messages remembered, one a line, oldest first; empty if there are none."""
        return "\n".join(_read_aloud(entry) for entry in self.entries if entry.type == "message")


def _read_aloud(entry: MemoryEntry) -> str:
    sender = entry.content.get("sender")
    text = entry.content.get("message", "")
    return f"[step {entry.step}] Agent {sender} says: {text}"
