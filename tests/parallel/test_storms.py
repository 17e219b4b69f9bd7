"""Steps through a storm: whatever a server does for a while, the run is that of a calm day."""

import asyncio
import gc
import threading
import tracemalloc
from collections import Counter

import pytest
from helpers.moved_clock import MINUTE, pass_time_of_transport
from helpers.speakers import SpeakersModel

from mesa_llm.errors import EndpointUnreachableError, ModelCallError
from mesa_llm.limits import AdaptiveConcurrency, LimitedClient, RetryingClient
from mesa_llm.module_llm.connect import TransportClient
from mesa_llm.parallel_stepping import ParallelStepError, enable_automatic_parallel_stepping
from mesa_llm.testing import FakeOpenAIServer, Fault

N = 12


@pytest.fixture(params=["asyncio", "threading"], autouse=True)
def mode(request):
    enable_automatic_parallel_stepping(mode=request.param)
    return request.param


async def at_once(seconds):
    """Waits between attempts as long as it takes others to get on."""
    await asyncio.sleep(0)


def stack(api_base, *, transport="direct", timeout=30.0, sleep=at_once, max_attempts=50):
    """What agents have by default, but quick."""
    endpoint = TransportClient(api_base=api_base, transport=transport, timeout=timeout)
    limit = AdaptiveConcurrency(start=1000, ceiling=1000, cooldown=0.0, longest_pause=0.01)
    return RetryingClient(
        LimitedClient(endpoint, max_concurrency=limit), max_attempts=max_attempts, initial=0.01, sleep=sleep
    )


class Weather:
    """A script for a server: each prompt meets these faults, one after the other, and then is answered."""

    def __init__(self, *faults):
        self.faults = faults
        self.asked, self.answered = Counter(), Counter()

    def __call__(self, body):
        prompt = body["messages"][1]["content"]
        self.asked[prompt] += 1
        if self.asked[prompt] <= len(self.faults):
            return self.faults[self.asked[prompt] - 1]
        self.answered[prompt] += 1
        return f"answer to {len(prompt)} {prompt[-40:]}"


def run_of(server, steps=2, **settings):
    model = SpeakersModel(N, stack(server.url, **settings))
    for agent in model.agents:
        agent.llm.llm_model = "openai/fake-model"
    for _ in range(steps):
        model.step()
    return model


@pytest.fixture(scope="module")
def calm():
    enable_automatic_parallel_stepping()
    with FakeOpenAIServer(Weather()) as server:
        return run_of(server).log


STORMS = {
    "429": [Fault(status=429)] * 2,
    "429 with Retry-After": [Fault(status=429, retry_after=0.001)] * 2,
    "busy": [Fault(status=503), Fault(status=500), Fault(status=502)],
    "resets": [Fault.reset()] * 2,
    "half answers": [Fault.half(), Fault.half()],
    "all at once": [Fault(status=429), Fault.reset(), Fault(status=503), Fault.half(), Fault(status=408)],
}


@pytest.mark.parametrize("faults", STORMS.values(), ids=STORMS.keys())
def test_nothing_is_lost_and_nothing_asked_again_once_it_was_answered(faults, calm):
    weather = Weather(*faults)
    with FakeOpenAIServer(weather) as server:
        model = run_of(server)
    assert model.log == calm
    assert set(weather.answered.values()) == {1}
    assert set(weather.asked.values()) == {1 + len(faults)}
    (report,) = model.parallel_reports
    assert report.retries == N * len(faults)


def test_the_same_by_litellm(calm):
    weather = Weather(Fault(status=429), Fault(status=503))
    with FakeOpenAIServer(weather) as server:
        assert run_of(server, transport="litellm").log == calm
    assert set(weather.answered.values()) == {1}


@pytest.mark.parametrize("fault", [Fault.slow_loris(), Fault.hang()], ids=["slow loris", "hang"])
def test_a_server_that_keeps_one_waiting_is_given_up_in_time_and_asked_again(fault, calm):
    """It is given up when all have been asked."""
    weather = Weather(fault)

    def script(body):
        answer = weather(body)
        if answer is fault and weather.asked.total() % N == 0:
            pass_time_of_transport(MINUTE)
        return answer

    with FakeOpenAIServer(script) as server:
        assert run_of(server, timeout=MINUTE).log == calm
    assert set(weather.answered.values()) == {1}


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault.wrong_content_type(), "text/html|not JSON|HTML"),
        (Fault(status=401, body="no"), "401"),
        (Fault(status=400, body="no"), "400"),
        (Fault.endless(), "MiB|bytes|MB"),
    ],
    ids=["a page", "401", "400", "endless"],
)
def test_what_cannot_pass_fails_the_step_at_once_and_changes_nothing(fault, told):
    weather = Weather(*[fault] * 9)
    with FakeOpenAIServer(weather) as server:
        model = SpeakersModel(3, stack(server.url))
        for agent in model.agents:
            agent.llm.llm_model = "openai/fake-model"
        with pytest.raises(ParallelStepError, match=told) as caught:
            model.step()
        assert {type(error) for error in caught.value.exceptions} <= set(ModelCallError.__subclasses__()) | {
            ModelCallError
        }
    assert set(weather.asked.values()) == {1}
    assert model.log == []


def test_ten_megabytes_are_read_and_not_kept():
    """An answer of 10 MB is an answer. Of eight steps with two of them, not sixteen are left."""
    size = 10_000_000
    with FakeOpenAIServer({"role": "assistant", "content": "x" * size}) as server:
        model = SpeakersModel(2, stack(server.url))
        for agent in model.agents:
            agent.llm.llm_model = "openai/fake-model"
        tracemalloc.start()
        for _ in range(8):
            model.step()
            assert [len(text) for _, text in model.log] == [size] * 2
            model.log.clear()
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert kept < 10 * size  # the last ones, here and at the server, which is in this process too


def test_an_endpoint_that_is_down_and_comes_up_again(calm):
    """It comes up when the first agent waits for its next attempt."""
    server = FakeOpenAIServer(Weather())
    with server:
        pass  # has an address from here on, and is down
    up = threading.Lock()

    def come_up():
        with up:
            if not server.is_up:
                server.__enter__()
                server.is_up = True

    server.is_up = False

    async def sleep(seconds):
        await asyncio.to_thread(come_up)

    try:
        model = run_of(server, sleep=sleep)
    finally:
        server.__exit__()
    assert model.log == calm


def test_an_endpoint_that_stays_down_is_given_up_and_named():
    server = FakeOpenAIServer(Weather())
    with server:
        pass
    with pytest.raises(ParallelStepError, match=r"127\.0\.0\.1.*cannot be reached") as caught:
        run_of(server, max_attempts=3)
    assert {type(error) for error in caught.value.exceptions} == {EndpointUnreachableError}
    assert {error.retries for error in caught.value.exceptions} == {2}
