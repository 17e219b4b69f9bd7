"""The second call of strategies that think first: words into tool calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesa_llm.activation import step_of
from mesa_llm.reasoning.plan import Plan, Thinking, names_of
from mesa_llm.reasoning.prompts import system_prompt

if TYPE_CHECKING:
    from mesa_llm.clients import ToolChoice
    from mesa_llm.llm_agent import LLMAgent
    from mesa_llm.reasoning.observation import Observation

_INSTRUCTIONS = (
    "You carry out the decision of an agent in a simulation by calling tools. Call exactly the tools that the decision "
    "asks for, in its order. If it asks for no action, call none."
)


def tool_calls_for(
    agent: LLMAgent,
    decision: str,
    obs: Observation | None = None,
    *,
    ttl: int,
    selected_tools: list[str] | None,
    tool_calls: ToolChoice | None,
) -> Thinking:
    """Ask the model to turn a decision in words into tool calls; use with `yield from`.

    Args:
        agent: who decides.
        decision: the decision in words.
        obs: what the agent sees; `None` if that is not known.
        ttl: for how many steps the plan holds.
        selected_tools: names of the tools on offer, `None` for all.
        tool_calls: whether tools may, must not or must be called.
    """
    response = yield agent.llm.request(
        prompt=decision,
        tool_schema=agent.tool_manager.specs(selected_tools, agent=agent, seen=obs),
        tool_choice=tool_calls,
        system_prompt=system_prompt(_INSTRUCTIONS, agent.system_prompt),
    )
    step = step_of(agent.model) if obs is None else obs.step
    plan = Plan(step=step, llm_plan=response.message, ttl=ttl, offered=names_of(selected_tools), seen=obs)
    agent.memory.add_to_memory("plan_execution", {"content": str(plan)})
    return plan
