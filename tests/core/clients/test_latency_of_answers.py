"""How long the exchange took that gave an answer: the transports measure it, and nothing around it counts."""

import importlib
from types import SimpleNamespace

import pytest

from mesa_llm.clients import DirectClient, EmbeddingClient, LiteLLMClient, LLMRequest, LLMResponse, Message
from mesa_llm.clients.direct_client import shared_session
from mesa_llm.journal import JournaledClient
from mesa_llm.limits import RetryingClient
from mesa_llm.testing import FakeOpenAIServer, Fault, ScriptedLLM

REQUEST = LLMRequest(model="openai/m", messages=(Message("user", "Where to?"),))


class Clock:
    """A clock that only goes on when it is set forward."""

    def __init__(self, monkeypatch, *modules):
        self.now = 100.0
        for module in modules:
            monkeypatch.setattr(f"mesa_llm.clients.{module}.time", SimpleNamespace(perf_counter=lambda: self.now))

    def passes(self, seconds, answer=None):
        self.now += seconds
        return answer


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch, "direct_client", "litellm_module")


def test_directly_it_goes_from_the_request_being_sent_to_the_answer_being_read(clock, monkeypatch):
    async def slow_to_open():
        clock.passes(20.0)  # aiohttp is imported, connections are made
        return await shared_session()

    monkeypatch.setattr("mesa_llm.clients.direct_client.shared_session", slow_to_open)
    with FakeOpenAIServer(lambda body: clock.passes(3.0, "North.")) as server:
        client = DirectClient(api_base=server.url)
        assert [client.generate(REQUEST).latency_s for _ in range(2)] == [3.0, 3.0]


def test_attempts_that_failed_and_pauses_between_them_do_not_count(clock):
    async def pause(seconds):
        clock.passes(50.0)

    answers = [Fault(status=503), Fault(status=503), "North."]
    with FakeOpenAIServer(lambda body: clock.passes(3.0, answers.pop(0))) as server:
        response = RetryingClient(DirectClient(api_base=server.url), sleep=pause).generate(REQUEST)
    assert (response.retries, response.latency_s) == (2, 3.0)


def answered():
    completion = {"choices": [{"message": {"content": "North."}}]}
    data = [{"index": 0, "embedding": [0.5]}]
    return SimpleNamespace(model_dump=lambda **_: completion, data=data, model="m", usage=None)


@pytest.mark.parametrize("client", [LiteLLMClient, EmbeddingClient])
def test_through_litellm_its_import_does_not_count(clock, monkeypatch, client):
    async def ask(**arguments):
        return clock.passes(3.0, answered())

    async def load(secrets):
        return clock.passes(400.0, SimpleNamespace(acompletion=ask, aembedding=ask))

    monkeypatch.setattr("mesa_llm.clients.litellm_client.load_litellm", load)
    assert client(api_key="x").generate(REQUEST).latency_s == 3.0


def test_through_litellm_what_it_does_before_and_after_the_exchange_does_not_count(clock, monkeypatch):
    with FakeOpenAIServer(lambda body: clock.passes(3.0, "North.")) as server:
        client = LiteLLMClient(api_base=server.url, api_key="x")
        client.generate(REQUEST)  # imports litellm
        litellm = importlib.import_module("litellm")
        complete = litellm.acompletion

        async def slow(**arguments):
            clock.passes(20.0)
            return clock.passes(20.0, await complete(**arguments))

        monkeypatch.setattr(litellm, "acompletion", slow)
        assert client.generate(REQUEST).latency_s == 3.0


def test_an_answer_from_a_journal_took_nothing(tmp_path):
    path = tmp_path / "run.db"
    with JournaledClient(ScriptedLLM("North.", latency=0.001), path) as client:
        assert client.generate(REQUEST).latency_s == 0.001
    with JournaledClient(None, path, mode="replay") as client:
        replayed = client.generate(REQUEST)
    assert (replayed.source, replayed.latency_s) == ("journal", None)


def test_two_answers_are_equal_whatever_they_took():
    fast, slow = (
        LLMResponse(message=Message("assistant", "North."), model="m", latency_s=seconds) for seconds in (0.1, 9.0)
    )
    assert fast == slow
    assert hash(fast) == hash(slow)
