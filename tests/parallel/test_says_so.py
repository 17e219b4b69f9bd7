"""What does not run in parallel, does not get on, or is not reproducible, is said: once, with the reason."""

import asyncio
import threading
import warnings
from types import SimpleNamespace

import mesa
import pytest
from helpers.speakers import OneCall, PlansTwice, Speaker, SpeakersModel

from mesa_llm.activation import model_call
from mesa_llm.errors import NotParallelWarning, ReproducibilityWarning
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import (
    diagnostics,
    enable_automatic_parallel_stepping,
    my_turn,
    step_agents_parallel,
    wait_my_turn,
)
from mesa_llm.testing import ScriptedLLM


@pytest.fixture(params=["asyncio", "threading"])
def mode(request):
    enable_automatic_parallel_stepping(mode=request.param)
    return request.param


class Plain(mesa.Agent):
    def step(self):
        self.model.log.append(self.unique_id)


def test_a_model_without_any_decision_is_told_so_once():
    class Lifeless(SpeakersModel):
        pass

    enable_automatic_parallel_stepping()
    for n_warnings in (1, 0):
        model = Lifeless(3, None, lambda model, client: Plain(model))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model.step()
            model.agents.do("step")
        assert len(said) == n_warnings
        assert len(model.log) == 6

    # The line that is named is the one that steps the agents.
    class Other(SpeakersModel):
        pass

    with pytest.warns(NotParallelWarning, match=r"no agent has a decision \(Plain\)") as said:
        Other(1, None, lambda model, client: Plain(model)).agents.do("step")
    assert said[0].filename == __file__


def test_plain_agents_beside_deciding_ones_are_no_reason_to_warn():
    enable_automatic_parallel_stepping()

    class Mixed(SpeakersModel):
        pass

    model = Mixed(2, ScriptedLLM("hello"))
    Plain(model)
    model.agents_by_type[Plain].do("step")
    assert model.log == [3]


def test_plain_agents_on_threads_do_run_in_parallel():
    class Threaded(SpeakersModel):
        pass

    enable_automatic_parallel_stepping(mode="threading")
    meeting = threading.Barrier(2, timeout=30)

    class Meets(mesa.Agent):
        def step(self):
            meeting.wait()

    Threaded(2, None, lambda model, client: Meets(model)).step()


def test_plain_agents_on_threads_in_order_do_not_and_it_is_said():
    class Ordered(SpeakersModel):
        pass

    enable_automatic_parallel_stepping(mode="threading", plain_steps="ordered")
    with pytest.warns(NotParallelWarning, match=r"no agent has a decision \(Plain\)"):
        Ordered(2, None, lambda model, client: Plain(model)).step()


def forgets_its_turn():
    class Hasty(LLMAgent):
        def act(self, answer):
            self.model.log.append(self.unique_id)

        def step(self):
            self.act(self.llm.generate("hello"))

        async def astep(self):
            self.act(await self.llm.agenerate("hello"))

    return Hasty


def made(agent_class):
    return lambda model, client: agent_class(model, OneCall, client=client, tools=[])


def test_who_waits_and_ends_without_a_turn_is_told_so_once(mode):
    hasty = forgets_its_turn()
    model = SpeakersModel(3, ScriptedLLM("hello"), made(hasty))
    with pytest.warns(
        ReproducibilityWarning, match="Hasty has waited for something and ended its step without"
    ) as said:
        model.agents.do("step")
    assert [warning.filename for warning in said] == [__file__]
    model.agents.do("step")
    assert len(model.log) == 6


async def test_who_ends_without_a_turn_in_an_awaited_step_is_told_so_too():
    model = SpeakersModel(1, ScriptedLLM("hello"), made(forgets_its_turn()))
    with pytest.warns(ReproducibilityWarning, match="Hasty"):
        await step_agents_parallel(model.agents)


def test_who_has_nothing_to_decide_may_end_without_a_turn(mode):
    class Idle(LLMAgent):
        def step(self):
            pass

        async def astep(self):
            pass

    SpeakersModel(2, ScriptedLLM("hello"), made(Idle)).step()


def draws(when, generator):
    """A class of agents that draw a random number before they ask, between asking and their turn, or in their turn."""

    class Gambler(LLMAgent):
        def draw(self, now):
            if now == when:
                self.random.random() if generator == "random" else self.rng.random()

        def step(self):
            self.draw("before")
            self.llm.generate("hello")
            self.draw("between")
            wait_my_turn()
            self.draw("acting")

        async def astep(self):
            self.draw("before")
            await self.llm.agenerate("hello")
            self.draw("between")
            await my_turn()
            self.draw("acting")

    return Gambler


@pytest.mark.parametrize("generator", ["random", "rng"])
def test_a_draw_between_the_first_call_and_the_turn_is_told_once(mode, generator):
    model = SpeakersModel(3, ScriptedLLM("hello"), made(draws("between", generator)))
    with pytest.warns(ReproducibilityWarning, match="Gambler draws from model.random or model.rng") as said:
        model.agents.do("step")
    assert [warning.filename for warning in said] == [__file__]
    model.agents.do("step")


@pytest.mark.parametrize("generator", ["random", "rng"])
@pytest.mark.parametrize("when", ["before", "acting"])
def test_draws_before_the_first_call_and_in_the_turn_are_fine(mode, when, generator):
    model = SpeakersModel(3, ScriptedLLM("hello"), made(draws(when, generator)))
    model.agents.do("step")


def test_a_second_decision_may_draw_before_it_asks(mode):
    class Draws(PlansTwice):
        def generate_obs(self):
            self.random.random()
            return super().generate_obs()

    SpeakersModel(3, ScriptedLLM("hello"), Draws).step()


@pytest.mark.parametrize("generator", ["random", "rng"])
def test_watching_changes_no_number_and_leaves_nothing_behind(mode, generator):
    model = SpeakersModel(2, ScriptedLLM("hello"), made(draws("before", generator)))
    twin = SpeakersModel(0, None)
    rng, drawn = model.rng, vars(model.random).copy()
    model.agents.do("step")
    if generator == "random":
        assert [twin.random.random(), twin.random.random()]
    else:
        assert [twin.rng.random(), twin.rng.random()]
    assert model.random.getstate() == twin.random.getstate()
    assert model.rng.bit_generator.state == twin.rng.bit_generator.state
    assert model.rng is rng
    assert vars(model.random) == drawn


def test_eager_steps_are_not_watched(mode):
    enable_automatic_parallel_stepping(mode=mode, activation="eager")
    SpeakersModel(2, ScriptedLLM("hello"), made(draws("between", "random"))).step()


@pytest.fixture
def look(monkeypatch):
    """Makes the watchdog look, instead of its timer."""
    due = []

    def call_later(seconds, look):
        assert seconds == diagnostics.STALL_S
        due.append(look)
        return lambda: None

    monkeypatch.setattr(diagnostics, "transport_loop", SimpleNamespace(call_later=call_later))

    def look():
        due[-1]()

    return look


def test_a_step_that_does_not_get_on_names_who_has_not_decided(look, caplog):
    class Stuck(LLMAgent):
        def step(self):
            if self.unique_id == 2:
                look()
                assert "nothing has happened" not in caplog.text, "it had got on since the last look"
                look()
            wait_my_turn()

    enable_automatic_parallel_stepping(mode="threading")
    SpeakersModel(3, ScriptedLLM("hello"), made(Stuck)).agents.do("step")
    assert "nothing has happened in this step for 10 s. Not decided: Stuck 2. Acting: nobody." in caplog.text


def test_a_blocked_event_loop_is_noticed_and_the_acting_agent_named(look, caplog):
    class Blocks(Speaker):
        def say(self, plan):
            for _ in range(2):
                elsewhere = threading.Thread(target=look)
                elsewhere.start()
                elsewhere.join()

    enable_automatic_parallel_stepping()
    SpeakersModel(1, ScriptedLLM("hello"), Blocks).step()
    assert "Not decided: nobody. Acting: Blocks 1." in caplog.text


def test_who_waits_for_a_model_is_not_stuck(mode, look, caplog):
    """Looks when the second agent asks: by then the first one waits for its answer."""
    asked = []
    both_ask = asyncio.Event()

    async def answer(request):
        asked.append(request)
        if len(asked) == 2:
            for _ in range(3):
                look()
            both_ask.set()
        await both_ask.wait()
        return "hello"

    SpeakersModel(2, ScriptedLLM(answer)).step()
    assert len(asked) == 2
    assert "No model is being asked" not in caplog.text


def test_who_marks_calls_of_its_own_is_not_stuck(look, caplog):
    class AsksByItself(LLMAgent):
        def step(self):
            with model_call():
                for _ in range(3):
                    look()
            wait_my_turn()

    enable_automatic_parallel_stepping(mode="threading")
    model = SpeakersModel(1, None, made(AsksByItself))
    model.step()
    assert "No model is being asked" not in caplog.text
    assert model.parallel_reports[0].calls == 1
