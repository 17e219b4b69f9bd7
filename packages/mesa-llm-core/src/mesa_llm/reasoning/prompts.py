"""The requests of the strategies, and how their prompts are put together.

What all agents share stands first and what changes most stands last, so that servers which cache prompts by their
beginning have something to reuse: instructions, persona | memory, observation, task.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import step_of
from mesa_llm.errors import DecisionError
from mesa_llm.reasoning.plan import Plan, Thinking, names_of

if TYPE_CHECKING:
    from pydantic import BaseModel

    from mesa_llm.clients import LLMRequest, ToolChoice
    from mesa_llm.llm_agent import LLMAgent
    from mesa_llm.reasoning.observation import Observation

_OBSERVATION = "# Observation"
_EXECUTION = (
    "You carry out the decision of an agent in a simulation by calling tools. Call exactly the tools that the decision "
    "asks for, in its order. If it asks for no action, call none."
)


def first_request(
    agent: LLMAgent,
    instructions: str,
    task: str,
    obs: Observation,
    *,
    selected_tools: list[str] | None,
    tool_choice: ToolChoice | None,
    response_format: type[BaseModel] | None = None,
) -> LLMRequest:
    """The request that starts a decision: what the agent remembers, what it sees, what it has to decide.

    Args:
        agent: who decides.
        instructions: how to decide; the same for all agents.
        task: what to decide.
        obs: what the agent sees.
        selected_tools: names of the tools on offer, `None` for all.
        tool_choice: whether tools may, must not or must be called.
        response_format: the form of the answer, if it has one.
    """
    memory = agent.memory.get_prompt_ready()
    return agent.llm.request(
        prompt=f"# Memory\n{memory}\n\n{_OBSERVATION}\n{obs}\n\n# Task\n{task}",
        tool_schema=agent.tool_manager.specs(selected_tools, agent=agent, seen=obs),
        tool_choice=tool_choice,
        response_format=response_format,
        system_prompt=_system_prompt(instructions, agent.system_prompt),
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
        system_prompt=_system_prompt(_EXECUTION, agent.system_prompt),
    )
    step = step_of(agent.model) if obs is None else obs.step
    plan = Plan(step=step, llm_plan=response.message, ttl=ttl, offered=names_of(selected_tools), seen=obs)
    agent.memory.add_to_memory("plan_execution", {"content": str(plan)})
    return plan


def read_observation(request: LLMRequest) -> dict[str, Any]:
    """The observation that a prompt of this module holds, for policies that answer instead of a model.

    Args:
        request: a request made by one of the reasonings.

    Returns:
        `step`, `self_state` and `local_state`, as in `Observation`.

    Raises:
        DecisionError: if the request holds no observation.
    """
    for message in reversed(request.messages):
        _, found, rest = message.content.partition(f"{_OBSERVATION}\n")
        if found:
            observation: dict[str, Any] = json.loads(rest.split("\n", 1)[0])
            return observation
    raise DecisionError(f"No observation in the request: none of its {len(request.messages)} messages has one.")


def _system_prompt(instructions: str, persona: str | None) -> str:
    """Instructions for all agents, then who this one is."""
    return f"{instructions}\n\n# Who you are\n{persona.strip()}" if persona and persona.strip() else instructions
