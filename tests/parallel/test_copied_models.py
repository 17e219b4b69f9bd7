"""A model with LLM agents is copied and pickled between steps, whatever its agents use; the copy goes on by itself."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import pytest
from helpers.foragers import Field, by_http, rules, state_of, two_more_steps

from mesa_llm.clients import DirectClient
from mesa_llm.journal import JournaledClient
from mesa_llm.limits import (
    Budget,
    BudgetClient,
    FallbackClient,
    LimitedClient,
    RetryingClient,
    SingleFlightClient,
)
from mesa_llm.module_llm import connect
from mesa_llm.module_llm.connect import TransportClient
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.telemetry import TracedClient
from mesa_llm.testing import FakeOpenAIServer

WITHOUT_SERVER = {
    "rules": lambda path: rules(),
    "LimitedClient": lambda path: LimitedClient(rules(), max_concurrency=2),
    "adaptive": lambda path: LimitedClient(rules(), max_concurrency="adaptive"),
    "rates": lambda path: LimitedClient(rules(), requests_per_minute=1e6, tokens_per_minute=1e9),
    "RetryingClient": lambda path: RetryingClient(rules()),
    "BudgetClient": lambda path: BudgetClient(rules(), Budget(tokens=10**9)),
    "SingleFlightClient": lambda path: SingleFlightClient(rules()),
    "FallbackClient": lambda path: FallbackClient((rules(), None), (rules(), None)),
    "JournaledClient": lambda path: JournaledClient(rules(), path),
    "TracedClient": lambda path: TracedClient(rules()),
    "all": lambda path: JournaledClient(
        BudgetClient(
            RetryingClient(LimitedClient(TracedClient(rules()), max_concurrency=3, requests_per_minute=1e6)),
            Budget(tokens=10**9),
        ),
        path,
    ),
}
OVER_HTTP = {
    "the shared client": lambda url: {"api_base": url, "api_key": "sk-a"},
    "transport=direct": lambda url: {"api_base": url, "transport": "direct"},
    "transport=litellm": lambda url: {"api_base": url, "api_key": "sk-a", "transport": "litellm"},
    "connect": lambda url: {"client": connect(api_base=url, max_concurrency=2, tokens_per_minute=1e9)},
    "connect with a budget": lambda url: {"client": connect(api_base=url, budget=Budget(tokens=10**9))},
    "DirectClient": lambda url: {"client": DirectClient(api_base=url)},
    "TransportClient": lambda url: {"client": TransportClient(api_base=url)},
}
TWINS = {"deepcopy": copy.deepcopy, "pickle": lambda model: pickle.loads(pickle.dumps(model))}


def goes_on_alike(model, twin_of):
    """Step, copy, step both, together and apart; what the one does must not show in the other."""
    enable_automatic_parallel_stepping()
    model.step()
    copied_at = state_of(model)
    twin = twin_of(model)
    assert state_of(twin) == copied_at
    for _ in range(2):
        twin.step()
    assert state_of(model) == copied_at
    for _ in range(2):
        model.step()
    assert state_of(model) == state_of(twin) != copied_at
    assert any(agent.wealth for agent in twin.agents), "they did something"


@pytest.mark.parametrize("twin_of", TWINS.values(), ids=TWINS)
@pytest.mark.parametrize("mode", ["asyncio", "threading"])
@pytest.mark.parametrize("client", WITHOUT_SERVER)
def test_with_any_client(client, mode, twin_of, tmp_path):
    goes_on_alike(Field(mode, client=WITHOUT_SERVER[client](tmp_path / "calls.sqlite")), twin_of)


@pytest.mark.parametrize("twin_of", TWINS.values(), ids=TWINS)
@pytest.mark.parametrize("way", OVER_HTTP)
def test_over_http(way, twin_of):
    with FakeOpenAIServer(by_http) as server:
        goes_on_alike(Field(**OVER_HTTP[way](server.url)), twin_of)
    assert len(server.requests) == 5 * 4 * 2


@pytest.mark.parametrize("twin_of", TWINS.values(), ids=TWINS)
def test_the_client_of_a_copy_is_one_for_all_its_agents(twin_of):
    model = Field(client=LimitedClient(rules(), max_concurrency=2))
    twin = twin_of(model)
    (client,) = {agent.llm.client for agent in model.agents}
    (client_of_twin,) = {agent.llm.client for agent in twin.agents}
    assert client_of_twin is not client


@pytest.mark.parametrize("twin_of", TWINS.values(), ids=TWINS)
def test_a_copy_is_stepped_one_by_one_too(twin_of):
    model = Field(client=rules())
    model.parallel_stepping = False
    model.step()
    twin = twin_of(model)
    for either in (model, twin):
        either.step()
    assert state_of(model) == state_of(twin)


def test_a_model_goes_to_a_worker_process():
    with FakeOpenAIServer(by_http) as server:
        model = Field(client=connect(api_base=server.url))
        enable_automatic_parallel_stepping()
        model.step()
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as processes:
            elsewhere = processes.submit(two_more_steps, model).result()
        model.step()
        model.step()
    assert state_of(model) == elsewhere
