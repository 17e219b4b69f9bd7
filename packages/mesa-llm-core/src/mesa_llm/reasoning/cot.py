"""Chain of thought: think in numbered steps, then act.

After Wei et al. (2022), "Chain-of-Thought Prompting Elicits Reasoning in Large Language Models", arXiv:2201.11903.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesa_llm.clients.questions import instructions_for, register_question
from mesa_llm.memory.observation import Observation
from mesa_llm.reasoning.plan import (
    Thinking,
    decision_in_words,
    own_prompt,
    system_prompt_of,
    tool_calls_for,
)
from mesa_llm.reasoning.reasoning import Reasoning

if TYPE_CHECKING:
    from mesa_llm.clients import ToolChoice

_INSTRUCTIONS = """\
You are an agent in a simulation. Decide what to do next.
Think step by step, and answer in this form:
Thought 1: what the observation tells you
Thought 2: what your memory adds
Thought 3: the alternatives and their risks
Thought 4: your decision and why
Action: what you will do, in one sentence"""
register_question("decide", _INSTRUCTIONS, in_words=True, name="CoTReasoning")


class CoTReasoning(Reasoning):
    """Thinks in numbered steps, then turns the decision into tool calls: two model calls."""

    def get_cot_system_prompt(self, obs: Observation) -> str:
        """The system prompt, for a subclass to override: what is returned replaces it, and the task alone follows.

        What this one returns has everything: instructions, who the agent is, its memory and the observation. If it is
        not overridden, the prompt is put together in an order that servers can cache better.

        Args:
            obs: what the agent sees.

        Returns:
            The system prompt.
        """
        return system_prompt_of(self.agent, instructions_for(self.agent, "CoTReasoning"), obs)

    def decide(
        self,
        prompt: str,
        obs: Observation,
        *,
        ttl: int,
        selected_tools: list[str] | None,
        tool_calls: ToolChoice | None,
    ) -> Thinking:
        """Think, then turn the decision into tool calls."""
        own = own_prompt(self.get_cot_system_prompt, CoTReasoning.get_cot_system_prompt, obs)
        instructions = instructions_for(self.agent, "CoTReasoning")
        thoughts = yield from decision_in_words(self.agent, instructions, prompt, obs, selected_tools, own)
        return (yield from tool_calls_for(self.agent, thoughts, obs, ttl, selected_tools, tool_calls))
