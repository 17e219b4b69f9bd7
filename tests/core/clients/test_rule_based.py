import asyncio
import traceback
from dataclasses import replace

import pytest

from mesa_llm.clients import LLMRequest, LLMResponse, Message, RuleBasedClient, ToolCall, Usage, tool_call
from mesa_llm.errors import ConfigurationError, TurnError

REQUEST = LLMRequest(model="rules/v1", messages=(Message("user", "hi"),))


RULE = {"source": "rule"}


def answer_of(answer):
    return RuleBasedClient(lambda request: answer).generate(REQUEST)


def test_text():
    assert answer_of("hello") == LLMResponse(message=Message("assistant", "hello"), model="rules/v1", cost=0.0, **RULE)


def test_tool_call():
    call = tool_call("move", to="north")
    expected = Message("assistant", tool_calls=(call,))
    assert answer_of(call) == LLMResponse(
        message=expected, model="rules/v1", finish_reason="tool_calls", cost=0.0, **RULE
    )


def test_equal_tool_calls_get_distinct_ids():
    first, second, other = answer_of([tool_call("wait"), tool_call("wait"), tool_call("go")]).message.tool_calls
    assert first == tool_call("wait")
    assert second == ToolCall(f"{first.id}_2", "wait", "{}")
    assert other == tool_call("go")


def test_message_and_response_are_kept():
    message = Message("assistant", "thinking", tool_calls=(tool_call("go"),))
    assert answer_of(message).message is message
    response = LLMResponse(message=message, model="m", usage=Usage(1, 2))
    assert answer_of(response) == replace(response, source="rule")
    assert response.cost is None


def test_what_an_answer_takes_is_the_latency_of_the_rule_and_said_to_be_one():
    client = RuleBasedClient(lambda request: "ok", latency=lambda request: 0.001 * len(request.messages))
    response = client.generate(REQUEST)
    assert (response.source, response.latency_s) == ("rule", 0.001)


@pytest.mark.parametrize("source", ["journal", "shared"])
def test_an_answer_that_others_gave_stays_theirs(source):
    theirs = LLMResponse(message=Message("assistant", "ok"), model="m", source=source)
    assert RuleBasedClient(lambda request: theirs, latency=0.001).generate(REQUEST) is theirs


@pytest.mark.parametrize("answer", [None, 3, ["text"], {"content": "x"}])
def test_other_answers_are_refused(answer):
    with pytest.raises(TypeError, match=r"is not an answer\. Answer with a str"):
        answer_of(answer)


def test_policy_sees_the_request():
    seen = []
    RuleBasedClient(lambda request: seen.append(request) or "ok").generate(REQUEST)
    assert seen == [REQUEST]


async def test_error_of_the_policy_keeps_its_traceback():
    def broken_policy(request):
        raise KeyError("mood")

    for ask in (RuleBasedClient(broken_policy).agenerate(REQUEST), _generate_in_thread(broken_policy)):
        with pytest.raises(KeyError, match="mood") as caught:
            await ask
        assert "in broken_policy" in "".join(traceback.format_exception(caught.value))


def _generate_in_thread(policy):
    return asyncio.to_thread(RuleBasedClient(policy).generate, REQUEST)


async def test_latency_waits_on_the_loop(monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr("mesa_llm.clients.rule_based.asyncio.sleep", sleep)
    await RuleBasedClient(lambda request: "ok", latency=0.25).agenerate(REQUEST)
    await RuleBasedClient(lambda request: "ok", latency=lambda request: len(request.messages)).agenerate(REQUEST)
    assert slept == [0.25, 1]


@pytest.mark.parametrize("latency", [-0.1, float("nan")])
def test_latency_below_zero(latency):
    with pytest.raises(ConfigurationError, match="latency must be >= 0 seconds, got"):
        RuleBasedClient(lambda request: "ok", latency=latency)
    with pytest.raises(ConfigurationError, match="latency must be >= 0 seconds, got"):
        RuleBasedClient(lambda request: "ok", latency=lambda request: latency).generate(REQUEST)


def test_tool_call_id_follows_from_its_content():
    assert tool_call("move", to="north") == tool_call("move", to="north")
    assert tool_call("move", to="north").id != tool_call("move", to="south").id
    assert tool_call("say", name="Ä").arguments == '{"name": "Ä"}'
    with pytest.raises(TypeError, match="not JSON serializable"):
        tool_call("move", to=object())


def test_generate_on_the_transport_loop_would_wait_for_itself():
    inner = RuleBasedClient(lambda request: "ok")
    with pytest.raises(TurnError, match=r"RuleBasedClient was asked.*await client\.complete\(request\)"):
        RuleBasedClient(inner.generate).generate(REQUEST)
