"""Strategies take what those of mesa-llm 0.3 took: prompts of one's own, observations and plans of any type."""

from types import SimpleNamespace

import mesa
import pytest

from mesa_llm.clients import tool_call
from mesa_llm.errors import DecisionError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.reasoning import OneCallReasoning, read_observation
from mesa_llm.reasoning.cot import CoTReasoning
from mesa_llm.reasoning.react import ReActReasoning
from mesa_llm.reasoning.reasoning import Plan, Reasoning
from mesa_llm.reasoning.rewoo import ReWOOReasoning
from mesa_llm.testing import ScriptedLLM
from mesa_llm.tools import ToolManager

PIRATE = "Answer in the voice of a pirate."
ANSWER = '{"reasoning": "r", "action": "a"}'


class CoT(CoTReasoning):
    def get_cot_system_prompt(self, obs):
        return PIRATE


class CoTAndMore(CoTReasoning):
    def get_cot_system_prompt(self, obs):
        return f"{super().get_cot_system_prompt(obs)}\n{PIRATE}"


class ReWOO(ReWOOReasoning):
    def get_rewoo_system_prompt(self, obs):
        return PIRATE


class ReWOOAndMore(ReWOOReasoning):
    def get_rewoo_system_prompt(self, obs):
        return f"{super().get_rewoo_system_prompt(obs)}\n{PIRATE}"


class ReAct(ReActReasoning):
    def get_react_system_prompt(self):
        return PIRATE


class ReActAndMore(ReActReasoning):
    def get_react_system_prompt(self):
        return f"{super().get_react_system_prompt()}\n{PIRATE}"


class ReActTexts(ReActReasoning):
    def get_react_prompt(self, obs):
        return [PIRATE]


class ReActOneText(ReActReasoning):
    def get_react_prompt(self, obs):
        return PIRATE


class ReActMoreTexts(ReActReasoning):
    def get_react_prompt(self, obs):
        return [*super().get_react_prompt(obs), PIRATE]


def agent_with(strategy, script=ANSWER):
    agent = LLMAgent(
        mesa.Model(rng=1),
        strategy,
        client=ScriptedLLM(script),
        system_prompt="You are old.",
        step_prompt="What now?",
        tools=[],
    )
    agent.memory.add_to_memory("note", {"w": "the well is dry"})
    return agent


async def texts_of(strategy, *, in_async):
    """The texts of the first request."""
    agent = agent_with(strategy)
    await agent.astep() if in_async else agent.step()
    first = agent.llm.client.requests[0]
    return [message.content for message in first.messages], first


@pytest.mark.parametrize("in_async", [False, True])
@pytest.mark.parametrize("strategy", [CoT, ReWOO])
async def test_an_own_system_prompt_stands_alone_with_the_task(strategy, in_async):
    texts, _ = await texts_of(strategy, in_async=in_async)
    assert texts == [PIRATE, "What now?"]


@pytest.mark.parametrize("strategy", [CoTAndMore, ReWOOAndMore])
async def test_the_system_prompt_of_the_base_has_everything(strategy):
    texts, request = await texts_of(strategy, in_async=False)
    assert texts[1] == "What now?"
    assert texts[0].endswith(PIRATE)
    for part in ("You are an agent in a simulation", "You are old.", "the well is dry"):
        assert part in texts[0]
    assert read_observation(request)["self_state"]["agent_unique_id"] == 1


async def test_parts_of_a_react_prompt_are_replaced_one_by_one():
    (system, user), _ = await texts_of(ReAct, in_async=False)
    assert system == PIRATE
    assert "the well is dry" in user
    assert user.endswith("What now?")
    (system, user), _ = await texts_of(ReActAndMore, in_async=True)
    assert "You are old." in system
    assert system.endswith(PIRATE)
    for strategy in (ReActTexts, ReActOneText):
        (system, *user), _ = await texts_of(strategy, in_async=False)
        assert "You are old." in system
        assert user == [PIRATE, "What now?"]
    (system, memory, observation, *rest), request = await texts_of(ReActMoreTexts, in_async=False)
    assert "the well is dry" in memory
    assert "You are agent 1." in observation
    assert rest == [PIRATE, "What now?"]
    assert read_observation(request)["self_state"]["agent_unique_id"] == 1


async def test_a_method_replaced_at_one_strategy():
    agent = agent_with(CoTReasoning)
    agent.reasoning.get_cot_system_prompt = lambda obs: PIRATE
    agent.step()
    assert agent.llm.client.requests[0].messages[0].content == PIRATE


async def test_what_is_left_of_a_rewoo_plan_can_be_read_and_dropped():
    calls = [tool_call("wait"), tool_call("wait")]
    agent = agent_with(ReWOOReasoning, lambda request: "Wait." if request.tool_choice == "none" else calls)
    agent.tool_manager = ToolManager([wait])
    reasoning = agent.reasoning
    assert (reasoning.remaining_tool_calls, reasoning.current_plan, reasoning.current_obs) == (0, None, None)
    agent.step()
    assert reasoning.remaining_tool_calls == 1
    assert [call.name for call in reasoning.current_plan.tool_calls] == ["wait", "wait"]
    assert reasoning.current_obs.self_state["agent_unique_id"] == 1
    reasoning.remaining_tool_calls = 0
    assert reasoning.remaining_tool_calls == 0
    assert len(agent.llm.client.requests) == 2
    agent.step()
    assert len(agent.llm.client.requests) == 4
    reasoning.current_plan, reasoning.current_obs = None, None
    assert (reasoning.remaining_tool_calls, reasoning.unfinished_plan(1)) == (0, None)
    reasoning.remaining_tool_calls = 2
    reasoning.current_plan = OfTheApi(None, "wait", "rest")
    reasoning.current_obs = agent.generate_obs()
    assert [str(reasoning.plan()) for _ in range(2)] == ["wait({})", "rest({})"]
    assert reasoning.remaining_tool_calls == 0
    assert len(agent.llm.client.requests) == 4


class Weather:
    """Has no text of its own, so Python's has an address."""


OBSERVATIONS = [
    ({"grade": 3, "topic": "tides"}, "{'grade': 3, 'topic': 'tides'}"),
    ("You are in a simple grid world.\nIt rains.", "You are in a simple grid world.\nIt rains."),
    (["a", "b"], "['a', 'b']"),
    ("", ""),
    (7, "7"),
    ({"words": {"b", "a"}}, "{'words': ['a', 'b']}"),
    ([Weather()], "['Weather']"),
]


@pytest.mark.parametrize("in_async", [False, True])
@pytest.mark.parametrize(("obs", "text"), OBSERVATIONS)
@pytest.mark.parametrize("strategy", [CoTReasoning, ReActReasoning, ReWOOReasoning, OneCallReasoning])
async def test_an_observation_of_another_type_is_a_text_in_the_prompt(strategy, obs, text, in_async):
    agent = agent_with(strategy)
    if in_async:
        plan = await agent.reasoning.aplan("What now?", obs, selected_tools=[])
    else:
        plan = agent.reasoning.plan(prompt="What now?", obs=obs, selected_tools=[])
    first = agent.llm.client.requests[0]
    assert f"# Observation\n{text}\n\n# Task" in first.messages[-1].content
    assert (plan.step, plan.seen) == (0, None)
    assert agent.apply_plan(plan) == []
    with pytest.raises(DecisionError, match="No observation"):
        read_observation(first)


async def test_a_prompt_of_ones_own_gets_the_observation_as_it_was_given():
    class Topic(CoTReasoning):
        def get_cot_system_prompt(self, obs):
            return f"Speak of {obs['topic']}."

    agent = agent_with(Topic)
    agent.reasoning.plan(obs={"topic": "tides"}, selected_tools=[])
    assert agent.llm.client.requests[0].messages[0].content == "Speak of tides."


def wait() -> str:
    """Wait."""
    return "waited"


def rest() -> str:
    """Rest."""
    return "rested"


class OfTheApi:
    """A message in the form of the OpenAI API, as litellm gives it."""

    def __init__(self, content=None, *names):
        self.content = content
        functions = [SimpleNamespace(name=name, arguments="{}") for name in names]
        self.tool_calls = [SimpleNamespace(id="1", function=function) for function in functions] or None


PLANS = [
    ("go north", "go north", []),
    (None, "", []),
    ({"direction": "north"}, "{'direction': 'north'}", []),
    (OfTheApi("go"), "go", []),
    (OfTheApi(None, "wait"), "wait({})", ["waited"]),
]


@pytest.mark.parametrize("in_async", [False, True])
@pytest.mark.parametrize(("llm_plan", "text", "done"), PLANS)
async def test_a_plan_of_anything(llm_plan, text, done, in_async):
    class Rule(Reasoning):
        def plan(self, prompt=None, obs=None, ttl=1, selected_tools=None, tool_calls="auto"):
            return Plan(step=0, llm_plan=llm_plan, ttl=ttl)

    agent = agent_with(Rule)
    agent.tool_manager = ToolManager([wait])
    plan = await agent.reasoning.aplan() if in_async else agent.reasoning.plan()
    assert str(plan) == text
    results = await agent.aapply_plan(plan) if in_async else agent.apply_plan(plan)
    assert [result["response"] for result in results] == done
    await agent.astep() if in_async else agent.step()


class Loud(ToolManager):
    """Offers and calls tools in its own way."""

    def get_all_tools_schema(self, selected_tools=None):
        return [
            schema for schema in super().get_all_tools_schema(selected_tools) if schema["function"]["name"] == "wait"
        ]

    def call_tools(self, agent, llm_response):
        return [result | {"response": result["response"].upper()} for result in super().call_tools(agent, llm_response)]

    async def acall_tools(self, agent, llm_response):
        results = await super().acall_tools(agent, llm_response)
        return [result | {"response": result["response"].upper()} for result in results]


@pytest.mark.parametrize("in_async", [False, True])
@pytest.mark.parametrize("strategy", [CoTReasoning, ReActReasoning, ReWOOReasoning, OneCallReasoning])
async def test_a_tool_manager_of_ones_own_offers_and_calls_tools_in_its_own_way(strategy, in_async):
    agent = agent_with(strategy, lambda request: ANSWER if request.tool_choice == "none" else [tool_call("wait")])
    agent.tool_manager = Loud([wait, rest])
    await agent.astep() if in_async else agent.step()
    assert {tool.name for request in agent.llm.client.requests for tool in request.tools} == {"wait"}
    assert agent.memory.entries[-1].content == {"tool": "wait", "result": "WAITED"}
