"""Arguments that stand for what the calling agent has before it."""

import copy
import json
from typing import Annotated

import mesa
import networkx as nx
import pytest
from mesa.discrete_space import CellAgent, Network, OrthogonalMooreGrid
from mesa.experimental.continuous_space import ContinuousSpace, ContinuousSpaceAgent

from mesa_llm.clients import Message, ToolCall, tool_call
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.module_llm.request_fields import OfferedTool
from mesa_llm.reasoning import CoTReasoning, OneCallReasoning, Plan, ReActReasoning, ReWOOReasoning
from mesa_llm.spaces import free_places_around, position_of
from mesa_llm.testing import ScriptedLLM
from mesa_llm.tools import FreeDirection, ToolManager, VisibleAgent, VisibleAgentId, VisibleCell
from mesa_llm.tools.inbuilt_tools import move_one_step, speak_to, teleport_to_location


class Walker(LLMAgent, CellAgent):
    pass


class Cook(Walker):
    pass


class PastryCook(Cook):
    pass


@pytest.fixture
def model():
    model = mesa.Model(rng=1)
    model.grid = OrthogonalMooreGrid((5, 5), capacity=1, random=model.random)
    return model


def walker(model, cell, of=Walker, vision=1, **kwargs):
    settings = {"reasoning": CoTReasoning, "client": ScriptedLLM("ok"), "vision": vision, "step_prompt": "?"}
    agent = of(model, **(settings | kwargs))
    agent.cell = model.grid[cell]
    return agent


def narrowed(agent, tool):
    (spec,) = ToolManager([tool]).specs(agent=agent, seen=agent.generate_obs())
    assert isinstance(spec, OfferedTool)
    return spec.narrow()


def argument(agent, annotation, default=...):
    """The narrowed schema of a tool's only argument; `None` if there is nothing to choose."""

    def probe(x):
        """Probe.

        Args:
            x: it.
        """

    probe.__annotations__["x"] = annotation
    if default is not ...:
        probe.__defaults__ = (default,)
    schema = narrowed(agent, probe)
    return schema and schema["properties"].get("x")


def test_ids_of_agents_in_sight(model):
    agent = walker(model, (2, 2))
    near, far, cook = walker(model, (1, 1)), walker(model, (4, 4)), walker(model, (2, 3), PastryCook)
    ids = {"type": "integer", "description": "it."}
    assert argument(agent, VisibleAgentId) == ids | {"enum": [near.unique_id, cook.unique_id]}
    assert argument(agent, Annotated[int, VisibleAgent(Cook)]) == ids | {"enum": [cook.unique_id]}
    assert argument(agent, Annotated[int, VisibleAgent("PastryCook")]) == ids | {"enum": [cook.unique_id]}
    assert argument(agent, Annotated[int, VisibleAgent("Cook")]) is None
    assert argument(far, VisibleAgentId) is None


def test_marks_inside_of_lists_and_optional_arguments(model):
    agent = walker(model, (2, 2))
    assert argument(agent, VisibleAgentId | None, None) is None
    assert argument(agent, list[VisibleAgentId]) is None
    other = walker(model, (1, 1))
    ids = {"type": "integer", "enum": [other.unique_id]}
    assert argument(agent, list[VisibleAgentId]) == {"type": "array", "items": ids, "description": "it."}
    assert argument(agent, VisibleAgentId | None, None) == {
        "anyOf": [ids, {"type": "null"}],
        "default": None,
        "description": "it.",
    }


def test_an_optional_argument_without_choices_is_left_out_and_the_tool_stays(model):
    def look(at: VisibleAgentId = 0, how: str = "well"):
        """Look.

        Args:
            at: whom.
            how: how.
        """

    assert list(narrowed(walker(model, (2, 2)), look)["properties"]) == ["how"]


def test_cells_in_sight_that_have_room(model):
    agent = walker(model, (0, 0))
    walker(model, (1, 1))
    assert argument(agent, VisibleCell) == {"type": "string", "enum": ["[0, 1]", "[1, 0]"], "description": "it."}
    agent.vision = 0
    assert argument(agent, VisibleCell) is None
    agent.vision = -1
    assert len(argument(agent, VisibleCell)["enum"]) == 23


def test_nodes_in_sight():
    model = mesa.Model(rng=1)
    model.grid = Network(nx.path_graph(5), random=model.random)
    assert argument(walker(model, 2), VisibleCell) == {"type": "integer", "enum": [1, 3], "description": "it."}


def test_continuous_spaces_leave_it_open():
    model = mesa.Model(rng=1)
    model.space = ContinuousSpace([[0, 9], [0, 9]], random=model.random)
    agent = ContinuousSpaceAgent(model.space, model)
    agent.position = (4, 4)
    assert free_places_around(agent, 3) is None
    seen = Walker(model, CoTReasoning, client=ScriptedLLM("ok")).generate_obs()
    (spec,) = ToolManager([teleport_to_location]).specs(agent=agent, seen=seen)
    assert spec.narrow() == spec.parameters


def test_more_than_an_enum_can_hold_is_left_open(model):
    agent = walker(model, (2, 2), vision=-1)
    for _ in range(501):
        mesa.Agent(model)
    assert argument(agent, VisibleAgentId) == {"type": "integer", "description": "it."}


def test_free_directions(model):
    agent = walker(model, (0, 0))
    walker(model, (1, 1))
    assert argument(agent, FreeDirection) == {"type": "string", "enum": ["South", "East"], "description": "it."}


def test_a_free_place_is_the_own_cell_never_and_nothing_for_an_agent_that_is_nowhere(model):
    assert free_places_around(walker(model, (2, 2)), 0) == []
    assert free_places_around(CellAgent(model), 3) == []


@pytest.mark.parametrize("written", [[3, 4], "[3, 4]", "(3, 4)", " (3,4) "])
def test_a_tool_takes_coordinates_in_both_forms(model, written):
    seen = []

    def go(to: VisibleCell):
        """Go.

        Args:
            to: where.
        """
        seen.append(to)

    (result,) = ToolManager([go]).execute(None, [ToolCall("1", "go", json.dumps({"to": written}))])
    assert (result.ok, seen) == (True, [(3, 4)])


@pytest.mark.parametrize("name", ["[x", "hall", 7, "7"])
def test_a_tool_takes_names_of_nodes(name):
    def go(to: VisibleCell):
        """Go.

        Args:
            to: where.
        """
        return repr(to)

    (result,) = ToolManager([go]).execute(None, [ToolCall("1", "go", json.dumps({"to": name}))])
    assert result.response == repr(name)


def test_every_choice_of_the_built_in_tools_can_be_made(model):
    agent, other = walker(model, (2, 2)), walker(model, (2, 1))
    for tool, name, fixed in (
        (move_one_step, "direction", {}),
        (teleport_to_location, "target_coordinates", {}),
        (speak_to, "listener_agents_unique_ids", {"message": "hi"}),
    ):
        agent.cell = model.grid[2, 2]
        schema = narrowed(agent, tool)["properties"][name]
        choices = schema["enum"] if "enum" in schema else [[value] for value in schema["items"]["enum"]]
        assert choices
        for choice in choices:
            agent.cell = model.grid[2, 2]
            call = ToolCall("1", tool.__name__, json.dumps({name: choice} | fixed))
            (result,) = ToolManager([tool]).execute(agent, [call])
            assert result.ok, result.response
            assert tool is speak_to or position_of(agent) != (2, 2)
    assert other.memory.entries[-1].content["message"] == "hi"


def test_the_tool_as_it_is_sent_stays_the_same(model):
    agent = walker(model, (2, 2))
    manager = ToolManager([speak_to, move_one_step])
    plain = manager.specs()
    walker(model, (2, 1))
    offered = manager.specs(agent=agent, seen=agent.generate_obs())
    assert [tool.plain for tool in offered] == list(plain)
    assert all(tool.plain is spec for tool, spec in zip(offered, plain, strict=True))
    assert all(tool.as_dict() == spec.as_dict() for tool, spec in zip(offered, plain, strict=True))
    assert "x-visible" not in str([tool.as_dict() for tool in offered])
    assert copy.deepcopy(plain) == plain


def greet(agent, whom: Annotated[int, VisibleAgent()]) -> str:
    """Greet somebody.

    Args:
        whom: who.
    """
    return f"hello {whom}"


def praise(agent, cook: Annotated[int | None, VisibleAgent(Cook)] = None, cooks: list[VisibleAgentId] = ()) -> str:
    """Praise a cook, or several.

    Args:
        cook: the cook.
        cooks: the cooks.
    """
    return f"well done {cook} {list(cooks)}"


def act(agent, tool, **arguments):
    """What comes of a tool call that was planned on what the agent sees now."""
    call = ToolCall("1", tool.__name__, json.dumps(arguments))
    plan = Plan(1, Message("assistant", tool_calls=(call,)), seen=agent.generate_obs())
    (result,) = agent.apply_plan(plan)
    return result["response"]


def test_agents_out_of_sight_are_refused(model):
    agent = walker(model, (2, 2), tools=[greet, praise])
    near, far = walker(model, (2, 1)), walker(model, (0, 0))
    cook, far_cook = walker(model, (3, 3), PastryCook), walker(model, (4, 0), Cook)
    assert act(agent, greet, whom=near.unique_id) == f"hello {near.unique_id}"
    in_sight = f"you see no such agent (you see {near.unique_id}, {cook.unique_id})"
    assert act(agent, greet, whom=far.unique_id) == f"Error: argument 'whom' is {far.unique_id}: {in_sight}"
    assert act(agent, greet, whom=agent.unique_id) == f"hello {agent.unique_id}"
    assert act(agent, praise, cook=cook.unique_id) == f"well done {cook.unique_id} []"
    only_cooks = f"you see no such agent (you see {cook.unique_id})"
    assert act(agent, praise, cook=near.unique_id).endswith(only_cooks)
    assert act(agent, praise, cook=far_cook.unique_id).endswith(only_cooks)
    assert act(agent, praise, cook=agent.unique_id).endswith(only_cooks)
    assert act(agent, praise, cook=None) == "well done None []"
    assert f"argument 'cooks.1' is {far.unique_id}" in act(agent, praise, cooks=[near.unique_id, far.unique_id])
    assert "you see no such agent" in agent.memory.get_prompt_ready()


def test_who_sees_nobody(model):
    blind = walker(model, (2, 2), vision=0, tools=[greet])
    other = walker(model, (2, 1))
    assert act(blind, greet, whom=other.unique_id).endswith("you see no such agent (you see none)")


def test_who_has_no_vision_may_name_everybody(model):
    agent = walker(model, (2, 2), vision=None, tools=[greet])
    assert act(agent, greet, whom=walker(model, (4, 4)).unique_id).startswith("hello")


def test_an_agent_that_has_written_can_be_answered_wherever_it_is(model):
    agent = walker(model, (0, 0), tools=[greet, praise, speak_to])
    cook = walker(model, (4, 4), Cook)
    assert act(agent, speak_to, listener_agents_unique_ids=[cook.unique_id], message="hi").startswith("Error")
    cook.send_message("hungry?", [agent])
    assert act(agent, greet, whom=cook.unique_id) == f"hello {cook.unique_id}"
    assert "got the message" in act(agent, speak_to, listener_agents_unique_ids=[cook.unique_id], message="hi")
    assert act(agent, praise, cook=cook.unique_id).endswith("you see no such agent (you see none)")


def test_what_was_seen_is_what_counts_not_who_has_come_since(model):
    agent, other = walker(model, (0, 0), tools=[greet]), walker(model, (4, 4))
    seen = agent.generate_obs()
    other.cell = model.grid[0, 1]
    call = ToolCall("1", "greet", json.dumps({"whom": other.unique_id}))
    (refused,) = agent.tool_manager.execute(agent, [call], seen=seen)
    (unchecked,) = agent.tool_manager.execute(agent, [call])
    assert (refused.ok, unchecked.ok) == (False, True)


@pytest.mark.parametrize("reasoning", [CoTReasoning, ReActReasoning, ReWOOReasoning, OneCallReasoning])
def test_a_decision_may_name_only_agents_that_were_in_sight(model, reasoning):
    far = walker(model, (4, 4))
    call = tool_call("greet", whom=far.unique_id)

    def answer(request):
        return '{"reasoning": "r", "action": "a"}' if request.tool_choice == "none" else [call]

    agent = walker(model, (0, 0), of=Walker, tools=[greet], reasoning=reasoning, client=ScriptedLLM(answer))
    agent.step()
    assert "you see no such agent" in agent.memory.get_prompt_ready()


@pytest.mark.parametrize("reasoning", [CoTReasoning, ReActReasoning, ReWOOReasoning, OneCallReasoning])
def test_every_strategy_offers_what_its_agent_sees(model, reasoning):
    def answer(request):
        return '{"reasoning": "r", "action": "a"}' if "tool yet" in request.messages[0].content else '{"calls": []}'

    llm = ScriptedLLM(answer)
    agent = Walker(model, reasoning, client=llm, vision=1, step_prompt="?", tools=[speak_to], tool_mode="json_schema")
    agent.cell = model.grid[2, 2]
    other = walker(model, (2, 1))
    agent.reasoning.plan()
    assert f"'enum': [{other.unique_id}]" in str(llm.requests[-1].response_format.schema)
