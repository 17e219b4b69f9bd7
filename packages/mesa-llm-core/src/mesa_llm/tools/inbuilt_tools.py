"""The tools that come with mesa-llm: moving in the model's space, and speaking.

To offer them, import this module: it adds them to the tools of every agent that is not given its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mesa_llm.errors import ToolError
from mesa_llm.errors.shown_text import short_repr
from mesa_llm.spaces import directions_from, move_to, position_of
from mesa_llm.spaces.space import XY, listed
from mesa_llm.tools.tool_decorator import built_in
from mesa_llm.tools.visible import FreeDirection, VisibleAgentId, VisibleCell, step_meant

if TYPE_CHECKING:
    from mesa import Agent

direction_map_xy = dict(XY)
"""The steps (dx, dy) by their names, as in mesa-llm 0.3; a copy, for tools of your own."""

direction_map_row_col = {name: (-dy, dx) for name, (dx, dy) in XY.items()}
"""The same as (row, column) of cell grids."""


@built_in
def move_one_step(agent: Agent[Any], direction: FreeDirection) -> str:
    """Move one step in a direction from where you are.

    Args:
        agent: The agent that calls; the model does not see this parameter.
        direction: North, South, East, West, NorthEast, NorthWest, SouthEast or SouthWest, where the space has them; on
            a network the name of an adjacent node.

    Returns:
        Your new position.

    Raises:
        ToolError: if there is no step in this direction, or the place it leads to has no room.
    """
    steps = directions_from(agent)
    named = step_meant(direction, steps)
    if named is None:
        hint = f"Possible: {listed(steps)}." if steps else "No step is possible at all."
        raise ToolError(f"There is no step {short_repr(direction)} from {position_of(agent)!r}. {hint}")
    move_to(agent, steps[named])
    return f"Agent {agent.unique_id} moved {direction} to {position_of(agent)!r}."


@built_in
def teleport_to_location(agent: Agent[Any], target_coordinates: VisibleCell) -> str:
    """Move at once to any place in the space.

    Args:
        agent: The agent that calls; the model does not see this parameter.
        target_coordinates: The coordinates in the order in which positions are shown, such as [3, 7] or [3.5, 7.25].
            On a network the name of the node.

    Returns:
        Your new position.

    Raises:
        ToolError: if there is no such place, or it has no room.
    """
    return f"Agent {agent.unique_id} moved to {move_to(agent, target_coordinates)!r}."


@built_in
def speak_to(agent: Agent[Any], listener_agents_unique_ids: list[VisibleAgentId], message: str) -> str:
    """Send a message to other agents. They remember it.

    Args:
        agent: The agent that calls; the model does not see this parameter.
        listener_agents_unique_ids: The unique ids of the agents that get the message, such as [4, 17].
        message: What you say to them.

    Returns:
        Who got the message.

    Raises:
        ToolError: if none of the ids belongs to another agent.
    """
    wanted = dict.fromkeys(listener_agents_unique_ids)
    others: dict[int, Agent[Any]] = {
        other.unique_id: other for other in agent.model.agents if other.unique_id in wanted and other is not agent
    }
    unknown = [unique_id for unique_id in wanted if unique_id not in others and unique_id != agent.unique_id]
    if not others:
        reason = f"there are no agents {unknown}" if unknown else "no other agent was named"
        raise ToolError(f"Nobody heard the message: {reason}. Give the unique ids of other agents.")
    reply = agent.send_message(message, [others[unique_id] for unique_id in wanted if unique_id in others])
    return f"{reply} There are no agents {unknown}." if unknown else reply
