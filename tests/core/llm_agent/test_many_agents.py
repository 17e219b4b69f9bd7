"""Many agents made at once: Mesa deals lists out to them, and each gets whole what is a list itself."""

import mesa
import pandas as pd
import pytest

from mesa_llm.actions import move_one_step
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.testing import ScriptedLLM


def rest(agent) -> str:
    """Take a rest."""
    return "rested"


def work(agent) -> str:
    """Do some work."""
    return "worked"


BOTH = ["rest", "work"]


def created(n, *args, cls=LLMAgent, **kwargs):
    settings = {"reasoning": OneCallReasoning, "client": ScriptedLLM("ok"), "step_prompt": "?"}
    return list(cls.create_agents(mesa.Model(rng=1), n, *args, **settings | kwargs))


def tools_of(agents):
    return [list(agent.tool_manager.tools) for agent in agents]


def actions_of(agents):
    return [list(agent.action_manager.actions) for agent in agents]


@pytest.mark.parametrize("n", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", [list, tuple, iter, set])
def test_each_agent_gets_all_tools(kind, n):
    agents = created(n, tools=kind([rest, work]))
    assert [sorted(tools) for tools in tools_of(agents)] == [BOTH] * n


@pytest.mark.parametrize("n", [1, 2, 3])
def test_each_agent_gets_all_actions(n):
    assert actions_of(created(n, actions=["wait", move_one_step])) == [["wait", "move_one_step"]] * n


@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_tools_and_one_tool(n):
    assert tools_of(created(n, tools=[])) == [[]] * n
    assert tools_of(created(n, tools=[rest])) == [["rest"]] * n


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("stop", [["END"], ["END", "STOP"], ("END", "STOP"), "END"])
def test_each_agent_gets_all_stop_texts(stop, n):
    assert [agent.llm.options["stop"] for agent in created(n, stop=stop)] == [stop] * n


def test_lists_of_lists_are_dealt_out():
    assert tools_of(created(2, tools=[[rest], [rest, work]])) == [["rest"], BOTH]
    assert actions_of(created(2, actions=[["wait"], [move_one_step]])) == [["wait"], ["move_one_step"]]
    assert [agent.llm.options.get("stop") for agent in created(2, stop=[["END"], None])] == [["END"], None]


def test_other_lists_are_dealt_out_as_in_mesa():
    agents = created(2, internal_state=["calm", "angry"], vision=(1, 2), tools=[rest, work])
    assert [(agent.internal_state, agent.vision) for agent in agents] == [(["calm"], 1), (["angry"], 2)]
    agents = created(3, internal_state=["calm", "angry"])
    assert [agent.internal_state for agent in agents] == [["calm", "angry"]] * 3
    agents[0].internal_state.append("rich")
    assert agents[1].internal_state == ["calm", "angry"]
    assert [agent.internal_state for agent in created(2, internal_state=iter(["calm"]))] == [["calm"]] * 2


class Worker(LLMAgent):
    """Takes its tools in a place of their own."""

    def __init__(self, model, wage, tools, **kwargs):
        super().__init__(model, tools=tools, **kwargs)
        self.wage = wage


def test_tools_in_their_place():
    agents = created(2, [10, 20], [rest, work], cls=Worker)
    assert [(agent.wage, list(agent.tool_manager.tools)) for agent in agents] == [(10, BOTH), (20, BOTH)]


def test_an_argument_too_many_is_pythons_own_error():
    with pytest.raises(TypeError, match="argument"):
        created(1, *range(30))


@pytest.mark.skipif(not hasattr(mesa.Agent, "from_dataframe"), reason="Mesa 3.4 has none")
def test_each_row_of_a_data_frame_gets_all_tools():
    rows = pd.DataFrame({"internal_state": ["calm", "angry"], "vision": [1, 2]})
    settings = {"reasoning": OneCallReasoning, "client": ScriptedLLM("ok"), "stop": ("END",)}
    agents = list(LLMAgent.from_dataframe(mesa.Model(rng=1), rows, tools=[rest, work], **settings))
    assert [(agent.internal_state, agent.vision) for agent in agents] == [(["calm"], 1), (["angry"], 2)]
    assert tools_of(agents) == [BOTH] * 2
    assert [agent.llm.options["stop"] for agent in agents] == [("END",)] * 2
    with pytest.raises(TypeError, match="memory"):
        LLMAgent.from_dataframe(mesa.Model(rng=1), rows, memory=[1, 2], **settings)
