"""The spaces of `mesa.discrete_space`: cells that are connected with each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, override

from mesa.discrete_space.cell_agent import FixedCell

from mesa_llm.errors import ToolError
from mesa_llm.spaces.coordinates import (
    ROW_COLUMN,
    Compass,
    as_position,
    hex_rows,
    inside_grid,
    listed,
    short_repr,
    spellings,
)
from mesa_llm.spaces.space import Position, Space, reach

if TYPE_CHECKING:
    from mesa import Agent
    from mesa.discrete_space import Cell


class Cells(Space):
    """Base of the discrete spaces; used as it is for those whose cells have names (`Network`)."""

    def __init__(self, space: Any) -> None:
        super().__init__(space)
        # An observation asks twice, for agents and for cells. The adapter is created for each observation.
        self._reached: tuple[tuple[Cell, float], list[Cell]] | None = None

    @override
    def holds(self, agent: Agent) -> bool:
        cell = getattr(agent, "cell", None)
        return cell is not None and self._space._cells.get(self._key(cell)) is cell

    @override
    def takes(self, agent: Agent) -> bool:
        return hasattr(agent, "cell")

    @override
    def within(self, agent: Agent, radius: float) -> Iterable[Agent]:
        return [other for cell in self._cells_within(agent, radius) for other in cell.agents]

    @override
    def places(self, agent: Agent, radius: float) -> Iterable[Position]:
        return [as_position(cell.coordinate) for cell in self._cells_within(agent, radius)]

    def _cells_within(self, agent: Agent, radius: float) -> list[Cell]:
        asked = (_cell_of(agent), radius)
        if self._reached is None or self._reached[0] != asked:
            self._reached = asked, reach(asked[0], lambda cell: cell.connections.values(), radius)
        return self._reached[1]

    @override
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

    @override
    def steps(self, agent: Agent) -> dict[str, Position]:
        if _is_fixed(agent):
            return {}
        here = _cell_of(agent)
        names = {offset: name for name, offset in self._compass(here).items()}
        return {
            names.get(key) or str(as_position(cell.coordinate)): as_position(cell.coordinate)
            for key, cell in here.connections.items()
            if cell is not here
        }

    @override
    def resolve(self, position: object) -> Position:
        for name in spellings(position):
            if (cell := self._find(name)) is not None:
                return as_position(cell.coordinate)
        names = (as_position(cell.coordinate) for cell in self._space)
        raise ToolError(f"There is no {self._called} {short_repr(position)}. There are: {listed(names)}.")

    @override
    def obstacle(self, position: Position) -> str | None:
        cell = self._find(position)
        if cell is None or not cell.is_full:
            return None
        held = len(cell.agents)
        return f"Cell {position!r} is full: it holds {held} agent{'' if held == 1 else 's'} and has room for no more."

    @override
    def place(self, agent: Agent, position: Position) -> None:
        if _is_fixed(agent):
            raise ToolError(f"Agent {agent.unique_id} is fixed to its cell and cannot move. Do something else.")
        agent.cell = self._find(position)

    _called = "node"

    def _compass(self, cell: Cell) -> Compass:
        """The names of the cell's connections; a connection without one is named after the cell that it leads to."""
        return {}

    def _key(self, cell: Cell) -> Position:
        return as_position(cell.coordinate)

    def _find(self, position: Position) -> Cell | None:
        return self._space._cells.get(position)


class VoronoiCells(Cells):
    """`VoronoiGrid`: cells are called by their number; in Mesa 3.4 their coordinate is their centroid."""

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

    @override
    def layers(self) -> Mapping[str, Any]:
        # Not by the cells' attributes, which Mesa forgets when it copies a grid.
        layers: Mapping[str, Any] | None = getattr(self._space, "_mesa_property_layers", None)
        if layers is None:  # Mesa 4
            arrays: Mapping[str, Any] = self._space.property_layers
            return arrays
        return {name: layer.data for name, layer in layers.items()}

    @override
    def resolve(self, position: object) -> Position:
        dimensions = self._space.dimensions
        axes = self._axes if len(dimensions) == 2 else [f"axis {number}" for number in range(1, len(dimensions) + 1)]
        coordinate = inside_grid(position, axes, dimensions, torus=self._space.torus)
        if coordinate not in self._space._cells:
            raise ToolError(f"The grid has no cell {coordinate}: it was taken away. Choose another one.")
        return coordinate

    def _compass(self, cell: Cell) -> Compass:
        return ROW_COLUMN


class HexCells(GridCells):
    """`HexGrid`."""

    _axes = ("column", "row")

    def _compass(self, cell: Cell) -> Compass:
        _, row = cell.coordinate
        return hex_rows(row)


def _cell_of(agent: Agent) -> Cell:
    return agent.cell


def _is_fixed(agent: Agent) -> bool:
    return isinstance(agent, FixedCell) and agent.cell is not None
