"""Chain of thought: think in numbered steps, then act.

After Wei et al. (2022), "Chain-of-Thought Prompting Elicits Reasoning in Large Language Models", arXiv:2201.11903.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesa_llm.clients.questions import register_question
from mesa_llm.reasoning.plan import Observation, Thinking
from mesa_llm.reasoning.reasoning import Reasoning, first_request, tool_calls_for

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
register_question("decide", _INSTRUCTIONS, in_words=True)


class CoTReasoning(Reasoning):
    """Thinks in numbered steps, then turns the decision into tool calls: two model calls."""

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
        response = yield first_request(self.agent, _INSTRUCTIONS, prompt, obs, selected_tools, "none")
        thoughts = response.message.content
        self.agent.memory.add_to_memory("plan", {"content": thoughts})
        return (yield from tool_calls_for(self.agent, thoughts, obs, ttl, selected_tools, tool_calls))
