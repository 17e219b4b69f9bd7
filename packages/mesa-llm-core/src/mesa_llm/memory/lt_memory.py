"""Memory that is one text, written anew after every step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mesa_llm.memory.consolidation import LONG_TERM_TOKENS, ConsolidatingMemory
from mesa_llm.memory.lines import MAX_TOKENS
from mesa_llm.memory.memory import MemoryEntry

if TYPE_CHECKING:
    from mesa import Agent


class LongTermMemory(ConsolidatingMemory):
    """Remembers all in one text, into which a model works each step when it has ended: one call a step.

    What has come since, such as messages of agents that acted later, is in the prompt word for word.

    ```python
    from mesa import Model
    from mesa_llm.llm_agent import LLMAgent
    from mesa_llm.memory import LongTermMemory
    from mesa_llm.reasoning import CoTReasoning
    from mesa_llm.testing import ScriptedLLM

    llm = ScriptedLLM("Rest.")
    agent = LLMAgent(Model(), CoTReasoning, client=llm, memory=lambda agent: LongTermMemory(agent))
    agent.memory.add_to_memory("plan", {"content": "plant maize"})
    print("plant maize" in agent.memory.get_prompt_ready())
    #> True
    ```

    Args:
        agent: whose memory it is.
        display: without effect, see `Memory`.
        llm_model: the model that consolidates; by default the agent's.
        api_base: the base URL of its server, see `Memory`.
        additive_event_types: without effect, see `Memory`.
        max_tokens: what the memory takes of a prompt at most, see `Memory`.
        long_term_tokens: what the text takes of it at most, see `ConsolidatingMemory`.

    Raises:
        ConfigurationError: if one of these cannot work.
    """

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
        super().__init__(agent, llm_model, display, api_base, max_tokens=max_tokens, long_term_tokens=long_term_tokens)

    def _owed(self) -> Sequence[MemoryEntry]:
        return tuple(self._kept)
