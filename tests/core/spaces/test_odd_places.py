"""Places that lead back to themselves, spaces that overlap, names in other spellings."""

import mesa
import networkx as nx
import pytest
from mesa.discrete_space import CellAgent, Network, OrthogonalMooreGrid

from mesa_llm.errors import ToolError
from mesa_llm.spaces import directions_from, move_to, neighbors_of, position_of


@pytest.fixture
def model():
    return mesa.Model(rng=1)


def test_two_grids_with_the_same_coordinates(model):
    model.grid = OrthogonalMooreGrid((3, 3), random=model.random)
    model.sky = OrthogonalMooreGrid((9, 9), random=model.random)
    bird = CellAgent(model)
    bird.cell = model.sky[(1, 1)]
    assert move_to(bird, (8, 8)) == (8, 8)
    assert bird.cell is model.sky[(8, 8)]


def test_no_step_leads_to_where_one_is(model):
    model.grid = Network(nx.Graph([(0, 0), (0, 1)]), random=model.random)
    agent, companion = CellAgent(model), CellAgent(model)
    agent.cell = companion.cell = model.grid[0]
    assert directions_from(agent) == {"1": 1}
    assert neighbors_of(agent, 1) == [companion]


def test_no_step_leads_around_a_narrow_torus(model):
    model.grid = OrthogonalMooreGrid((1, 3), torus=True, random=model.random)
    agent = CellAgent(model)
    agent.cell = model.grid[(0, 0)]
    assert set(directions_from(agent).values()) == {(0, 1), (0, 2)}


def test_no_legacy_step_leads_to_where_one_is(model, legacy_space):
    model.grid = legacy_space.MultiGrid(3, 1, True)
    model.network = legacy_space.NetworkGrid(nx.Graph([(0, 0), (0, 1)]))
    walker, member, companion = (mesa.Agent(model) for _ in range(3))
    model.grid.place_agent(walker, (0, 0))
    for agent in (member, companion):
        model.network.place_agent(agent, 0)
    assert set(directions_from(walker).values()) == {(1, 0), (2, 0)}
    assert directions_from(member) == {"1": 1}
    assert neighbors_of(member, 1) == [companion]


def test_an_agent_of_a_legacy_network_keeps_the_name_of_its_node(model, legacy_space):
    model.grid = legacy_space.NetworkGrid(nx.path_graph(3))
    agent = mesa.Agent(model)
    for spelling in (1.0, "1", [1]):
        move_to(agent, 0)
        assert type(move_to(agent, spelling)) is int
        assert position_of(agent) == 1


def test_a_number_may_stand_for_a_node_that_is_called_by_text(model):
    model.grid = Network(nx.path_graph(["7", "8"]), random=model.random)
    assert move_to(CellAgent(model), 8) == "8"


@pytest.mark.parametrize("position", [[10**400, 0], ["1", 0], "[" * 5000, "[1, 2", "__import__('os')", [1j, 0]])
def test_nonsense_is_refused(model, position):
    model.grid = OrthogonalMooreGrid((3, 3), torus=True, random=model.random)
    with pytest.raises(ToolError, match=r"is not a position here\. Give 2 numbers: \[row, column\]") as refusal:
        move_to(CellAgent(model), position)
    assert len(str(refusal.value)) < 250
