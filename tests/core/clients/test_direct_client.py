"""What the direct client sends, and what it reads."""

import copy
import pickle
import ssl

import pytest
from helpers.environment import without_keys_and_proxies

from mesa_llm.clients import (
    DirectClient,
    LLMRequest,
    Message,
    ToolCall,
    ToolSpec,
    Usage,
)
from mesa_llm.errors import ConfigurationError, MissingAPIKeyError, ModelCallError
from mesa_llm.testing import FakeOpenAIServer

MOVE = ToolSpec("move", "Move by one cell.", {"type": "object", "properties": {"to": {"type": "string"}}})


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    without_keys_and_proxies(monkeypatch)


def request(model="hosted_vllm/fake", **fields):
    return LLMRequest(model=model, messages=(Message("system", ""), Message("user", "Where to?")), **fields)


def answer_to(message, **fields):
    with FakeOpenAIServer(message) as server:
        return DirectClient(api_base=server.url).generate(request(**fields))


def sent_for(client=None, **fields):
    with FakeOpenAIServer() as server:
        (client or DirectClient)(api_base=server.url).generate(request(**fields))
    return server.requests[0]


def test_options_go_into_the_body_and_extra_body_over_them():
    options = {
        "temperature": 0.5,
        "top_p": None,
        "max_tokens": 9,
        "stop": ["\n"],
        "extra_body": {"max_tokens": 10, "guided_choice": ["a", "b"], "chat_template_kwargs": {"thinking": False}},
    }
    body = sent_for(options=options).body
    assert {name: value for name, value in body.items() if name not in {"model", "messages"}} == {
        "temperature": 0.5,
        "max_tokens": 10,
        "stop": ["\n"],
        "guided_choice": ["a", "b"],
        "chat_template_kwargs": {"thinking": False},
    }


@pytest.mark.parametrize(
    ("options", "complaint"), [({"extra_body": [1]}, "extra_body must be a mapping"), ({"stream": True}, "stream=True")]
)
def test_options_that_cannot_work_are_refused_before_anything_is_sent(options, complaint):
    with FakeOpenAIServer() as server, pytest.raises(ConfigurationError, match=complaint):
        DirectClient(api_base=server.url).generate(request(options=options))
    assert server.requests == []


def test_an_option_that_is_no_json_fails_by_name():
    with (
        FakeOpenAIServer() as server,
        pytest.raises(ModelCallError, match="TypeError: Object of type object") as caught,
    ):
        DirectClient(api_base=server.url).generate(request(options={"temperature": object()}))
    assert isinstance(caught.value.__cause__, TypeError)
    assert not caught.value.is_transient
    assert server.requests == []


def test_half_a_character_goes_out_and_comes_in():
    """A model that stops in the middle of an emoji leaves a lone surrogate, which is no valid text."""
    with FakeOpenAIServer("a \ud83d b \ud83d\ude00 😀") as server:
        client = DirectClient(api_base=server.url)
        answer = client.generate(request()).message.content
        client.generate(LLMRequest(model="openai/fake", messages=(Message("user", "a \ud83d b"),)))
    assert answer == "a \ufffd b 😀 😀"
    assert server.requests[1].body["messages"][0]["content"] == "a \ud83d b"


def test_reasoning_among_the_parts_of_a_message():
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "It is cold."}]},
        {"type": "text", "text": "no"},
        {"type": "text", "text": "rth"},
    ]
    response = answer_to({"content": parts})  # Mistral
    assert (response.message.content, response.reasoning) == ("north", "It is cold.")


def completion(message, **fields):
    return {"choices": [{"index": 0, "message": message} | fields]}


def test_what_servers_leave_out_or_do_in_their_own_way():
    call = {"type": "function", "function": {"name": "move", "arguments": {"to": "north"}}}
    response = answer_to(completion({"content": None, "tool_calls": [call, {"function": {"name": "wait"}}]}))
    assert response.message == Message(
        "assistant", "", (ToolCall("call_0", "move", '{"to": "north"}'), ToolCall("call_1", "wait", "{}"))
    )
    assert (response.model, response.usage, response.finish_reason) == ("fake", Usage(), "tool_calls")
    assert answer_to(completion({"refusal": "I will not."}) | {"usage": None}).message.content == "I will not."
    assert answer_to(completion({"content": "x"}, finish_reason="length")).finish_reason == "length"
    assert answer_to(completion({"content": "x"}) | {"usage": {"prompt_tokens": None}}).usage == Usage()
    assert answer_to(completion({"content": "x"}) | {"model": "real-name"}).model == "real-name"


def test_the_key_is_sent_and_a_server_of_ones_own_needs_none(monkeypatch):
    with FakeOpenAIServer() as server:
        DirectClient(api_base=server.url, api_key="sk-mine-12345").generate(request("openai/fake"))
        DirectClient(api_base=server.url).generate(request("openai/fake"))
        monkeypatch.setenv("OPENAI_API_KEY", " sk-environment\n")
        DirectClient(api_base=server.url).generate(request("openai/fake"))
        DirectClient(api_base=server.url).generate(request("hosted_vllm/fake"))
    assert [sent.headers.get("authorization") for sent in server.requests] == [
        "Bearer sk-mine-12345",
        None,
        "Bearer sk-environment",
        None,
    ]


def test_a_password_in_the_address():
    with FakeOpenAIServer() as server:
        base = server.url.replace("//", "//me:secret@")
        DirectClient(api_base=base).generate(request())
        with pytest.raises(ConfigurationError, match="one header for both"):
            DirectClient(api_base=base, api_key="sk-mine-12345").generate(request())
    assert [sent.headers["authorization"] for sent in server.requests] == ["Basic bWU6c2VjcmV0"]


def test_a_missing_key_is_told_before_anything_is_sent():
    with pytest.raises(MissingAPIKeyError, match="GROQ_API_KEY"):
        DirectClient().generate(request("groq/llama"))


def test_own_headers_are_sent_and_replace_the_usual():
    sent = sent_for(lambda **base: DirectClient(headers={"X-Title": "My model", "authorization": "Key 1"}, **base))
    assert (sent.headers["x-title"], sent.headers["authorization"]) == ("My model", "Key 1")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"connect_timeout": -1}, "connect_timeout must be > 0 seconds, got -1"),
        ({"max_response_bytes": 0}, "max_response_bytes must be > 0, got 0"),
        (
            {"proxy": "socks5://me:secret@127.0.0.1"},
            "must be an http or https URL, .* got 'socks5://\\*\\*\\*@127.0.0.1'",
        ),
        ({"verify": "/no/such/file.pem"}, "verify='/no/such/file.pem' holds no certificates"),
    ],
)
def test_arguments_that_cannot_work(arguments, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        DirectClient(**arguments)


def test_it_copies_and_pickles():
    with FakeOpenAIServer() as server:
        client = DirectClient(api_base=server.url, api_key="sk-mine-12345", headers={"X-A": "1"}, timeout=7)
        client.generate(request())
        for twin in (copy.deepcopy(client), pickle.loads(pickle.dumps(client))):
            twin.generate(request())
            assert twin.timeout == 7
    assert [(sent.headers["authorization"], sent.headers["x-a"]) for sent in server.requests] == [
        ("Bearer sk-mine-12345", "1")
    ] * 3
    assert server.connections_opened == 1


def test_a_tls_context_is_shared_with_copies():
    context = ssl.create_default_context()
    assert copy.deepcopy(DirectClient(verify=context)).verify is context


def test_one_client_asks_several_providers():
    with FakeOpenAIServer() as server:
        client = DirectClient(api_base=server.url)
        for model in ("hosted_vllm/org/name", "openai/gpt", "ollama/llama3.1:8b"):
            client.generate(request(model))
    assert [sent.body["model"] for sent in server.requests] == ["org/name", "gpt", "llama3.1:8b"]
