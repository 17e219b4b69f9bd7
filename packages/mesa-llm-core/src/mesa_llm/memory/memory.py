"""The base of all memories: when an entry counts as remembered, which ones are kept, and what a prompt gets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import Turn, current_turn, step_of
from mesa_llm.activation.context import current_writes
from mesa_llm.activation.method_pairs import own_method
from mesa_llm.activation.values import to_text
from mesa_llm.errors import ConfigurationError
from mesa_llm.memory.entries import (
    MemoryEntry,
    add_event,
    before_observation,
    first_of_last_steps,
    newest_that_fit,
    shortened,
    tokens_of_line,
)
from mesa_llm.module_llm import ModuleLLM

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.clients import LLMRequest

MAX_TOKENS = 4000
"""How many tokens of a prompt a memory takes by default."""

NOTHING_YET = "Nothing yet."

_DECISIONS = frozenset({"plan", "plan_execution"})  # the decision stands at the end
_LENGTHS = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict", "n_predict"})
_FEWEST_TOKENS = 100  # with fewer, headings and notes about what was cut would leave no room for anything else
_LARGEST_SHARE = 4  # divisor: one entry takes at most a quarter of a memory, so that it does not push out all others
_ADDITIVE = frozenset({"message", "action"})


class Memory(ABC):
    """Base of memories: keeps the newest entries that fit. A subclass says how it reads, in `get_prompt_ready`.

    What an agent writes into its own memory while it decides is staged: the agent can read it at once, and it is kept
    when the agent acts. If the step is aborted before that, it is dropped. What others write is there at once, for
    every decision that starts afterwards.

    A memory of your own that needs a model does its work in `asettle`, after all agents have acted. The page "Choose a
    memory, or write your own" shows one.

    Args:
        agent: the agent that remembers.
        llm_model: the model that the memory asks, as `provider/model`, through the agent's client, limits and journal.
            By default the agent's model.
        display: accepted for models written for mesa-llm 0.3, without effect: nothing is printed.
        api_base: the base URL of that model's server; by default the agent's for the agent's model, and the provider's
            own for another one. Without effect if the agent was given a client.
        additive_event_types: the types of which `step_content` holds every event, in a list; by default `message` and
            `action`. Of others, it holds the last event. (A prompt has every entry of every type.)
        max_tokens: how many tokens of a prompt the memory takes at most, estimated from the length of its text; at
            least 100, or `None` for no bound. The oldest entries go first. An entry longer than a quarter of the bound
            is shortened in the prompt, with a note.

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
        if max_tokens is not None and max_tokens < _FEWEST_TOKENS:
            raise ConfigurationError(
                f"max_tokens must be at least {_FEWEST_TOKENS}, got {max_tokens!r}. Use None for no bound."
            )
        self.agent = agent
        self.display = display
        self.max_tokens = max_tokens
        self.additive_event_types = set(_ADDITIVE if additive_event_types is None else additive_event_types)
        self._step_content: dict[str, Any] = {}
        self._step_of_content: int | None = None
        # Fixed, because the tokens of the entries that are kept are counted with it.
        self._most_of_one = None if max_tokens is None else max_tokens // _LARGEST_SHARE
        self._llm = _own_llm(agent, llm_model, api_base)
        # Entries written before a turn, by turn: two attempts at one decision do not see each other's entries.
        self._staged: dict[Turn, tuple[MemoryEntry, ...]] = {}
        self._kept: list[MemoryEntry] = []
        self._kept_tokens = 0

    def __repr__(self) -> str:
        n = len(self.entries)
        return f"<{type(self).__name__} of {to_text(self.agent)}, {n} {'entry' if n == 1 else 'entries'}>"

    @property
    def llm(self) -> ModuleLLM:
        """The model that the memory asks: its own, or else the agent's.

        Raises:
            ConfigurationError: if neither exists.
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
        """Keep an entry; by default as long as there is room for it."""
        self._kept.append(entry)
        self._kept_tokens += self._tokens_of(entry)
        self._drop_beyond(self.max_tokens)

    def _stored(self) -> Iterable[MemoryEntry]:
        """The entries that are kept, oldest first."""
        return tuple(self._kept)

    def _drop_beyond(self, max_tokens: int | None) -> None:
        """Drop the oldest entries until the rest takes at most `max_tokens`; the newest entry always stays.

        An observation just made takes no room, since prompts have it elsewhere.
        """
        if max_tokens is None or self._kept_tokens <= max_tokens:
            return
        max_tokens += sum(map(self._tokens_of, self._kept[len(before_observation(self._kept)) :]))
        oldest = 0
        while self._kept_tokens > max_tokens and oldest < len(self._kept) - 1:
            self._kept_tokens -= self._tokens_of(self._kept[oldest])
            oldest += 1
        del self._kept[:oldest]

    def _drop_steps_before_last(self, n: int) -> None:
        """Drop all but the last `n` steps in which something happened; an observation just made is no step yet."""
        if self._kept[-1].step - self._kept[0].step < n:
            return
        first = first_of_last_steps(before_observation(self._kept), n)
        if self._kept[0].step < first:
            self._kept_tokens -= sum(map(self._tokens_of, [entry for entry in self._kept if entry.step < first]))
            self._kept = [entry for entry in self._kept if entry.step >= first]

    def _forget(self, entries: Iterable[MemoryEntry]) -> None:
        """Drop exactly these entries, and none that arrived since they were read."""
        gone = {id(entry) for entry in entries}
        self._hold(entry for entry in self._kept if id(entry) not in gone)

    def _hold(self, entries: Iterable[MemoryEntry]) -> None:
        """Keep these entries and no others."""
        self._kept = list(entries)
        self._kept_tokens = sum(map(self._tokens_of, self._kept))

    def _tokens_of(self, entry: MemoryEntry) -> int:
        """How many tokens an entry takes, the line break included."""
        tokens = entry.tokens
        if self._most_of_one is None or tokens <= self._most_of_one:
            return tokens + 1
        return tokens_of_line(self._line(entry))

    def _line(self, entry: MemoryEntry) -> str:
        """An entry as a line of a prompt, shortened if it is too long."""
        if self._most_of_one is None or entry.tokens <= self._most_of_one:
            return entry._line
        return shortened(entry._line, self._most_of_one, keeps_end=entry.type in _DECISIONS)

    def _lines(self, entries: Iterable[MemoryEntry], beside: str = "") -> str:
        """The newest of the entries (given oldest first) that fit, one a line, into a prompt that also has `beside`."""
        shown: Sequence[MemoryEntry] = list(entries)
        room = None if self.max_tokens is None else self.max_tokens - tokens_of_line(beside)
        if room is not None and sum([entry.tokens for entry in shown]) + len(shown) > room:
            shown = newest_that_fit(shown, room, self._tokens_of)
        return "\n".join(map(self._line, shown)) or NOTHING_YET

    def _past(self) -> tuple[MemoryEntry, ...]:
        """All entries but the observation just made, which has a place of its own in prompts."""
        past = before_observation(self.entries)
        if (n := self._most_steps) is None:
            return tuple(past)
        first = first_of_last_steps(past, n)
        return tuple([entry for entry in past if entry.step >= first])

    @property
    def _most_steps(self) -> int | None:
        """How many steps a prompt shows; `None` if that depends on the room alone."""
        return None

    @abstractmethod
    def get_prompt_ready(self) -> str:
        """The memory as text for a prompt."""

    @property
    def entries(self) -> tuple[MemoryEntry, ...]:
        """All entries, oldest first. While an agent decides, it also sees those of this decision, at the end."""
        return (*self._stored(), *self._staged_now())

    def _staged_now(self) -> tuple[MemoryEntry, ...]:
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
        if not isinstance(content, dict | Mapping):
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
        self._store(entry)
        self._collect(entry)
        record_entry = getattr(getattr(self.agent, "recorder", None), "record_entry", None)
        if record_entry is not None:  # a recorder of the user's own may take events alone
            record_entry(self.agent.unique_id, entry)

    def _unstage(self, turn: Turn, entry: MemoryEntry) -> None:
        left = tuple([staged for staged in self._staged.get(turn, ()) if staged is not entry])
        if left:
            self._staged[turn] = left
        else:
            self._staged.pop(turn, None)

    @property
    def step_content(self) -> dict[str, Any]:
        """What has happened since the agent's last step, by type: the last event, or all, see `additive_event_types`.

        A memory of your own may take it over in `process_step`, and begin a new one: `self.step_content = {}`.
        """
        staged = self._staged_now()
        if not staged:
            return self._step_content
        content = {name: [*value] if isinstance(value, list) else value for name, value in self._step_content.items()}
        for entry in staged:
            add_event(content, entry, self.additive_event_types)
        return content

    @step_content.setter
    def step_content(self, content: dict[str, Any]) -> None:
        self._step_content = content

    def _as_one(self, entries: Sequence[MemoryEntry]) -> MemoryEntry:
        """Several entries as one, in the form of mesa-llm 0.3."""
        content: dict[str, Any] = {}
        for entry in entries:
            add_event(content, entry, self.additive_event_types)
        return MemoryEntry(content, entries[-1].step, self.agent)

    def _collect(self, entry: MemoryEntry) -> None:
        # A memory without a process_step of its own may never learn that a step is over, and must not grow.
        if type(self).process_step is Memory.process_step and entry.step != self._step_of_content:
            self._step_content = {}
        self._step_of_content = entry.step
        add_event(self._step_content, entry, self.additive_event_types)

    def process_step(self, pre_step: bool = False) -> None:
        """Called before and after each step of the agent. By default, `step_content` begins again after the step.

        Args:
            pre_step: whether the step is about to begin.
        """
        if not pre_step:
            self.step_content = {}

    async def aprocess_step(self, pre_step: bool = False) -> None:
        """Like `process_step`."""
        self.process_step(pre_step)

    async def asettle(self) -> Callable[[], None] | None:
        """Maintain the memory with model calls after a step, for example consolidate entries.

        Called after the agent has acted; in a parallel step after all agents have, for all of them concurrently. Asks
        the model and changes nothing. If it raises, the step stands, and it is called again after the agent's next
        step.

        Returns:
            A function that keeps the results, called in the order of the agents; `None` if nothing is pending.
        """
        return None

    def get_communication_history(self) -> str:
        """The messages remembered, one a line, oldest first; empty if no message came."""
        lines = [
            shortened(f"[step {entry.step}] {_said(entry.content)}", self._most_of_one)
            for entry in self.entries
            if entry.type == "message"
        ]
        return "\n".join(newest_that_fit(lines, self.max_tokens, tokens_of_line))


def _said(message: Mapping[str, Any]) -> str:
    """A message as a sentence; all of it if the text is not where `send_message` puts it."""
    text = to_text(message.get("message", message))
    return text if message.get("sender") is None else f"Agent {to_text(message['sender'])} says: {text}"


def _own_llm(agent: Agent[Any], llm_model: str | None, api_base: str | None) -> ModuleLLM | None:
    agents: ModuleLLM | None = getattr(agent, "llm", None)
    if agents is None:
        return None if llm_model is None else ModuleLLM(llm_model, api_base)
    if llm_model is None and api_base is None:
        return None
    return agents.for_model(llm_model or agents.llm_model, api_base)


def memory_request(memory: Memory, instructions: str, prompt: str) -> LLMRequest:
    """A request about memories: first the instructions that all agents share, then who the agent is, then the prompt.

    A system prompt of the memory's own model replaces the instructions. The agent's bounds on the length of an answer
    apply to its decisions and are not sent.
    """
    parts = {"Who the agent is": "system_prompt", "What it decides in each step": "step_prompt"}
    texts = {heading: str(getattr(memory.agent, name, None) or "").strip() for heading, name in parts.items()}
    about = "".join(f"\n\n# {heading}\n{text}" for heading, text in texts.items() if text)
    if memory._llm is not None and memory._llm.system_prompt:
        instructions = memory._llm.system_prompt
    body = memory.llm.options.get("extra_body")
    options: dict[str, Any] = dict.fromkeys(("max_tokens", "max_completion_tokens", "stop"))
    if body:
        options["extra_body"] = {name: value for name, value in body.items() if name not in _LENGTHS} or None
    return memory.llm.request(prompt, system_prompt=f"{instructions}{about}", **options)


def remember(memory: Memory, type: str, content: Mapping[str, Any]) -> None:  # noqa: A002 - mesa-llm's name
    """Add to a memory: by its `aadd_to_memory` if it has one of its own and the caller can await it."""
    writes = current_writes()
    asynchronous = getattr(memory, "aadd_to_memory", None)
    if writes is None or asynchronous is None or own_method(asynchronous, Memory.aadd_to_memory) is None:
        memory.add_to_memory(type=type, content=content)
    else:
        writes.append(lambda: memory.aadd_to_memory(type=type, content=content))


def can_remember(agent: Any) -> bool:
    """Whether events can be added to an agent's memory: to a `Memory`, or an object with the same method."""
    return callable(getattr(getattr(agent, "memory", None), "add_to_memory", None))
