"""The spaces of `mesa.discrete_space`, cells that are connected with each other, and continuous spaces."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from mesa.discrete_space import OrthogonalVonNeumannGrid
from mesa.discrete_space.cell_agent import FixedCell

from mesa_llm.errors import ToolError
from mesa_llm.errors.shown_text import short_repr
from mesa_llm.spaces.space import (
    XY,
    Compass,
    Position,
    Space,
    as_position,
    compass_legend,
    inside_grid,
    listed,
    numbers,
    reach,
    spellings,
)

if TYPE_CHECKING:
    from mesa import Agent
    from mesa.discrete_space import Cell

# Steps as (row, column): rows grow to the South, as in `mesa.discrete_space.Grid2DMovingAgent`.
_ROW_COLUMN: Compass = {name: (-dy, dx) for name, (dx, dy) in XY.items()}


@cache
def _legend(axes: tuple[str, ...], *, diagonals: bool) -> str:
    return compass_legend(axes, _ROW_COLUMN, diagonals=diagonals)


class Cells(Space):
    """Base of the discrete spaces; used as it is for those whose cells have names (`Network`)."""

    _called = "node"

    def __init__(self, space: Any) -> None:
        super().__init__(space)
        # An observation asks twice, for agents and for cells. The adapter lives for one observation.
        self._reached: tuple[tuple[Cell, float], list[Cell]] | None = None

    def holds(self, agent: Agent) -> bool:
        cell = getattr(agent, "cell", None)
        return cell is not None and self._space._cells.get(self._key(cell)) is cell

    def takes(self, agent: Agent) -> bool:
        return hasattr(agent, "cell")

    def within(self, agent: Agent, radius: float) -> Iterable[Agent]:
        return [other for cell in self._cells_within(agent, radius) for other in cell.agents]

    def places(self, agent: Agent, radius: float) -> Iterable[Position]:
        return [as_position(cell.coordinate) for cell in self._cells_within(agent, radius)]

    def _cells_within(self, agent: Agent, radius: float) -> list[Cell]:
        asked = (agent.cell, radius)
        if self._reached is None or self._reached[0] != asked:
            self._reached = asked, reach(agent.cell, lambda cell: cell.connections.values(), radius)
        return self._reached[1]

    def room(self, agent: Agent, radius: float, *, of_all: bool) -> dict[Position, int]:
        room: dict[Position, int] = {}
        for cell in self._cells_within(agent, radius):
            capacity = cell.capacity
            if capacity is None or capacity == math.inf or (capacity <= 1 and not of_all):
                continue
            held = len(cell.agents)
            if held or of_all:
                room[as_position(cell.coordinate)] = max(0, int(capacity) - held)
        return room

    def steps(self, agent: Agent) -> dict[str, Position]:
        if _is_fixed(agent):
            return {}
        here: Cell = agent.cell
        names = {offset: name for name, offset in self._compass(here).items()}
        return {
            names.get(key) or str(as_position(cell.coordinate)): as_position(cell.coordinate)
            for key, cell in here.connections.items()
            if cell is not here
        }

    def resolve(self, position: object) -> Position:
        for name in spellings(position):
            if (cell := self._find(name)) is not None:
                return as_position(cell.coordinate)
        names = (as_position(cell.coordinate) for cell in self._space)
        raise ToolError(f"There is no {self._called} {short_repr(position)}. There are: {listed(names)}.")

    def obstacle(self, position: Position) -> str | None:
        cell = self._find(position)
        if cell is None or not cell.is_full:
            return None
        held = len(cell.agents)
        return f"Cell {position!r} is full: it holds {held} agent{'' if held == 1 else 's'} and has room for no more."

    def place(self, agent: Agent, position: Position) -> None:
        if _is_fixed(agent):
            raise ToolError(f"Agent {agent.unique_id} is fixed to its cell and cannot move. Do something else.")
        agent.cell = self._find(position)

    def _compass(self, cell: Cell) -> Compass:
        """The names of the cell's connections; a connection without one is named after the cell that it leads to."""
        return {}

    def _key(self, cell: Cell) -> Position:
        return as_position(cell.coordinate)

    def _find(self, position: Position) -> Cell | None:
        return self._space._cells.get(position)


class VoronoiCells(Cells):
    """`VoronoiGrid`: cells are named by their number; in Mesa 3.4 their coordinate is their centroid."""

    _called = "cell"

    def _key(self, cell: Cell) -> Position:
        if isinstance(cell.coordinate, int):
            return cell.coordinate
        # Mesa 3.4: the keys of a cell's connections are (its own number, the other's number)
        own_number, _ = next(iter(cell.connections), (0, 0))
        return own_number

    def _find(self, position: Position) -> Cell | None:
        return self._by_centroid.get(position) if isinstance(position, tuple) else super()._find(position)

    @cached_property
    def _by_centroid(self) -> dict[Position, Cell]:
        return {as_position(cell.coordinate): cell for cell in self._space}


class GridCells(Cells):
    """`OrthogonalMooreGrid` and `OrthogonalVonNeumannGrid`, of any number of dimensions."""

    _axes = ("row", "column")
    automatic_layers = frozenset({"empty"})

    def layers(self) -> Mapping[str, Any]:
        # Not read from the cells' attributes, which Mesa drops when it copies a grid.
        layers: Mapping[str, Any] | None = getattr(self._space, "_mesa_property_layers", None)
        if layers is None:  # Mesa 4
            arrays: Mapping[str, Any] = self._space.property_layers
            return arrays
        return {name: layer.data for name, layer in layers.items()}

    def resolve(self, position: object) -> Position:
        dimensions = self._space.dimensions
        axes = self._axes if len(dimensions) == 2 else [f"axis {number}" for number in range(1, len(dimensions) + 1)]
        coordinate = inside_grid(position, axes, dimensions, torus=self._space.torus)
        if coordinate not in self._space._cells:
            raise ToolError(f"The grid has no cell {coordinate}: it was taken away. Choose another one.")
        return coordinate

    def legend(self) -> str | None:
        if len(self._space.dimensions) != 2:
            return None
        return _legend(self._axes, diagonals=not isinstance(self._space, OrthogonalVonNeumannGrid))

    def _compass(self, cell: Cell) -> Compass:
        return _ROW_COLUMN


class HexCells(GridCells):
    """`HexGrid`, with positions and steps as (column, row)."""

    _axes = ("column", "row")

    def legend(self) -> str:
        return (
            "Positions are [column, row]: East is column + 1, West is column - 1, NorthEast and NorthWest are row + 1, "
            "SouthEast and SouthWest are row - 1. Even rows lie half a cell further East."
        )

    def _compass(self, cell: Cell) -> Compass:
        """The six steps. The hexagons stand on a corner, and those of even rows lie half a hexagon further East.

        Mesa connects and draws them like that; `cell.position`, new in Mesa 3.5, shifts the odd rows instead.
        """
        west = -(cell.coordinate[1] % 2)
        return {
            "East": (1, 0),
            "West": (-1, 0),
            "NorthEast": (west + 1, 1),
            "NorthWest": (west, 1),
            "SouthEast": (west + 1, -1),
            "SouthWest": (west, -1),
        }


def _is_fixed(agent: Agent) -> bool:
    return isinstance(agent, FixedCell) and agent.cell is not None


class ContinuousSpace(Space):
    """Base of the continuous spaces. A step goes 1 along each axis that its name has."""

    _bounds_note = ""

    def places(self, agent: Agent, radius: float) -> None:
        return None

    def legend(self) -> str:
        return compass_legend(self._axes(), XY, diagonals=True)

    def steps(self, agent: Agent) -> dict[str, Position]:
        here = self._point(agent)
        steps: dict[str, Position] = {}
        for name, offset in XY.items():
            # In one dimension there are only East and West; beyond two, the other coordinates stay.
            if any(offset[len(here) :]):
                continue
            moved = [value + delta for value, delta in zip(here, offset, strict=False)]
            target = self._inside((*moved, *here[len(moved) :]))
            if target is not None and target != here:
                steps[name] = target
        return steps

    def resolve(self, position: object) -> Position:
        bounds, axes = self._bounds(), self._axes()
        point = numbers(position, axes)
        target = self._inside(point)
        if target is None:
            limits = ", ".join(f"{axis} {low} to {high}" for axis, (low, high) in zip(axes, bounds, strict=True))
            raise ToolError(f"{point} is outside the space. Its bounds are: {limits}{self._bounds_note}.")
        return target

    def _axes(self) -> list[str]:
        n = len(self._bounds())
        return ["x", "y", "z"][:n] if n in (2, 3) else [f"axis {number}" for number in range(1, n + 1)]

    @abstractmethod
    def _point(self, agent: Agent) -> tuple[float, ...]:
        """Where the agent is."""

    @abstractmethod
    def _inside(self, point: tuple[float, ...]) -> tuple[float, ...] | None:
        """The point, wrapped if the space is a torus; `None` if it is outside."""

    @abstractmethod
    def _bounds(self) -> Sequence[tuple[float, float]]:
        """The lowest and highest coordinate on each axis."""


class ExperimentalContinuousSpace(ContinuousSpace):
    """`mesa.experimental.continuous_space.ContinuousSpace`."""

    def holds(self, agent: Agent) -> bool:
        return getattr(agent, "space", None) is self._space

    def takes(self, agent: Agent) -> bool:
        return False

    def within(self, agent: Agent, radius: float) -> Iterable[Agent]:
        agents, _distances = self._space.get_agents_in_radius(agent.position, radius=radius)
        return list(agents)

    def place(self, agent: Agent, position: Position) -> None:
        agent.position = position

    def _point(self, agent: Agent) -> tuple[float, ...]:
        return as_point(agent.position)

    def _inside(self, point: tuple[float, ...]) -> tuple[float, ...] | None:
        if self._space.in_bounds(point):
            return as_point(point)
        return as_point(self._space.torus_correct(point)) if self._space.torus else None

    def _bounds(self) -> Sequence[tuple[float, float]]:
        return [(float(low), float(high)) for low, high in self._space.dimensions]


def as_point(position: object) -> tuple[float, ...]:
    """A position of a continuous space as a tuple of Python numbers."""
    point = as_position(position)
    assert isinstance(point, tuple)
    return point
