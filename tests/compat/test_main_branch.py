"""What models written for mesa-llm's main branch use beside actions: tools by name, and what an agent sees."""

import pytest
from mesa import Model
from mesa.space import MultiGrid

from mesa_llm.actions import action, wait
from mesa_llm.clients import Message, tool_call
from mesa_llm.errors import ConfigurationError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.reasoning import CoTReasoning, ReActReasoning, Reasoning
from mesa_llm.testing import ScriptedLLM
from mesa_llm.tools import ToolManager, tool


@pytest.fixture(scope="module")
def weigh():
    @tool
    def weigh_grain(agent, sacks: int) -> str:
        """Weigh some grain.

        Args:
            sacks: how many sacks.
        """
        return f"{sacks} sacks"

    return weigh_grain


def an_agent(llm=None, model=None, cls=LLMAgent, **options):
    return cls(model or Model(), CoTReasoning, client=llm or ScriptedLLM("rest"), step_prompt="What now?", **options)


@pytest.mark.parametrize("given", ["names", "functions", "both", "one name", "one function"])
def test_tools_by_name_or_function(weigh, given):
    tools = {
        "names": ["weigh_grain", "speak_to"],
        "functions": [weigh, "speak_to"],
        "both": ("weigh_grain", "speak_to"),
        "one name": "weigh_grain",
        "one function": weigh,
    }[given]
    names = ["weigh_grain"] if given.startswith("one") else ["weigh_grain", "speak_to"]
    assert list(an_agent(tools=tools).tool_manager.tools) == names
    assert list(ToolManager(tools).tools) == names
    manager = ToolManager([])
    manager.register_many(tools)
    assert list(manager.tools) == names


def test_a_tool_of_an_unknown_name_says_which_there_are(weigh):
    with pytest.raises(ConfigurationError, match=r"no tool 'weigh_corn'.*'weigh_grain'"):
        an_agent(tools=["weigh_corn"])
    with pytest.raises(ConfigurationError, match=r"functions or their names, got 3"):
        an_agent(tools=3)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["move_one_step", "teleport_to_location", "speak_to"]),
        ({"actions": [wait]}, []),
        ({"tools": None}, []),
        ({"tools": []}, []),
        ({"tools": ["speak_to"], "actions": [wait]}, ["speak_to"]),
    ],
)
def test_what_tools_left_out_mean(options, names):
    offered = list(an_agent(**options).tool_manager.tools)
    assert offered[: len(names)] == names
    assert bool(offered) == bool(names)


@pytest.mark.parametrize("way", ["reasoning", "agent", "older name", "fourth place"])
@pytest.mark.parametrize("chosen", [["weigh_grain"], "function", "weigh_grain", []])
def test_one_plan_offers_some_of_the_tools(weigh, way, chosen):
    llm = ScriptedLLM(["rest", [tool_call("weigh_grain", sacks=2)] if chosen else "rest"])
    agent = an_agent(llm, tools=["weigh_grain", "speak_to"])
    chosen = [weigh] if chosen == "function" else chosen
    if way == "reasoning":
        plan = agent.reasoning.plan("What now?", tools=chosen)
    elif way == "agent":
        plan = agent.plan("What now?", tools=chosen)
    elif way == "older name":
        plan = agent.reasoning.plan("What now?", selected_tools=chosen)
    else:
        plan = agent.reasoning.plan("What now?", None, 1, chosen)
    assert {spec.name for request in llm.requests for spec in request.tools} == ({"weigh_grain"} if chosen else set())
    assert [answer["response"] for answer in agent.apply_plan(plan)] == (["2 sacks"] if chosen else [])


async def test_one_async_plan_offers_some_of_the_tools(weigh):
    llm = ScriptedLLM("rest")
    agent = an_agent(llm, tools=["weigh_grain", "speak_to"])
    await agent.reasoning.aplan("What now?", tools=weigh)
    await agent.reasoning.aexecute_tool_call("rest", tools="weigh_grain")
    agent.reasoning.execute_tool_call("rest", tools=["weigh_grain"])
    assert all([spec.name for spec in request.tools] == ["weigh_grain"] for request in llm.requests)
    assert len(llm.requests) == 4
    assert agent.plan("What now?", tools=None).offered == ()


def test_the_two_names_of_an_argument_are_not_both_given(weigh):
    agent = an_agent(tools=[weigh])
    for plan in (agent.plan, agent.reasoning.plan):
        with pytest.raises(ConfigurationError, match="mean the same"):
            plan("What now?", tools=[weigh], selected_tools=["weigh_grain"])


def test_tools_as_json(weigh):
    manager = ToolManager(["weigh_grain", "speak_to"])
    names = lambda schemas: [schema["function"]["name"] for schema in schemas]  # noqa: E731
    assert names(manager.get_tools_schema()) == ["weigh_grain", "speak_to"]
    assert names(manager.get_tools_schema(weigh)) == names(manager.get_tools_schema(tools=["weigh_grain"]))
    assert manager.get_tools_schema(None) == manager.get_tools_schema([]) == []
    assert names(manager.get_tools_schema(selected_tools=["speak_to"])) == ["speak_to"]
    with pytest.raises(ConfigurationError, match="Unknown tool"):
        manager.get_tools_schema("weigh_corn")


async def test_calls_of_tools_that_were_not_on_offer_are_refused(weigh):
    manager = ToolManager(["weigh_grain", "speak_to"])
    said = Message("assistant", "", tool_calls=(tool_call("weigh_grain", sacks=2),))
    agent = an_agent()
    for results in (
        manager.call_tools(agent, said, tools="speak_to"),
        await manager.acall_tools(agent, said, tools=["speak_to"]),
    ):
        assert "there is no tool 'weigh_grain'" in results[0]["response"]
    assert manager.call_tools(agent, said, tools=[weigh])[0]["response"] == "2 sacks"


def test_a_manager_of_ones_own_says_which_tools_are_on_offer(weigh):
    class Thrifty(ToolManager):
        def get_tools_schema(self, tools=None, selected_tools=None):
            return super().get_tools_schema(["weigh_grain"])

    llm = ScriptedLLM("rest")
    agent = an_agent(llm)
    agent.tool_manager = Thrifty(["weigh_grain", "speak_to"])
    agent.step()
    assert {spec.name for request in llm.requests for spec in request.tools} == {"weigh_grain"}


def test_a_strategy_for_main_gets_the_selection(weigh):
    class Own(Reasoning):
        def plan(self, prompt=None, obs=None, ttl=1, tools=None, tool_calls="auto", selected_tools="all"):
            asked.append((tools, selected_tools))
            return self.execute_tool_call("rest", tools=selected_tools)

    asked = []
    agent = LLMAgent(Model(), Own, client=ScriptedLLM("rest"), step_prompt="What now?", tools=[weigh])
    agent.plan(tools=[weigh])
    assert asked == [(None, ["weigh_grain"])]


class Citizen(LLMAgent):
    pass


def test_what_an_agent_sees_without_remembering_it():
    model = Model()
    model.grid = MultiGrid(3, 3, torus=False)
    citizens = [an_agent(model=model, cls=Citizen, vision=1, internal_state=["calm"]) for _ in range(2)]
    for x, citizen in enumerate(citizens):
        model.grid.place_agent(citizen, (x, 0))
    self_state, local_state = citizens[0]._build_observation()
    assert self_state["agent_unique_id"] == 1
    assert local_state["Citizen 2"]["internal_state"] == ["calm"]
    assert not citizens[0].memory.entries
    seen = citizens[0].generate_obs()
    assert (seen.self_state, seen.local_state) == (self_state, local_state)


@pytest.mark.parametrize("reasoning", [CoTReasoning, ReActReasoning])
def test_a_class_can_say_itself_what_it_sees(reasoning):
    class Blind(LLMAgent):
        def _build_observation(self):
            self_state, _ = super()._build_observation()
            return {**self_state, "mood": "merry"}, {}

    answer = "rest" if reasoning is CoTReasoning else '{"reasoning": "tired", "action": "rest"}'
    llm = ScriptedLLM(answer)
    Blind(Model(), reasoning, client=llm, step_prompt="What now?", tools=[], vision=-1).step()
    assert "merry" in str(llm.requests[0].messages)


@pytest.mark.parametrize("count", [2, 3])
def test_each_of_many_agents_gets_all_actions(count):
    @action
    def sow(agent) -> str:
        """Sow."""
        return "sown"

    agents = LLMAgent.create_agents(Model(), count, CoTReasoning, client=ScriptedLLM("rest"), actions=[sow, "wait"])
    assert [list(agent.action_manager.actions) for agent in agents] == [["sow", "wait"]] * count
    dealt = LLMAgent.create_agents(Model(), 2, CoTReasoning, client=ScriptedLLM("rest"), actions=[[sow], ["wait"]])
    assert [list(agent.action_manager.actions) for agent in dealt] == [["sow"], ["wait"]]
