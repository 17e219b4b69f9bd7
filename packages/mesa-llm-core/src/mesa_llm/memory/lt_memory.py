"""Long-term memory: a model consolidates older entries into one text."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mesa_llm.activation.once import log_once
from mesa_llm.clients.questions import register_question
from mesa_llm.clients.thoughts import without_thoughts
from mesa_llm.errors import ConfigurationError, DecisionError
from mesa_llm.memory.entries import MemoryEntry, in_batches, prompt_lines, shortened, tokens_of_line
from mesa_llm.memory.memory import MAX_TOKENS, NOTHING_YET, Memory, UsualInstructions, memory_request
from mesa_llm.module_llm.dialogue import aconverse

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.module_llm.dialogue import Dialogue

_logger = logging.getLogger(__name__)

LONG_TERM_TOKENS = 500
"""How many tokens of a prompt the long-term memory takes by default."""

_FEWEST_LONG_TERM_TOKENS = 50
_TOKENS_PER_WORD = 2  # more than English takes, so that an answer of about the right number of words is not cut
_MOST_PENDING = 10  # prompts full of entries that wait for consolidation while the model keeps failing
_MOST_ENTRIES_PENDING = 1000

_INSTRUCTIONS = """\
You keep the long-term memory of an agent in a simulation. You are given this memory and what has happened since.
Rewrite the memory so that it holds both: facts, promises, relations to others, what worked and what did not. Keep
names, numbers and steps as they are. Leave out what is routine or repeated.
Answer with the text of the memory and nothing else, in at most {words} words."""
register_question("sum up", _INSTRUCTIONS, name="LongTermMemory")

_LONG_AGO = "Long ago:\n"
_LATELY = "\n\nLately:\n"


class LongTermMemory(Memory):
    """Remembers everything in one text, which a model rewrites after each step: one call a step.

    Until an entry is consolidated, it is in the prompt word for word, as far as there is room; so are entries that
    arrive in the meantime, such as messages. A consolidation that fails is tried again after the agent's next step. If
    it keeps failing until ten prompts' worth of entries is pending, or a thousand entries, the memory drops the oldest
    with a warning.

    Args:
        agent: the agent that remembers.
        display: without effect, see `Memory`.
        llm_model: the model that consolidates; by default the agent's.
        api_base: the base URL of its server, see `Memory`.
        additive_event_types: see `Memory`.
        max_tokens: how many tokens of a prompt the memory takes at most, see `Memory`.
        long_term_tokens: how many of them the text takes at most; at least 50, and never more than half of
            `max_tokens`. The model is asked for few enough words to keep to it; a longer answer is cut.

    Attributes:
        long_term_memory: the text; empty until something is consolidated.
        system_prompt: the instructions for consolidating; `{words}` in it stands for how many words the text may have.

    Raises:
        ConfigurationError: if one of these cannot work.
    """

    system_prompt = UsualInstructions("LongTermMemory")

    def __init__(
        self,
        agent: Agent[Any],
        display: bool = True,
        llm_model: str | None = None,
        api_base: str | None = None,
        additive_event_types: Iterable[str] | None = None,
        *,
        max_tokens: int | None = MAX_TOKENS,
        long_term_tokens: int = LONG_TERM_TOKENS,
    ) -> None:
        if long_term_tokens < _FEWEST_LONG_TERM_TOKENS:
            raise ConfigurationError(
                f"long_term_tokens must be at least {_FEWEST_LONG_TERM_TOKENS}, got {long_term_tokens!r}."
            )
        super().__init__(agent, llm_model, display, api_base, additive_event_types, max_tokens=max_tokens)
        self.long_term_tokens = long_term_tokens if max_tokens is None else min(long_term_tokens, max_tokens // 2)
        self.long_term_memory = ""
        self._consolidated_last: Sequence[MemoryEntry] = ()

    def _pending(self) -> Sequence[MemoryEntry]:
        """The entries to be consolidated now, oldest first."""
        return tuple(self._kept)

    @property
    def _room(self) -> int | None:
        """Tokens left for entries when the text is as long as it may be."""
        if self.max_tokens is None:
            return None
        return self.max_tokens - self.long_term_tokens - tokens_of_line(_LONG_AGO + _LATELY)

    def _n_to_drop(self, entries: Sequence[MemoryEntry]) -> int:
        return 0  # a model works them into the text first

    def _store(self, entry: MemoryEntry) -> None:
        self._kept.append(entry)
        most = None if self.max_tokens is None else _MOST_PENDING * self.max_tokens
        if len(self._kept) > _MOST_ENTRIES_PENDING or (
            most is not None and self._mesa_llm_recent.tokens_of(self._kept) > most
        ):
            # Drop a tenth at once: dropping takes time and logs a warning.
            n_lost = max(0, len(self._kept) - _MOST_ENTRIES_PENDING * 9 // 10)
            n_lost += self._n_over(self._kept[n_lost:], None if most is None else most * 9 // 10)
            self._forget(self._kept[:n_lost])
            log_once(
                _logger,
                logging.WARNING,
                f"{self.agent} has lost its oldest {n_lost} memories: they could not be consolidated.",
                model=self.agent.model,
                kind="lost memories",
            )

    @property
    def buffer(self) -> MemoryEntry | None:
        """What is to be consolidated next, or was last, as an entry in the form of mesa-llm 0.3; `None` at first."""
        events = self._kept or self._consolidated_last
        return self._as_one(events) if events else None

    async def asettle(self) -> Callable[[], None] | None:
        """Have the model consolidate pending entries; more than fits into one request takes several calls.

        Raises:
            ModelCallError: if the model could not be asked.
            DecisionError: if it answers with nothing.
        """
        pending = self._pending()
        if not pending:
            return None
        text = await aconverse(self._consolidated(prompt_lines(pending, self._in_full)[0]), self.llm.acomplete)

        def keep() -> None:
            self.long_term_memory = text
            self._consolidated_last = pending
            self._forget(pending)

        return keep

    def _consolidated(self, lines: Sequence[str]) -> Dialogue[str]:
        text = self.format_long_term()
        instructions = self.system_prompt.replace("{words}", str(self.long_term_tokens // _TOKENS_PER_WORD))
        for batch in in_batches(lines, self.max_tokens or MAX_TOKENS):
            news = "\n".join(batch)
            prompt = f"# Memory so far\n{text or NOTHING_YET}\n\n# What has happened since\n{news}"
            response = yield memory_request(self, instructions, prompt)
            answer, _thoughts = without_thoughts(response.message.content)
            text = shortened(answer.strip(), self.long_term_tokens, note=" …")
            if not text:
                raise DecisionError(
                    f"{self.agent}: the model was to consolidate {len(batch)} memories, and answered nothing "
                    f"(finish_reason {response.finish_reason!r})."
                )
        return text

    def format_long_term(self) -> str:
        """The text, cut to `long_term_tokens`; empty until something is consolidated."""
        return shortened(str(self.long_term_memory), self.long_term_tokens, note=" …")

    def get_prompt_ready(self) -> str:
        """The memory as text for a prompt, without the observation just made, which the prompt has elsewhere."""
        past, long_term = self._past(), self.format_long_term()
        if not long_term:
            return self._lines(past)
        long_ago = _LONG_AGO + long_term
        return f"{long_ago}{_LATELY}{self._lines(past, beside=long_ago + _LATELY)}" if past else long_ago
