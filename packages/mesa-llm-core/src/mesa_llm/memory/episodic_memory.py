"""Memory of single events, of which those come to mind that are recent, important and relevant.

After Park et al. (2023), "Generative Agents: Interactive Simulacra of Human Behavior", arXiv:2304.03442, section 4.1.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import step_of
from mesa_llm.errors import ConfigurationError
from mesa_llm.memory.memory import Memory, MemoryEntry
from mesa_llm.memory.prompt import MAX_TOKENS, NOTHING_YET, tokens_of_line
from mesa_llm.memory.scores import (
    Embed,
    cosines,
    importances,
    scaled,
    shared_words,
    unit_vectors,
    words_in,
    words_of,
)
from mesa_llm.module_llm.dialogue import aconverse, converse

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.memory.scores import Vector

UNJUDGED = 5
"""The importance of an entry that no model has judged yet: the middle."""


@dataclass(slots=True, eq=False)
class _Episode:
    """An entry with what has been found out about it."""

    entry: MemoryEntry
    importance: int | None = None
    vector: Vector | None = None
    words: frozenset[str] | None = field(default=None, compare=False)  # derived from the entry

    def known_words(self) -> frozenset[str]:
        if self.words is None:
            self.words = words_of(self.entry)
        return self.words


class EpisodicMemory(Memory):
    """Keeps single events; the prompt has those with the highest scores, in the order in which they happened.

    A score is the weighted sum of three values, each scaled to the range from 0 to 1 over all entries (min-max):

    `recency`
        `recency_decay` to the power of the entry's age in steps, since it happened. (In the paper: since it was last
        remembered; but reading a memory changes nothing here.)
    `importance`
        from 1 to 10, as a model judges it after everybody has acted, many entries in one call. Until then, and as long
        as the model fails, it is 5.
    `relevance`
        how near the entry is to what is new. By the words they share, rare ones counting more; or with `embed`, by the
        cosine of embeddings. These are made after everybody has acted too, so a decision never waits for one; an entry
        has a relevance of 0 until it has its own.

    What is new is always in the prompt first, whatever its score: what is of this step or the last one, or came since
    the agent has last settled. So nothing that was said to the agent is missed because its importance is low.

    ```python
    from mesa import Model
    from mesa_llm.llm_agent import LLMAgent
    from mesa_llm.memory import EpisodicMemory
    from mesa_llm.reasoning import CoTReasoning
    from mesa_llm.testing import ScriptedLLM

    llm = ScriptedLLM("Rest.")
    agent = LLMAgent(Model(), CoTReasoning, client=llm, memory=lambda agent: EpisodicMemory(agent, max_capacity=50))
    agent.memory.add_to_memory("plan", {"content": "plant maize"})
    print("plant maize" in agent.memory.get_prompt_ready())
    #> True
    ```

    Args:
        agent: whose memory it is.
        llm_model: the model that judges importance; by default the agent's, see `Memory`.
        display: without effect, see `Memory`.
        max_capacity: how many entries are kept, at least 1; the oldest go first.
        considered_entries: how many of them the prompt has at most, at least 1.
        recency_decay: what is left of recency after a step, above 0, up to 1.
        api_base: the base URL of the model's server, see `Memory`.
        max_tokens: what the memory takes of a prompt at most, see `Memory`.
        recency_weight: how much recency counts, at least 0; 1 in the paper, as the other two.
        importance_weight: how much importance counts.
        relevance_weight: how much relevance counts.
        embed: turns a list of texts into one vector each, such as an `Embedder`; plain or async. It is called on the
            event loop that settles the agents, so that of a plain one, one agent's call runs at a time. To replay a
            run without a network, give one that needs none, or an `Embedder` with a journal.

    Raises:
        ConfigurationError: if one of these cannot work.
    """

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
        self._episodes.append(_Episode(entry))
        del self._episodes[: -self.max_capacity]

    def _stored(self) -> Iterable[MemoryEntry]:
        return tuple(episode.entry for episode in self._episodes)

    def _forget(self, entries: Iterable[MemoryEntry]) -> None:
        gone = {id(entry) for entry in entries}
        self._episodes = [episode for episode in self._episodes if id(episode.entry) not in gone]

    async def asettle(self) -> Callable[[], None] | None:
        """Have the model judge new entries, and embed those that have no embedding.

        Raises:
            ModelCallError: if the model could not be asked.
            DecisionError: if it does not answer with numbers, asked again once.
            ValueError: if `embed` does not give one vector for each text.
            Exception: what `embed` raises.
        """
        unjudged = [episode for episode in self._episodes if episode.importance is None]
        bare = [episode for episode in self._episodes if self._embed is not None and episode.vector is None]
        if not unjudged and not bare:
            return None
        found = await aconverse(importances(self, self._lines_of(unjudged)), self.llm.acomplete)
        vectors = await self._embedded(self._lines_of(bare))

        def keep() -> None:
            for episode, importance in zip(unjudged, found, strict=True):
                episode.importance = importance
            for episode, vector in zip(bare, vectors, strict=True):
                episode.vector = vector

        return keep

    def _lines_of(self, episodes: Iterable[_Episode]) -> list[str]:
        return [self._line(episode.entry) for episode in episodes]

    async def _embedded(self, lines: list[str]) -> list[Vector]:
        if self._embed is None or not lines:
            return []
        vectors = self._embed(lines)
        return unit_vectors(await vectors if inspect.isawaitable(vectors) else vectors, len(lines))

    def grade_event_importance(self, type: str, content: Mapping[str, Any]) -> int:  # noqa: A002 - mesa-llm's name
        """Have the model judge the importance of an event now; blocks the calling thread. Remembers nothing.

        Entries are judged without it, see above: a call in an agent's step makes the step longer.

        Args:
            type: the type of the event.
            content: what happened.

        Returns:
            The importance, from 1 to 10.

        Raises:
            ModelCallError: if the model could not be asked.
            DecisionError: if it does not answer with a number, asked again once.
        """
        (importance,) = converse(importances(self, self._line_of_event(type, content)), self.llm.complete)
        return importance

    async def agrade_event_importance(self, type: str, content: Mapping[str, Any]) -> int:  # noqa: A002
        """Like `grade_event_importance`, without blocking."""
        (importance,) = await aconverse(importances(self, self._line_of_event(type, content)), self.llm.acomplete)
        return importance

    def _line_of_event(self, type: str, content: Mapping[str, Any]) -> list[str]:  # noqa: A002
        return [self._line(MemoryEntry(step_of(self.agent.model), type, content))]

    def retrieve_top_k_entries(self, k: int) -> list[MemoryEntry]:
        """The entries with the highest scores, the highest first; of equal ones the newest first.

        Args:
            k: how many at most.
        """
        episodes = self._all_episodes()
        return [episode.entry for episode in self._ranked(episodes, filter(self._is_new, episodes))[:k]]

    def get_prompt_ready(self) -> str:
        """The memory as text for a prompt; without an observation just made, which has a place of its own there."""
        return "\n".join(self._lines_of(self._come_to_mind())) or NOTHING_YET

    def _come_to_mind(self) -> list[_Episode]:
        """What gets into the prompt, oldest first."""
        episodes = self._all_episodes()
        new = [episode for episode in episodes if self._is_new(episode)]
        old = [episode for episode in episodes if not self._is_new(episode)]
        past = episodes[: len(self._past())]  # an observation just made is the last; what is near to it comes to mind
        in_mind = [episode for episode in reversed(new) if episode in past]
        if len(in_mind) < self.considered_entries:
            in_mind += self._ranked(old, new)
        chosen = self._that_fit(in_mind)
        return [episode for episode in past if episode in chosen]

    def _that_fit(self, ranking: Iterable[_Episode]) -> list[_Episode]:
        chosen: list[_Episode] = []
        taken = 0
        for episode in ranking:
            tokens = tokens_of_line(self._line(episode.entry))
            if chosen and self.max_tokens is not None and taken + tokens > self.max_tokens:
                continue
            chosen.append(episode)
            taken += tokens
            if len(chosen) == self.considered_entries:
                break
        return chosen

    def _all_episodes(self) -> list[_Episode]:
        return [*self._episodes, *map(_Episode, self._staged_now())]

    def _is_new(self, episode: _Episode) -> bool:
        return episode.importance is None or episode.entry.step >= step_of(self.agent.model) - 1

    def _ranked(self, episodes: Sequence[_Episode], focus: Iterable[_Episode]) -> list[_Episode]:
        """Episodes, the highest score first and of equal ones the newest, with what is new in focus."""
        if not episodes:
            return []
        now = step_of(self.agent.model)
        recency = scaled([self.recency_decay ** (now - episode.entry.step) for episode in episodes])
        importance = scaled([episode.importance or UNJUDGED for episode in episodes])
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
        words = words.union(*(episode.known_words() for episode in focus))
        return shared_words(words, [episode.known_words() for episode in episodes])
