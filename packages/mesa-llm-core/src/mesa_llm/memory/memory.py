"""The base of all memories: when an entry counts as remembered, which ones are kept, and what a prompt gets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from mesa_llm.activation import Turn, current_turn, step_of
from mesa_llm.activation.context import current_writes
from mesa_llm.activation.method_pairs import own_method
from mesa_llm.activation.values import to_text
from mesa_llm.clients.questions import INSTRUCTIONS, instructions_for
from mesa_llm.errors import ConfigurationError
from mesa_llm.memory.entries import (
    HEADING_TOKENS,
    MemoryEntry,
    Recent,
    add_event,
    before_observation,
    newest_that_fit,
    shortened,
    text_of,
    tokens_of_line,
    write_entries,
)
from mesa_llm.memory.observation import Observation, observation_in
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
# Divisors. An entry takes at most a quarter of a memory, so that it does not push out all others. An observation takes
# at most half of it, since later ones can be rebuilt only from a complete one.
_LARGEST_SHARE = 4
_LARGEST_OBSERVATION = 2
_LEFT_WHEN_SHORTENED = 5 / 8
"""What is left of a room that is exceeded: prompts then begin alike for several steps, and can be cached."""
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
            least 100, or `None` for no bound. When it is exceeded, the oldest entries go, until five eighths are left.
            An entry longer than a quarter of the bound (an observation: than half of it) is shortened, with a note.

    Raises:
        ConfigurationError: if `max_tokens` is less than 100, or `llm_model` names no provider.
    """

    _records_changes = True
    """Whether the text of an observation says only what has changed since the one before."""

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
        self._most_of_observation = None if max_tokens is None else max_tokens // _LARGEST_OBSERVATION
        self._llm = _own_llm(agent, llm_model, api_base)
        # Entries written before a turn, by turn: two attempts at one decision do not see each other's entries.
        self._staged: dict[Turn, tuple[MemoryEntry, ...]] = {}
        self._kept: list[MemoryEntry] = []
        self._mesa_llm_recent = Recent()

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
        del self._kept[: self._n_to_drop(self._kept)]

    def _stored(self) -> Iterable[MemoryEntry]:
        """The entries that are kept, oldest first."""
        return tuple(self._kept)

    def _n_to_drop(self, entries: Sequence[MemoryEntry]) -> int:
        """How many of the entries, given oldest first, are no longer kept; by default those for which there is no room.

        An observation just made takes no room, since prompts have it elsewhere.
        """
        past = before_observation(entries)
        # With less than half of the bound, there is room for the full text of the first observation, see `_in_full`.
        if self.max_tokens is None or self._mesa_llm_recent.tokens_of(past) <= self.max_tokens // _LARGEST_OBSERVATION:
            return 0
        n_dropped = self._n_over(past, self.max_tokens)
        return self._n_over(past, int(self.max_tokens * _LEFT_WHEN_SHORTENED)) if n_dropped else 0

    def _n_over(self, entries: Sequence[MemoryEntry], room: int | None) -> int:
        """How many of the entries, given oldest first, must go so that the rest fits; the last one always stays."""
        if room is None:
            return 0
        n_dropped, tokens = 0, self._mesa_llm_recent.tokens_of(entries)
        if self._most_of_observation is not None and tokens + self._most_of_observation <= room:
            return 0  # whatever the full text of the first observation takes
        while n_dropped < len(entries) - 1 and tokens + self._extra_tokens_in_full(entries[n_dropped:]) > room:
            tokens -= entries[n_dropped].tokens
            if entries[n_dropped].step != entries[n_dropped + 1].step:
                tokens -= HEADING_TOKENS
            n_dropped += 1
        return n_dropped

    def _extra_tokens_in_full(self, entries: Sequence[MemoryEntry]) -> int:
        """How many tokens more the full text of the first observation takes."""
        first = next((entry for entry in entries if entry._observation_id), None)
        return tokens_of_line(self._in_full(first)) - first.tokens if first is not None and first._relative_to else 0

    def _forget(self, entries: Iterable[MemoryEntry]) -> None:
        """Drop exactly these entries, and none that arrived since they were read."""
        gone = {id(entry) for entry in entries}
        self._hold(entry for entry in self._kept if id(entry) not in gone)

    def _hold(self, entries: Iterable[MemoryEntry]) -> None:
        """Keep these entries and no others."""
        self._kept = list(entries)
        self._mesa_llm_recent = Recent()

    def _in_full(self, entry: MemoryEntry) -> str:
        """The full text of an observation, made once."""
        if entry._full is None:
            seen = observation_in(entry.step, entry.content)
            full = (
                entry.text if seen is None else self._shorten(entry.type, f"Saw: {self._describe(seen) or 'nothing'}")
            )
            object.__setattr__(entry, "_full", full)
        return cast("str", entry._full)

    def _describe(self, seen: Observation, before: Observation | None = None) -> str:
        describe = getattr(self.agent, "describe_observation", None)
        text: str = seen.as_text(before) if describe is None else describe(seen, before)
        return text

    def _shorten(self, type: str, text: str) -> str:  # noqa: A002
        """A text, shortened if it is too long."""
        most = self._most_of_observation if type == "observation" else self._most_of_one
        return shortened(text, most, keeps_end=type in _DECISIONS)

    def _make_entry(self, type: str, content: Mapping[str, Any]) -> MemoryEntry:  # noqa: A002
        """An entry with its text for all prompts: of an observation, what has changed since the one before."""
        step = step_of(self.agent.model)
        seen = observation_in(step, content) if type == "observation" else None
        if seen is None:
            text = text_of(step, type, content, owner=getattr(self.agent, "unique_id", None))
            return MemoryEntry._of(step, type, content, self._shorten(type, text))
        last = self._last_observation() if self._records_changes else None
        before = None if last is None else self._seen_in(last)
        if last is None or before is None:
            text = self._shorten(type, f"Saw: {self._describe(seen) or 'nothing'}")
            entry = MemoryEntry._of(step, type, content, text, text, relative_to=0)
        else:
            changes = self._describe(seen, before)
            text = self._shorten(type, f"Changed: {changes}" if changes else "Nothing changed.")
            entry = MemoryEntry._of(step, type, content, text, relative_to=last._observation_id)
        self._mesa_llm_recent.seen = entry, seen
        return entry

    def _last_observation(self) -> MemoryEntry | None:
        newest_first = chain(reversed(self._staged_now()), reversed(self._kept))
        return next((entry for entry in newest_first if entry._observation_id), None)

    def _seen_in(self, entry: MemoryEntry) -> Observation | None:
        known, seen = self._mesa_llm_recent.seen
        return seen if known is entry else observation_in(entry.step, entry.content)

    def _lines(self, entries: Sequence[MemoryEntry], beside: str = "") -> str:
        """The newest of the entries (given oldest first) that fit into a prompt that also has `beside`."""
        room = None if self.max_tokens is None else self.max_tokens - tokens_of_line(beside)
        shown = entries[self._n_over(entries, room) :]
        recent = self._mesa_llm_recent
        recent.written = write_entries(shown, self._in_full, recent.written)
        return recent.written.text or NOTHING_YET

    def _past(self) -> Sequence[MemoryEntry]:
        """The entries for a prompt: all but the observation just made, which stands elsewhere in it."""
        entries = list(self._stored())
        for entry in self._staged_now():  # as if each had been kept at once
            entries.append(entry)
            del entries[: self._n_to_drop(entries)]
        return before_observation(entries)

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
        entry = self._make_entry(type, content)
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


class UsualInstructions:
    """The instructions of a memory as an attribute: the agent's, the model's, or the usual ones, until it is assigned.

    Args:
        name: the name under which they are registered.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, memory: Any, owner: type | None = None) -> str:
        return INSTRUCTIONS[self._name] if memory is None else instructions_for(memory.agent, self._name)


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
