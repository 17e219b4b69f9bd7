"""The base of all memories: entries, and when they count as remembered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import Turn, current_turn, step_of
from mesa_llm.activation.values import to_text
from mesa_llm.errors import ConfigurationError
from mesa_llm.limits.token_estimate import tokens_in
from mesa_llm.memory.prompt import (
    FEWEST_TOKENS,
    LARGEST_SHARE,
    MAX_TOKENS,
    NOTHING_YET,
    newest_that_fit,
    shortened,
    tokens_of_line,
)
from mesa_llm.module_llm import ModuleLLM

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
    _tokens: int | None = field(default=None, init=False, repr=False, compare=False)

    def __str__(self) -> str:
        """The entry as one line of a prompt; the same one ever after, as what happened does not change."""
        line = self._line
        if line is None:
            details = "; ".join(f"{to_text(key)}: {to_text(value)}" for key, value in self.content.items())
            line = f"[step {self.step}] {self.type}: {details}"
            object.__setattr__(self, "_line", line)
        return line

    @property
    def tokens(self) -> int:
        """What its line takes, as reckoned from the length of the text."""
        tokens = self._tokens
        if tokens is None:
            tokens = tokens_in(str(self))
            object.__setattr__(self, "_tokens", tokens)
        return tokens


class Memory(ABC):
    """Base of memories: keeps the newest entries that fit. A subclass says how it reads, in `get_prompt_ready`.

    What an agent writes into its own memory while it decides is staged: the agent itself can read it at once, and it
    is kept when the agent acts. If the step is called off before that, it is gone. What others write is there at once,
    for every decision that starts then.

    A memory of your own that has a model work on its entries does so in `asettle`, after the acts of everybody. This
    one sums up what was said to its agent, and forgets the words:

    ```python
    from mesa_llm.memory import Memory


    class Gist(Memory):
        def __init__(self, agent, **settings):
            super().__init__(agent, **settings)
            self.gist = "Nothing yet."

        def get_prompt_ready(self):
            gist = f"I was told: {self.gist} Lately: "
            return gist + self._lines(self._past(), beside=gist)

        async def asettle(self):
            heard = [entry for entry in self.entries if entry.type == "message"]
            if not heard:
                return None
            parts = [self.gist, self._lines(heard)]
            response = await self.llm.agenerate(parts, system_prompt="Sum up in one sentence.")

            def keep():
                self.gist = response.message.content
                self._forget(heard)

            return keep
    ```

    Args:
        agent: whose memory it is.
        llm_model: the model that it asks, as `provider/model`, by the agent's own way: the same client, limits and
            journal. By default the agent's.
        display: accepted for models written for mesa-llm 0.3, and without effect: nothing is printed.
        api_base: the base URL of that model's server; by default the agent's for the agent's model, and the provider's
            own for another. Without effect if the agent was given a client.
        additive_event_types: accepted likewise, and without effect: of all types, every entry is kept.
        max_tokens: what it takes of a prompt at most, as reckoned from the length of its text, at least 100; `None` for
            no bound. An entry of more than a quarter of that is shortened in the prompt, and says so. The oldest
            entries go first.

    Raises:
        ConfigurationError: if `max_tokens` is less than 100, or `llm_model` names no provider.
    """

    def __init__(
        self,
        agent: Agent[Any],
        llm_model: str | None = None,
        display: bool = True,
        api_base: str | None = None,
        additive_event_types: Iterable[str] | None = None,
        *,
        max_tokens: int | None = MAX_TOKENS,
    ) -> None:
        if max_tokens is not None and max_tokens < FEWEST_TOKENS:
            raise ConfigurationError(
                f"max_tokens must be at least {FEWEST_TOKENS}, got {max_tokens!r}. Use None for no bound."
            )
        self.agent = agent
        self.display = display
        self.max_tokens = max_tokens
        # Of one entry; fixed, for what is kept is reckoned by it.
        self._most_of_one = None if max_tokens is None else max_tokens // LARGEST_SHARE
        self._llm = _own_llm(agent, llm_model, api_base)
        self._staged: dict[Turn, tuple[MemoryEntry, ...]] = {}
        """What was remembered before a turn, by turn: two attempts at one decision do not see each other's entries."""
        self._kept: list[MemoryEntry] = []
        self._kept_tokens = 0

    def __repr__(self) -> str:
        n = len(self.entries)
        return f"<{type(self).__name__} of {to_text(self.agent)}, {n} {'entry' if n == 1 else 'entries'}>"

    @property
    def llm(self) -> ModuleLLM:
        """The model that the memory asks: its own, or else the agent's.

        Raises:
            ConfigurationError: if there is neither.
        """
        llm: ModuleLLM | None = self._llm or getattr(self.agent, "llm", None)
        if llm is None:
            raise ConfigurationError(
                f"{type(self).__name__} has no model to ask, since {self.agent} has none. Give it an llm_model."
            )
        return llm

    @llm.setter
    def llm(self, llm: ModuleLLM) -> None:
        self._llm = llm

    def _store(self, entry: MemoryEntry) -> None:
        """Keep an entry for good; by default as long as there is room for it."""
        self._kept.append(entry)
        self._kept_tokens += self._tokens_of(entry)
        self._drop_beyond(self.max_tokens)

    def _stored(self) -> Iterable[MemoryEntry]:
        """The entries kept for good, oldest first."""
        return tuple(self._kept)

    def _drop_beyond(self, max_tokens: int | None) -> None:
        """Drop the oldest of the entries that take more than this together; the newest stays in any case."""
        if max_tokens is None:
            return
        oldest = 0
        while self._kept_tokens > max_tokens and oldest < len(self._kept) - 1:
            self._kept_tokens -= self._tokens_of(self._kept[oldest])
            oldest += 1
        del self._kept[:oldest]

    def _drop_steps_before_last(self, n: int) -> None:
        """Drop all but the last `n` steps in which something happened."""
        steps = sorted({entry.step for entry in self._kept})
        if len(steps) > n:
            self._forget([entry for entry in self._kept if entry.step < steps[-n]])

    def _forget(self, entries: Iterable[MemoryEntry]) -> None:
        """Drop these very entries, and none that have come since they were read."""
        gone = {id(entry) for entry in entries}
        self._kept = [entry for entry in self._kept if id(entry) not in gone]
        self._kept_tokens = sum(map(self._tokens_of, self._kept))

    def _tokens_of(self, entry: MemoryEntry) -> int:
        """What an entry takes, with the break that ends its line."""
        return entry.tokens + 1 if self._fits(entry) else tokens_of_line(self._line(entry))

    def _fits(self, entry: MemoryEntry) -> bool:
        return self._most_of_one is None or entry.tokens <= self._most_of_one

    def _line(self, entry: MemoryEntry) -> str:
        """An entry as a line of a prompt, shortened if it is too large."""
        return str(entry) if self._fits(entry) else shortened(str(entry), self._most_of_one)

    def _lines(self, entries: Iterable[MemoryEntry], beside: str = "") -> str:
        """The newest of some entries that there is room for, one a line.

        Args:
            entries: the entries, oldest first.
            beside: what else is in the prompt of this memory.
        """
        room = None if self.max_tokens is None else self.max_tokens - tokens_of_line(beside)
        fitting = newest_that_fit(list(entries), room, self._tokens_of)
        return "\n".join(map(self._line, fitting)) or NOTHING_YET

    def _past(self) -> tuple[MemoryEntry, ...]:
        """All entries but an observation just made, which has a place of its own in prompts."""
        entries = self.entries
        return entries[:-1] if entries and entries[-1].type == "observation" else entries

    @abstractmethod
    def get_prompt_ready(self) -> str:
        """The memory as text for a prompt."""

    @property
    def entries(self) -> tuple[MemoryEntry, ...]:
        """All entries, oldest first; to the agent that is deciding, those of its decision in progress last."""
        return (*self._stored(), *self._staged_now())

    def _staged_now(self) -> tuple[MemoryEntry, ...]:
        """The entries of the decision in progress, to the agent that makes it."""
        turn = current_turn() if self._staged else None
        return () if turn is None else self._staged.get(turn, ())

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
        self._staged[turn] = (*self._staged.get(turn, ()), entry)
        turn.stage(partial(self._keep, turn, entry), partial(self._unstage, turn, entry))

    async def aadd_to_memory(self, type: str, content: Mapping[str, Any]) -> None:  # noqa: A002
        """Like `add_to_memory`."""
        self.add_to_memory(type, content)

    def _keep(self, turn: Turn, entry: MemoryEntry) -> None:
        self._unstage(turn, entry)
        self._remember(entry)

    def _remember(self, entry: MemoryEntry) -> None:
        """Keep an entry for good, and have it recorded."""
        self._store(entry)
        recorder = getattr(self.agent, "recorder", None)
        if recorder is not None:
            recorder.record_entry(self.agent.unique_id, entry)

    def _unstage(self, turn: Turn, entry: MemoryEntry) -> None:
        left = tuple([staged for staged in self._staged.get(turn, ()) if staged is not entry])
        if left:
            self._staged[turn] = left
        else:
            self._staged.pop(turn, None)

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
        spoken = [entry for entry in self.entries if entry.type == "message"]
        lines = [shortened(_read_aloud(entry), self._most_of_one) for entry in spoken]
        return "\n".join(newest_that_fit(lines, self.max_tokens, tokens_of_line))


def _own_llm(agent: Agent[Any], llm_model: str | None, api_base: str | None) -> ModuleLLM | None:
    agents: ModuleLLM | None = getattr(agent, "llm", None)
    if agents is None:
        return None if llm_model is None else ModuleLLM(llm_model, api_base)
    if llm_model is None and api_base is None:
        return None
    return agents.for_model(llm_model or agents.llm_model, api_base)


def _read_aloud(entry: MemoryEntry) -> str:
    sender = entry.content.get("sender")
    text = to_text(entry.content.get("message", ""))
    return f"[step {entry.step}] Agent {sender} says: {text}"
