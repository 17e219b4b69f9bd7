"""What the direct client and litellm's have in common: what they send, what they read, and that calls overlap."""

import asyncio
import threading

import pytest
from helpers.environment import without_keys_and_proxies

from mesa_llm.clients import (
    DirectClient,
    LiteLLMClient,
    LLMRequest,
    Message,
    ResponseFormat,
    ToolCall,
    ToolSpec,
    Usage,
    tool_call,
)
from mesa_llm.errors import ConfigurationError
from mesa_llm.testing import FakeOpenAIServer

MOVE = ToolSpec("move", "Move by one cell.", {"type": "object", "properties": {"to": {"type": "string"}}})
both = pytest.mark.parametrize("transport", [DirectClient, LiteLLMClient])
both_providers = pytest.mark.parametrize("model", ["openai/fake", "hosted_vllm/fake"])


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    without_keys_and_proxies(monkeypatch)


def request(model="openai/fake", **fields):
    return LLMRequest(model=model, messages=(Message("system", ""), Message("user", "Where to?")), **fields)


@both
@both_providers
def test_tool_call(transport, model):
    """The litellm that is installed can offer tools and read a tool call: some releases cannot."""
    with FakeOpenAIServer(tool_call("move", to="north")) as server:
        response = transport(api_base=server.url).generate(
            request(model, tools=(MOVE,), tool_choice="required", options={"temperature": 0.5, "seed": 7})
        )
    (sent,) = server.requests
    assert sent.body == {
        "model": "fake",
        "messages": [{"role": "system", "content": ""}, {"role": "user", "content": "Where to?"}],
        "tools": [MOVE.as_dict()],
        "tool_choice": "required",
        "temperature": 0.5,
        "seed": 7,
    }
    assert sent.headers["content-type"] == "application/json"
    assert response.message.tool_calls == (tool_call("move", to="north"),)
    assert (response.finish_reason, response.model, response.cost) == ("tool_calls", "fake", None)


@both
def test_conversation_with_a_tool_result_and_structured_output(transport):
    conversation = (
        Message("user", "Where to?"),
        Message("assistant", tool_calls=(ToolCall("call_1", "move", '{"to": "north"}'),)),
        Message("tool", "moved", tool_call_id="call_1"),
    )
    wanted = ResponseFormat("a", {"type": "object"})
    with FakeOpenAIServer("done") as server:
        response = transport(api_base=server.url).generate(
            LLMRequest(model="openai/fake", messages=conversation, response_format=wanted)
        )
    (sent,) = server.requests
    assert sent.body["messages"] == [message.as_dict() for message in conversation]
    assert sent.body["response_format"] == wanted.as_dict()
    assert (response.message.content, response.model, response.finish_reason) == ("done", "fake", "stop")
    assert response.usage == Usage(prompt_tokens=3, completion_tokens=1)


@both
@both_providers
@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])  # vLLM, DeepSeek, llama.cpp; OpenRouter, Ollama
def test_reasoning_of_the_model(transport, model, field):
    with FakeOpenAIServer({"content": "north", field: "It is cold."}) as server:
        response = transport(api_base=server.url).generate(request(model))
    assert (response.message.content, response.reasoning) == ("north", "It is cold.")


@both
async def test_calls_overlap(transport):
    with FakeOpenAIServer(hold_until=40) as server:
        client = transport(api_base=server.url)
        await asyncio.gather(*(client.agenerate(request()) for _ in range(40)))
    assert server.peak_concurrency == 40


@both
async def test_cancelling_the_caller_drops_the_connection(transport):
    arrived, dropped = threading.Event(), threading.Event()

    async def answer(body):
        if len(server.requests) > 1:
            return "ok"
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            dropped.set()

    with FakeOpenAIServer(answer) as server:
        client = transport(api_base=server.url)
        call = asyncio.create_task(client.agenerate(request()))
        assert await asyncio.to_thread(arrived.wait, 30)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(dropped.wait, 30)
        assert (await client.agenerate(request())).message.content == "ok"
    assert server.connections_opened == 2


@both
@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_is_above_zero(transport, timeout):
    with pytest.raises(ConfigurationError, match=f"timeout must be > 0 seconds, got {timeout}"):
        transport(timeout=timeout)
