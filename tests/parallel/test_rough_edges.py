"""What agents do besides the usual: threads and tasks of their own, worlds within worlds, ends of all kinds."""

import asyncio
import contextvars
import signal
import threading

import mesa
import pytest
from helpers.speakers import OneCall, PlansTwice, Speaker, SpeakersModel, seen_by
from mesa.agent import AgentSet

from mesa_llm.activation import current_turn
from mesa_llm.errors import ConfigurationError, MesaLLMError, NotParallelWarning, TurnError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import (
    ParallelStepError,
    ParallelStepping,
    enable_automatic_parallel_stepping,
    my_turn,
    step_agents_parallel,
)
from mesa_llm.testing import ScriptedLLM


@pytest.fixture(params=["asyncio", "threading"])
def mode(request):
    enable_automatic_parallel_stepping(mode=request.param)
    return request.param


class StepOnly(LLMAgent):
    def __init__(self, model, client):
        super().__init__(model, OneCall, client=client, step_prompt="?", tools=[])

    def say(self, what):
        self.model.log.append((self.unique_id, str(what)))

    def step(self):
        self.say(self.reasoning.plan())


class AstepOnly(StepOnly):
    async def astep(self):
        self.say(await self.reasoning.aplan())


class AstepOnStep(StepOnly):
    async def astep(self):
        await super().astep()
        self.say("more")


class StepOnAstep(AstepOnly):
    def step(self):
        super().step()
        self.say("more")


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("agent_class", [AstepOnStep, StepOnAstep])
def test_super_of_the_twin_reaches_the_parents_own(mode, agent_class, parallel):
    model = SpeakersModel(2, ScriptedLLM("hello"), agent_class, parallel=parallel)
    model.agents.do("step")
    assert model.log == [(1, "hello"), (1, "more"), (2, "hello"), (2, "more")]


def test_a_step_that_is_a_coroutine_function_is_refused_when_the_class_is_made():
    with pytest.raises(ConfigurationError, match=r"Mistaken\.step is a coroutine function.*name it astep"):

        class Mistaken(LLMAgent):
            async def step(self):
                pass


# Threads and tasks of an agent's own.


def one_slot():
    return ParallelStepping(mode="threading", max_workers=1)


def test_child_threads_that_ask_a_model_share_the_agents_slot():
    class Children(StepOnly):
        def step(self):
            children = [
                threading.Thread(target=contextvars.copy_context().run, args=(self.llm.generate, "?")) for _ in range(2)
            ]
            for child in children:
                child.start()
            for child in children:
                child.join()
            super().step()

    enable_automatic_parallel_stepping()
    model = SpeakersModel(8, ScriptedLLM("hello", latency=lambda request: 0.001), Children, parallel=one_slot())
    for _ in range(5):
        model.step()
    assert len(model.log) == 40


def test_a_loop_in_an_agents_thread_gives_the_slot_back_while_it_waits():
    class OwnLoop(StepOnly):
        def step(self):
            self.say(asyncio.run(self.reasoning.aplan()))

    enable_automatic_parallel_stepping()
    model = SpeakersModel(3, ScriptedLLM("hello"), OwnLoop, parallel=one_slot())
    model.step()
    assert len(model.log) == 3


def test_plans_made_in_to_thread_all_wait_together(mode):
    class ToThread(StepOnly):
        async def astep(self):
            self.say(await asyncio.to_thread(self.reasoning.plan))

    model = SpeakersModel(40, ScriptedLLM("hello", hold_until=40), ToThread)
    model.step()
    assert len(model.log) == 40


def test_a_decision_begun_as_another_is_at_its_turn_point_belongs_to_the_same_turn():
    class Slow(AstepOnly):
        def say(self, what):
            super().say(what)
            self.model.acted.set()

    class TwoMinds(AstepOnly):
        async def later(self):
            await self.model.acted.wait()
            await asyncio.sleep(0)
            return await self.reasoning.aplan()

        async def astep(self):
            for plan in await asyncio.gather(self.reasoning.aplan(), self.later()):
                self.say(plan)

    enable_automatic_parallel_stepping()
    model = SpeakersModel(1, ScriptedLLM("hello"), Slow)
    model.acted = asyncio.Event()
    TwoMinds(model, model.agents[0].llm.client)
    model.agents.do("step")
    assert model.log == [(1, "hello"), (2, "hello"), (2, "hello")]


def test_side_by_side_plans_of_a_second_round_see_the_same_world():
    def others_words(request):
        import json

        seen = json.loads(request.messages[1].content)["local_state"].values()
        return f"others had said {sum(other['internal_state']['words'] for other in seen)}"

    class TwoMinds(Speaker):
        async def astep(self):
            await super().astep()
            for plan in await asyncio.gather(self.reasoning.aplan(), self.reasoning.aplan()):
                assert current_turn().acting
                self.model.log.append((self.unique_id, str(plan)))

    enable_automatic_parallel_stepping()
    model = SpeakersModel(3, ScriptedLLM(others_words), TwoMinds)
    model.agents.do("step")
    assert [said for _, said in model.log] == ["others had said 0"] * 3 + ["others had said 2"] * 6


def test_my_turn_after_a_plan_that_was_given_up_waits_for_the_next_round():
    class GivesUp(Speaker):
        async def astep(self):
            await super().astep()
            again = asyncio.ensure_future(self.reasoning.aplan())
            await asyncio.sleep(0)
            again.cancel()
            await my_turn()
            self.model.log.append((self.unique_id, f"turn {current_turn().acting}"))

    enable_automatic_parallel_stepping()
    model = SpeakersModel(3, ScriptedLLM("hello"), GivesUp)
    model.agents.do("step")
    assert [said for _, said in model.log] == ["hello"] * 3 + ["turn True"] * 3


# Worlds within worlds.


@pytest.mark.parametrize("parallel", [True, False])
def test_an_agent_may_look_ahead_in_a_model_of_its_own(mode, parallel):
    class LooksAhead(StepOnly):
        def look(self):
            inner = SpeakersModel(2, self.llm.client, parallel=parallel)
            inner.step()
            assert len(inner.log) == 2
            assert not current_turn().acting

        def step(self):
            self.look()
            super().step()

        async def astep(self):
            self.look()
            self.say(await self.reasoning.aplan())

    model = SpeakersModel(3, ScriptedLLM("hello"), LooksAhead)
    model.agents.do("step")
    assert [said for _, said in model.log] == ["hello"] * 3


def test_stepping_others_of_the_same_model_before_the_turn_is_refused(mode):
    class Hasty(Speaker):
        def generate_obs(self):
            self.model.agents_by_type[Speaker].do("step")
            return super().generate_obs()

    model = SpeakersModel(2, ScriptedLLM("hello"))
    Hasty(model, model.agents[0].llm.client)
    with pytest.raises(ParallelStepError) as caught:
        model.agents_by_type[Hasty].do("step")
    (error,) = caught.value.exceptions
    assert isinstance(error, TurnError)
    assert "my_turn" in str(error)
    assert model.log == []


async def test_stepping_others_by_hand_before_the_turn_is_refused():
    class Hasty(Speaker):
        async def astep(self):
            await step_agents_parallel(self.model.agents_by_type[Speaker])

    model = SpeakersModel(2, ScriptedLLM("hello"))
    hasty = Hasty(model, model.agents[0].llm.client)
    with pytest.raises(ParallelStepError, match="Hasty 3 steps other agents before its turn"):
        await step_agents_parallel([hasty])


def test_agents_of_several_models_that_agree_step_together(mode):
    client = ScriptedLLM("hello", hold_until=4)
    models = [SpeakersModel(2, client) for _ in range(2)]
    AgentSet([agent for model in models for agent in model.agents], random=models[0].random).shuffle_do("step")
    assert [len(model.log) for model in models] == [2, 2]


def test_agents_of_models_that_differ_step_one_after_the_other_and_it_is_said(mode):
    class Mixed(SpeakersModel):
        pass

    client = ScriptedLLM("hello")
    models = [Mixed(2, client, parallel=flag) for flag in (True, False)]
    agents = AgentSet([agent for model in models for agent in model.agents], random=models[0].random)
    with pytest.warns(NotParallelWarning, match="2 models whose parallel_stepping differs") as said:
        agents.do("step")
    assert [warning.filename for warning in said] == [__file__]  # once, and where the agents are stepped
    assert client.peak_in_flight == 1
    assert [len(model.log) for model in models] == [2, 2]


@pytest.mark.filterwarnings("ignore::mesa_llm.errors.NotParallelWarning")
def test_a_function_is_the_step_only_if_it_is_that_of_every_agent(mode):
    class Other(Speaker):
        def step(self):
            self.model.log.append((self.unique_id, "other"))

    model = SpeakersModel(1, ScriptedLLM("hello"))
    Other(model, model.agents[0].llm.client)
    model.agents.do(Speaker.step)
    assert model.log == [(1, "hello"), (2, "hello")]


# Ends of all kinds.


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("agent_class", [StepOnly, AstepOnly])
def test_what_ends_the_process_gets_through_and_the_next_step_works(mode, agent_class, end):
    class Ends(agent_class):
        def say(self, what):
            if self.model.ends:
                raise end
            super().say(what)

    model = SpeakersModel(3, ScriptedLLM("hello"), Ends)
    model.ends = True
    with pytest.raises(end):
        model.agents.do("step")
    model.ends = False
    model.agents.do("step")
    assert [agent_id for agent_id, _ in model.log] == [1, 2, 3]


@pytest.mark.parametrize("where", ["starting", "deciding", "acting"])
def test_ctrl_c_ends_the_step_at_once_and_the_next_one_works(mode, where):
    """The model never answers while it is slow: only the interrupt can end the step."""

    class Interrupted(Speaker):
        def generate_obs(self):
            if self.model.slow and where == "starting" and self.unique_id == 2:
                interrupt()
            return super().generate_obs()

        def say(self, plan):
            if self.model.slow and where == "acting":
                self.llm.generate("again")
            super().say(plan)

    asked = []

    async def answer(request):
        asked.append(request)
        if model.slow and (where != "acting" or len(asked) == 4):
            if len(asked) == (3 if where == "deciding" else 4):
                interrupt()
            await asyncio.Event().wait()
        return "hello"

    def interrupt():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    model = SpeakersModel(3, ScriptedLLM(answer), Interrupted)
    model.slow = True
    before = model.random.getstate()
    with pytest.raises(KeyboardInterrupt):
        model.agents.shuffle_do("step")
    assert model.log == []
    if where != "acting":
        assert model.random.getstate() == before
    model.slow = False
    model.agents.do("step")
    assert len(model.log) == 3


async def test_cancelling_the_awaited_step_puts_everything_back(mode):
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def never(request):
        loop.call_soon_threadsafe(started.set)
        await asyncio.Event().wait()

    class Draws(Speaker):
        def generate_obs(self):
            self.random.random()
            return super().generate_obs()

    model = SpeakersModel(3, ScriptedLLM(never), Draws)
    before = model.random.getstate()
    step = asyncio.ensure_future(step_agents_parallel(list(model.agents)))
    await started.wait()
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    assert model.random.getstate() == before
    assert all(agent.memory.entries == () for agent in model.agents)


def test_an_agent_cancelled_from_within_is_a_failure_that_names_it(mode):
    class Cancels(Speaker):
        def generate_obs(self):
            raise asyncio.CancelledError

    model = SpeakersModel(1, ScriptedLLM("hello"), Cancels)
    with pytest.raises(ParallelStepError) as caught:
        model.agents.do("step")
    (error,) = caught.value.exceptions
    assert isinstance(error, MesaLLMError)
    assert "Cancels 1 was cancelled from within" in str(error)


def test_what_is_remembered_while_a_step_is_called_off_is_gone(mode):
    class Finally(Speaker):
        def step(self):
            try:
                super().step()
            finally:
                self.memory.add_to_memory("note", {"w": "last words"})

        async def astep(self):
            try:
                await super().astep()
            finally:
                self.memory.add_to_memory("note", {"w": "last words"})

    bad = {3}
    model = SpeakersModel(
        3, ScriptedLLM(lambda request: ConnectionError("lost") if seen_by(request) in bad else "hello"), Finally
    )
    with pytest.raises(ParallelStepError):
        model.agents.do("step")
    assert all(agent.memory.entries == () for agent in model.agents)
    bad.clear()
    model.agents.do("step")
    assert [[entry.type for entry in agent.memory.entries] for agent in model.agents] == [["observation", "note"]] * 3


def test_plain_agents_that_have_stepped_in_threads_keep_their_draws():
    class Draws(mesa.Agent):
        def step(self):
            self.random.random()
            if self.unique_id == 2:
                raise LookupError("plain")

    enable_automatic_parallel_stepping(mode="threading")
    model = SpeakersModel(0, None)
    Draws.create_agents(model, 2)
    before = model.random.getstate()
    with pytest.raises(LookupError) as caught:
        model.agents.do("step")
    assert "Draws 2 was acting" in caught.value.__notes__[0]
    assert model.random.getstate() != before


def test_errors_that_cannot_be_told_are_named_by_their_class(mode):
    class OddError(Exception):
        def __str__(self):
            raise ValueError("no text")

    model = SpeakersModel(2, ScriptedLLM(OddError()))
    with pytest.raises(ParallelStepError, match="OddError"):
        model.agents.do("step")


def test_parts_of_the_error_name_their_own_agents(mode):
    def answer(request):
        return ConnectionError("lost") if seen_by(request) == 1 else LookupError("gone")

    model = SpeakersModel(2, ScriptedLLM(answer))
    with pytest.raises(ParallelStepError) as caught:
        model.agents.do("step")
    part = caught.value.subgroup(LookupError)
    assert part.agent_ids == (2,)


def test_a_failure_in_a_second_round_does_not_claim_that_nobody_has_acted(mode):
    asked = []

    def answer(request):
        asked.append(request)
        return "hello" if len(asked) <= 2 else ConnectionError("lost")

    model = SpeakersModel(2, ScriptedLLM(answer), PlansTwice)
    with pytest.raises(ParallelStepError, match="nobody has acted on this round's decisions"):
        model.agents.do("step")
    assert len(model.log) == 2
