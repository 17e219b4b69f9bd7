"""Observing looks at what is near, not at the whole space."""

import mesa
import networkx as nx
import pytest
from mesa.discrete_space import Cell, CellAgent, HexGrid, Network, OrthogonalMooreGrid, OrthogonalVonNeumannGrid

from mesa_llm.spaces import directions_from, move_to, neighbors_of, position_of


class LookedAt(Cell):
    """A cell that counts how often anyone looks who is in it."""

    looks = 0

    @property
    def agents(self):
        LookedAt.looks += 1
        return super().agents


class Unscannable(dict):
    """Cells that can be looked up, not gone through."""

    def scan(self, *_):
        raise AssertionError("the whole space was gone through")

    __iter__ = keys = values = items = scan


@pytest.mark.parametrize(
    ("grid", "within_two"), [(OrthogonalMooreGrid, 25), (OrthogonalVonNeumannGrid, 13), (HexGrid, 19)]
)
def test_discrete_grids(grid, within_two):
    model = mesa.Model(rng=1)
    model.grid = grid((40, 40), random=model.random, cell_klass=LookedAt)
    model.grid._cells = Unscannable(model.grid._cells)
    agent, other = CellAgent(model), CellAgent(model)
    agent.cell, other.cell = model.grid[(20, 20)], model.grid[(20, 21)]
    LookedAt.looks = 0
    assert neighbors_of(agent, 2) == [other]
    assert within_two == LookedAt.looks
    directions_from(agent, free_only=True)
    move_to(agent, (3, 3))
    assert position_of(agent) == (3, 3)


def test_network():
    model = mesa.Model(rng=1)
    model.network = Network(nx.cycle_graph(100), random=model.random, cell_klass=LookedAt)
    model.network._cells = Unscannable(model.network._cells)
    agent, other = CellAgent(model), CellAgent(model)
    agent.cell, other.cell = model.network[0], model.network[98]
    LookedAt.looks = 0
    assert neighbors_of(agent, 3) == [other]
    assert LookedAt.looks == 7


@pytest.mark.parametrize(
    ("name", "within_two"), [("SingleGrid", 25), ("MultiGrid", 25), ("HexSingleGrid", 19), ("HexMultiGrid", 19)]
)
def test_legacy_grids(legacy_space, name, within_two):
    looked_at = []

    class Grid(getattr(legacy_space, name)):
        def __iter__(self):
            raise AssertionError("the whole space was gone through")

        coord_iter = __iter__

        def iter_cell_list_contents(self, cell_list):
            looked_at.extend(cell_list)
            return super().iter_cell_list_contents(cell_list)

    model = mesa.Model(rng=1)
    model.grid = Grid(300, 300, True)
    agent, other = mesa.Agent(model), mesa.Agent(model)
    model.grid.place_agent(agent, (0, 0))
    model.grid.place_agent(other, (299, 299))
    assert neighbors_of(agent, 2) == [other]
    assert len(looked_at) <= within_two + 1, "one more look to see whether the agent is on this grid"
    model.grid.place_agent(mesa.Agent(model), (150, 150))
    assert neighbors_of(agent, 2) == [other]


def test_legacy_grids_keep_no_neighborhoods_of_every_radius(legacy_space):
    model = mesa.Model(rng=1)
    model.grid = legacy_space.MultiGrid(50, 50, False)
    agent = mesa.Agent(model)
    model.grid.place_agent(agent, (25, 25))
    for radius in range(1, 20):
        neighbors_of(agent, radius)
    assert model.grid._neighborhood_cache == {}
