"""What memories ask of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.clients import LLMRequest
    from mesa_llm.memory.memory import Memory


def memory_request(memory: Memory, instructions: str, prompt: str) -> LLMRequest:
    """A question about memories: the instructions that all agents share first, then whose memory it is, then the rest.

    The agent's `max_tokens` and `stop` are for its decisions, and not sent.

    Args:
        memory: who asks.
        instructions: what to do; the same for all agents.
        prompt: what to do it with.
    """
    return memory.llm.request(prompt, system_prompt=f"{instructions}{_about(memory.agent)}", max_tokens=None, stop=None)


def _about(agent: Agent[Any]) -> str:
    parts = {"Who the agent is": "system_prompt", "What it decides in each step": "step_prompt"}
    texts = {heading: str(getattr(agent, name, None) or "").strip() for heading, name in parts.items()}
    return "".join(f"\n\n# {heading}\n{text}" for heading, text in texts.items() if text)
