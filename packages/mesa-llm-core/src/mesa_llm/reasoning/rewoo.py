"""ReWOO: plan several steps ahead, then carry them out without looking again.

After Xu et al. (2023), "ReWOO: Decoupling Reasoning from Observations for Efficient Augmented Language Models",
arXiv:2305.18323.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mesa_llm.activation import stage, step_of
from mesa_llm.clients import Message, ToolCall
from mesa_llm.reasoning.executor import tool_calls_for
from mesa_llm.reasoning.prompts import system_prompt, user_prompt
from mesa_llm.reasoning.reasoning import Plan, Reasoning, Thinking

if TYPE_CHECKING:
    from mesa_llm.clients import ToolChoice
    from mesa_llm.llm_agent import LLMAgent
    from mesa_llm.reasoning.observation import Observation

_INSTRUCTIONS = """\
You are an agent in a simulation that plans several steps ahead and does not look again while it carries the plan out.
Make a plan of one to five actions that leads to your goal, and say what to do if things go differently. Answer in this
form:
Plan: your strategy and why
Step 1: the first action
Step 2: the next action, if any, and so on up to Step 5
Contingency: what to do if things go differently"""


class ReWOOReasoning(Reasoning):
    """Plans up to five actions with two model calls; carries out one tool call a step, without asking again."""

    def __init__(self, agent: LLMAgent) -> None:
        super().__init__(agent)
        self._remaining: tuple[ToolCall, ...] = ()

    @property
    def remaining_tool_calls(self) -> int:
        """How many tool calls of the current plan are still to be made."""
        return len(self._remaining)

    def unfinished_plan(self, ttl: int) -> Plan | None:
        """The next tool call of the current plan, `None` when all have been made."""
        if not self._remaining:
            return None
        return self._next_of(Message("assistant", tool_calls=self._remaining), step_of(self.agent.model), ttl)

    def decide(
        self,
        prompt: str,
        obs: Observation,
        *,
        ttl: int,
        selected_tools: list[str] | None,
        tool_calls: ToolChoice | None,
    ) -> Thinking:
        """Make a new plan and begin it."""
        agent = self.agent
        response = yield agent.llm.request(
            prompt=user_prompt(agent.memory.get_prompt_ready(), obs, prompt),
            tool_schema=agent.tool_manager.specs(selected_tools, agent=agent, seen=obs),
            tool_choice="none",
            system_prompt=system_prompt(_INSTRUCTIONS, agent.system_prompt),
        )
        agent.memory.add_to_memory("plan", {"content": response.message.content})
        plan = yield from tool_calls_for(
            agent,
            response.message.content,
            obs,
            ttl=ttl,
            selected_tools=selected_tools,
            tool_calls=tool_calls,
        )
        return self._next_of(plan.llm_plan, obs.step, ttl)

    def _next_of(self, message: Message, step: int, ttl: int) -> Plan:
        first, rest = message.tool_calls[:1], message.tool_calls[1:]
        stage(self.agent, lambda: setattr(self, "_remaining", rest))
        return Plan(step=step, llm_plan=replace(message, tool_calls=first), ttl=ttl)
