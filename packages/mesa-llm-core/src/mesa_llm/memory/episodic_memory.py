"""Memory of single events: the recent, important and relevant ones go into prompts.

After Park et al. (2023), "Generative Agents: Interactive Simulacra of Human Behavior", arXiv:2304.03442, section 4.1.
"""

from __future__ import annotations

import inspect
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mesa_llm.activation import step_of
from mesa_llm.activation.values import to_text
from mesa_llm.clients.questions import register_question
from mesa_llm.errors import ConfigurationError
from mesa_llm.memory.entries import HEADING_TOKENS, GroupedEntries, MemoryEntry, events_of, in_batches, write_entries
from mesa_llm.memory.memory import MAX_TOKENS, NOTHING_YET, Memory, UsualInstructions, memory_request
from mesa_llm.module_llm.dialogue import aconverse, ask_structured, converse

if TYPE_CHECKING:
    from mesa import Agent
    from numpy.typing import NDArray

    from mesa_llm.memory.entries import Group
    from mesa_llm.module_llm.dialogue import Dialogue

    type Vector = NDArray[np.float32]

type Embed = Callable[[list[str]], Iterable[Sequence[float]] | Awaitable[Iterable[Sequence[float]]]]
"""Turns texts into one vector each, all of one length; plain or async."""

_UNJUDGED = 5  # the importance of an entry that no model has judged yet: the middle of the scale
_LOWEST, _HIGHEST = 1, 10
_AT_ONCE = 20  # entries judged in one call: small models lose count of more
_WORD = re.compile(r"\w+")

_INSTRUCTIONS = """\
You judge how much the memories of an agent in a simulation matter to it. Grade each entry with a whole number from 1 to
10: 1 for what is routine and can be forgotten, 10 for what will matter for the rest of its life.
Answer with a JSON object that has the grade of each entry under its number, such as {"1": 2, "2": 8}."""
register_question("grade", _INSTRUCTIONS, name="EpisodicMemory")


class EventGrade(BaseModel):
    """The importance of one event, in the form in which mesa-llm 0.3 asked for it. Here, one call judges many."""

    model_config = ConfigDict(defer_build=True)

    grade: int = Field(description="How much the event matters, as a whole number")


@dataclass(eq=False)
class _Episode:
    """An entry with its importance and embedding, once they are known."""

    entry: MemoryEntry
    importance: int | None = None
    vector: Vector | None = None

    @cached_property
    def words(self) -> frozenset[str]:
        return words_of(self.entry)


class EpisodicMemory(Memory):
    """Keeps single events; the prompt has those with the highest scores, in the order in which they happened.

    A score is the weighted sum of three values, each scaled to the range from 0 to 1 over all entries (min-max):

    `recency`
        `recency_decay` to the power of the entry's age in steps, counted from when it happened. (In the paper: from
        when it was last retrieved; here, reading a memory changes nothing.)
    `importance`
        from 1 to 10, judged by a model after all agents have acted, many entries in one call. Until then, and while the
        model fails, it is 5.
    `relevance`
        how near the entry is to what is new: by the words that they share, rare words counting more; or with `embed`,
        by the cosine of embeddings. These are also made after the acts, so that no decision waits for them; an entry
        without an embedding has a relevance of 0.

    What is new always comes first, whatever its score: entries of this step and the last one, and those that arrived
    since the memory was last maintained. So an agent misses no message because its importance is low.

    Args:
        agent: the agent that remembers.
        llm_model: the model that judges importance; by default the agent's, see `Memory`.
        display: without effect, see `Memory`.
        max_capacity: how many entries are kept, at least 1; the oldest go first.
        considered_entries: how many of them the prompt has at most, at least 1.
        recency_decay: what is left of recency after a step, above 0, up to 1.
        api_base: the base URL of the model's server, see `Memory`.
        max_tokens: how many tokens of a prompt the memory takes at most, see `Memory`.
        recency_weight: how much recency counts, at least 0; 1 in the paper, like the other two.
        importance_weight: how much importance counts.
        relevance_weight: how much relevance counts.
        embed: turns a list of texts into one vector each, such as an `Embedder`; plain or async. It is called on the
            event loop that runs the maintenance, so calls of a plain one run one after the other. To replay a run
            without a network, give a local function, or an `Embedder` with a journal.

    Raises:
        ConfigurationError: if one of these cannot work.
    """

    system_prompt = UsualInstructions("EpisodicMemory")
    _records_changes = False  # any of them may come to mind without the one before

    def __init__(
        self,
        agent: Agent[Any],
        llm_model: str | None = None,
        display: bool = True,
        max_capacity: int = 200,
        considered_entries: int = 30,
        recency_decay: float = 0.995,
        api_base: str | None = None,
        *,
        max_tokens: int | None = MAX_TOKENS,
        recency_weight: float = 1.0,
        importance_weight: float = 1.0,
        relevance_weight: float = 1.0,
        embed: Embed | None = None,
    ) -> None:
        for name, least in {"max_capacity": max_capacity, "considered_entries": considered_entries}.items():
            if least < 1:
                raise ConfigurationError(f"{name} must be at least 1 entry, got {least!r}.")
        if not 0 < recency_decay <= 1:
            raise ConfigurationError(f"recency_decay must be > 0 and <= 1, got {recency_decay!r}. Use 1 for none.")
        weights = {"recency": recency_weight, "importance": importance_weight, "relevance": relevance_weight}
        for name, weight in weights.items():
            if not weight >= 0:
                raise ConfigurationError(f"{name}_weight must be >= 0, got {weight!r}. Use 0 to leave it out.")
        super().__init__(agent, llm_model, display, api_base, max_tokens=max_tokens)
        self.max_capacity = max_capacity
        self.considered_entries = considered_entries
        self.recency_decay = recency_decay
        self._weights = tuple(weights.values())
        self._embed = embed
        self._episodes: list[_Episode] = []

    def _store(self, entry: MemoryEntry) -> None:
        self._episodes = self._within_capacity([*self._episodes, _Episode(entry)])

    def _within_capacity(self, episodes: list[_Episode]) -> list[_Episode]:
        """The newest episodes, as many as there is room for; an observation just made takes no room."""
        just_made = bool(episodes) and episodes[-1].entry.type == "observation"
        return episodes[-self.max_capacity - just_made :]

    def _stored(self) -> Iterable[MemoryEntry]:
        return tuple(episode.entry for episode in self._episodes)

    def _forget(self, entries: Iterable[MemoryEntry]) -> None:
        gone = {id(entry) for entry in entries}
        self._episodes = [episode for episode in self._episodes if id(episode.entry) not in gone]

    def _hold(self, entries: Iterable[MemoryEntry]) -> None:
        known = {id(episode.entry): episode for episode in self._episodes}
        self._episodes = [
            known.get(id(entry)) or _Episode(entry, importance=entry.content.get("importance")) for entry in entries
        ]

    @property
    def memory_entries(self) -> GroupedEntries:
        """The entries, oldest first, in the form of mesa-llm 0.3: each has its importance in its content."""
        return GroupedEntries(self, self._with_importance)

    @memory_entries.setter
    def memory_entries(self, entries: Iterable[MemoryEntry]) -> None:
        self._hold([event for entry in entries for event in events_of(entry, self)])

    def _with_importance(self, entries: Iterable[MemoryEntry]) -> Iterable[Group]:
        importances = {id(episode.entry): episode.importance for episode in self._episodes}
        for entry in entries:
            content = {**entry.content, "importance": importances.get(id(entry)) or _UNJUDGED}
            yield MemoryEntry({entry.type: content}, entry.step, self.agent), [entry]

    async def asettle(self) -> Callable[[], None] | None:
        """Have the model judge new entries, and embed entries without an embedding.

        Raises:
            ModelCallError: if the model could not be asked.
            DecisionError: if it twice does not answer with numbers.
            ValueError: if `embed` does not give one vector for each text.
            Exception: what `embed` raises.
        """
        unjudged = [episode for episode in self._episodes if episode.importance is None]
        bare = [episode for episode in self._episodes if self._embed is not None and episode.vector is None]
        if not unjudged and not bare:
            return None
        found = await aconverse(_importances(self, _texts_of(unjudged)), self.llm.acomplete)
        vectors = await self._embedded(_texts_of(bare))

        def keep() -> None:
            for episode, importance in zip(unjudged, found, strict=True):
                episode.importance = importance
            for episode, vector in zip(bare, vectors, strict=True):
                episode.vector = vector

        return keep

    async def _embedded(self, lines: list[str]) -> list[Vector]:
        if self._embed is None or not lines:
            return []
        vectors = self._embed(lines)
        return unit_vectors(await vectors if inspect.isawaitable(vectors) else vectors, len(lines))

    def grade_event_importance(self, type: str, content: Mapping[str, Any]) -> int:  # noqa: A002 - mesa-llm's name
        """Have the model judge the importance of an event now; blocks the calling thread. Remembers nothing.

        Entries are judged after the step anyway; calling this in an agent's step makes the step longer.

        Args:
            type: the type of the event.
            content: what happened.

        Returns:
            The importance, from 1 to 10.

        Raises:
            ModelCallError: if the model could not be asked.
            DecisionError: if it twice does not answer with a number.
        """
        (importance,) = converse(_importances(self, self._line_of_event(type, content)), self.llm.complete)
        return importance

    async def agrade_event_importance(self, type: str, content: Mapping[str, Any]) -> int:  # noqa: A002
        """Like `grade_event_importance`, without blocking."""
        (importance,) = await aconverse(_importances(self, self._line_of_event(type, content)), self.llm.acomplete)
        return importance

    def _line_of_event(self, type: str, content: Mapping[str, Any]) -> list[str]:  # noqa: A002
        return [str(self._make_entry(type, content))]

    def retrieve_top_k_entries(self, k: int) -> list[MemoryEntry]:
        """The entries with the highest scores, highest first; of equal ones the newest first.

        Args:
            k: how many at most.
        """
        episodes = self._all_episodes()
        return [episode.entry for episode in self._ranked(episodes, filter(self._is_new, episodes))[:k]]

    def get_prompt_ready(self) -> str:
        """The memory as text for a prompt, without the observation just made, which the prompt has elsewhere."""
        return write_entries([episode.entry for episode in self._come_to_mind()], self._in_full).text or NOTHING_YET

    def _come_to_mind(self) -> list[_Episode]:
        """The entries of the prompt, oldest first."""
        episodes = self._all_episodes()
        new = [episode for episode in episodes if self._is_new(episode)]
        old = [episode for episode in episodes if not self._is_new(episode)]
        just_made = bool(episodes) and episodes[-1].entry.type == "observation"  # it decides what is relevant
        past = episodes[:-1] if just_made else episodes
        in_mind = [episode for episode in reversed(new) if episode in past]
        if len(in_mind) < self.considered_entries:
            in_mind += self._ranked(old, new)
        chosen = self._that_fit(in_mind)
        return [episode for episode in past if episode in chosen]

    def _that_fit(self, ranking: Iterable[_Episode]) -> list[_Episode]:
        chosen: list[_Episode] = []
        taken = 0
        for episode in ranking:
            tokens = episode.entry.tokens + HEADING_TOKENS
            if chosen and self.max_tokens is not None and taken + tokens > self.max_tokens:
                continue
            chosen.append(episode)
            taken += tokens
            if len(chosen) == self.considered_entries:
                break
        return chosen

    def _all_episodes(self) -> list[_Episode]:
        return self._within_capacity([*self._episodes, *map(_Episode, self._staged_now())])

    def _is_new(self, episode: _Episode) -> bool:
        return episode.importance is None or episode.entry.step >= step_of(self.agent.model) - 1

    def _ranked(self, episodes: Sequence[_Episode], focus: Iterable[_Episode]) -> list[_Episode]:
        """Episodes by score, highest first, of equal ones the newest; relevance is to the episodes in focus."""
        if not episodes:
            return []
        now = step_of(self.agent.model)
        recency = scaled([self.recency_decay ** (now - episode.entry.step) for episode in episodes])
        importance = scaled([episode.importance or _UNJUDGED for episode in episodes])
        relevance = scaled(self._relevances(episodes, focus))
        scores = [
            sum(weight * value for weight, value in zip(self._weights, values, strict=True))
            for values in zip(recency, importance, relevance, strict=True)
        ]
        order = sorted(range(len(episodes)), key=lambda position: (scores[position], position), reverse=True)
        return [episodes[position] for position in order]

    def _relevances(self, episodes: Sequence[_Episode], focus: Iterable[_Episode]) -> list[float]:
        if not self._weights[-1]:
            return [0.0] * len(episodes)
        if self._embed is not None:
            vectors = [episode.vector for episode in focus if episode.vector is not None]
            return cosines(vectors, [episode.vector for episode in episodes])
        words = words_in(getattr(self.agent, "step_prompt", None) or "")
        words = words.union(*(episode.words for episode in focus))
        return shared_words(words, [episode.words for episode in episodes])


def _texts_of(episodes: Iterable[_Episode]) -> list[str]:
    return [str(episode.entry) for episode in episodes]


def _importances(memory: EpisodicMemory, lines: Sequence[str]) -> Dialogue[list[int]]:
    """Have a model judge the importance of entries, many in one call; answers are clamped to 1 to 10."""
    found: list[int] = []
    for batch in in_batches(lines, memory.max_tokens or MAX_TOKENS, most=_AT_ONCE):
        numbered = "\n".join(f"{number}. {line}" for number, line in enumerate(batch, 1))
        request = memory_request(memory, memory.system_prompt, f"# Entries\n{numbered}")
        numbers = [str(number) for number in range(1, len(batch) + 1)]
        form: dict[str, Any] = {
            "title": "grades",
            "type": "object",
            "properties": {number: {"type": "integer"} for number in numbers},
            "required": numbers,
            "additionalProperties": False,
        }
        answer = yield from ask_structured(request, form, asker=memory.agent)
        found += [min(max(round(answer[number]), _LOWEST), _HIGHEST) for number in numbers]
    return found


def words_of(entry: MemoryEntry) -> frozenset[str]:
    """The words of what happened, in lower case; numbers, such as other agents' ids, are words."""
    return words_in(" ".join(map(to_text, entry.content.values())))


def words_in(text: str) -> frozenset[str]:
    """The words of a text, in lower case."""
    return frozenset(_WORD.findall(text.lower()))


def shared_words(focus: frozenset[str], entries: Sequence[frozenset[str]]) -> list[float]:
    """How much of the focus each entry has: 0 for no word, 1 for all of them.

    A word counts more if fewer entries have it (inverse document frequency); a word in all of them counts nothing.
    """
    in_entries = Counter(word for words in entries for word in words & focus)
    weights = {word: math.log(len(entries) / n) for word, n in in_entries.items()}
    # fsum is exact, so the order of the set, which differs from process to process, does not matter.
    total = math.fsum(weights.values())
    if not total:
        return [0.0] * len(entries)
    return [math.fsum(weights[word] for word in words & focus) / total for words in entries]


def cosines(focus: Sequence[Vector], entries: Sequence[Vector | None]) -> list[float]:
    """The cosine of each entry's unit vector with the mean of those in focus; 0 for an entry without a vector."""
    if not focus:
        return [0.0] * len(entries)
    mean = np.mean(np.stack(focus), axis=0)
    length = float(np.linalg.norm(mean))
    return [0.0 if vector is None or not length else float(vector @ mean) / length for vector in entries]


def unit_vectors(vectors: Iterable[Sequence[float]], n: int) -> list[Vector]:
    """The `n` vectors scaled to length 1; `ValueError` if there are more or fewer, or one is malformed."""
    rows: Any = list(vectors)
    if len(rows) != n:
        raise ValueError(f"{n} texts were to be embedded, and {len(rows)} vectors came back. Give one for each text.")
    array = np.asarray(rows, dtype=np.float32)  # ValueError if they are not of one length
    if array.ndim != 2 or not np.isfinite(array).all():
        raise ValueError(f"An embedding is a list of finite numbers, got {rows[0]!r} and its like.")
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    return list(array / np.where(lengths == 0, 1, lengths))


def normalize_dict_values(scores: dict[Any, float], min_target: float, max_target: float) -> dict[Any, float]:
    """Bring the values of a dict to a range (min-max), in place; all to its middle if they are all the same.

    Args:
        scores: the values by their keys; changed.
        min_target: the lower end of the range.
        max_target: the upper end.

    Returns:
        The same dict.
    """
    if scores:
        same = min(scores.values()) == max(scores.values())
        shares = [0.5] * len(scores) if same else scaled(list(scores.values()))
        scores.update(zip(scores, (min_target + share * (max_target - min_target) for share in shares), strict=True))
    return scores


def scaled(values: Sequence[float]) -> list[float]:
    """Values brought to the range from 0 to 1 (min-max); all 0 if they are all the same."""
    low, high = min(values), max(values)
    return [(value - low) / (high - low) if high > low else 0.0 for value in values]
