"""All layers together, and each by itself: they change when answers come, not what they are."""

import asyncio
import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers.busy_endpoint import request
from helpers.speakers import SpeakersModel, digest
from helpers.virtual_time import run_in_virtual_time

from mesa_llm.clients import AsyncClient, LLMClient, RuleBasedClient
from mesa_llm.concurrency import transport_loop
from mesa_llm.errors import ModelCallError
from mesa_llm.limits import (
    AdaptiveConcurrency,
    Budget,
    BudgetClient,
    FallbackClient,
    LimitedClient,
    RetryingClient,
    SingleFlightClient,
)
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM


def full_stack(client):
    limits = {"max_concurrency": "adaptive", "requests_per_minute": 10**6, "tokens_per_minute": 10**9}
    retrying = RetryingClient(LimitedClient(client, **limits), initial=0.001)
    fallen = FallbackClient((retrying, None), (RuleBasedClient(digest), "rules/v1"))
    return SingleFlightClient(BudgetClient(fallen, Budget(tokens=10**9)))


def five_cents(*asked):
    return 0.05


LAYERS = {
    "limited": lambda client: LimitedClient(client, max_concurrency=2),
    "adaptive": lambda client: LimitedClient(client, max_concurrency=AdaptiveConcurrency(start=1)),
    "requests a minute": lambda client: LimitedClient(client, requests_per_minute=60_000, burst_seconds=0.001),
    "tokens a minute": lambda client: LimitedClient(client, tokens_per_minute=6e7, burst_seconds=0.001),
    "budget": lambda client: BudgetClient(client, Budget(tokens=10**6)),
    "budget of money": lambda client: BudgetClient(client, Budget(cost=1.0), price=five_cents),
    "retries": RetryingClient,
    "fallback": lambda client: FallbackClient((client, None), (client, None)),
    "fallback used": lambda client: FallbackClient((ScriptedLLM(ModelCallError("down")), None), (client, None)),
    "single flight": SingleFlightClient,
    "all": full_stack,
}


def run(client, mode="asyncio"):
    enable_automatic_parallel_stepping()
    model = SpeakersModel(5, client, parallel=ParallelStepping(mode=mode))
    for agent in model.agents:
        agent.llm.options["seed"] = 1
        agent.llm.options["max_tokens"] = 20
    for _ in range(2):
        model.step()
    return model.log, model.random.getstate()


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
@pytest.mark.parametrize("layer", LAYERS)
def test_results_do_not_depend_on_a_layer(layer, mode):
    assert run(LAYERS[layer](ScriptedLLM(digest)), mode) == run(ScriptedLLM(digest))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_is_a_client_and_leaves_the_request_alone(layer):
    inner = ScriptedLLM("hello")
    client = LAYERS[layer](inner)
    assert isinstance(client, LLMClient)
    asked = request(seed=1, top_p=0.5)
    assert client.generate(asked).message.content == "hello" or layer == "all"
    assert inner.requests == [asked]


class Voting(AsyncClient):
    """Asks its inner client five times at once, and takes the first answer."""

    def __init__(self, inner):
        self.inner = inner

    async def complete(self, asked):
        return (await asyncio.gather(*(self.inner.agenerate(asked) for _ in range(5))))[0]


def stack_with(place, client):
    """The whole stack with a `Voting` in one place, its limit and its budget."""
    budget = Budget(tokens=10**9)
    limited = LimitedClient(client, max_concurrency=2)
    layers = [
        lambda inner: limited,
        lambda inner: LimitedClient(inner, requests_per_minute=60, burst_seconds=2),
        lambda inner: RetryingClient(inner, jitter=lambda ceiling: ceiling),
        lambda inner: FallbackClient((inner, None), (RuleBasedClient(digest), "rules/v1")),
        lambda inner: BudgetClient(inner, budget),
        SingleFlightClient,
    ]
    layers.insert(place, Voting)
    for layer in layers:
        client = layer(client)
    return client, limited, budget


@pytest.mark.parametrize("place", range(1, 7))
@pytest.mark.parametrize("failing", [0, 3])
def test_a_client_that_asks_several_times_at_once_may_stand_anywhere(place, failing):
    busy = ModelCallError("busy", is_transient=True)
    client, limited, budget = stack_with(place, ScriptedLLM([*[busy] * failing, *["hello"] * 100], latency=1.0))

    async def ask():
        for _ in range(3):
            answers = await asyncio.gather(client.agenerate(request()), client.agenerate(request()))
            assert [answer.message.content for answer in answers] == ["hello"] * 2
            assert (limited.in_flight, budget.reserved_tokens) == (0, 0)

    run_in_virtual_time(ask())


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_copies_and_pickles_and_works_from_any_thread(layer):
    client = LAYERS[layer](RuleBasedClient(say_hello))
    for twin in (client, copy.deepcopy(client), pickle.loads(pickle.dumps(client))):
        with ThreadPoolExecutor() as threads:
            assert threads.submit(twin.generate, request(seed=1)).result(30).message.content == "hello"
        unlike = {"_gates", "_flights", "_estimator", "inner", "clients", "budget"}
        kept = {name: value for name, value in vars(client).items() if name not in unlike}
        assert kept == {name: value for name, value in vars(twin).items() if name not in unlike}


def test_the_whole_stack_copies_and_pickles_while_in_use():
    client = full_stack(RuleBasedClient(say_hello, latency=0.2))
    call = transport_loop.get().submit(client.agenerate(request(seed=1)))
    for twin in (copy.deepcopy(client), pickle.loads(pickle.dumps(client))):
        assert twin.generate(request(seed=1)).message.content == "hello"
    assert call.result(30).message.content == "hello"


def say_hello(asked):
    return "hello"


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_a_forked_child_has_places_of_its_own():
    """The parent's only place is taken when it forks; the child is answered all the same."""
    import multiprocessing
    import threading

    arrived, go_on = threading.Event(), threading.Event()
    client = LimitedClient(
        RuleBasedClient(lambda asked: (arrived.set(), go_on.wait(30), "hello")[2]), max_concurrency=1
    )
    thread = threading.Thread(target=client.generate, args=(request(),))
    thread.start()
    assert arrived.wait(30)
    go_on_in_child = multiprocessing.get_context("fork").Process(target=_asks, args=(client, go_on))
    go_on_in_child.start()
    go_on_in_child.join(30)
    assert go_on_in_child.exitcode == 0
    go_on.set()
    thread.join()


def _asks(client, go_on):
    go_on.set()
    assert client.generate(request()).message.content == "hello"
