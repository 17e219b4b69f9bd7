"""Where an agent is, who is near it, and where it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mesa_llm.activation import claim, is_claimed
from mesa_llm.errors import ConflictError, ToolError
from mesa_llm.spaces import compass
from mesa_llm.spaces.coordinates import listed, plain
from mesa_llm.spaces.locate import is_continuous, space_for, space_of
from mesa_llm.spaces.surroundings import Surroundings

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.spaces.space import Position


def position_of(agent: Agent[Any]) -> Position | None:
    """Where the agent is.

    Args:
        agent: the agent.

    Returns:
        Its coordinates as a tuple of Python numbers, the node as the network calls it, `None` if it is nowhere.
    """
    if (cell := getattr(agent, "cell", None)) is not None:
        return plain(cell.coordinate)
    if is_continuous(getattr(agent, "space", None)):
        return plain(agent.position)
    # Mesa 4 has no `pos`
    return plain(getattr(agent, "pos", None))


def neighbors_of(agent: Agent[Any], radius: float) -> list[Agent[Any]]:
    """The other agents within a radius, those in the agent's own cell included.

    The distance is that of the space: steps from cell to cell, where diagonal steps count as one on Moore grids and on
    the grids of `mesa.space`; edges on networks; Euclidean on continuous spaces. On discrete spaces the cost follows
    the number of cells within the radius, on continuous spaces Mesa compares all agents at once.

    Args:
        agent: the agent in the middle.
        radius: at least 0; 0 means the agent's own cell. Of a fraction, discrete spaces take the whole steps.

    Returns:
        The agents in the order of their `unique_id`; nobody if the agent is nowhere.
    """
    return Surroundings(agent).neighbors(radius)


def free_places_around(agent: Agent[Any], radius: float) -> list[Position] | None:
    """The places within a radius that have room, without the agent's own.

    Args:
        agent: the agent in the middle.
        radius: at least 0, measured as for `neighbors_of`.

    Returns:
        The places, nearest first where the space knows; nothing if the agent is nowhere. `None` on continuous spaces,
        which have no end of them.
    """
    space = space_of(agent)
    if space is None:
        return []
    places = space.places(agent, radius)
    if places is None:
        return None
    here = position_of(agent)
    return [place for place in places if place != here and space.obstacle(place) is None]


def directions_from(agent: Agent[Any], *, free_only: bool = False) -> dict[str, Position]:
    """The steps that the agent can take from where it is.

    Args:
        agent: the agent.
        free_only: leave out steps into cells that have no room.

    Returns:
        Where each step leads. Compass names on grids and continuous spaces ("North", "NorthEast"), the names of the
        adjacent nodes or cells on networks and Voronoi grids. Nothing if the agent is nowhere.
    """
    space = space_of(agent)
    if space is None:
        return {}
    steps = space.steps(agent)
    return {
        name: steps[name]
        for name in sorted(steps, key=compass.in_order)
        if not free_only or space.obstacle(steps[name]) is None
    }


def move_to(agent: Agent[Any], position: object) -> Position:
    """Place the agent somewhere else in its space; an agent that is nowhere is placed for the first time.

    Args:
        agent: the agent.
        position: coordinates (wrapped on a torus) or the name of a node; a node's name may also be given as text.

    Returns:
        The agent's new position.

    Raises:
        ToolError: if there is no such place, if it has no room, if the agent is fixed to its cell, or if no space is
            found. Then the agent is where it was.
        ConflictError: if it has no room because another agent has entered it since everybody decided.
    """
    space = space_for(agent)
    if space is None:
        raise ToolError(f"Agent {agent.unique_id} cannot move: no space was found in its model. Do something else.")
    target = space.resolve(position)
    if target == position_of(agent):
        return target
    place = (type(space), target)
    if (obstacle := space.obstacle(target)) is not None:
        if is_claimed(agent, place):
            raise ConflictError(f"{obstacle} Another agent was faster. {_way_out(agent)}")
        raise ToolError(f"{obstacle} {_way_out(agent)}")
    space.place(agent, target)
    claim(agent, place)
    return position_of(agent)


def _way_out(agent: Agent[Any]) -> str:
    free = directions_from(agent, free_only=True)
    return f"Free directions from {position_of(agent)!r}: {listed(free)}." if free else "Choose another place."
