"""What is around an agent: other agents, and what the cells are like."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mesa_llm.errors import ConfigurationError
from mesa_llm.spaces.locate import space_of

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.spaces.space import Position, Space

ROOM = "room"


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
