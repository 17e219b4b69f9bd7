"""An agent's place in its space: where it is, what is around it, and where it can go."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from functools import cached_property, lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from mesa.discrete_space import DiscreteSpace, Grid, HexGrid, VoronoiGrid
from mesa.experimental import continuous_space

from mesa_llm.activation import claim, is_claimed
from mesa_llm.activation.mesa_model import is_in_model
from mesa_llm.errors import ConfigurationError, ConflictError, ToolError
from mesa_llm.spaces.current import Cells, ExperimentalContinuousSpace, GridCells, HexCells, VoronoiCells
from mesa_llm.spaces.legacy import LegacyContinuousSpace, LegacyGrid, LegacyHexGrid, LegacyNetwork
from mesa_llm.spaces.space import Position, Space, as_position, in_order, listed

if TYPE_CHECKING:
    from mesa import Agent

_ROOM = "room"


def position_of(agent: Agent[Any]) -> Position | None:
    """Where the agent is: a tuple of Python numbers, the name of a node, or `None` if it has no place."""
    if (cell := getattr(agent, "cell", None)) is not None:
        return as_position(cell.coordinate)
    # agents of this space keep no position themselves
    if isinstance(getattr(agent, "space", None), continuous_space.ContinuousSpace):
        return as_position(agent.position)
    # Mesa 4 has no `pos`
    return as_position(getattr(agent, "pos", None))


def neighbors_of(agent: Agent[Any], radius: float) -> list[Agent[Any]]:
    """The other agents within a radius, those in the agent's own cell included, in the order of their `unique_id`.

    Agents that have been removed from the model are left out, also where they still are in the space.

    The distance is that of the space: steps from cell to cell, where diagonal steps count as one on Moore grids and on
    the grids of `mesa.space`; edges on networks; Euclidean on continuous spaces. Radius 0 is the agent's own cell;
    discrete spaces ignore fractions. On discrete spaces the cost follows the number of cells within the radius, on
    continuous spaces Mesa compares all agents at once.
    """
    return Surroundings(agent).neighbors(radius)


def free_places_around(agent: Agent[Any], radius: float) -> list[Position] | None:
    """The places within a radius that have room, without the agent's own, nearest first where the space knows.

    The radius is measured as for `neighbors_of`. An agent without a place has none. `None` on continuous spaces.
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
    """Where each step leads that the agent can take from where it is; `free_only` leaves out full cells.

    Compass names on grids and continuous spaces ("North", "NorthEast"), the names of the adjacent nodes or cells on
    networks and Voronoi grids. Nothing for an agent without a place.
    """
    space = space_of(agent)
    if space is None:
        return {}
    steps = space.steps(agent)
    return {
        name: steps[name]
        for name in sorted(steps, key=in_order)
        if not free_only or space.obstacle(steps[name]) is None
    }


def legend_for(agent: Agent[Any]) -> str | None:
    """What positions mean in the agent's space, and what each direction does to them.

    Such as "Positions are [x, y]: North is y + 1, …"; `None` where positions are names, and without a space.
    """
    space = space_for(agent)
    return None if space is None else space.legend()


def move_to(agent: Agent[Any], position: object) -> Position:
    """Place the agent at `position` (wrapped on a torus; a node's name may be text), and return its new position.

    An agent without a place is placed for the first time. If an error is raised, the agent has not moved.

    Raises:
        ToolError: if the place does not exist or has no room, if the agent is fixed to its cell, or if its model has no
            space.
        ConflictError: if another agent has entered the place since all agents decided.
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
            raise ConflictError(f"{obstacle} Another agent was faster. {_hint(agent)}")
        raise ToolError(f"{obstacle} {_hint(agent)}")
    space.place(agent, target)
    claim(agent, place)
    return position_of(agent)


def _hint(agent: Agent[Any]) -> str:
    free = directions_from(agent, free_only=True)
    return f"Free directions from {position_of(agent)!r}: {listed(free)}." if free else "Choose another place."


class Surroundings:
    """The surroundings of an agent, valid until something moves. Around an agent without a place there is nothing."""

    def __init__(self, agent: Agent[Any]) -> None:
        self._agent = agent

    @cached_property
    def _space(self) -> Space | None:
        return space_of(self._agent)

    @property
    def cannot_be_found(self) -> bool:
        """Whether the agent is in a cell of a space that its model does not hold as an attribute."""
        return self._space is None and getattr(self._agent, "cell", None) is not None

    def neighbors(self, radius: float) -> list[Agent[Any]]:
        """The other agents within a radius, see `neighbors_of`."""
        if self._space is None:
            return []
        within = self._space.within(self._agent, radius)
        others = [other for other in within if other is not self._agent and is_in_model(other)]
        return sorted(others, key=lambda other: other.unique_id)

    def cells(self, radius: float, layers: Collection[str] | None = None) -> dict[Position, dict[str, Any]]:
        """The property layers of the cells within a radius, and `room`, how many more agents a cell takes.

        `layers` are the names to read, and `room` to have it of all cells with a limit. `None` reads all layers but
        private ones (with an underscore) and those that Mesa keeps for itself, and the room of occupied cells that take
        more than one agent. The agent's own cell comes first where the space knows which are near. Nothing on
        continuous spaces.
        """
        space = self._space
        if space is None:
            return {}
        readers = {name: _reader(data) for name, data in _chosen(space, layers).items()}
        room: dict[Position, int] = {}
        if _ROOM not in readers and (layers is None or _ROOM in layers):
            room = space.room(self._agent, radius, of_all=layers is not None)
        if not readers:
            return {place: {_ROOM: left} for place, left in room.items()}
        found: dict[Position, dict[str, Any]] = {}
        for place in space.places(self._agent, radius) or ():
            facts = found[place] = {name: read(place) for name, read in readers.items()}
            if place in room:
                facts[_ROOM] = room[place]
        return found


def _chosen(space: Space, layers: Collection[str] | None) -> dict[str, Any]:
    if isinstance(layers, str):
        raise ConfigurationError(f"The layers to be seen are a tuple of names such as ('sugar',), got {layers!r}.")
    existing = space.layers()
    if layers is None:
        return {
            name: data
            for name, data in existing.items()
            if not name.startswith("_") and name not in space.automatic_layers
        }
    if unknown := [name for name in layers if name not in existing and name != _ROOM]:
        raise ConfigurationError(
            f"The space has no property layer(s) {unknown}. It has: {sorted(existing)}; {_ROOM!r} stands for how many "
            "more agents a cell takes."
        )
    return {name: existing[name] for name in layers if name in existing}


def _reader(data: Any) -> Callable[[Any], Any]:
    """A function that gives the value of a cell as a Python number, or as text."""
    if data.dtype.kind in "biu" or data.dtype == np.float64:
        read: Callable[[Any], Any] = data.item
        return read
    if data.dtype.kind == "f":
        return lambda place: float(str(data[place]))  # 0.1, not 0.10000000149011612
    return lambda place: str(data[place])


type Adapter = Callable[[Any], Space]

# The first class that matches is used.
_CURRENT: list[tuple[type, Adapter]] = [
    (HexGrid, HexCells),
    (Grid, GridCells),
    (VoronoiGrid, VoronoiCells),
    (DiscreteSpace, Cells),
    (continuous_space.ContinuousSpace, ExperimentalContinuousSpace),
]
_LEGACY: list[tuple[str, Adapter]] = [
    ("HexSingleGrid", LegacyHexGrid),
    ("HexMultiGrid", LegacyHexGrid),
    ("SingleGrid", LegacyGrid),
    ("MultiGrid", LegacyGrid),
    ("NetworkGrid", LegacyNetwork),
    ("ContinuousSpace", LegacyContinuousSpace),
]


def space_of(agent: Agent) -> Space | None:
    """The space that the agent is in; `None` if none is found."""
    if position_of(agent) is None:  # looking through the model takes longer
        return None
    return next((space for space in _spaces_around(agent) if space.holds(agent)), None)


def space_for(agent: Agent) -> Space | None:
    """The space that the agent is in, or else the first that could take it."""
    first = None
    for space in _spaces_around(agent):
        if space.holds(agent):
            return space
        if first is None and space.takes(agent):
            first = space
    return first


def _spaces_around(agent: Agent) -> Iterator[Space]:
    model = agent.model
    usual = (getattr(agent, "space", None), getattr(model, "grid", None), getattr(model, "space", None))
    for candidate in chain(usual, vars(model).values()):
        if (adapter := _adapter_for(type(candidate))) is not None:  # type: ignore[arg-type] # classes are hashable
            yield adapter(candidate)


@lru_cache(maxsize=1024)
def _adapter_for(kind: type) -> Adapter | None:
    """The adapter for a class; `None` if it is no space."""
    # Not imported: if nobody had imported mesa.space, no class could derive from one of its classes.
    legacy = sys.modules.get("mesa.space")
    old = [] if legacy is None else [(getattr(legacy, name), adapter) for name, adapter in _LEGACY]
    return next((adapter for base, adapter in (*_CURRENT, *old) if issubclass(kind, base)), None)
