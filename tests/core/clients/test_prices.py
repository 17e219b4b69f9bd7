"""What calls cost: by litellm's price list, and by what a provider says itself."""

import importlib.machinery
import json
import sys

import pytest
from helpers.environment import without_keys_and_proxies

from mesa_llm.clients import DirectClient, LLMRequest, Message, Usage, providers
from mesa_llm.clients.providers import PROVIDERS, Provider, price_of
from mesa_llm.testing import FakeOpenAIServer

USAGE = Usage(1_000_000, 1_000_000)


def completion(**usage):
    choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"prompt_tokens": 1000, "completion_tokens": 100} | usage}


# The list as it is


@pytest.mark.parametrize(
    ("model", "prompt", "completion"),
    [
        ("openai/gpt-4o-mini", 0.15, 0.60),  # listed as gpt-4o-mini
        ("gpt-4o-mini", 0.15, 0.60),
        ("openrouter/openai/gpt-4o", 2.5, 10.0),  # listed by its full name
        ("gemini/gemini-2.5-flash", 0.30, 2.50),
        ("vertex_ai/gemini-2.5-flash", 0.30, 2.50),  # listed as gemini-2.5-flash of vertex_ai-language-models
        ("groq/llama-3.3-70b-versatile", 0.59, 0.79),
        ("perplexity/sonar", 1.0, 1.0),  # perplexity/perplexity/sonar is another one
    ],
)
def test_models_that_the_list_has(model, prompt, completion):
    assert price_of(model, Usage(1_000_000, 0)) == pytest.approx(prompt)
    assert price_of(model, Usage(0, 1_000_000)) == pytest.approx(completion)
    assert price_of(model, Usage(1000, 10)) == pytest.approx((1000 * prompt + 10 * completion) / 1e6)


@pytest.mark.parametrize(
    "model",
    [
        "openai/my-own",
        "hosted_vllm/gpt-4o-mini",  # the name is OpenAI's, and who answers is not
        "openrouter/gpt-4o-mini",
        "rules/v1",
        "sample_spec",  # explains the list
        "ollama/llama3",  # at zero: one's own server
        "openrouter/openrouter/auto",  # at zero: whatever it is sent on to
        "openai/",
        "/gpt-4o-mini",
        "",
    ],
)
def test_others_have_no_price(model):
    assert price_of(model, USAGE) is None


def test_what_took_no_tokens_that_are_known_has_no_price():
    assert price_of("openai/gpt-4o-mini", Usage()) is None


# Another list, or none


@pytest.fixture
def use_list(monkeypatch, tmp_path):
    """Makes something else the file in litellm's package; `None` for no litellm."""

    def use(text):
        spec = None
        if text is not None:
            (tmp_path / providers._LIST).write_text(text)
            spec = importlib.machinery.ModuleSpec("litellm", None, origin=str(tmp_path / "__init__.py"))
        monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
        providers._models.cache_clear()

    yield use
    providers._models.cache_clear()


@pytest.mark.parametrize("text", [None, "", "{", "[1]", '{"gpt-4o-mini": null}', '{"gpt-4o-mini": {}}'])
def test_without_a_list_that_can_be_read_nothing_has_a_price(use_list, text):
    use_list(text)
    assert price_of("openai/gpt-4o-mini", USAGE) is None


def test_a_list_without_its_file(use_list, tmp_path):
    use_list("{}")
    (tmp_path / providers._LIST).unlink()
    assert price_of("openai/gpt-4o-mini", USAGE) is None


def test_the_full_name_counts_before_the_short_one(use_list):
    def entry(price):
        return {"litellm_provider": "a", "input_cost_per_token": price, "output_cost_per_token": price}

    use_list(json.dumps({"b": entry(1), "a/b": entry(2), "c": entry(3)}))
    assert [price_of(model, Usage(1, 0)) for model in ("a/b", "b", "a/c", "x/c")] == [2, 1, 3, None]


@pytest.mark.parametrize("price", [0, None, "1", -1])
def test_half_a_price_is_none(use_list, price):
    entry = {"litellm_provider": "a", "input_cost_per_token": 1, "output_cost_per_token": price}
    use_list(json.dumps({"a/b": entry}))
    assert price_of("a/b", USAGE) is None


def test_the_list_is_read_once_and_litellm_is_not_imported(use_list, monkeypatch):
    monkeypatch.delitem(sys.modules, "litellm", raising=False)
    providers._models.cache_clear()
    assert price_of("openai/gpt-4o-mini", USAGE) is not None
    assert price_of("openai/gpt-4o", USAGE) is not None
    assert providers._models.cache_info().misses == 1
    assert "litellm" not in sys.modules


# The direct client


@pytest.fixture
def ask(monkeypatch):
    """Asks a provider whose own address is a fake server, or that server as one's own; gives the cost of the answer."""
    without_keys_and_proxies(monkeypatch)

    def ask(model, answer, *, as_own=False):
        with FakeOpenAIServer(answer) as server:
            provider = model.split("/")[0]
            monkeypatch.setitem(PROVIDERS, provider, Provider("http://no.example" if as_own else server.url, ()))
            client = DirectClient(api_base=server.url if as_own else None, api_key="k")
            return client.generate(LLMRequest(model=model, messages=(Message("user", "hi"),))).cost

    return ask


def test_a_provider_is_paid_its_list_price(ask):
    assert ask("openai/gpt-4o-mini", completion()) == price_of("openai/gpt-4o-mini", Usage(1000, 100))


def test_an_own_server_is_not(ask):
    assert ask("openai/gpt-4o-mini", completion(), as_own=True) is None


def test_a_provider_without_a_price_or_without_usage(ask):
    assert ask("openai/my-own", completion()) is None
    assert ask("openai/gpt-4o-mini", completion() | {"usage": None}) is None


def test_what_the_provider_says_counts_first(ask):
    assert ask("openrouter/openai/gpt-4o", completion(cost=0.0012)) == 0.0012
    assert ask("openrouter/openrouter/free", completion(cost=0)) == 0.0
    assert ask("openai/gpt-4o", completion(cost=0.5), as_own=True) == 0.5


@pytest.mark.parametrize("cost", [None, True, "0.5", -1, {"total_cost": 1}])
def test_what_is_no_cost_does_not_count(ask, cost):
    assert ask("openai/gpt-4o-mini", completion(cost=cost)) == price_of("openai/gpt-4o-mini", Usage(1000, 100))


def test_the_address_of_the_provider_may_be_given_too(monkeypatch):
    without_keys_and_proxies(monkeypatch)
    with FakeOpenAIServer(completion()) as server:
        monkeypatch.setitem(PROVIDERS, "openai", Provider(server.url, ()))
        client = DirectClient(api_base=f"{server.url}/")
        response = client.generate(LLMRequest(model="openai/gpt-4o-mini", messages=(Message("user", "hi"),)))
    assert response.cost == price_of("openai/gpt-4o-mini", Usage(1000, 100))
