"""What a prompt and the tools say of positions and directions, on every space."""

import re

import mesa
import pytest
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid

from mesa_llm.llm_agent import LLMAgent
from mesa_llm.reasoning import CoTReasoning, OneCallReasoning
from mesa_llm.spaces import directions_from, legend_for, position_of
from mesa_llm.testing import ScriptedLLM
from mesa_llm.tools import ToolManager
from mesa_llm.tools.inbuilt_tools import move_one_step, teleport_to_location


def changes(legend):
    """What each direction does to which number, as a legend says it: `{"North": ("row", -1)}`."""
    found = {}
    for names, axis, sign in re.findall(r"((?:\w+ and )?\w+) (?:is|are) (\w+) ([+-]) 1", legend):
        found |= dict.fromkeys(names.split(" and "), (axis, 1 if sign == "+" else -1))
    return found


def test_a_legend_is_true(kind):
    agent = kind.world().add(kind.here)
    legend = legend_for(agent)
    if "North" not in directions_from(agent) and "NorthEast" not in directions_from(agent):
        assert legend is None
        return
    axes = re.search(r"\[(.*?)\]", legend).group(1).split(", ")
    here = position_of(agent)
    said = changes(legend)
    steps = directions_from(agent)
    for name, (axis, change) in said.items():
        place = axes.index(axis)
        assert steps[name][place] - here[place] == change
        if "cell" not in legend:
            assert [new - old for number, (new, old) in enumerate(zip(steps[name], here, strict=True))
                    if number != place] == [0]  # fmt: skip
    assert said.keys() | {"NorthEast", "NorthWest", "SouthEast", "SouthWest"} >= steps.keys()
    assert ("Diagonal directions" in legend) == ("NorthEast" in steps and "NorthEast" not in said)


@pytest.mark.parametrize("dimensions", [(5,), (3, 3, 3)])
def test_a_grid_without_a_compass_has_none(dimensions):
    model = mesa.Model(rng=1)
    model.grid = OrthogonalMooreGrid(dimensions, random=model.random)
    agent = CellAgent(model)
    agent.cell = next(iter(model.grid))
    assert legend_for(agent) is None


class Walker(LLMAgent, CellAgent):
    pass


class Silent(Walker):
    explains_positions = False


def systems(reasoning, *, grid, agent_class=Walker):
    model = mesa.Model(rng=1)
    llm = ScriptedLLM("Action: wait.")
    agent = agent_class(
        model, reasoning, client=llm, step_prompt="?", tools=[move_one_step], system_prompt="You are Ann."
    )
    if grid:
        model.grid = OrthogonalMooreGrid((5, 5), random=model.random)
        agent.cell = model.grid[(2, 2)]
    agent.step()
    return [request.messages[0].content for request in llm.requests]


@pytest.mark.parametrize("reasoning", [OneCallReasoning, CoTReasoning])
def test_every_request_of_a_decision_says_it_before_who_the_agent_is(reasoning):
    for with_space, without in zip(systems(reasoning, grid=True), systems(reasoning, grid=False), strict=True):
        beginning, persona, end = without.partition("\n\n# Who you are\n")  # the second request has no persona
        legend = (
            "Positions are [row, column]: North is row - 1, South is row + 1, East is column + 1, West is column - 1. "
            "Diagonal directions change both."
        )
        assert with_space == f"{beginning}\n\n# Positions\n{legend}{persona}{end}"
    assert systems(reasoning, grid=True, agent_class=Silent) == systems(reasoning, grid=False)


@pytest.mark.parametrize("tool", [move_one_step, teleport_to_location])
def test_tools_do_not_say_it_again(tool):
    [schema] = ToolManager([tool]).get_all_tools_schema()
    assert not {"row", "column", "x", "y"} & set(re.findall(r"\w+", str(schema)))
