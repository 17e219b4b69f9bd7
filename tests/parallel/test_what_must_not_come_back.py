"""What was wrong with parallel stepping in mesa-llm 0.3.2, one test each.

Written so that they can be run against an installed mesa-llm 0.3.2 too: they use the names that both have, and what only
one has is replaced by what comes nearest to it. Each of them fails there.
"""

import asyncio
import contextvars
import threading
from contextlib import nullcontext

import mesa
import pytest
from mesa.agent import AgentSet

from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import (
    disable_automatic_parallel_stepping,
    enable_automatic_parallel_stepping,
    step_agents_parallel_sync,
)

try:
    from mesa_llm.activation import model_call
    from mesa_llm.parallel_stepping import my_turn
except ImportError:
    model_call = nullcontext

    async def my_turn():
        pass


PATIENCE = 30.0


@pytest.fixture(autouse=True)
def _patched(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    enable_automatic_parallel_stepping(mode="asyncio")
    yield
    disable_automatic_parallel_stepping()


class Town(mesa.Model):
    def __init__(self, n, agent_class):
        super().__init__(rng=5)
        self.parallel_stepping = True
        self.log = []
        agent_class.create_agents(self, n)

    def an_agent_set(self):
        """Of the class that 0.3.2 did patch."""
        return AgentSet(self.agents, random=self.random)


class Acts(mesa.Agent):
    async def astep(self, what="acted"):
        await asyncio.sleep(0)
        await my_turn()
        self.model.log.append((self.unique_id, what))


def test_models_of_todays_mesa_step_in_parallel():
    class Meets(mesa.Agent):
        async def astep(self):
            async with asyncio.timeout(PATIENCE):
                await self.model.meeting.wait()
            self.model.log.append(self.unique_id)

    town = Town(20, Meets)
    town.meeting = asyncio.Barrier(20)
    town.agents.shuffle_do("step")
    assert len(town.log) == 20


def test_the_agents_are_shuffled_by_mesas_own_draw():
    town, twin = Town(9, Acts), Town(9, Acts)
    town.an_agent_set().shuffle_do("step")
    order = list(twin.agents)
    twin.random.shuffle(order)
    assert [agent_id for agent_id, _ in town.log] == [agent.unique_id for agent in order]
    assert town.random.getstate() == twin.random.getstate()


def test_arguments_are_passed_on():
    town = Town(2, Acts)
    town.an_agent_set().shuffle_do("step", what="sang")
    assert {what for _, what in town.log} == {"sang"}


def test_the_agent_set_is_returned():
    agents = Town(2, Acts).an_agent_set()
    assert agents.shuffle_do("step") is agents


@pytest.mark.filterwarnings("ignore:.*without a turn")
def test_agents_that_have_only_step_wait_together():
    class Blocks(LLMAgent):
        def __init__(self, model):
            super().__init__(model, reasoning=lambda agent: None, llm_model="openai/none")

        def step(self):
            with model_call():
                meeting.wait()

    meeting = threading.Barrier(3, timeout=PATIENCE)
    step_agents_parallel_sync(list(Town(3, Blocks).agents))


def test_a_failure_lets_all_act_or_none():
    class OneFails(mesa.Agent):
        async def astep(self):
            await asyncio.sleep(0)
            if self.unique_id == 3:
                await asyncio.sleep(0)
                raise LookupError("of agent 3")
            await my_turn()
            self.model.log.append(self.unique_id)
            await asyncio.sleep(0.01)
            self.model.log.append(self.unique_id)

    town = Town(5, OneFails)
    with pytest.raises(Exception, match="of agent 3"):
        step_agents_parallel_sync(list(town.agents))
    assert town.log == []


def test_no_error_is_lost():
    class Fails(mesa.Agent):
        async def astep(self):
            await asyncio.sleep(0)
            raise LookupError(self.unique_id)

    with pytest.raises(ExceptionGroup) as caught:
        step_agents_parallel_sync(list(Town(3, Fails).agents))
    assert caught.value.agent_ids == (1, 2, 3)


@pytest.mark.filterwarnings("ignore:.*without a turn")
def test_as_many_threads_as_agents_wait_together():
    class Blocks(LLMAgent):
        def __init__(self, model):
            super().__init__(model, reasoning=lambda agent: None, llm_model="openai/none")

        async def astep(self):
            with model_call():
                await asyncio.to_thread(meeting.wait)

    enable_automatic_parallel_stepping(mode="threading")
    meeting = threading.Barrier(100, timeout=PATIENCE)
    step_agents_parallel_sync(list(Town(100, Blocks).agents))


async def test_an_agents_error_is_not_replaced_inside_a_running_loop():
    class Fails(mesa.Agent):
        async def astep(self):
            raise RuntimeError("of its own")

    with pytest.raises(Exception, match="of its own"):
        step_agents_parallel_sync(list(Town(1, Fails).agents))


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
async def test_agents_see_the_context_variables_of_the_caller(mode):
    experiment = contextvars.ContextVar("experiment")

    class Looks(mesa.Agent):
        async def astep(self):
            self.model.log.append(experiment.get("lost"))

    enable_automatic_parallel_stepping(mode=mode)
    experiment.set("the third")
    town = Town(2, Looks)
    step_agents_parallel_sync(list(town.agents))
    assert town.log == ["the third", "the third"]


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_other_latencies_give_the_same_results(mode):
    class Draws(mesa.Agent):
        async def astep(self):
            await asyncio.sleep(self.model.latencies[self.unique_id - 1])
            await my_turn()
            self.model.log.append((self.unique_id, self.random.random()))

    def run(*latencies):
        town = Town(3, Draws)
        town.latencies = latencies
        step_agents_parallel_sync(list(town.agents))
        return town.log

    enable_automatic_parallel_stepping(mode=mode)
    assert run(0.0, 0.02, 0.04) == run(0.04, 0.02, 0.0)


def test_the_requests_in_flight_can_be_limited():
    from mesa_llm.limits import LimitedClient
    from mesa_llm.testing import ScriptedLLM

    class Asks(LLMAgent):
        def __init__(self, model):
            super().__init__(model, reasoning=lambda agent: None, client=client)

        async def astep(self):
            await self.llm.agenerate("hello")
            await my_turn()
            self.model.log.append(self.unique_id)

    scripted = ScriptedLLM("hello", hold_until=3)
    client = LimitedClient(scripted, max_concurrency=3)
    town = Town(21, Asks)
    step_agents_parallel_sync(list(town.agents))
    assert scripted.peak_in_flight == 3
    assert town.log == list(range(1, 22))


def test_agents_that_have_only_astep_act_when_nothing_is_patched():
    class OnlyAsync(LLMAgent):
        def __init__(self, model):
            super().__init__(model, reasoning=lambda agent: None, llm_model="openai/none")

        async def astep(self):
            self.model.log.append(self.unique_id)

    disable_automatic_parallel_stepping()
    town = Town(3, OnlyAsync)
    town.parallel_stepping = False
    town.agents.do("step")
    assert town.log == [1, 2, 3]
