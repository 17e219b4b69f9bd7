"""An answer is a decision, or an error that says why; never silently nothing."""

import json
from dataclasses import replace
from typing import Annotated

import pytest
from mesa import Model
from pydantic import Field

from mesa_llm.activation.call import one_at_a_time
from mesa_llm.clients import LLMResponse, Message, ToolCall, tool_call
from mesa_llm.errors import ConfigurationError, DecisionError, ModelCallError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import LongTermMemory
from mesa_llm.reasoning import CoTReasoning, OneCallReasoning, ReActReasoning, ReWOOReasoning
from mesa_llm.testing import FakeOpenAIServer, ScriptedLLM
from mesa_llm.tools import ToolManager

STRATEGIES = [OneCallReasoning, CoTReasoning, ReActReasoning, ReWOOReasoning]
TRANSPORTS = ["direct", "litellm"]


def give(agent, tokens: Annotated[int, Field(ge=0, le=20)], note: Annotated[str, Field(max_length=10)] = "") -> str:
    """Give.

    Args:
        tokens: how many.
        note: a few words.
    """
    agent.given.append(tokens)
    return "given"


def rest(agent) -> str:
    """Rest."""
    return "rested"


def person(reasoning=OneCallReasoning, script=(), tools=(give, rest), **settings):
    settings.setdefault("client", ScriptedLLM(script))
    agent = LLMAgent(Model(rng=1), reasoning, "openai/m", step_prompt="How many?", tools=tools, **settings)
    agent.given = []
    return agent


def ended(finish_reason, content="", calls=()):
    message = Message("assistant", content, tool_calls=tuple(calls))
    return LLMResponse(message=message, model="m", finish_reason=finish_reason)


# Nothing that can be used

NOTHING = [
    ("length", "", "the answer was cut off at 50 tokens; raise max_tokens", 1),
    ("length", "I am not goi", "the answer was cut off at 50 tokens; raise max_tokens", 1),
    ("content_filter", "", "the provider's content filter stopped it", 1),
    ("content_filter", "I wil", "the provider's content filter stopped it", 1),
    ("refusal", "I cannot help", "the model refused to answer", 1),
    ("error", "", "the server broke off with an error", 2),
    ("error", "I am goi", "the server broke off with an error", 2),
    ("stop", "", "it is empty", 2),
    ("stop", " \n", "it is empty", 2),
]


@pytest.mark.parametrize("reasoning", [OneCallReasoning, CoTReasoning, ReWOOReasoning])
@pytest.mark.parametrize(("finish", "content", "cause", "requests"), NOTHING, ids=str)
def test_an_answer_with_nothing_to_use_is_an_error_with_its_cause(reasoning, finish, content, cause, requests):
    agent = person(reasoning, ended(finish, content), max_tokens=50)
    with pytest.raises(DecisionError, match=f"LLMAgent 1: the model's answer cannot be used: {cause}"):
        agent.step()
    assert len(agent.llm.client.requests) == requests


@pytest.mark.parametrize("finish", ["length", "content_filter", "stop"])
def test_react_says_the_cause_as_well(finish):
    agent = person(ReActReasoning, ended(finish, ""), max_tokens=50)
    causes = {"length": "cut off at 50 tokens; raise max_tokens", "content_filter": "content filter", "stop": "empty"}
    with pytest.raises(DecisionError, match=causes[finish]):
        agent.step()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("reasoning", [OneCallReasoning, CoTReasoning])
@pytest.mark.parametrize("finish", ["length", "content_filter", "stop"])
def test_through_both_transports(transport, reasoning, finish):
    choice = {"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": finish}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    with FakeOpenAIServer(body) as server:
        agent = person(reasoning, client=None, api_base=server.url, api_key="sk-12345678", transport=transport)
        with pytest.raises(DecisionError, match="cannot be used"):
            agent.step()
        assert all(m["content"] for request in server.requests for m in request.body["messages"] if m["role"] == "user")


@pytest.mark.parametrize("finish", ["tool_calls", "function_call"])
def test_an_answer_that_says_it_calls_a_tool_and_calls_none(finish):
    agent = person(script=ended(finish, "I will call a tool."))
    with pytest.raises(DecisionError, match="it says that it calls a tool, and holds no call"):
        agent.step()


def test_a_whole_call_counts_even_if_the_answer_was_cut_off_after_it():
    agent = person(script=ended("length", "", [ToolCall("a", "give", '{"tokens": 3}')]))
    agent.step()
    assert agent.given == [3]


def test_a_call_that_breaks_off_is_asked_again_in_brief():
    cut = ended("length", "", [ToolCall("a", "give", '{"tokens": 3, "note": "becau')])
    agent = person(script=[cut, [tool_call("give", tokens=4)]])
    agent.step()
    assert agent.given == [4]
    assert "it was cut off, so be brief" in agent.llm.client.requests[1].messages[-1].content
    agent = person(script=cut, max_tokens=9)
    with pytest.raises(DecisionError, match="cut off at 9 tokens; raise max_tokens"):
        agent.step()


def test_words_without_a_call_are_a_decision_where_none_is_required():
    agent = person(script="I rest.")
    agent.step()
    tally = one_at_a_time(agent).tally
    assert (tally.decisions, tally.without_call, tally.asked_again) == (1, 1, 0)


def test_a_plain_question_may_be_answered_in_part():
    agent = person(script=ended("length", "Once upon a ti"))
    assert agent.llm.generate("Tell me a story.").message.content == "Once upon a ti"
    with pytest.raises(DecisionError, match="it is empty"):
        person(script="").llm.generate("Tell me a story.")


def test_one_bad_generation_of_the_server_is_asked_again_and_then_fails_that_agent():
    bad = ModelCallError("m: Failed to call a function.", model="m", endpoint="here", status=400, bad_answer=True)
    agent = person(script=[bad, [tool_call("give", tokens=4)]])
    agent.step()
    assert agent.given == [4]
    agent = person(script=bad)
    with pytest.raises(DecisionError, match=r"cannot be used: m: Failed to call a function\."):
        agent.step()
    assert len(agent.llm.client.requests) == 2


def test_a_strategy_of_ones_own_cannot_have_nothing_carried_out():
    agent = person(script="never asked")
    with pytest.raises(DecisionError, match="there is no decision to carry out"):
        agent.reasoning.execute_tool_call("  ")


# Calls that do not fit

BAD = [
    ([tool_call("give", tokens=25)], "give: argument 'tokens' is 25: should be less than or equal to 20"),
    ([tool_call("give", tokens=-1)], "should be greater than or equal to 0"),
    ([tool_call("give", tokens="many")], "should be a valid integer"),
    ([tool_call("give", tokens=3, note="x" * 11)], "at most 10 characters"),
    ([tool_call("give")], "argument 'tokens' is missing"),
    ([tool_call("donate", tokens=5)], "there is no tool 'donate'; on offer: give, rest"),
    ([ToolCall("a", "give", "five please")], "give: "),
    ([ToolCall("a", "give", '{"tokens": 3}{"tokens": 4}')], "give: "),
]


@pytest.mark.parametrize("mode", ["native", "auto", "json_schema"])
@pytest.mark.parametrize(("calls", "problem"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_a_call_that_does_not_fit_is_asked_again_once_in_every_mode(mode, calls, problem):
    agent = person(script=[calls, [tool_call("give", tokens=4)]], tool_mode=mode)
    agent.step()
    assert agent.given == [4]
    _, again = agent.llm.client.requests
    assert problem in again.messages[-1].content
    tally = one_at_a_time(agent).tally
    assert (tally.decisions, tally.without_call, tally.asked_again) == (1, 0, 1)


@pytest.mark.parametrize("mode", ["native", "auto", "json_schema"])
@pytest.mark.parametrize(("calls", "problem"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_a_call_that_stays_wrong_is_refused_and_counted_or_an_error_where_it_is_required(mode, calls, problem):
    agent = person(script=lambda request: calls, tool_mode=mode)
    agent.step()
    assert agent.given == []
    tally = one_at_a_time(agent).tally
    assert (tally.decisions, tally.without_call, tally.asked_again, tally.refused) == (1, 1, 1, 1)
    assert agent.memory.entries[-1].content["result"].startswith("Error: ")
    agent = person(script=lambda request: calls, tool_mode=mode, tool_calls="required")
    with pytest.raises(DecisionError, match="cannot be used"):
        agent.step()


def test_of_several_calls_the_valid_ones_are_made():
    calls = [tool_call("give", tokens=3), tool_call("give", tokens=25)]
    agent = person(script=lambda request: calls, tool_calls="required")
    agent.step()
    assert agent.given == [3]


# Exactly what was asked for

DEMANDED = [
    ("prose, then a call", ["I give ten.", [tool_call("give", tokens=10)]], [10]),
    ("two calls, then one", [[tool_call("give", tokens=3), tool_call("give", tokens=4)], [tool_call("rest")]], []),
    ("a wrong one, then one", [[tool_call("give", tokens="many")], [tool_call("give", tokens=5)]], [5]),
    ("one", [[tool_call("give", tokens=6)]], [6]),
    ("prose twice", ["I give ten.", "I said ten."], None),
    ("two calls twice", [[tool_call("give", tokens=3), tool_call("rest")]] * 2, None),
    ("a right and a wrong one twice", [[tool_call("give", tokens=3), tool_call("give", tokens=25)]] * 2, None),
    ("a wrong one twice", [[tool_call("give", tokens=25)]] * 2, None),
]


@pytest.mark.parametrize("mode", ["native", "auto", "json_schema"])
@pytest.mark.parametrize("per", ["agent", "decision"])
@pytest.mark.parametrize(("answers", "given"), [case[1:] for case in DEMANDED], ids=[case[0] for case in DEMANDED])
def test_one_call_can_be_demanded(mode, per, answers, given):
    demand = {"tool_calls": "required", "max_tool_calls": 1}
    agent = person(script=list(map(in_mode(mode), answers)), tool_mode=mode, **(demand if per == "agent" else {}))

    def decide():
        plan = agent.reasoning.plan(**(demand if per == "decision" else {}))
        agent.apply_plan(plan)
        return plan

    if given is None:
        with pytest.raises(DecisionError):
            decide()
    else:
        assert len(decide().llm_plan.tool_calls) == 1
        assert agent.given == given
    assert len(agent.llm.client.requests) == len(answers)


def in_mode(mode):
    """A script's answers as JSON, where tools are called so."""

    def answered(answer):
        if mode != "json_schema" or isinstance(answer, str):
            return answer
        calls = [{"tool": call.name, "arguments": json.loads(call.arguments)} for call in answer]
        return json.dumps({"calls": calls})

    return answered


@pytest.mark.parametrize("reasoning", STRATEGIES)
def test_every_strategy_passes_the_demand_on(reasoning):
    def answer(request):
        if request.tools and request.tool_choice != "none":
            return [tool_call("give", tokens=1)]
        return '{"reasoning": "r", "action": "give 1"}' if request.response_format else "Action: give 1"

    agent = person(reasoning, answer, tool_calls="required", max_tool_calls=1)
    agent.step()
    asked = agent.llm.client.requests[-1]
    assert (asked.tool_choice, asked.max_tool_calls, agent.given) == ("required", 1, [1])
    assert asked.as_dict()["parallel_tool_calls"] is False
    assert "Call exactly one tool." in asked.messages[0].content


@pytest.mark.parametrize(
    ("choice", "most", "sentence", "bounds"),
    [
        ("required", 1, "Call exactly one tool.", (1, 1)),
        ("required", 3, "Call at least one tool, and at most 3.", (1, 3)),
        ("auto", 1, "Call at most 1. To call none, give an empty list.", (0, 1)),
        ("auto", None, "Call at most 5. To call none, give an empty list.", (0, 5)),
    ],
)
def test_as_json_the_schema_bounds_the_calls(choice, most, sentence, bounds):
    agent = person(script='{"calls": [{"tool": "rest", "arguments": {}}]}', tool_mode="json_schema")
    agent.reasoning.plan(tool_calls=choice, max_tool_calls=most)
    (request,) = agent.llm.client.requests
    calls = request.response_format.schema["properties"]["calls"]
    assert (calls["minItems"], calls["maxItems"]) == bounds
    assert sentence in request.messages[0].content


@pytest.mark.parametrize("most", [0, -1, 1.0, True, "1"])
def test_a_bound_that_is_none(most):
    with pytest.raises(ConfigurationError, match="max_tool_calls must be an integer >= 1, got"):
        person(max_tool_calls=most)
    with pytest.raises(ConfigurationError, match="max_tool_calls must be an integer >= 1, got"):
        person(script="hi").reasoning.plan(max_tool_calls=most)
    with pytest.raises(
        ConfigurationError, match="tool_choice must be 'auto', 'none', 'required' or None, got 'always'"
    ):
        person(tool_calls="always")


def test_a_class_can_demand_it():
    class Player(LLMAgent):
        tool_calls = "required"
        max_tool_calls = 1

    llm = ScriptedLLM("no")
    player = Player(Model(rng=1), OneCallReasoning, client=llm, step_prompt="?", tools=[rest], tool_mode="native")
    with pytest.raises(DecisionError, match="it calls no tool, and one must be called"):
        player.step()


# What memories ask


@pytest.mark.parametrize(
    "options",
    [
        {"max_tokens": 50},
        {"max_completion_tokens": 50},
        {"stop": ["x"]},
        {"extra_body": {"num_predict": 50, "mine": 1}},
    ],
    ids=str,
)
def test_what_a_memory_asks_has_no_bound_of_the_agents(options):
    agent = person(script="Summed up.", memory=LongTermMemory, **options)
    agent.memory.add_to_memory("event", {"what": "It rained."})
    agent.model.steps += 1
    agent.step()
    summing_up = [request for request in agent.llm.client.requests if not request.tools]
    assert summing_up
    for request in summing_up:
        assert not request.options.keys() & {"max_tokens", "max_completion_tokens", "stop"}
        assert request.options.get("extra_body") == ({"mine": 1} if "extra_body" in options else None)


def test_a_long_decision_is_remembered_with_its_end():
    agent = person(CoTReasoning, ["Thought 1: hm. " * 400 + "Action: give 4.", [tool_call("give", tokens=4)]])
    agent.step()
    remembered = agent.memory.get_prompt_ready()
    assert "characters, shortened" in remembered
    assert "Action: give 4." in remembered


def test_the_answer_is_the_same_response_but_for_its_calls():
    answer = replace(ended("tool_calls", "Well.", [ToolCall("a", " Give ", '{"tokens": "3"}')]), cost=0.5, retries=2)
    agent = person(script=answer)
    request = agent.llm.request("How many?", agent.tool_manager.specs(["give"]))
    response = agent.llm.complete(request)
    assert (response.cost, response.retries, response.message.content) == (0.5, 2, "Well.")
    assert response.message.tool_calls == (ToolCall("a", "give", '{"tokens": "3"}'),)


def test_a_tool_that_was_not_on_offer_when_the_agent_decided_is_refused_when_it_acts():
    agent = person(script=tool_call("rest"), tools=[give])
    agent.tool_manager = ToolManager([give, rest], available={"rest": lambda agent: agent.is_tired})
    agent.is_tired = False
    plan = agent.reasoning.plan()
    agent.is_tired = True  # meanwhile
    agent.apply_plan(plan)
    assert plan.offered == ("give",)
    assert agent.memory.entries[-1].content["result"].startswith("Error: there is no tool 'rest'; on offer: give")
