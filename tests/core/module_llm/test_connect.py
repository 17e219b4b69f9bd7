"""One way to a model with all that belongs to it, in the right order; which transport a model takes."""

import pytest

from mesa_llm.clients import DirectClient, LiteLLMClient, LLMRequest, Message
from mesa_llm.errors import BudgetExhaustedError, ConfigurationError, ModelCallError
from mesa_llm.limits import (
    AdaptiveConcurrency,
    Budget,
    BudgetClient,
    LimitedClient,
    RetryingClient,
    SingleFlightClient,
)
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.module_llm import ModuleLLM, connect
from mesa_llm.module_llm.connect import TransportClient, shared_client
from mesa_llm.testing import FakeOpenAIServer, Fault, ScriptedLLM

ASK = LLMRequest(model="openai/fake-model", messages=(Message("user", "hello"),), options={"temperature": 0})


def layers(client):
    while client is not None:
        yield type(client)
        client = getattr(client, "inner", None)


def test_everything_that_is_asked_for_stands_in_its_place():
    client = connect(
        api_base="http://localhost:1/v1",
        max_concurrency="adaptive",
        requests_per_minute=60,
        budget=Budget(tokens=1000),
        single_flight=True,
    )
    assert list(layers(client)) == [
        SingleFlightClient,
        BudgetClient,
        RetryingClient,
        LimitedClient,
        TransportClient,
    ]


def test_nothing_else_does():
    assert list(layers(connect(max_concurrency=None, max_attempts=1))) == [TransportClient]
    assert list(layers(connect())) == [RetryingClient, LimitedClient, TransportClient]


def test_they_go_around_a_transport_of_ones_own():
    client = connect(transport=ScriptedLLM("Rest."), max_attempts=2)
    assert list(layers(client)) == [RetryingClient, LimitedClient, ScriptedLLM]
    with pytest.raises(ConfigurationError, match="give them to that"):
        connect(transport=ScriptedLLM("Rest."), api_base="http://localhost:1/v1")


def test_by_default_calls_are_limited_once_the_endpoint_has_refused_one():
    limited = connect().inner
    assert limited.limit == 1000
    assert connect(max_concurrency=AdaptiveConcurrency(start=3)).inner.limit == 3
    assert connect(max_concurrency=7).inner.limit == 7


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"transport": "pigeon"}, "'auto', 'direct' or 'litellm', got 'pigeon'"),
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"requests_per_minute": -1}, "requests_per_minute"),
        ({"timeout": 0}, "timeout"),
    ],
)
def test_what_cannot_work_is_refused_with_the_value(settings, told):
    with pytest.raises(ConfigurationError, match=told):
        connect(**settings)


@pytest.mark.parametrize(
    ("transport", "api_base", "model", "expected"),
    [
        ("auto", None, "openai/gpt-4o", LiteLLMClient),
        ("auto", "http://localhost:1/v1", "openai/gemma", DirectClient),
        ("auto", "http://localhost:1/v1", "hosted_vllm/gemma", DirectClient),
        ("auto", "http://localhost:11434", "ollama/llama3", DirectClient),
        ("auto", "http://localhost:1", "anthropic/claude", LiteLLMClient),
        ("direct", None, "openai/gpt-4o", DirectClient),
        ("litellm", "http://localhost:1/v1", "openai/gemma", LiteLLMClient),
    ],
)
def test_the_transport_that_a_model_takes(transport, api_base, model, expected):
    client = TransportClient(api_base=api_base, transport=transport)
    assert type(client.transport_for(model)) is expected


@pytest.mark.parametrize("transport", ["auto", "direct", "litellm"])
def test_agents_reach_a_server_by_each_transport(transport):
    with FakeOpenAIServer("hello") as server:
        llm = ModuleLLM("openai/fake-model", server.url, transport=transport, temperature=0.5)
        assert llm.generate("hi").message.content == "hello"
        assert server.requests[0].body["temperature"] == 0.5


def test_agents_share_the_default_client_of_an_address_a_key_and_a_transport():
    def client(**settings):
        return ModuleLLM("openai/x", **settings).client

    assert client() is client() is shared_client()
    assert client(transport="direct") is client(transport="direct") is not client()
    assert client(api_key="k") is not client()
    with pytest.raises(ConfigurationError, match="got 'pigeon'"):
        ModuleLLM("openai/x", transport="pigeon")
    with pytest.raises(ConfigurationError, match="got 'pigeon'"):
        shared_client(transport="pigeon")


def test_an_agent_passes_its_transport_on():
    import mesa

    agent = LLMAgent(mesa.Model(), lambda agent: None, "openai/x", transport="direct")
    assert agent.llm.client is shared_client(transport="direct")


def test_retries_come_with_it_and_what_cannot_pass_is_not_retried():
    with FakeOpenAIServer([Fault(status=503, retry_after=0.0), "hello"]) as server:
        response = connect(api_base=server.url).generate(ASK)
        assert (response.message.content, response.retries) == ("hello", 1)
    with FakeOpenAIServer(Fault(status=400, body="no such thing")) as server:
        with pytest.raises(ModelCallError, match="no such thing"):
            connect(api_base=server.url).generate(ASK)
        assert len(server.requests) == 1


def test_a_budget_stops_before_it_is_overrun():
    budget = Budget(tokens=60)
    with FakeOpenAIServer("hello") as server:
        client = connect(api_base=server.url, budget=budget)
        ask = LLMRequest(model="openai/fake-model", messages=ASK.messages, options={"max_tokens": 20})

        def ask_on():
            for _ in range(100):
                client.generate(ask)

        with pytest.raises(BudgetExhaustedError, match="60"):
            ask_on()
        assert 0 < budget.spent_tokens <= 60
        assert len(server.requests) < 100
