"""Promises that hold between the phases of a step: starts through threads, claims, contexts, what fails beside what."""

import asyncio
import contextvars
import copy
import random
import signal
import threading
import warnings

import mesa
import pytest
from helpers.speakers import OneCall, PlansTwice, Speaker, SpeakersModel, seen_by
from mesa.agent import AgentSet

from mesa_llm.activation import claim, is_claimed
from mesa_llm.errors import ConfigurationError, NotParallelWarning, ReproducibilityWarning
from mesa_llm.memory import ShortTermMemory
from mesa_llm.parallel_stepping import (
    ParallelStepError,
    ParallelStepping,
    board,
    enable_automatic_parallel_stepping,
    step_agents_multithreaded,
    step_agents_parallel,
    step_agents_parallel_sync,
    wait_my_turn,
)
from mesa_llm.reasoning import Plan, Reasoning
from mesa_llm.testing import ScriptedLLM


@pytest.fixture(params=["asyncio", "threading"])
def mode(request):
    enable_automatic_parallel_stepping(mode=request.param)
    return request.param


# Starts.


class PlanOnly(Reasoning):
    """Has only `plan`, which core runs in a thread for agents that are coroutines; draws before it asks."""

    def plan(self, prompt=None, obs=None, ttl=1, selected_tools=None, tool_calls="auto"):
        agent = self.agent
        assert not agent.model.someone_else_starts(agent).wait(0.02)
        agent.drawn = agent.random.random()
        agent.model.starts.append(agent.unique_id)
        for event in agent.model.events.values():
            event.set()
        return Plan(step=1, llm_plan=agent.llm.generate("hello").message)


class Starting(SpeakersModel):
    """Knows whether another agent begins a decision while one is beginning its own."""

    def __init__(self, n, agent_class=Speaker):
        super().__init__(n, ScriptedLLM("hello"), agent_class)
        self.starts, self.events = [], {}
        for agent in self.agents:
            agent.reasoning = PlanOnly(agent)

    def someone_else_starts(self, agent):
        self.events[agent.unique_id] = threading.Event()
        return self.events[agent.unique_id]


def test_a_plan_that_runs_in_a_thread_starts_in_its_place(mode):
    """Each waits a moment before it draws: were the next one to start meanwhile, it would notice."""
    model, reference = Starting(4), Starting(4)
    model.step()
    reference.parallel_stepping = False
    reference.step()
    assert model.starts == reference.starts
    assert [agent.drawn for agent in model.agents] == [agent.drawn for agent in reference.agents]


def test_second_decisions_start_one_after_the_other_too(mode):
    model = Starting(3, PlansTwice)
    model.agents.do("step")
    assert model.starts == [1, 2, 3, 1, 2, 3]


# What is kept and what is put back.


def test_who_ends_without_a_turn_keeps_what_it_has_remembered(mode):
    class Looks(Speaker):
        def step(self):
            self.generate_obs()

        async def astep(self):
            self.generate_obs()

    model = SpeakersModel(2, ScriptedLLM("hello"), Looks)
    model.step()
    assert [len(agent.memory.entries) for agent in model.agents] == [1, 1]


def test_who_ends_without_a_turn_keeps_it_although_another_could_not_decide(mode):
    class Looks(Speaker):
        def step(self):
            self.generate_obs()
            if self.unique_id == 2:
                self.reasoning.plan()

        async def astep(self):
            self.generate_obs()
            if self.unique_id == 2:
                await self.reasoning.aplan()

    config = ParallelStepping(mode=mode, activation="eager")
    model = SpeakersModel(2, ScriptedLLM(ConnectionError("lost")), Looks, parallel=config)
    with pytest.raises(ParallelStepError):
        model.agents.do("step")
    assert [len(agent.memory.entries) for agent in model.agents] == [1, 0]


def test_the_sets_own_generator_is_put_back(mode):
    model = SpeakersModel(3, ScriptedLLM(ConnectionError("lost")))
    own = random.Random(4)
    before = own.getstate()
    with pytest.raises(ParallelStepError):
        AgentSet(model.agents, random=own).shuffle_do("step")
    assert own.getstate() == before


def test_claims_last_until_the_next_decisions(mode):
    class Claims(Speaker):
        def say(self, plan):
            self.model.log.append((self.unique_id, is_claimed(self, "the chair")))
            claim(self, "the chair")

        def step(self):
            for _ in range(2):
                super().step()

        async def astep(self):
            for _ in range(2):
                await super().astep()

    model = SpeakersModel(2, ScriptedLLM("hello"), Claims)
    model.agents.do("step")
    assert model.log == [(1, False), (2, True), (1, False), (2, True)]


def test_who_has_been_removed_does_not_settle(mode):
    settled = []

    class Settles(ShortTermMemory):
        async def asettle(self):
            settled.append(self.agent.unique_id)

    class Removes(Speaker):
        def __init__(self, model, client):
            super().__init__(model, client, memory=Settles)

        def say(self, plan):
            super().say(plan)
            if self.unique_id == 3:
                self.model.first.remove()

    model = SpeakersModel(3, ScriptedLLM("hello"), Removes)
    model.first = next(iter(model.agents))
    model.agents.do("step")
    assert settled == [2, 3]


def test_plain_agents_and_fallbacks_see_the_callers_context_variables():
    experiment = contextvars.ContextVar("experiment")
    seen = []

    class Plain(mesa.Agent):
        def step(self):
            seen.append(experiment.get("lost"))

    def fall_back(agent, error):
        seen.append(experiment.get("lost"))

    enable_automatic_parallel_stepping()
    model = SpeakersModel(
        1, ScriptedLLM(ConnectionError("lost")), parallel=ParallelStepping(on_error=fall_back, max_failures=1)
    )
    Plain(model)
    experiment.set("the third")
    with pytest.warns(RuntimeWarning, match="not one of 1 agents"):
        model.agents.do("step")
    assert seen == ["the third", "the third"]


def test_an_agent_of_ones_own_with_a_reasoning_is_not_plain():
    """It has no astep and is no LLMAgent, and still waits together with others."""

    class Handmade(mesa.Agent):
        def __init__(self, model, client):
            super().__init__(model)
            self.reasoning, self.client = OneCall, client

        def step(self):
            self.client.generate(copy.copy(self.model.request))
            wait_my_turn()
            self.model.log.append(self.unique_id)

    client = ScriptedLLM("hello", hold_until=3)
    enable_automatic_parallel_stepping()
    model = SpeakersModel(0, client)
    speaker = Speaker(SpeakersModel(0, client), client)
    model.request = speaker.llm.request("hello")
    Handmade.create_agents(model, 3, client)
    model.agents.do("step")
    assert model.log == [1, 2, 3]


# Settings.


def test_stepping_by_hand_goes_by_the_models_own_settings():
    reported = []
    config = ParallelStepping(mode="threading", on_error="skip", on_report=reported.append)
    client = ScriptedLLM(lambda request: ConnectionError("lost") if seen_by(request) == 2 else "hello")
    model = SpeakersModel(3, client, parallel=config)
    step_agents_parallel_sync(list(model.agents))
    step_agents_multithreaded(list(model.agents))
    asyncio.run(step_agents_parallel(list(model.agents)))
    assert [agent_id for agent_id, _ in model.log] == [1, 3] * 3
    assert [report.mode for report in reported] == ["threading", "threading", "asyncio"]


def test_stepping_agents_by_hand_whose_models_differ_is_refused():
    models = [
        SpeakersModel(1, ScriptedLLM("hello"), parallel=ParallelStepping(mode=m)) for m in ("asyncio", "threading")
    ]
    with pytest.raises(ConfigurationError, match="lists of their own"):
        step_agents_parallel_sync([agent for model in models for agent in model.agents])


def test_a_share_of_failures_is_exact():
    assert ParallelStepping(on_error="skip", max_failures=0.29).allows(29, 100)
    assert not ParallelStepping(on_error="skip", max_failures=0.29).allows(30, 100)


def test_a_fallback_that_nobody_would_await_is_refused():
    async def fall_back(agent, error):
        pass

    with pytest.raises(ConfigurationError, match=r"plain function.*fall_back"):
        ParallelStepping(on_error=fall_back)


# Eager: whatever fails is told.


def test_a_failed_act_is_raised_along_with_a_failed_decision(mode):
    class FailsActing(Speaker):
        def say(self, plan):
            if self.unique_id == 2:
                raise LookupError("of agent 2")
            super().say(plan)

    client = ScriptedLLM(lambda request: ConnectionError("lost") if seen_by(request) == 1 else "hello")
    config = ParallelStepping(mode=mode, activation="eager")
    model = SpeakersModel(3, client, FailsActing, parallel=config)
    with pytest.raises(ParallelStepError, match=r"agent 2 failed|FailsActing 2 failed while acting") as caught:
        model.agents.do("step")
    assert [type(error) for error in caught.value.exceptions] == [ConnectionError, LookupError]
    assert caught.value.agent_ids == (1, 2)
    assert model.log == [(3, "hello")]


@pytest.mark.parametrize("activation", ["simultaneous", "eager"])
def test_a_plain_agents_failure_is_never_skipped(mode, activation):
    class Plain(mesa.Agent):
        def step(self):
            raise LookupError("of its own")

    config = ParallelStepping(mode=mode, activation=activation, on_error="skip")
    model = SpeakersModel(2, ScriptedLLM("hello"), parallel=config)
    Plain(model)
    with pytest.raises(LookupError, match="of its own") as caught:
        model.agents.do("step")
    assert "Plain 3 was acting" in caught.value.__notes__[0]


def test_plain_agents_act_one_at_a_time_under_eager(mode):
    busy = threading.Lock()

    class Exclusive(Speaker):
        def say(self, plan):
            assert busy.acquire(blocking=False)
            super().say(plan)
            busy.release()

    class Plain(mesa.Agent):
        def step(self):
            assert busy.acquire(blocking=False)
            assert not threading.Event().wait(0.02)
            busy.release()

    model = SpeakersModel(4, ScriptedLLM("hello"), Exclusive, parallel=ParallelStepping(mode=mode, activation="eager"))
    Plain.create_agents(model, 2)
    model.agents.do("step")
    assert len(model.log) == 4


# What it says.


def test_plain_agents_that_draw_beside_each_other_are_told_so():
    class Gambler(mesa.Agent):
        def step(self):
            self.random.random()

    enable_automatic_parallel_stepping(mode="threading")
    model = SpeakersModel(0, None)
    Gambler.create_agents(model, 2)
    with pytest.warns(ReproducibilityWarning, match=r"Gambler draws .* plain_steps='ordered'"):
        model.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.step()


def test_a_long_step_in_which_nobody_waited_is_told_so(mode, monkeypatch):
    class Own(SpeakersModel):
        pass

    class AsksByItself(Speaker):
        def step(self):
            self.model.now += 1.0  # a call of its own, which core knows nothing of

        async def astep(self):
            self.step()

    model = Own(3, None, AsksByItself)
    model.now = 0.0
    monkeypatch.setattr(board.Board, "clock", staticmethod(lambda: model.now))
    with pytest.warns(NotParallelWarning, match=r"Own: each agent \(AsksByItself.*with model_call"):
        model.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.step()


# The model steps on, whatever has ended its step.


@pytest.mark.skipif(not hasattr(mesa.Model, "run_for"), reason="Mesa 3.4 steps on by itself")
@pytest.mark.parametrize("end", ["interrupt", "exit", "flag", "warning"])
def test_the_next_step_runs_whatever_has_ended_this_one(mode, end):
    class Ends(Speaker):
        def say(self, plan):
            if self.model.ends and end == "interrupt":
                raise KeyboardInterrupt
            if self.model.ends and end == "exit":
                raise SystemExit
            if self.model.ends and end == "warning":
                warnings.warn("of its own", UserWarning, stacklevel=1)
            super().say(plan)

    model = SpeakersModel(2, ScriptedLLM("hello"), Ends)
    model.ends = True
    if end == "flag":
        model.parallel_stepping = "yes"
    with pytest.raises((KeyboardInterrupt, SystemExit, ConfigurationError, UserWarning)):
        model.step()
    model.log.clear()
    model.ends, model.parallel_stepping = False, True
    model.step()
    model.step()
    assert len(model.log) == 4


@pytest.mark.skipif(not hasattr(mesa.Model, "run_for"), reason="from Mesa 3.5 on")
def test_a_run_for_several_steps_goes_on_after_errors_that_the_model_swallows(mode):
    class Swallows(SpeakersModel):
        begun = 0

        def step(self):
            self.begun += 1
            try:
                super().step()
            except ParallelStepError:
                self.log.append("failed")

    model = Swallows(1, ScriptedLLM(lambda request: ConnectionError("lost") if model.begun % 2 else "hello"))
    model.run_for(6)
    assert model.begun == 6
    assert model.log == ["failed", (1, "hello")] * 3


# Being called off.


async def test_cancelling_while_acting_says_nothing_more_and_the_next_step_works():
    acting = asyncio.Event()

    class Acts(Speaker):
        async def astep(self):
            await super().astep()
            acting.set()
            await asyncio.sleep(0 if self.model.quick else 60)

    enable_automatic_parallel_stepping()
    model = SpeakersModel(3, ScriptedLLM("hello"), Acts)
    model.quick = False
    step = asyncio.ensure_future(step_agents_parallel(list(model.agents)))
    await acting.wait()
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    assert model.log == [(1, "hello")]
    model.quick = True
    await step_agents_parallel(list(model.agents))
    assert len(model.log) == 4


class Blocks(Speaker):
    """Blocks while it acts, until the test lets it go; interrupts the main thread as it begins."""

    def say(self, plan):
        if self.model.blocks is not None and self.unique_id == self.model.who_blocks:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            self.model.blocks.wait(30)
        super().say(plan)


@pytest.mark.filterwarnings("ignore:.*did not end within .* s after:RuntimeWarning")
@pytest.mark.parametrize("nested", [False, True])
def test_ctrl_c_does_not_wait_for_an_act_that_blocks(mode, nested):
    class Chief(Speaker):
        def say(self, plan):
            super().say(plan)
            if nested:
                self.model.agents_by_type[Blocks].do("step")

    model = SpeakersModel(1, ScriptedLLM("hello"), Chief)
    for _ in range(2):
        Blocks(model, next(iter(model.agents)).llm.client)
    model.blocks, model.who_blocks = threading.Event(), 2
    agents = model.agents_by_type[Chief if nested else Blocks]
    with pytest.raises(KeyboardInterrupt):
        agents.do("step")
    assert not model.blocks.is_set()  # nobody has let it go, and here we are
    model.blocks.set()
    model.blocks = None
    model.log.clear()
    agents.do("step")
    assert {agent_id for agent_id, _ in model.log} >= {2, 3}


@pytest.mark.filterwarnings("ignore:.*did not end within .* s after:RuntimeWarning")
def test_ctrl_c_inside_a_running_loop_names_who_was_left_behind(mode):
    model = SpeakersModel(2, ScriptedLLM("hello"), Blocks)
    model.blocks, model.who_blocks = threading.Event(), 1

    async def in_jupyter():
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            with pytest.raises(KeyboardInterrupt):
                model.agents.do("step")
        return [str(warning.message) for warning in said]

    loop = asyncio.new_event_loop()
    try:
        (*_, last) = loop.run_until_complete(in_jupyter())
    finally:
        loop.close()
        model.blocks.set()
    assert "Blocks 1" in last
    assert "left behind" in last


@pytest.mark.filterwarnings("ignore:.*did not end within .* s after:RuntimeWarning")
def test_a_nested_step_is_called_off_with_the_agent_that_makes_it(mode):
    """Ctrl-C while agents of a nested step wait for their model: no call of theirs stays in flight."""
    asked, ended, both_ended = [], [], threading.Event()

    async def answer(request):
        asked.append(request)
        if len(asked) == 3:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        if len(asked) > 1:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(request)
                if len(ended) == 2:
                    both_ended.set()
        return "hello"

    class Chief(Speaker):
        def say(self, plan):
            self.model.agents_by_type[Speaker].do("step")

    client = ScriptedLLM(answer)
    model = SpeakersModel(1, client, Chief)
    for _ in range(2):
        Speaker(model, client)
    with pytest.raises(KeyboardInterrupt):
        model.agents_by_type[Chief].do("step")
    assert both_ended.wait(30)


def test_tasks_left_behind_end_with_the_step(mode):
    running = []

    class Leaves(Speaker):
        async def astep(self):
            await super().astep()
            self.left = asyncio.get_running_loop().create_task(self.linger())

        async def linger(self):
            running.append(self.unique_id)
            try:
                await asyncio.sleep(60)
            finally:
                running.remove(self.unique_id)

    model = SpeakersModel(3, ScriptedLLM("hello"), Leaves)
    model.step()
    assert running == []


def test_hundreds_of_threads_need_no_loop_each(mode):
    """A reasoning that has only `aplan`, in agents that have only `step`: one event loop a thread would be 3 files."""
    import os

    class AplanOnly(Reasoning):
        async def aplan(self, prompt=None, obs=None, ttl=1, selected_tools=None, tool_calls="auto"):
            response = await self.agent.llm.agenerate("hello")
            files.append(len(os.listdir("/proc/self/fd")))
            return Plan(step=1, llm_plan=response.message)

    class StepOnly(Speaker):
        def step(self):
            self.say(self.reasoning.plan())

    files = []
    model = SpeakersModel(200, ScriptedLLM("hello", hold_until=200), StepOnly)
    for agent in model.agents:
        agent.reasoning = AplanOnly(agent)
    before = len(os.listdir("/proc/self/fd"))
    model.step()
    assert len(model.log) == 200
    assert max(files) < before + 100
