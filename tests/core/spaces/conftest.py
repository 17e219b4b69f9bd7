"""One small world on every space of the installed Mesa: five cells to a side, the agent in the middle."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import mesa
import networkx as nx
import pytest
from mesa import discrete_space
from mesa.experimental import continuous_space

legacy = getattr(mesa, "space", None)

HEX_COLUMNS = {
    "North": (2, 3), "South": (2, 1),
    "NorthEast": (3, 3), "NorthWest": (1, 3), "SouthEast": (3, 2), "SouthWest": (1, 2),
}  # fmt: skip
HEX_ROWS = {
    "East": (3, 2), "West": (1, 2),
    "NorthEast": (3, 3), "NorthWest": (2, 3), "SouthEast": (3, 1), "SouthWest": (2, 1),
}  # fmt: skip
XY = {
    "North": (2, 3), "South": (2, 1), "East": (3, 2), "West": (1, 2),
    "NorthEast": (3, 3), "NorthWest": (1, 3), "SouthEast": (3, 1), "SouthWest": (1, 1),
}  # fmt: skip
ROW_COLUMN = {
    "North": (1, 2), "South": (3, 2), "East": (2, 3), "West": (2, 1),
    "NorthEast": (1, 3), "NorthWest": (1, 1), "SouthEast": (3, 3), "SouthWest": (3, 1),
}  # fmt: skip
POINTS = [[0.0, 0.0], [0.0, 2.0], [2.0, 1.0], [4.0, 0.5], [6.0, 1.0]]


class World:
    """A model with one space, and Mesa's own way to put agents into it."""

    def __init__(self, make_space: Callable[[mesa.Model], Any], put: Callable[["World", Any, Any], None]) -> None:
        self.model = mesa.Model(rng=1)
        self.space = make_space(self.model)
        if isinstance(self.space, continuous_space.ContinuousSpace) or type(self.space).__name__ == "ContinuousSpace":
            self.model.space = self.space
        else:
            self.model.grid = self.space
        self._put = put

    def agent(self) -> mesa.Agent:
        """An agent that is nowhere yet."""
        if isinstance(self.space, discrete_space.DiscreteSpace):
            return discrete_space.CellAgent(self.model)
        if isinstance(self.space, continuous_space.ContinuousSpace):
            return continuous_space.ContinuousSpaceAgent(self.space, self.model)
        return mesa.Agent(self.model)

    def add(self, position: Any) -> mesa.Agent:
        agent = self.agent()
        self._put(self, agent, position)
        return agent


def into_cell(world, agent, position):
    cells = (cell for cell in world.space if cell.coordinate in (position, list(position_as_tuple(position))))
    agent.cell = next(cells)


def position_as_tuple(position):
    return position if isinstance(position, tuple) else (position,)


def onto_plane(world, agent, position):
    agent.position = position


def by_grid(world, agent, position):
    world.space.place_agent(agent, position)


@dataclass
class Kind:
    """A kind of space, and what is known about it.

    `beyond` is two steps from `here`, `outside` is no place of the space, `limited` tells how its cells get full.
    """

    name: str
    make: Callable[..., Any]
    put: Callable[..., None]
    here: Any
    steps: dict[str, Any]
    beyond: Any
    outside: Any
    torus: bool = True
    limited: dict[str, Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def world(self, **options: Any) -> World:
        return World(lambda model: self.make(model, **options), self.put)


def grid(cls):
    return lambda model, **options: cls((5, 5), random=model.random, **({"torus": False} | options))


def network(model, **options):
    return discrete_space.Network(nx.path_graph(5), random=model.random, **options)


def voronoi(model, *, capacity=99, **_):
    return discrete_space.VoronoiGrid(POINTS, random=model.random, capacity_function=lambda _area: capacity)


def plane(model, *, torus=False):
    return continuous_space.ContinuousSpace([[0, 5], [0, 5]], torus=torus, random=model.random)


def legacy_grid(name):
    return lambda _model, torus=False: getattr(legacy, name)(5, 5, torus)


def voronoi_names():
    """Mesa 3.4 calls Voronoi cells by their centroid, later ones by their number."""
    first = next(iter(voronoi(mesa.Model(rng=1)))).coordinate
    return list(range(len(POINTS))) if isinstance(first, int) else [tuple(point) for point in POINTS]


def kinds() -> list[Kind]:
    cells = voronoi_names()
    found = [
        Kind("OrthogonalMooreGrid", grid(discrete_space.OrthogonalMooreGrid), into_cell, (2, 2), ROW_COLUMN,
             (4, 4), (2, 5), limited={"capacity": 1}),
        Kind("OrthogonalVonNeumannGrid", grid(discrete_space.OrthogonalVonNeumannGrid), into_cell, (2, 2),
             {name: ROW_COLUMN[name] for name in ("North", "South", "East", "West")}, (3, 3), (-1, 2),
             limited={"capacity": 1}),
        Kind("HexGrid", grid(discrete_space.HexGrid), into_cell, (2, 2), HEX_ROWS, (4, 2), (5, 0),
             limited={"capacity": 1}, torus=False),
        Kind("Network", network, into_cell, 2, {"1": 1, "3": 3}, 4, 99, torus=False, limited={"capacity": 1}),
        Kind("VoronoiGrid", voronoi, into_cell, cells[2], {str(cells[i]): cells[i] for i in (0, 1, 3, 4)}, None,
             99, torus=False, limited={"capacity": 1}),
        Kind("experimental.ContinuousSpace", plane, onto_plane, (2.0, 2.0), XY, (2.0, 4.0), (2.0, 5.5)),
    ]  # fmt: skip
    if legacy is not None:
        found += [
            Kind("SingleGrid", legacy_grid("SingleGrid"), by_grid, (2, 2), XY, (4, 4), (2, 5), limited={}),
            Kind("MultiGrid", legacy_grid("MultiGrid"), by_grid, (2, 2), XY, (0, 2), (-1, 0)),
            Kind("HexSingleGrid", legacy_grid("HexSingleGrid"), by_grid, (2, 2), HEX_COLUMNS, (2, 4), (5, 5),
                 limited={}, torus=False),
            Kind("HexMultiGrid", legacy_grid("HexMultiGrid"), by_grid, (2, 2), HEX_COLUMNS, (4, 2), (5, 5),
                 torus=False),
            Kind("NetworkGrid", lambda _model: legacy.NetworkGrid(nx.path_graph(5)), by_grid, 2, {"1": 1, "3": 3}, 0,
                 99, torus=False),
            Kind("ContinuousSpace", lambda _model, torus=False: legacy.ContinuousSpace(5, 5, torus), by_grid,
                 (2.0, 2.0), XY, (4.0, 2.0), (5, 2)),
        ]  # fmt: skip
    return found


KINDS = kinds()


def pytest_generate_tests(metafunc):
    """`kind` is every space, `limited_kind` those whose cells can be full, `torus_kind` those that wrap to (0, 0)."""
    chosen = {
        "kind": KINDS,
        "limited_kind": [kind for kind in KINDS if kind.limited is not None],
        "torus_kind": [kind for kind in KINDS if kind.torus],
    }
    for name, members in chosen.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, members, ids=[member.name for member in members])


@pytest.fixture
def legacy_space():
    """The module `mesa.space`."""
    if legacy is None:
        pytest.skip("this Mesa has no mesa.space")
    return legacy


@pytest.fixture
def rng():
    return random.Random(1)
