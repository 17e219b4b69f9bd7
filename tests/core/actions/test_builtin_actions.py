"""The actions that come with mesa-llm: as functions, as the code's choice, and as a model's."""

import json

import mesa
import networkx as nx
import pytest
from mesa.discrete_space import CellAgent, HexGrid, Network, OrthogonalMooreGrid

from mesa_llm.actions import default_actions, move_one_step, social_actions, spatial_actions, speak_to, wait
from mesa_llm.actions import teleport_to_location as teleport
from mesa_llm.errors import ActionChoiceError, ActionError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.reasoning import CoTReasoning
from mesa_llm.spaces import position_of
from mesa_llm.testing import ScriptedLLM

ALL = (*default_actions(), *spatial_actions(), *social_actions())


class Walker(LLMAgent, CellAgent):
    pass


def chosen(name, **arguments):
    return {"name": name, "arguments": arguments}


def walker_on(space, place, *answers, actions=ALL, **settings):
    model = mesa.Model(rng=1)
    model.grid = space(model)
    llm = ScriptedLLM([json.dumps(answer) for answer in answers])
    walker = Walker(model, CoTReasoning, client=llm, actions=actions, **settings)
    walker.cell = model.grid[place]
    walker.asked = llm.requests
    return walker


def moore(size=3, **options):
    return lambda model: OrthogonalMooreGrid((size, size), random=model.random, **options)


def network(model):
    return Network(nx.path_graph(3), random=model.random)


def hexagons(model):
    return HexGrid((3, 3), random=model.random)


def direction_choices(request):
    (move,) = request.response_format.schema["properties"]["action"]["anyOf"]
    return move["properties"]["arguments"]["properties"]["direction"]["enum"]


def test_the_sets():
    assert (wait, move_one_step, teleport, speak_to) == ALL


@pytest.mark.parametrize(
    ("space", "place", "direction", "where"),
    [
        (moore(), (1, 1), "North", (0, 1)),
        (moore(), (1, 1), "north-east", (0, 2)),
        (moore(torus=True), (0, 0), "NORTH", (2, 0)),
        (hexagons, (1, 1), "East", (2, 1)),
        (network, 1, "2", 2),
    ],
)
def test_one_step(space, place, direction, where):
    walker = walker_on(space, place)
    assert "moved" in walker.execute_action(chosen("move_one_step", direction=direction))
    assert position_of(walker) == where


@pytest.mark.parametrize(
    ("place", "direction", "sentence"),
    [
        ((0, 0), "North", "cannot move North from (0, 0): nothing is there. Possible: "),
        ((0, 0), "East", "cannot move East from (0, 0): Cell (0, 1) is full"),
    ],
)
def test_what_is_in_the_way_is_a_sentence(place, direction, sentence):
    walker = walker_on(moore(capacity=1), place)
    CellAgent(walker.model).cell = walker.model.grid[(0, 1)]
    assert sentence in walker.execute_action(chosen("move_one_step", direction=direction))
    assert position_of(walker) == place


@pytest.mark.parametrize("direction", ["Nowhere", "", "up"])
def test_a_step_of_no_such_name(direction):
    walker = walker_on(moore(), (1, 1))
    with pytest.raises(ActionError, match="There is no step"):
        walker.execute_action(chosen("move_one_step", direction=direction))


def test_an_agent_without_a_place():
    agent = LLMAgent(mesa.Model(), CoTReasoning, client=ScriptedLLM([]), actions=ALL)
    with pytest.raises(ActionError, match="has no place"):
        agent.execute_action(chosen("move_one_step", direction="North"))


@pytest.mark.parametrize(
    ("space", "place", "choices"),
    [
        (moore(), (1, 1), ["North", "South", "East", "West", "NorthEast", "NorthWest", "SouthEast", "SouthWest"]),
        (moore(), (0, 0), ["South", "East", "SouthEast"]),
        (network, 1, ["0", "2"]),
        (moore(1), (0, 0), ["North", "South", "East", "West", "NorthEast", "NorthWest", "SouthEast", "SouthWest"]),
    ],
)
def test_a_model_chooses_among_the_steps_that_there_are(space, place, choices):
    walker = walker_on(space, place, chosen("move_one_step", direction=choices[0].lower()), actions=[move_one_step])
    walker.act("Where to?")
    (request,) = walker.asked
    assert direction_choices(request) == choices
    _, actions, *now, task = [message.content for message in request.messages]
    assert task == "Where to?"
    if f'"enum": {json.dumps(choices)}' not in actions:  # otherwise all steps are possible, as the action says
        assert [json.loads(line)["move_one_step"]["direction"]["enum"] for line in now[0].splitlines()[1:]] == [choices]


def test_a_model_that_walks_into_a_wall_is_asked_again():
    wall = chosen("move_one_step", direction="North")
    walker = walker_on(moore(), (0, 0), wall, chosen("move_one_step", direction="South"), actions=[move_one_step])
    walker.act("Where to?")
    assert position_of(walker) == (1, 0)
    assert "should be one of South, East, SouthEast" in walker.asked[1].messages[-1].content
    stubborn = walker_on(moore(), (0, 0), wall, wall, actions=[move_one_step])
    with pytest.raises(ActionChoiceError):
        stubborn.act("Where to?")


def test_without_an_agent_the_compass_is_the_choice():
    walker = walker_on(network, 1)
    (schema,) = walker.action_manager.get_actions_schema(actions=move_one_step)
    assert schema["parameters"]["properties"]["direction"]["enum"][:2] == ["North", "South"]


@pytest.mark.parametrize(
    ("space", "place", "target", "where"),
    [
        (moore(), (1, 1), ["2", 2.0], (2, 2)),
        (moore(), (1, 1), "[2, 0]", (2, 0)),
        (moore(), (1, 1), [1, 1], (1, 1)),
        (moore(torus=True), (1, 1), [4, 4], (1, 1)),
        (hexagons, (1, 1), [0, 0], (0, 0)),
        (network, 1, 0, 0),
        (network, 1, "2", 2),
    ],
)
def test_teleports(space, place, target, where):
    walker = walker_on(space, place)
    walker.execute_action(chosen("teleport_to_location", target_coordinates=target))
    assert position_of(walker) == where


@pytest.mark.parametrize("target", [[9, 9], [0], [0, 0, 0], [1.5, 1], None, [True, 0], [0, 1], {}])
def test_teleports_to_where_nobody_can_be(target):
    walker = walker_on(moore(capacity=1), (1, 1))
    CellAgent(walker.model).cell = walker.model.grid[(0, 1)]
    with pytest.raises(ActionError):
        walker.execute_action(chosen("teleport_to_location", target_coordinates=target))
    assert position_of(walker) == (1, 1)


def test_a_model_may_teleport_beyond_its_sight():
    walker = walker_on(moore(9), (0, 0), chosen("teleport_to_location", target_coordinates=[8, 8]), vision=1)
    walker.act("Where to?")
    assert position_of(walker) == (8, 8)


class DeafEar:
    def add_to_memory(self, kind, content):
        raise OSError("full")


def test_speaking_says_who_got_the_message(caplog):
    walker = walker_on(moore(), (1, 1))
    model = walker.model
    listener, deaf, broken = (
        LLMAgent(model, CoTReasoning, client=ScriptedLLM([])),
        mesa.Agent(model),
        mesa.Agent(model),
    )
    broken.memory = DeafEar()
    ids = [listener.unique_id, listener.unique_id, deaf.unique_id, 99, walker.unique_id, broken.unique_id]
    result = walker.execute_action(chosen("speak_to", listener_agents_unique_ids=ids, message="hello"))
    assert result == {
        "requested": ids,
        "delivered": [listener.unique_id],
        "skipped": ids[2:5],
        "failed": [broken.unique_id],
    }
    (entry,) = listener.memory.entries
    assert (entry.type, entry.content) == ("message", {"message": "hello", "sender": walker.unique_id})
    assert [entry.type for entry in walker.memory.entries] == ["action"]
    assert "could not remember the message" in caplog.text


def test_they_are_plain_functions_too():
    walker = walker_on(moore(), (1, 1))
    assert wait(walker) == "waited"
    assert move_one_step(walker, "South") == f"Agent {walker.unique_id} moved South to (2, 1)."
    assert teleport(walker, [0, 0]) == f"Agent {walker.unique_id} moved to (0, 0)."
    assert walker.memory.entries == ()
