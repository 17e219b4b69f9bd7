"""What a parallel step means: all decide on the same world, then one after the other acts."""

import asyncio
import itertools
import threading

import mesa
import pytest
from helpers.speakers import OneCall, PlansTwice, Speaker, SpeakersModel, Twice, seen_by

from mesa_llm.activation import current_turn
from mesa_llm.errors import TurnError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import (
    ParallelStepError,
    ParallelStepping,
    enable_automatic_parallel_stepping,
    my_turn,
    step_agents_multithreaded,
    step_agents_parallel,
    step_agents_parallel_sync,
    wait_my_turn,
)
from mesa_llm.testing import ScriptedLLM

MODES = ["asyncio", "threading"]
N = 6


@pytest.fixture(params=MODES)
def mode(request):
    enable_automatic_parallel_stepping(mode=request.param)
    return request.param


def prompts_of(llm):
    return [request.messages[1].content for request in llm.requests]


class OnlyStep(Speaker):
    astep = LLMAgent.astep

    def step(self):
        super().step()


class OnlyAstep(Speaker):
    async def astep(self):
        await super().astep()


def test_all_decide_on_the_same_world(mode):
    llm = ScriptedLLM("hello", hold_until=N)
    model = SpeakersModel(N, llm)
    model.step()
    assert all('"words": 1' not in prompt for prompt in prompts_of(llm))
    model.step()
    assert all('"words": 0' not in prompt for prompt in prompts_of(llm)[N:])


def test_agents_ask_in_the_seeded_order(mode):
    llm = ScriptedLLM("hello", hold_until=N)
    model = SpeakersModel(N, llm)
    model.step()
    assert [seen_by(request) for request in llm.requests] == [agent_id for agent_id, _ in model.log]


def test_they_act_in_the_seeded_order_whoever_is_answered_first(mode):
    slow_first = ScriptedLLM("hello", latency=lambda request: 0.03 / seen_by(request))
    model, reference = SpeakersModel(N, slow_first), SpeakersModel(N, ScriptedLLM("hello"))
    model.step()
    reference.step()
    assert model.log == reference.log


def test_the_next_agent_acts_two_passes_of_the_event_loop_later():
    enable_automatic_parallel_stepping("asyncio")
    passes, acted_in = 0, []

    def count():
        nonlocal passes
        passes += 1
        if len(acted_in) < N:
            asyncio.get_running_loop().call_soon(count)

    class Waits(mesa.Agent):
        async def astep(self):
            if not passes:
                count()
            await asyncio.sleep(0)
            await my_turn()
            acted_in.append(passes)

    model = mesa.Model(rng=1)
    model.parallel_stepping = True
    Waits.create_agents(model, N)
    model.agents.shuffle_do("step")
    assert [later - earlier for earlier, later in itertools.pairwise(acted_in)] == [2] * (N - 1)


def test_acts_never_overlap(mode):
    model = SpeakersModel(N, ScriptedLLM("hello"), Exclusive)
    model.step()
    assert len(model.log) == N


class Exclusive(Speaker):
    def say(self, plan):
        assert not getattr(self.model, "somebody_acts", False)
        self.model.somebody_acts = True
        super().say(plan)
        self.model.somebody_acts = False


def test_acts_run_in_the_thread_that_called():
    enable_automatic_parallel_stepping()
    model = SpeakersModel(N, ScriptedLLM("hello"), ThreadIdentifier)
    model.step()
    assert {said for _, said in model.log} == {str(threading.get_ident())}


class ThreadIdentifier(Speaker):
    def say(self, plan):
        self.model.log.append((self.unique_id, str(threading.get_ident())))


# Which of step and astep runs.


class StepOnly(LLMAgent):
    """Has no astep."""

    def __init__(self, model, client):
        super().__init__(model, OneCall, client=client, step_prompt="?", tools=[])

    def step(self):
        plan = self.reasoning.plan(obs=self.generate_obs())
        self.model.log.append((self.unique_id, f"step {plan}"))


class AstepOnly(StepOnly):
    """Has no step of its own: its astep is nearer than the inherited step."""

    async def astep(self):
        plan = await self.reasoning.aplan(obs=self.generate_obs())
        self.model.log.append((self.unique_id, f"astep {plan}"))


class Both(AstepOnly):
    def step(self):
        plan = self.reasoning.plan(obs=self.generate_obs())
        self.model.log.append((self.unique_id, f"step {plan}"))

    async def astep(self):
        await super().astep()


class StepAgain(Both):
    """Defines step again, nearer than the inherited astep."""

    def step(self):
        super().step()


@pytest.mark.parametrize("parallel", [True, False], ids=["patched", "unpatched"])
@pytest.mark.parametrize(
    ("agent_class", "in_asyncio", "in_threading", "unpatched"),
    [
        (StepOnly, "step hello", "step hello", "step hello"),
        (AstepOnly, "astep hello", "astep hello", "astep hello"),
        (Both, "astep hello", "step hello", "step hello"),
        (StepAgain, "step hello", "step hello", "step hello"),
    ],
)
def test_which_method_runs(mode, parallel, agent_class, in_asyncio, in_threading, unpatched):
    llm = ScriptedLLM("hello", hold_until=N if parallel else None)
    model = SpeakersModel(N, llm, agent_class, parallel=parallel)
    model.step()
    expected = (in_asyncio if mode == "asyncio" else in_threading) if parallel else unpatched
    assert {said for _, said in model.log} == {expected}
    assert len(model.log) == N


def test_agents_of_all_kinds_wait_together(mode):
    llm = ScriptedLLM("hello", hold_until=4 * 2)
    model = SpeakersModel(2, llm, StepOnly)
    for agent_class in (AstepOnly, Both, StepAgain):
        agent_class(model, llm)
        agent_class(model, llm)
    model.step()
    assert len(model.log) == 8


@pytest.mark.parametrize("settings", [{"mode": "asyncio"}, {"mode": "threading", "plain_steps": "ordered"}])
def test_a_plain_agent_acts_in_its_place_in_asyncio_mode_and_where_it_is_wished(settings):
    enable_automatic_parallel_stepping(**settings)
    model, reference = (SpeakersModel(N, ScriptedLLM("hello"), parallel=flag) for flag in (True, False))
    for world in (model, reference):
        for _ in range(N):
            Plain(world)
        world.step()
    assert model.log == reference.log


class Plain(mesa.Agent):
    def step(self):
        self.model.log.append((self.unique_id, "plain"))


def test_plain_agents_run_together_on_threads_in_threading_mode():
    enable_automatic_parallel_stepping(mode="threading")
    model = SpeakersModel(N, ScriptedLLM("hello"))
    model.barrier = threading.Barrier(N)
    for _ in range(N):
        Meets(model)
    model.step()
    assert [said for _, said in model.log] == ["met"] * N + ["hello"] * N


class Meets(mesa.Agent):
    def step(self):
        self.model.barrier.wait(timeout=30)
        self.model.log.append((self.unique_id, "met"))


# Turn points by hand.


def test_an_agent_of_ones_own_waits_for_its_turn_with_my_turn(mode):
    model, reference = SpeakersModel(0, None), SpeakersModel(0, None, parallel=False)
    for world in (model, reference):
        for _ in range(N):
            OwnDecider(world)
        world.step()
    assert [said for said in model.log if said[1] == "decided"] == model.log[:N]
    acts = [agent_id for agent_id, said in model.log if said == "acted"]
    assert acts == [agent_id for agent_id, said in reference.log if said == "acted"]


class OwnDecider(mesa.Agent):
    """A plain agent with a coroutine of its own, and a stand-in for models that do not step in parallel."""

    def step(self):
        self.model.log.append((self.unique_id, "decided"))
        wait_my_turn()
        self.model.log.append((self.unique_id, "acted"))

    async def astep(self):
        await asyncio.sleep(0)
        self.model.log.append((self.unique_id, "decided"))
        await my_turn()
        self.model.log.append((self.unique_id, "acted"))


def test_coroutines_that_wait_for_something_else_wait_together():
    """Twelve agents that each wait for all others to have started can only go on if all have started."""
    enable_automatic_parallel_stepping()
    model = SpeakersModel(0, None)
    model.started = []
    for _ in range(N):
        Gatherer(model)
    model.step()
    assert len(model.log) == N


class Gatherer(mesa.Agent):
    async def astep(self):
        self.model.started.append(asyncio.get_running_loop().create_future())
        if len(self.model.started) == N:
            for future in self.model.started:
                future.set_result(None)
        await self.model.started[-1]
        await my_turn()
        self.model.log.append((self.unique_id, "went on"))


# Planning twice.


def test_who_plans_again_waits_until_all_have_acted_and_they_decide_together_again(mode):
    llm = ScriptedLLM(lambda request: f"words: {seen_words(request)}", hold_until=N)
    model = SpeakersModel(N, llm, PlansTwice)
    model.step()
    first, second = model.log[:N], model.log[N:]
    assert [agent_id for agent_id, _ in first] == [agent_id for agent_id, _ in second]
    assert {said for _, said in first} == {"words: 0"}
    assert {said for _, said in second} == {"words: 1"}


def seen_words(request):
    import json

    return json.loads(request.messages[1].content)["self_state"]["internal_state"]["words"]


def test_plans_made_side_by_side_lead_to_one_turn():
    enable_automatic_parallel_stepping()
    llm = ScriptedLLM("hello", hold_until=2 * N)
    model = SpeakersModel(N, llm, TwoMinds)
    model.step()
    assert [said for _, said in model.log] == ["hello", "hello"] * N
    ids = [agent_id for agent_id, _ in model.log]
    assert ids[::2] == ids[1::2]


class TwoMinds(Speaker):
    async def astep(self):
        obs = self.generate_obs()
        for plan in await asyncio.gather(self.reasoning.aplan(obs=obs), self.reasoning.aplan(obs=obs)):
            self.say(plan)


# Removal.


def test_an_agent_removed_by_an_earlier_act_does_not_act(mode):
    model = SpeakersModel(N, ScriptedLLM("hello"), Duelist)
    model.step()
    assert len(model.log) == N // 2
    assert len(model.agents) == N // 2


class Duelist(Speaker):
    """Removes the next agent in the order of ids."""

    def say(self, plan):
        super().say(plan)
        victim = next((other for other in self.model.agents if other.unique_id not in dict(self.model.log)), None)
        if victim is not None:
            victim.remove()


def test_an_agent_removed_after_it_gave_its_turn_back_does_not_decide_again(mode):
    model = SpeakersModel(2, ScriptedLLM("hello"), PlansTwiceAndRemoves)
    model.agents.do("step")
    assert [agent_id for agent_id, _ in model.log] == [1, 2, 2]
    assert [agent.unique_id for agent in model.agents] == [2]


class PlansTwiceAndRemoves(Twice, Speaker):
    """The last one removes the first, which has given its turn back by then."""

    def say(self, plan):
        super().say(plan)
        if self.unique_id == 2 and len(self.model.agents) == 2:
            self.model.agents[0].remove()


def test_an_agent_added_during_a_step_waits_for_the_next(mode):
    model = SpeakersModel(1, ScriptedLLM("hello"), Parent)
    model.step()
    assert len(model.log) == 1
    model.step()
    assert len(model.log) == 3


class Parent(Speaker):
    def say(self, plan):
        super().say(plan)
        type(self)(self.model, self.llm.client)


# Blocking and nesting.


def test_plan_in_a_coroutine_is_refused_and_names_aplan():
    enable_automatic_parallel_stepping()
    model = SpeakersModel(2, ScriptedLLM("hello"), Blocks)
    with pytest.raises(ParallelStepError) as caught:
        model.step()
    assert all(isinstance(error, TurnError) and "aplan" in str(error) for error in caught.value.exceptions)


class Blocks(Speaker):
    async def astep(self):
        self.say(self.reasoning.plan(obs=self.generate_obs()))


def test_a_model_may_be_asked_while_acting(mode):
    model = SpeakersModel(N, ScriptedLLM("hello"), AsksAgain)
    model.step()
    assert [said for _, said in model.log] == ["hello and hello"] * N


class AsksAgain(Speaker):
    """As a tool does that asks a model, blocking."""

    def say(self, plan):
        again = self.llm.generate("Once more?")
        self.model.log.append((self.unique_id, f"{plan} and {again.message.content}"))


def test_an_act_may_step_other_agents(mode):
    llm = ScriptedLLM("hello")
    model = SpeakersModel(2, llm, Chief)
    for _ in range(3):
        Speaker(model, llm)
    model.agents_by_type[Chief].shuffle_do("step")
    said = [said for _, said in model.log]
    assert said == ["hello"] * 3 + ["chief"] + ["hello"] * 3 + ["chief"]


class Chief(Speaker):
    def say(self, plan):
        self.model.agents_by_type[Speaker].shuffle_do("step")
        self.model.log.append((self.unique_id, "chief"))


async def test_stepping_inside_a_running_loop(mode):
    model = SpeakersModel(N, ScriptedLLM("hello", hold_until=N))
    model.step()
    assert len(model.log) == N


async def test_awaiting_a_step_in_ones_own_loop():
    loop = asyncio.get_running_loop()
    model = SpeakersModel(N, ScriptedLLM("hello", hold_until=N), LoopNoter)
    await step_agents_parallel(list(model.agents))
    assert [said for _, said in model.log] == [loop] * N


class LoopNoter(Speaker):
    def say(self, plan):
        self.model.log.append((self.unique_id, asyncio.get_running_loop()))


@pytest.mark.parametrize("step", [step_agents_parallel_sync, step_agents_multithreaded])
def test_a_list_keeps_its_order_and_draws_nothing(step):
    model = SpeakersModel(N, ScriptedLLM("hello", hold_until=N))
    state = model.random.getstate()
    agents = list(model.agents)[::-1]
    step(agents)
    assert [agent_id for agent_id, _ in model.log] == [agent.unique_id for agent in agents]
    assert model.random.getstate() == state


# Slots.


@pytest.mark.parametrize("agent_class", [StepOnly, AstepOnly])
def test_a_few_slots_hold_up_nobody_who_waits(agent_class):
    llm = ScriptedLLM("hello", hold_until=40)
    model = SpeakersModel(40, llm, agent_class, parallel=ParallelStepping(mode="threading", max_workers=2))
    enable_automatic_parallel_stepping()
    model.step()
    assert len(model.log) == 40


def test_no_more_threads_run_than_there_are_slots():
    model = SpeakersModel(20, ScriptedLLM("hello"), Crowd, parallel=ParallelStepping(mode="threading", max_workers=3))
    model.lock, model.inside, model.peak = threading.Lock(), 0, 0
    enable_automatic_parallel_stepping()
    model.step()
    assert 1 <= model.peak <= 3


class Crowd(Speaker):
    def step(self):
        plan = self.reasoning.plan(obs=self.generate_obs())
        self.say(plan)

    def generate_obs(self):
        with self.model.lock:
            self.model.inside += 1
            self.model.peak = max(self.model.peak, self.model.inside)
        try:
            return super().generate_obs()
        finally:
            with self.model.lock:
                self.model.inside -= 1


# The turn itself.


def test_no_turn_outside_a_parallel_step():
    model = SpeakersModel(1, ScriptedLLM("hello"), parallel=False)
    model.step()
    assert current_turn() is None
    wait_my_turn()


def test_a_turn_used_after_its_step_raises():
    enable_automatic_parallel_stepping()
    model = SpeakersModel(1, ScriptedLLM("hello"), Lingers)
    model.step()
    with pytest.raises(TurnError, match="Lingers 1 has ended"):
        model.left_over.run(wait_my_turn)


class Lingers(Speaker):
    def say(self, plan):
        import contextvars

        super().say(plan)
        self.model.left_over = contextvars.copy_context()


def test_context_variables_of_the_caller_are_seen_by_agents(mode):
    import contextvars

    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    model = SpeakersModel(N, ScriptedLLM("hello"), ContextReader)
    model.variable = variable
    model.step()
    assert {said for _, said in model.log} == {"set"}


class ContextReader(Speaker):
    def say(self, plan):
        self.model.log.append((self.unique_id, self.model.variable.get()))
