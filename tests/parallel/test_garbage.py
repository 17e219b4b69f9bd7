"""A step leaves nothing to the garbage collector, which waits while one runs."""

import gc
import subprocess
import sys
import threading

import pytest
from mesa import Model

from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import ParallelStepError, ParallelStepping, relaxed_gc, step_agents_parallel_sync
from mesa_llm.parallel_stepping.relaxed_gc import IN_FLIGHT
from mesa_llm.reasoning import CoTReasoning
from mesa_llm.testing import ScriptedLLM

USUAL = (700, 10, 10)


@pytest.fixture(autouse=True)
def usual_collector():
    """The thresholds that Python comes with, put back afterwards."""
    before = gc.get_threshold()
    gc.set_threshold(*USUAL)
    yield
    gc.set_threshold(*before)


class Looks(LLMAgent):
    """Notes how often the collector is to look, as it decides and as it acts."""

    async def astep(self):
        self.looked = [gc.get_threshold()]
        await self.reasoning.aplan(obs=self.generate_obs())
        self.looked.append(gc.get_threshold())


def village(n, agent_class=LLMAgent, *, client=None, mode="asyncio", **settings):
    model = Model(rng=1)
    model.parallel_stepping = ParallelStepping(mode=mode, **settings)
    client = client or ScriptedLLM("Action: rest.")
    for _ in range(n):
        agent_class(model, CoTReasoning, "openai/fake", client=client, step_prompt="What do you do?")
    return model


LEAVES = """
import gc
import sys

from mesa import Model

from mesa_llm.clients import DirectClient
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import ParallelStepping, step_agents_parallel_sync
from mesa_llm.reasoning import CoTReasoning
from mesa_llm.testing import FakeOpenAIServer

with FakeOpenAIServer() as server:
    model = Model(rng=1)
    model.parallel_stepping = ParallelStepping(mode=sys.argv[1])
    for _ in range(5):
        LLMAgent(model, CoTReasoning, "openai/m", client=DirectClient(api_base=server.url), step_prompt="What now?")
    step_agents_parallel_sync(model.agents)  # what is made once
    gc.collect()
    gc.disable()
    step_agents_parallel_sync(model.agents)
    print(gc.collect())
"""


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_a_step_leaves_no_garbage(mode):
    """In a process of its own, where no other test's threads leave any."""
    run = subprocess.run([sys.executable, "-c", LEAVES, mode], capture_output=True, text=True, check=True)
    assert run.stdout == "0\n"


def test_the_collector_leaves_room_for_what_the_agents_need_and_is_as_before_afterwards():
    model = village(20, Looks)
    step_agents_parallel_sync(model.agents)
    assert [agent.looked for agent in model.agents] == [[(20 * IN_FLIGHT, *USUAL[1:])] * 2] * 20
    assert gc.get_threshold() == USUAL


def test_it_is_as_before_after_a_step_that_has_failed():
    model = village(20, Looks, client=ScriptedLLM(lambda request: 1 / 0))
    with pytest.raises(ParallelStepError):
        step_agents_parallel_sync(model.agents)
    assert gc.get_threshold() == USUAL


@pytest.mark.parametrize("threshold", [0, 1_000_000])
def test_what_the_user_has_set_is_left_alone(threshold):
    gc.set_threshold(threshold, 10, 10)
    model = village(20, Looks)
    step_agents_parallel_sync(model.agents)
    assert {agent.looked[0] for agent in model.agents} == {(threshold, 10, 10)}
    assert gc.get_threshold() == (threshold, 10, 10)


def test_what_is_set_in_the_middle_of_a_step_holds():
    class Sets(Looks):
        async def astep(self):
            await super().astep()
            gc.set_threshold(5_000, 5, 5)

    step_agents_parallel_sync(village(20, Sets).agents)
    assert gc.get_threshold() == (5_000, 5, 5)


def test_what_was_set_in_the_middle_of_a_step_comes_back_after_the_next_one():
    with relaxed_gc.relaxed(20):
        gc.set_threshold(2_000, 5, 5)
        with relaxed_gc.relaxed(30):
            assert gc.get_threshold() == (30 * IN_FLIGHT, 5, 5)
    assert gc.get_threshold() == (2_000, 5, 5)


def test_in_a_child_forked_in_the_middle_of_a_step_it_is_as_before_and_steps_go_on():
    with relaxed_gc.relaxed(20):
        relaxed_gc._forget_after_fork()
        assert gc.get_threshold() == USUAL
    step_agents_parallel_sync(village(20, Looks).agents)
    assert gc.get_threshold() == USUAL


def test_of_several_steps_the_last_one_to_end_puts_it_back():
    inner_is_done, both_run = threading.Event(), threading.Barrier(2)

    class Waits(Looks):
        async def astep(self):
            await super().astep()
            if self.unique_id == 1:
                both_run.wait(30)
                if len(self.model.agents) == 30:
                    assert inner_is_done.wait(30)
                    self.after = gc.get_threshold()

    small, large = village(20, Waits), village(30, Waits)

    def step_small():
        step_agents_parallel_sync(small.agents)
        inner_is_done.set()

    thread = threading.Thread(target=step_small)
    thread.start()
    step_agents_parallel_sync(large.agents)
    thread.join()
    assert next(iter(large.agents)).after == (30 * IN_FLIGHT, *USUAL[1:])
    assert gc.get_threshold() == USUAL
