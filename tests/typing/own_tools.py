"""Tools: the decorator leaves a function's type as it is."""

from collections.abc import Callable, Coroutine
from typing import Any, Literal, assert_type

from mesa_llm.clients import ToolSpec
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.tools import FreeDirection, ToolManager, ToolResult, VisibleAgentId, VisibleCell, tool

MANAGER = ToolManager(tools=[])


@tool
def change_state(agent: LLMAgent, state: Literal["active", "quiet"]) -> str:
    """Take part, or not.

    Args:
        agent: who.
        state: the new state.
    """
    return state


@tool(tool_manager=MANAGER)
async def shout(agent: LLMAgent, words: list[str], loudness: int = 1) -> int:
    """Shout.

    Args:
        agent: who.
        words: what.
        loudness: how.
    """
    return loudness * len(words)


@tool(ignore_agent=False)
def hire(agent: VisibleAgentId, cell: VisibleCell, direction: FreeDirection = "North") -> None:
    """Hire an agent.

    Args:
        agent: whom.
        cell: where.
        direction: the way.
    """


def tools_are_the_functions_they_were(agent: LLMAgent) -> None:
    """Called as ever."""
    assert_type(change_state(agent, "active"), str)
    with_types: Callable[[LLMAgent, Literal["active", "quiet"]], str] = change_state
    with_types(agent, "quiet")
    coroutine: Coroutine[Any, Any, int] = shout(agent, ["no"])
    coroutine.close()
    hire(3, [1, 2])
    assert_type(tool(change_state)(agent, state="quiet"), str)


def managers(agent: LLMAgent) -> None:
    """Made and asked."""
    manager = ToolManager(tools=[change_state, shout])
    manager.register(hire)
    ToolManager(extra_tools={"hire": hire})
    assert_type(manager.has_tool("hire"), bool)
    assert_type(manager.specs(["hire"], agent=agent, seen=agent.generate_obs()), tuple[ToolSpec, ...])
    assert_type(manager.execute(agent, []), list[ToolResult])
    assert_type(manager.get_all_tools_schema(), list[dict[str, Any]])
    assert_type(manager.call_tools(agent, None), list[dict[str, str]])


def misuse(agent: LLMAgent) -> None:
    """What a type checker must find."""
    change_state(agent, "angry")  # type: ignore[arg-type]
    change_state(agent)  # type: ignore[call-arg]
    hire("three", [1, 2])  # type: ignore[arg-type]
    tool(3)  # type: ignore[call-overload]
    tool(tool_manager="all")  # type: ignore[call-overload]
    ToolManager(tools=3)  # type: ignore[arg-type]
    MANAGER.specs("hire", offered=True)  # type: ignore[call-arg]
