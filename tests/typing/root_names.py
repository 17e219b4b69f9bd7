"""The names that can be imported from `mesa_llm` itself."""

from typing import assert_type

import mesa_llm
import mesa_llm.parallel_stepping
from mesa_llm import (
    LLMAgent,
    Observation,
    Plan,
    ToolManager,
    enable_automatic_parallel_stepping,
    record_model,
    step_agents_parallel,
    step_agents_parallel_sync,
    tool,
)
from mesa_llm.llm_agent import LLMAgent as SameAgent
from mesa_llm.parallel_stepping import ParallelStepping
from mesa_llm.recording import record_model as same_record_model


@tool
def greet(agent: LLMAgent, name: str) -> str:
    """Greet someone."""
    return f"{agent.unique_id} greets {name}"


async def step(agent: LLMAgent, plan: Plan, seen: Observation, tools: ToolManager) -> None:
    """They have the types that they have in their packages."""
    assert_type(agent, SameAgent)
    assert_type(greet(agent, "Ada"), str)
    assert_type(plan.step, int)
    assert_type(seen.step, int)
    assert_type(enable_automatic_parallel_stepping(mode="threading"), None)
    assert_type(mesa_llm.__version__, str)
    assert_type(mesa_llm.parallel_stepping.ParallelStepping(), ParallelStepping)
    await step_agents_parallel([agent])
    step_agents_parallel_sync([agent])
    mesa_llm.step_agents_parallel_sync([agent])
    print(tools, record_model is same_record_model)


def mistakes() -> None:
    """Both type checkers see through the lazy imports."""
    enable_automatic_parallel_stepping(mode="fibres")  # type: ignore[arg-type]
    print(mesa_llm.no_such_name)  # type: ignore[attr-defined]
