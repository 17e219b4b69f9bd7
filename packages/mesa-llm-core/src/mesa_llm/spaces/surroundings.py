"""An agent's place in its space: where it is, what is around it, and where it can go."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from functools import cached_property, lru_cache
from itertools import chain
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from mesa.discrete_space import DiscreteSpace, Grid, HexGrid, VoronoiGrid
from mesa.experimental import continuous_space

from mesa_llm.activation import claim, is_claimed
from mesa_llm.errors import ConfigurationError, ConflictError, ToolError
from mesa_llm.spaces.cells import Cells, GridCells, HexCells, VoronoiCells
from mesa_llm.spaces.continuous import ExperimentalContinuousSpace
from mesa_llm.spaces.coordinates import as_position, in_order, listed
from mesa_llm.spaces.legacy import LegacyContinuousSpace, LegacyGrid, LegacyHexGrid, LegacyNetwork

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.spaces.space import Position, Space

ROOM = "room"


def position_of(agent: Agent[Any]) -> Position | None:
    """Where the agent is.

    Args:
        agent: the agent.

    Returns:
        Its coordinates as a tuple of Python numbers, the node as the network calls it, `None` if it is nowhere.
    """
    if (cell := getattr(agent, "cell", None)) is not None:
        return as_position(cell.coordinate)
    # agents of this space keep no position themselves
    if isinstance(getattr(agent, "space", None), continuous_space.ContinuousSpace):
        return as_position(agent.position)
    # Mesa 4 has no `pos`
    return as_position(getattr(agent, "pos", None))


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
        for name in sorted(steps, key=in_order)
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
            raise ConflictError(f"{obstacle} Another agent was faster. {_hint(agent)}")
        raise ToolError(f"{obstacle} {_hint(agent)}")
    space.place(agent, target)
    claim(agent, place)
    return position_of(agent)


def _hint(agent: Agent[Any]) -> str:
    free = directions_from(agent, free_only=True)
    return f"Free directions from {position_of(agent)!r}: {listed(free)}." if free else "Choose another place."


class Surroundings:
    """An agent's surroundings at one moment, for as long as nothing moves.

    Args:
        agent: the agent in the middle. If it is nowhere, there is nothing around it.
    """

    def __init__(self, agent: Agent[Any]) -> None:
        self._agent = agent

    @cached_property
    def _space(self) -> Space | None:
        return space_of(self._agent)

    @property
    def cannot_be_found(self) -> bool:
        """Whether the agent is in a cell of a space that is no attribute of its model."""
        return self._space is None and getattr(self._agent, "cell", None) is not None

    def neighbors(self, radius: float) -> list[Agent[Any]]:
        """The other agents within a radius, see `neighbors_of`.

        Args:
            radius: as for `neighbors_of`.
        """
        if self._space is None:
            return []
        others = [other for other in self._space.within(self._agent, radius) if other is not self._agent]
        return sorted(others, key=lambda other: other.unique_id)

    def cells(self, radius: float, layers: Collection[str] | None = None) -> dict[Position, dict[str, Any]]:
        """What the cells within a radius are like: the values of property layers, and `room`.

        `room` is how many more agents a cell takes. The cost follows the number of cells within the radius.

        Args:
            radius: at least 0, measured as for `neighbors_of`; 0 means the agent's own cell.
            layers: the names of property layers, and `room` to have it of all cells that take a limited number. `None`
                for all layers but those whose name begins with an underscore and those that Mesa keeps for itself, and
                for the room of cells that take more than one agent and have somebody in them.

        Returns:
            Numbers, truth values and texts by name, for each cell that has any; the agent's own cell first where the
            space knows which are near. Nothing on continuous spaces.

        Raises:
            ConfigurationError: if the space does not have one of the layers, or `layers` is a single name.
        """
        space = self._space
        if space is None:
            return {}
        readers = {name: _reader(data) for name, data in _chosen(space, layers).items()}
        room: dict[Position, int] = {}
        if ROOM not in readers and (layers is None or ROOM in layers):
            room = space.room(self._agent, radius, of_all=layers is not None)
        if not readers:
            return {place: {ROOM: left} for place, left in room.items()}
        found: dict[Position, dict[str, Any]] = {}
        for place in space.places(self._agent, radius) or ():
            facts = found[place] = {name: read(place) for name, read in readers.items()}
            if place in room:
                facts[ROOM] = room[place]
        return found


def _chosen(space: Space, layers: Collection[str] | None) -> dict[str, Any]:
    """The arrays of the layers asked for, by name."""
    if isinstance(layers, str):
        raise ConfigurationError(f"The layers to be seen are a tuple of names such as ('sugar',), got {layers!r}.")
    existing = space.layers()
    if layers is None:
        return {
            name: data
            for name, data in existing.items()
            if not name.startswith("_") and name not in space.automatic_layers
        }
    if unknown := [name for name in layers if name not in existing and name != ROOM]:
        raise ConfigurationError(
            f"The space has no property layer(s) {unknown}. It has: {sorted(existing)}; {ROOM!r} stands for how many "
            "more agents a cell takes."
        )
    return {name: existing[name] for name in layers if name in existing}


def _reader(data: Any) -> Callable[[Any], Any]:
    """What gives the value of a cell as Python's own number, or as text."""
    if data.dtype.kind in "biu" or data.dtype == np.float64:
        read: Callable[[Any], Any] = data.item
        return read
    if data.dtype.kind == "f":
        return lambda place: float(str(data[place]))  # 0.1, not 0.10000000149011612
    return lambda place: str(data[place])


type Adapter = Callable[[Any], Space]

# the first class that fits counts
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
    """The space that the agent is in; `None` if it is in none that can be found."""
    return next((space for space in _spaces_around(agent) if space.holds(agent)), None)


def space_for(agent: Agent) -> Space | None:
    """The space that the agent is in, or else the first that could take it."""
    return space_of(agent) or next((space for space in _spaces_around(agent) if space.takes(agent)), None)


def _spaces_around(agent: Agent) -> Iterator[Space]:
    model = agent.model
    usual = (getattr(agent, "space", None), getattr(model, "grid", None), getattr(model, "space", None))
    # Not imported here: unless somebody has imported mesa.space, nothing is an instance of its classes.
    legacy = sys.modules.get("mesa.space")
    for candidate in chain(usual, vars(model).values()):
        adapter = _adapter_for(type(candidate), legacy)  # type: ignore[arg-type] # hashable it is
        if adapter is not None:
            yield adapter(candidate)


@lru_cache
def _adapter_for(kind: type, legacy: ModuleType | None) -> Adapter | None:
    """The adapter for instances of a class; `None` if they are no spaces. Called for each attribute of a model."""
    old = [] if legacy is None else [(getattr(legacy, name), adapter) for name, adapter in _LEGACY]
    return next((adapter for mesa_class, adapter in [*_CURRENT, *old] if issubclass(kind, mesa_class)), None)
