"""Activation `eager`: each acts as soon as it has decided, one at a time."""

import threading

import pytest
from helpers.speakers import Speaker, SpeakersModel, Twice, seen_by

from mesa_llm.parallel_stepping import ParallelStepError, ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM

N = 5


@pytest.fixture(params=["asyncio", "threading"])
def eager(request):
    enable_automatic_parallel_stepping()
    return lambda **settings: ParallelStepping(mode=request.param, activation="eager", **settings)


def answers_after(act):
    """A script that answers agent 1 only when another has acted: a simultaneous step would wait for ever."""

    async def answer(request):
        import asyncio

        if seen_by(request) == 1:
            await asyncio.to_thread(act.wait, 30)
        return (
            "hello" if act.is_set() or seen_by(request) != 1 else AssertionError("nobody acted before agent 1 decided")
        )

    return answer


def test_who_has_decided_acts_while_others_still_wait(eager):
    acted = threading.Event()
    model = SpeakersModel(N, ScriptedLLM(answers_after(acted)), Signals, parallel=eager())
    model.acted = acted
    model.agents.do("step")
    assert len(model.log) == N
    assert model.log[0][0] != 1


class Signals(Speaker):
    def say(self, plan):
        super().say(plan)
        self.model.acted.set()


def test_acts_never_overlap(eager):
    model = SpeakersModel(N, ScriptedLLM("hello"), Exclusive, parallel=eager())
    model.lock = threading.Lock()
    model.agents.do("step")
    assert len(model.log) == N


class Exclusive(Speaker):
    def say(self, plan):
        assert self.model.lock.acquire(blocking=False)
        super().say(plan)
        self.llm.generate("again")
        self.model.lock.release()


def test_who_plans_again_does_not_wait_for_the_others(eager):
    class PlansTwice(Twice, Signals):
        pass

    acted = threading.Event()
    model = SpeakersModel(N, ScriptedLLM(answers_after(acted)), PlansTwice, parallel=eager())
    model.acted = acted
    model.agents.do("step")
    assert sorted(agent_id for agent_id, _ in model.log) == sorted([1, 2, 3, 4, 5] * 2)


def failing(*agent_ids):
    return ScriptedLLM(lambda request: ConnectionError("lost") if seen_by(request) in agent_ids else "hello")


def test_the_others_finish_and_then_the_group_raises(eager):
    model = SpeakersModel(N, failing(2, 4), parallel=eager())
    with pytest.raises(ParallelStepError, match="2 of 5 agents could not decide, and the others have acted") as caught:
        model.agents.do("step")
    assert sorted(caught.value.agent_ids) == [2, 4]
    assert sorted(agent_id for agent_id, _ in model.log) == [1, 3, 5]
    assert all(len(agent.memory.entries) == (agent.unique_id in (1, 3, 5)) for agent in model.agents)


def test_skip_and_fallback(eager):
    model = SpeakersModel(N, failing(2), parallel=eager(on_error="skip"))
    model.agents.do("step")
    assert len(model.log) == N - 1
    model = SpeakersModel(
        N,
        failing(2),
        parallel=eager(on_error=lambda agent, error: agent.model.log.append((agent.unique_id, "fell back"))),
    )
    model.agents.do("step")
    assert (2, "fell back") in model.log
    assert len(model.log) == N


def test_all_failed_acts_are_raised_after_the_others_have_acted(eager):
    class Fails(Speaker):
        def say(self, plan):
            super().say(plan)
            if self.unique_id in self.model.bad:
                raise LookupError(f"{self.unique_id}")

    model = SpeakersModel(N, ScriptedLLM("hello"), Fails, parallel=eager())
    model.bad = {3}
    with pytest.raises(LookupError, match="3"):
        model.agents.do("step")
    assert len(model.log) == N
    model.bad = {2, 3}
    with pytest.raises(ExceptionGroup) as caught:
        model.agents.do("step")
    assert [str(error) for error in caught.value.exceptions] == ["2", "3"]


def test_plain_agents_step_too(eager):
    import mesa

    class Plain(mesa.Agent):
        def step(self):
            self.model.log.append((self.unique_id, "plain"))

    model = SpeakersModel(2, ScriptedLLM("hello"), parallel=eager())
    Plain(model), Plain(model)
    model.agents.do("step")
    assert sorted(said for _, said in model.log) == ["hello", "hello", "plain", "plain"]
