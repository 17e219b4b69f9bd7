"""Where the space is found."""

import subprocess
import sys

import mesa
import networkx as nx
import pytest
from mesa.discrete_space import Cell, CellAgent, Network, OrthogonalMooreGrid
from mesa.experimental.continuous_space import ContinuousSpace, ContinuousSpaceAgent

from mesa_llm.errors import ToolError
from mesa_llm.spaces import directions_from, move_to, neighbors_of, position_of


@pytest.fixture
def model():
    return mesa.Model(rng=1)


def test_no_space_at_all(model):
    agent = mesa.Agent(model)
    assert position_of(agent) is None
    assert neighbors_of(agent, 3) == []
    assert directions_from(agent) == {}
    with pytest.raises(ToolError, match=f"Agent {agent.unique_id} cannot move: no space"):
        move_to(agent, (0, 0))


def test_under_any_name(model):
    model.landscape = OrthogonalMooreGrid((3, 3), random=model.random)
    agent = CellAgent(model)
    agent.cell = model.landscape[(0, 0)]
    assert directions_from(agent) == {"South": (1, 0), "East": (0, 1), "SouthEast": (1, 1)}


def test_each_agent_in_its_own_space(model):
    model.grid = OrthogonalMooreGrid((3, 3), random=model.random)
    model.network = Network(nx.path_graph(3), random=model.random)
    model.space = ContinuousSpace([[0, 9], [0, 9]], random=model.random)
    walker, member, flier = CellAgent(model), CellAgent(model), ContinuousSpaceAgent(model.space, model)
    walker.cell, member.cell, flier.position = model.grid[(1, 1)], model.network[1], (1, 1)
    assert move_to(walker, (0, 0)) == (0, 0)
    assert move_to(member, 2) == 2
    assert move_to(flier, (5, 5)) == (5, 5)
    assert [neighbors_of(agent, 9) for agent in (walker, member, flier)] == [[], [], []]


def test_each_agent_in_its_own_legacy_space(model, legacy_space):
    model.grid = legacy_space.MultiGrid(5, 5, False)
    model.space = legacy_space.ContinuousSpace(9, 9, False)
    model.network = legacy_space.NetworkGrid(nx.path_graph(3))
    walker, flier, member = mesa.Agent(model), mesa.Agent(model), mesa.Agent(model)
    model.grid.place_agent(walker, (1, 1))
    model.space.place_agent(flier, (1, 1))
    model.network.place_agent(member, 1)
    assert "SouthWest" in directions_from(walker)
    assert move_to(flier, (8.5, 8.5)) == (8.5, 8.5)
    assert move_to(member, "2") == 2
    assert [neighbors_of(agent, 9) for agent in (walker, flier, member)] == [[], [], []]


def test_numpy_does_not_get_out(model, legacy_space):
    np = pytest.importorskip("numpy")
    model.space = legacy_space.ContinuousSpace(9, 9, False)
    agent = mesa.Agent(model)
    model.space.place_agent(agent, np.array([1.5, 2.5]))
    assert type(position_of(agent)) is tuple
    assert [type(value) for value in position_of(agent)] == [float, float]
    assert directions_from(agent)["East"] == (2.5, 2.5)
    assert move_to(agent, np.array([3.0, 4.0])) == (3.0, 4.0)


@pytest.mark.parametrize("nodes", [["a", "b"], [(0, 0), (0, 1)], ["7", "8"], [7, 8]])
def test_nodes_of_any_kind(model, nodes):
    model.grid = Network(nx.path_graph(nodes), random=model.random)
    agent = CellAgent(model)
    for spelling in (nodes[1], str(nodes[1]), [nodes[1]]):
        agent.cell = model.grid[nodes[0]]
        assert directions_from(agent) == {str(nodes[1]): nodes[1]}
        assert move_to(agent, spelling) == nodes[1]
    assert position_of(agent) == nodes[1]


def test_an_unknown_node_is_answered_with_some_that_exist(model):
    model.grid = Network(nx.path_graph(50), random=model.random)
    agent = CellAgent(model)
    with pytest.raises(ToolError, match=r"no node 77\. There are: 0, 1, 2, .*, 11, \.\.\.\."):
        move_to(agent, 77)


def test_connections_made_later_count(model):
    model.grid = Network(nx.empty_graph(3), random=model.random)
    first, second = CellAgent(model), CellAgent(model)
    first.cell, second.cell = model.grid[0], model.grid[2]
    assert neighbors_of(first, 2) == []
    model.grid.add_connection(model.grid[0], model.grid[1])
    model.grid.add_connection(model.grid[1], model.grid[2])
    assert neighbors_of(first, 2) == [second]


def test_cells_that_were_taken_away(model):
    model.grid = OrthogonalMooreGrid((3, 3), random=model.random)
    agent = CellAgent(model)
    agent.cell = model.grid[(0, 0)]
    model.grid.remove_cell(model.grid[(1, 1)])
    assert set(directions_from(agent)) == {"South", "East"}
    with pytest.raises(ToolError, match="no cell"):
        move_to(agent, (1, 1))


def test_a_cell_of_no_known_space(model):
    agent = CellAgent(model)
    agent.cell = Cell((4, 4), random=model.random)
    assert position_of(agent) == (4, 4)
    assert neighbors_of(agent, 1) == []


def test_mesa_space_is_not_imported():
    program = (
        "import sys, mesa; sys.modules.pop('mesa.space', None); import mesa_llm.spaces; "
        "assert 'mesa.space' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
