"""A step works wherever a model may be stepped: threads, processes, copies; and leaves nothing behind."""

import copy
import multiprocessing
import os
import pickle
import threading
import weakref
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from helpers.left_over import Since, soon
from helpers.speakers import Speaker, SpeakersModel, digest, said_in_three_steps

from mesa_llm.activation import step_of
from mesa_llm.clients import RuleBasedClient
from mesa_llm.module_llm import connect
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping, step_agents_parallel_sync
from mesa_llm.testing import FakeOpenAIServer

MODES = ["asyncio", "threading"]


@pytest.mark.parametrize("mode", MODES)
def test_several_models_in_several_threads_at_once(mode):
    alone = [said_in_three_steps(seed, mode) for seed in range(4)]
    together = threading.Barrier(4, timeout=30)

    def run(seed):
        together.wait()
        return said_in_three_steps(seed, mode)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(run, range(4))) == alone


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
@pytest.mark.parametrize("mode", MODES)
def test_worker_processes(mode, start_method):
    """The parent has stepped before, so a forked child inherits loops and threads that do not run in it."""
    alone = [said_in_three_steps(seed, mode) for seed in range(2)]
    context = multiprocessing.get_context(start_method)
    with ProcessPoolExecutor(2, mp_context=context) as processes:
        assert list(processes.map(said_in_three_steps, range(2), [mode] * 2)) == alone
    assert said_in_three_steps(0, mode) == alone[0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "twin_of", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"]
)
def test_a_model_copied_between_steps_goes_on_like_the_original(mode, twin_of):
    enable_automatic_parallel_stepping(mode=mode)
    model = SpeakersModel(4, RuleBasedClient(digest))
    model.step()
    twin = twin_of(model)
    for either in (model, twin):
        either.step()
        either.step()
    assert len(model.log) == 12
    assert twin.log == model.log
    assert twin.random.getstate() == model.random.getstate()
    remembered, remembered_by_twin = (
        [[str(entry) for entry in agent.memory.entries] for agent in either.agents] for either in (model, twin)
    )
    assert remembered == remembered_by_twin


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts file descriptors by /proc")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore:.*not one of 3 agents could decide:RuntimeWarning")
def test_a_thousand_steps_leave_nothing_behind(mode):
    """Agents that have stepped a thousand times, some of them failing, leave what they left after ten."""

    def policy_that_fails(request):
        if step_of(model) % 10 == 3:
            raise LookupError
        return "hello"

    model = SpeakersModel(3, RuleBasedClient(policy_that_fails), parallel=ParallelStepping(mode=mode, on_error="skip"))
    enable_automatic_parallel_stepping()
    for _ in range(10):
        model.step()
    since_ten = Since()
    for _ in range(1000):
        model.step()
    assert len(model.log) == 3 * 909
    assert since_ten.leaves_nothing(), since_ten.left_over()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts file descriptors by /proc")
@pytest.mark.parametrize(
    ("transport", "steps"),
    [("direct", 50), ("litellm", 50), pytest.param("direct", 1000, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("mode", MODES)
def test_steps_over_http_open_no_more_connections_than_the_first(mode, transport, steps):
    """A loop a step would leave a socket a call, and 1024 of them end a run."""
    with FakeOpenAIServer("hello", hold_until=3) as server:
        model = SpeakersModel(3, connect(api_base=server.url, transport=transport))
        for agent in model.agents:
            agent.llm.llm_model = "openai/fake-model"
        enable_automatic_parallel_stepping(mode=mode)
        for _ in range(2):
            model.step()
        since_two = Since()
        for _ in range(steps):
            model.step()
        assert server.connections_opened == 3
        assert since_two.leaves_nothing(), since_two.left_over()


def test_by_hand_in_a_worker_thread():
    model = SpeakersModel(3, RuleBasedClient(digest, latency=0.001), Speaker)
    thread = threading.Thread(target=step_agents_parallel_sync, args=(list(model.agents),))
    thread.start()
    thread.join(30)
    assert [agent_id for agent_id, _ in model.log] == [1, 2, 3]


def test_connections_keep_no_model_alive():
    """The timers of a client remember for a minute in which context they were made."""
    with FakeOpenAIServer("hello") as server:
        model = SpeakersModel(3, connect(api_base=server.url))
        for agent in model.agents:
            agent.llm.llm_model = "openai/fake-model"
        enable_automatic_parallel_stepping()
        model.step()
        assert len(model.log) == 3
        gone = weakref.ref(model)
        del model, agent
        assert soon(lambda: gone() is None)
