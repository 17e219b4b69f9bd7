"""Decide and act in one call: half the cost and latency of strategies that think first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesa_llm.clients.questions import instructions_for, register_question
from mesa_llm.memory.memory import remember
from mesa_llm.memory.observation import Observation
from mesa_llm.reasoning.plan import Plan, Thinking, first_request, step_decided
from mesa_llm.reasoning.reasoning import Reasoning

if TYPE_CHECKING:
    from mesa_llm.clients import ToolChoice

_INSTRUCTIONS = """\
You are an agent in a simulation. Decide what to do next, and do it by calling tools, in the order in which they are to
be carried out. Say in one or two sentences why. If nothing is to be done, call no tool."""
register_question("decide", _INSTRUCTIONS, name="OneCallReasoning")


class OneCallReasoning(Reasoning):
    """Decides and calls tools in a single model call.

    The model sees memory, observation and task as with the other strategies, and answers with its reason and the tool
    calls at once. Models that think before they answer lose nothing by it; others may decide better with
    `CoTReasoning`.
    """

    def decide(
        self,
        prompt: str,
        obs: Observation,
        *,
        ttl: int,
        selected_tools: list[str] | None,
        tool_calls: ToolChoice | None,
    ) -> Thinking:
        """Decide."""
        instructions = instructions_for(self.agent, "OneCallReasoning")
        response = yield first_request(self.agent, instructions, prompt, obs, selected_tools, tool_calls)
        plan = Plan(step=step_decided(self.agent, obs), llm_plan=response.message, ttl=ttl)
        remember(self.agent.memory, "plan", {"content": str(plan)})
        return plan
