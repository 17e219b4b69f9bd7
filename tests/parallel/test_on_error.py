"""What becomes of a step whose decisions fail, by `on_error`, `max_failures` and `decide_timeout`."""

import asyncio
import logging
import threading

import pytest
from helpers.left_over import soon
from helpers.moved_clock import MINUTE, outlast_the_others, pass_time, until_decided
from helpers.speakers import PlansTwice, Speaker, SpeakersModel, seen_by

from mesa_llm.errors import DecisionTimeoutError
from mesa_llm.parallel_stepping import ParallelStepError, ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM

N = 6
MODES = ["asyncio", "threading"]


@pytest.fixture(params=MODES)
def model(request):
    """Makes a model of which some agents fail."""

    def make(fails, agent_class=Speaker, late=(), **settings):
        enable_automatic_parallel_stepping()

        async def answer(request):
            if seen_by(request) in fails:
                raise ConnectionResetError("reset")
            if seen_by(request) in late:
                await outlast_the_others(MINUTE)
            return "hello"

        config = ParallelStepping(mode=request.param, **settings)
        return SpeakersModel(N, ScriptedLLM(answer), agent_class, parallel=config)

    return make


def test_skip_lets_the_others_act_and_leaves_nothing_of_those_that_failed(model, caplog):
    world = model({2, 5}, on_error="skip")
    with caplog.at_level(logging.WARNING, "mesa_llm.parallel_stepping"):
        world.agents.do("step")
    assert [agent_id for agent_id, _ in world.log] == [1, 3, 4, 6]
    assert [len(agent.memory.entries) for agent in world.agents] == [1, 0, 1, 1, 0, 1]
    assert [record.getMessage() for record in caplog.records] == [
        "Speaker 2, 5 could not decide: ConnectionResetError: reset"
    ]


def test_a_fallback_acts_in_the_agents_place(model):
    def fallback(agent, error):
        agent.model.log.append((agent.unique_id, f"fell back on {error}"))

    world = model({2, 5}, on_error=fallback)
    world.agents.do("step")
    assert world.log == [(i, "fell back on reset" if i in (2, 5) else "hello") for i in range(1, N + 1)]


def test_a_fallback_that_fails_is_a_failed_act(model):
    def fallback(agent, error):
        raise LookupError("fallback")

    world = model({3}, on_error=fallback)
    with pytest.raises(LookupError, match="fallback") as caught:
        world.agents.do("step")
    assert [agent_id for agent_id, _ in world.log] == [1, 2]
    assert "Speaker 3 was acting" in caught.value.__notes__[0]


def test_a_fallback_may_send_messages(model):
    def fallback(agent, error):
        agent.send_message("lost", list(agent.model.agents))

    world = model({1}, on_error=fallback)
    world.agents.do("step")
    assert all(agent.memory.get_communication_history() for agent in world.agents)


@pytest.mark.filterwarnings("ignore:.*not one of 6 agents could decide:RuntimeWarning")
@pytest.mark.parametrize(("max_failures", "allowed"), [(0, 0), (2, 2), (0.5, 3), (0.1, 0), (None, N)])
def test_more_failures_than_allowed_raise(model, max_failures, allowed):
    if allowed:
        model(set(range(1, allowed + 1)), on_error="skip", max_failures=max_failures).agents.do("step")
    if allowed < N:
        world = model(set(range(1, allowed + 2)), on_error="skip", max_failures=max_failures)
        with pytest.raises(ParallelStepError, match=f"{allowed + 1} of {N} agents"):
            world.agents.do("step")
        assert world.log == []


def test_failures_of_further_rounds_count_too(model):
    calls = []

    def second_fails(request):
        calls.append(seen_by(request))
        if calls.count(seen_by(request)) == 2 and seen_by(request) in (1, 4):
            raise ConnectionResetError("reset")
        return "hello"

    config = model(set(), PlansTwice, on_error="skip", max_failures=1).parallel_stepping
    client = ScriptedLLM(second_fails)
    world = SpeakersModel(N, client, PlansTwice, parallel=config)
    with pytest.raises(ParallelStepError, match="2 of 6 agents"):
        world.agents.do("step")
    assert len(world.log) == N


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_an_agent_that_takes_too_long_has_failed(model, on_error):
    world = model(set(), late={3}, decide_timeout=MINUTE, on_error=on_error)
    if on_error == "skip":
        world.agents.do("step")
        assert [agent_id for agent_id, _ in world.log] == [1, 2, 4, 5, 6]
    else:
        with pytest.raises(ParallelStepError) as caught:
            world.agents.do("step")
        (error,) = caught.value.exceptions
        assert isinstance(error, DecisionTimeoutError)
        assert str(error) == "Speaker 3 has not decided within 60 s (decide_timeout)."
        assert world.log == []
    assert soon(lambda: world.agents[0].llm.client.in_flight == 0)


def test_an_agent_that_blocks_its_thread_is_left_behind_and_named():
    enable_automatic_parallel_stepping()
    model = SpeakersModel(
        3,
        ScriptedLLM("hello"),
        Blocks,
        parallel=ParallelStepping(mode="threading", decide_timeout=MINUTE, on_error="skip"),
    )
    model.release = threading.Event()
    with pytest.warns(RuntimeWarning, match="Blocks 2 did not end within"):
        model.agents.do("step")
    assert [agent_id for agent_id, _ in model.log] == [1, 3]
    model.release.set()


class Blocks(Speaker):
    def generate_obs(self):
        if self.unique_id == 2:
            asyncio.run(until_decided(1))  # the third starts when this one's time is up
            pass_time(MINUTE)
            self.model.release.wait(timeout=30)
        return super().generate_obs()


def test_time_spent_waiting_for_others_is_not_time_spent_deciding(model):
    """All are at their turn points within the time, but for one that takes longer than each of them was given."""
    world = model(set(), late={3}, decide_timeout=MINUTE, on_error="skip")
    world.agents.do("step")
    assert [agent_id for agent_id, _ in world.log] == [1, 2, 4, 5, 6]
