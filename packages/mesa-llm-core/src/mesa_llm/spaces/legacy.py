"""The spaces of `mesa.space`, which Mesa 4 no longer has. Nothing here imports that module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

from mesa_llm.errors import ToolError
from mesa_llm.errors.shown_text import short_repr
from mesa_llm.spaces.current import ContinuousSpace, as_point
from mesa_llm.spaces.space import XY, Compass, Position, Space, compass_legend, inside_grid, listed, reach, spellings

if TYPE_CHECKING:
    from mesa import Agent


class _LegacySpace(Space):
    """What all of them share: `place_agent` for an agent without a place, then `move_agent`."""

    def takes(self, agent: Agent) -> bool:
        return True

    def place(self, agent: Agent, position: Position) -> None:
        if self.holds(agent):
            self._space.move_agent(agent, position)
        else:
            self._space.place_agent(agent, position)


class _LegacyCells(_LegacySpace):
    """What the grids and the network share: cells with contents."""

    def within(self, agent: Agent, radius: float) -> Iterable[Agent]:
        return list(self._space.iter_cell_list_contents(self.places(agent, radius)))


class LegacyGrid(_LegacyCells):
    """`SingleGrid` and `MultiGrid`."""

    def holds(self, agent: Agent) -> bool:
        pos = getattr(agent, "pos", None)
        is_cell = isinstance(pos, tuple) and len(pos) == 2 and all(isinstance(value, Integral) for value in pos)
        return is_cell and not self._space.out_of_bounds(pos) and agent in self._space.get_cell_list_contents([pos])

    def places(self, agent: Agent, radius: float) -> list[Position]:
        x, y = agent.pos
        columns = self._span(x, radius, self._space.width)
        rows = self._span(y, radius, self._space.height)
        return [(column, row) for column in columns for row in rows]

    def steps(self, agent: Agent) -> dict[str, Position]:
        x, y = agent.pos
        steps: dict[str, Position] = {}
        for name, (dx, dy) in self._compass(x).items():
            target = (x + dx, y + dy)
            if self._space.torus:
                target = (target[0] % self._space.width, target[1] % self._space.height)
            if target != agent.pos and not self._space.out_of_bounds(target):
                steps[name] = target
        return steps

    def resolve(self, position: object) -> Position:
        dimensions = (self._space.width, self._space.height)
        return inside_grid(position, ("x", "y"), dimensions, torus=self._space.torus)

    def layers(self) -> Mapping[str, Any]:
        return {name: layer.data for name, layer in self._space.properties.items()}

    def room(self, agent: Agent, radius: float, *, of_all: bool) -> dict[Position, int]:
        if not of_all or isinstance(self._space[agent.pos], list):  # lists have no limit, other cells take one agent
            return {}
        return {place: int(self._space[place] is None) for place in self.places(agent, radius)}

    def obstacle(self, position: Position) -> str | None:
        content = self._space[position]
        if content is None or isinstance(content, list):
            return None
        return f"Cell {position!r} is occupied by agent {content.unique_id}."

    def legend(self) -> str:
        return compass_legend(("x", "y"), XY, diagonals=True)

    def _compass(self, _x: int) -> Compass:
        return XY

    def _span(self, center: int, radius: float, size: int) -> Iterable[int]:
        """The coordinates along one axis that are at most `radius` from `center`, each once.

        Mesa's `get_neighborhood` would cache the cells around every cell for every radius.
        """
        if not radius >= 0:
            return range(0)
        steps = int(min(radius, size))
        if not self._space.torus:
            return range(max(0, center - steps), min(size, center + steps + 1))
        if 2 * steps + 1 >= size:
            return range(size)
        return [value % size for value in range(center - steps, center + steps + 1)]


class LegacyHexGrid(LegacyGrid):
    """`HexSingleGrid` and `HexMultiGrid`."""

    def legend(self) -> str:
        return (
            "Positions are [x, y]: North is y + 1, South is y - 1, NorthEast and SouthEast are x + 1, NorthWest and "
            "SouthWest are x - 1. Even columns lie half a cell further North."
        )

    def places(self, agent: Agent, radius: float) -> list[Position]:
        return reach(agent.pos, lambda pos: self._space.get_neighborhood(pos, radius=1), radius)

    def _compass(self, x: int) -> Compass:
        """The six steps. The hexagons lie on a side, and those of even columns lie half a hexagon further North."""
        south = -(x % 2)
        return {
            "North": (0, 1),
            "South": (0, -1),
            "NorthEast": (1, south + 1),
            "NorthWest": (-1, south + 1),
            "SouthEast": (1, south),
            "SouthWest": (-1, south),
        }


class LegacyNetwork(_LegacyCells):
    """`NetworkGrid`."""

    def holds(self, agent: Agent) -> bool:
        node = getattr(agent, "pos", None)
        return node in self._space.G and agent in self._space.get_cell_list_contents([node])

    def places(self, agent: Agent, radius: float) -> list[Position]:
        return reach(agent.pos, self._space.G.neighbors, radius)

    def steps(self, agent: Agent) -> dict[str, Position]:
        return {str(node): node for node in self._space.G.neighbors(agent.pos) if node != agent.pos}

    def resolve(self, position: object) -> Position:
        for name in spellings(position):
            if name in self._space.G:
                return name
        raise ToolError(f"There is no node {short_repr(position)}. There are: {listed(self._space.G)}.")


class LegacyContinuousSpace(_LegacySpace, ContinuousSpace):
    """`mesa.space.ContinuousSpace`."""

    _bounds_note = ", the upper ones excluded"

    def holds(self, agent: Agent) -> bool:
        return agent in self._space._agent_to_index

    def within(self, agent: Agent, radius: float) -> Iterable[Agent]:
        if radius < 0:
            return []
        return list(self._space.get_neighbors(agent.pos, radius, include_center=True))

    def _point(self, agent: Agent) -> tuple[float, ...]:
        return as_point(agent.pos)

    def _inside(self, point: tuple[float, ...]) -> tuple[float, ...] | None:
        if not self._space.out_of_bounds(point):
            return point
        return as_point(self._space.torus_adj(point)) if self._space.torus else None

    def _bounds(self) -> Sequence[tuple[float, float]]:
        return [(self._space.x_min, self._space.x_max), (self._space.y_min, self._space.y_max)]
