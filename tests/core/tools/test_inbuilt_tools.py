"""The tools that come with mesa-llm, called as functions and by a model."""

import json

import mesa
import networkx as nx
import pytest
from mesa.discrete_space import CellAgent, Network, OrthogonalMooreGrid, OrthogonalVonNeumannGrid
from mesa.experimental.continuous_space import ContinuousSpace, ContinuousSpaceAgent

from mesa_llm import actions
from mesa_llm.clients import ToolCall
from mesa_llm.errors import ToolError
from mesa_llm.spaces import position_of
from mesa_llm.tools import ToolManager
from mesa_llm.tools.inbuilt_tools import move_one_step, speak_to, teleport_to_location


class Speaker(CellAgent):
    """An agent that writes down what it sends."""

    def __init__(self, model):
        super().__init__(model)
        self.sent = []

    def send_message(self, message, recipients):
        self.sent.append((message, list(recipients)))
        return f"Agents {[each.unique_id for each in recipients]} got the message."


@pytest.fixture
def model():
    model = mesa.Model(rng=1)
    model.grid = OrthogonalMooreGrid((5, 5), capacity=1, random=model.random)
    return model


@pytest.fixture
def agent(model):
    agent = Speaker(model)
    agent.cell = model.grid[(2, 2)]
    return agent


def schema(tool):
    (described,) = ToolManager([tool]).get_all_tools_schema()
    return described["function"]


def call(agent, tool, **arguments):
    """The answer to a model that calls the tool."""
    (result,) = ToolManager([tool]).execute(agent, [ToolCall("1", tool.__name__, json.dumps(arguments))])
    return result.response


@pytest.mark.parametrize("tool", [move_one_step, teleport_to_location, speak_to])
def test_the_model_is_told_everything_but_the_agent(tool):
    parameters = schema(tool)["parameters"]
    assert "agent" not in parameters["properties"]
    assert set(parameters["required"]) == set(parameters["properties"])
    assert all(parameter["description"] for parameter in parameters["properties"].values())
    assert "ToolError" not in schema(tool)["description"]


def test_one_step(agent):
    assert move_one_step(agent, "North") == f"Agent {agent.unique_id} moved North to (1, 2)."
    assert position_of(agent) == (1, 2)


@pytest.mark.parametrize("spelling", ["NorthEast", "northeast", "north-east", "North East", "NORTH_EAST"])
def test_directions_in_other_spellings(agent, spelling):
    move_one_step(agent, spelling)
    assert position_of(agent) == (1, 3)


@pytest.mark.parametrize(("direction", "node"), [("1", 1), (" 1 ", 1), ("-1", 0), ("mcp.1", 0), (" ", 0)])
@pytest.mark.parametrize("move", [move_one_step, actions.move_one_step])
def test_a_node_is_meant_by_its_own_name_only(model, move, direction, node):
    model.grid = Network(nx.path_graph(2), random=model.random)
    walker = CellAgent(model)
    walker.cell = model.grid[0]
    if node:
        move(walker, direction)
    else:
        with pytest.raises(ToolError, match=r"There is no step .* from 0. Possible: 1\."):
            move(walker, direction)
    assert position_of(walker) == node


@pytest.mark.parametrize("direction", ["up", "", "North"])
def test_a_step_that_does_not_exist(agent, model, direction):
    agent.cell = model.grid[(0, 0)]
    with pytest.raises(ToolError) as refusal:
        move_one_step(agent, direction)
    assert str(refusal.value) == f"There is no step {direction!r} from (0, 0). Possible: South, East, SouthEast."
    assert position_of(agent) == (0, 0)


def test_a_step_into_a_full_cell(agent, model):
    Speaker(model).cell = model.grid[(1, 2)]
    with pytest.raises(ToolError, match=r"Cell \(1, 2\) is full.*Free directions from \(2, 2\): South, East, West"):
        move_one_step(agent, "North")
    assert position_of(agent) == (2, 2)


def test_grids_without_diagonals(model):
    model.grid = OrthogonalVonNeumannGrid((5, 5), random=model.random)
    agent = Speaker(model)
    agent.cell = model.grid[(2, 2)]
    with pytest.raises(ToolError, match="Possible: North, South, East, West"):
        move_one_step(agent, "NorthEast")


def test_a_model_with_only_a_continuous_space():
    model = mesa.Model(rng=1)
    model.space = ContinuousSpace([[0, 9], [0, 9]], random=model.random)
    agent = ContinuousSpaceAgent(model.space, model)
    agent.position = (4, 4)
    assert call(agent, move_one_step, direction="NorthWest").endswith("moved NorthWest to (3.0, 5.0).")
    assert call(agent, teleport_to_location, target_coordinates=[1.5, 2]).endswith("moved to (1.5, 2.0).")
    assert "x 0.0 to 9.0, y 0.0 to 9.0" in call(agent, teleport_to_location, target_coordinates=[1.5, 20])


def test_networks():
    model = mesa.Model(rng=1)
    model.grid = Network(nx.path_graph(4), random=model.random)
    agent = CellAgent(model)
    agent.cell = model.grid[0]
    assert call(agent, move_one_step, direction="1") == f"Agent {agent.unique_id} moved 1 to 1."
    assert call(agent, teleport_to_location, target_coordinates=3).endswith("moved to 3.")
    assert call(agent, teleport_to_location, target_coordinates="0").endswith("moved to 0.")
    assert "Possible: 1." in call(agent, move_one_step, direction="North")
    assert position_of(agent) == 0


def test_nowhere_to_go():
    agent = mesa.Agent(mesa.Model(rng=1))
    with pytest.raises(ToolError, match="No step is possible"):
        move_one_step(agent, "North")
    with pytest.raises(ToolError, match="no space"):
        teleport_to_location(agent, [1, 1])


@pytest.mark.parametrize("coordinates", [[3, 4], [3.0, 4.0], "[3, 4]", (3, 4)])
def test_teleport(agent, coordinates):
    assert teleport_to_location(agent, coordinates) == f"Agent {agent.unique_id} moved to (3, 4)."
    assert position_of(agent) == (3, 4)


def test_teleport_out_of_bounds(agent):
    assert "(5, 0) is outside the grid. Its bounds are: row 0 to 4, column 0 to 4." in call(
        agent, teleport_to_location, target_coordinates=[5, 0]
    )
    assert position_of(agent) == (2, 2)


def test_legacy_grid():
    legacy = getattr(mesa, "space", None)
    if legacy is None:
        pytest.skip("this Mesa has no mesa.space")
    model = mesa.Model(rng=1)
    model.grid = legacy.SingleGrid(5, 5, False)
    agent, other = mesa.Agent(model), mesa.Agent(model)
    model.grid.place_agent(agent, (2, 2))
    model.grid.place_agent(other, (2, 4))
    assert move_one_step(agent, "North").endswith("moved North to (2, 3).")
    with pytest.raises(ToolError, match=rf"Cell \(2, 4\) is occupied by agent {other.unique_id}\. Free directions"):
        teleport_to_location(agent, [2, 4])
    assert (agent.pos, model.grid[2, 3]) == ((2, 3), agent)


def test_speaking(agent, model):
    first, second, _unasked = Speaker(model), Speaker(model), Speaker(model)
    reply = speak_to(agent, [second.unique_id, first.unique_id, second.unique_id], "hello")
    assert agent.sent == [("hello", [second, first])]
    assert reply == f"Agents {[second.unique_id, first.unique_id]} got the message."


def test_speaking_to_unknown_agents_too(agent, model):
    other = Speaker(model)
    reply = speak_to(agent, [98, other.unique_id, agent.unique_id, 99], "hello")
    assert agent.sent == [("hello", [other])]
    assert reply.endswith("There are no agents [98, 99].")


def test_speaking_to_nobody(agent):
    with pytest.raises(ToolError, match=r"no agents \[98, 99\]"):
        speak_to(agent, [98, 99], "hello")
    for nobody in ([], [agent.unique_id]):
        with pytest.raises(ToolError, match="no other agent was named"):
            speak_to(agent, nobody, "hello")
    assert agent.sent == []


def test_a_model_may_write_ids_as_text(agent, model):
    other = Speaker(model)
    assert "got the message" in call(agent, speak_to, listener_agents_unique_ids=f"[{other.unique_id}]", message="hi")
    assert agent.sent == [("hi", [other])]
