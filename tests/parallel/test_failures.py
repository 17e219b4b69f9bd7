"""A step that fails, fails before anybody has acted, leaves nothing behind, and names who failed."""

import threading

import pytest
from helpers.speakers import Speaker, SpeakersModel, seen_by

from mesa_llm.parallel_stepping import ParallelStepError, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM

N = 6


@pytest.fixture(params=["asyncio", "threading"])
def mode(request):
    enable_automatic_parallel_stepping(mode=request.param)
    return request.param


def fails_for(*agent_ids):
    def answer(request):
        if seen_by(request) in agent_ids:
            raise ConnectionResetError(f"reset for {seen_by(request)}")
        return "hello"

    return answer


def test_a_failed_decision_lets_nobody_act_and_names_all_who_failed(mode):
    model = SpeakersModel(N, ScriptedLLM(fails_for(2, 5)))
    with pytest.raises(ParallelStepError, match=r"2 of 6 agents.*Speaker") as caught:
        model.step()
    assert model.log == []
    assert sorted(caught.value.agent_ids) == [2, 5]
    (error,) = caught.value.exceptions
    assert str(error) == f"reset for {caught.value.agent_ids[0]}"
    assert error.__notes__ == ["While 2 agents were deciding: Speaker 2, 5."]


def test_memories_and_generators_are_as_before(mode):
    model = SpeakersModel(N, ScriptedLLM(fails_for(3)), DrawsFirst)

    def state():
        memories = {agent.unique_id: [str(entry) for entry in agent.memory.entries] for agent in model.agents}
        return memories, model.random.getstate(), model.rng.bit_generator.state

    before = state()
    with pytest.raises(ParallelStepError):
        model.agents.shuffle_do("step")
    assert state() == before


class DrawsFirst(Speaker):
    def generate_obs(self):
        self.random.random()
        self.rng.random()
        return super().generate_obs()


def test_a_successful_step_does_remember_and_draw(mode):
    """The twin of the test above, so that it cannot pass by remembering nothing at all."""
    model = SpeakersModel(N, ScriptedLLM("hello"), DrawsFirst)
    before = model.random.getstate()
    model.agents.shuffle_do("step")
    assert all(len(agent.memory.entries) == 1 for agent in model.agents)
    assert model.random.getstate() != before


def test_the_same_agents_can_be_stepped_again(mode):
    answers = iter([ConnectionResetError("once"), *["hello"] * (2 * N)])
    model = SpeakersModel(N, ScriptedLLM(lambda request: next(answers)))
    with pytest.raises(ParallelStepError):
        model.agents.shuffle_do("step")
    model.agents.shuffle_do("step")
    assert len(model.log) == N


def test_a_failure_while_acting_is_raised_as_it_is_with_who_had_acted(mode):
    model = SpeakersModel(N, ScriptedLLM("hello"), ThirdFails)
    with pytest.raises(ZeroDivisionError) as caught:
        model.agents.do("step")
    assert [agent_id for agent_id, _ in model.log] == [1, 2, 3]
    (note,) = caught.value.__notes__
    assert "ThirdFails 3 was acting" in note
    assert "Had acted before: ThirdFails 1, 2." in note
    assert "Did not act any more: ThirdFails 4-6." in note


class ThirdFails(Speaker):
    def say(self, plan):
        super().say(plan)
        if self.unique_id == 3:
            1 / 0  # noqa: B018


def test_catching_exceptions_does_not_turn_a_step_called_off_into_an_act(mode):
    model = SpeakersModel(N, ScriptedLLM(fails_for(N)), CatchesAll)
    with pytest.raises(ParallelStepError):
        model.agents.do("step")
    assert [agent_id for agent_id, _ in model.log if agent_id != N] == []


class CatchesAll(Speaker):
    def step(self):
        try:
            super().step()
        except Exception:
            if self.unique_id == N:
                raise
            self.model.log.append((self.unique_id, "acted all the same"))

    async def astep(self):
        try:
            await super().astep()
        except Exception:
            if self.unique_id == N:
                raise
            self.model.log.append((self.unique_id, "acted all the same"))


def test_a_plain_agents_failure_is_raised_as_it_is(mode):
    import mesa

    class Plain(mesa.Agent):
        def step(self):
            raise LookupError("plain")

    model = SpeakersModel(2, ScriptedLLM("hello"))
    Plain(model)
    with pytest.raises(LookupError, match="plain"):
        model.agents.do("step")


def test_no_threads_are_left_behind(mode):
    model = SpeakersModel(N, ScriptedLLM(fails_for(3)))
    for _ in range(5):
        with pytest.raises(ParallelStepError):
            model.agents.shuffle_do("step")
    left = [thread for thread in threading.enumerate() if thread.name.startswith(("Speaker", "mesa-llm-agents"))]
    for thread in left:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in left)
