"""The law of the project: same seed and same answers give the same run, whatever the latencies, mode and pool."""

import hashlib
import threading

import pytest
from helpers.speakers import Speaker, SpeakersModel
from hypothesis import given, settings
from hypothesis import strategies as st

from mesa_llm.parallel_stepping import (
    ParallelStepError,
    ParallelStepping,
    enable_automatic_parallel_stepping,
    wait_my_turn,
)
from mesa_llm.testing import ScriptedLLM


class Neighbour(Speaker):
    """Draws before it observes, plans once or more as it was told, sends a message, and may remove another agent."""

    def generate_obs(self):
        self.internal_state["drawn"] = self.random.randrange(1000)
        self.internal_state["drawn_by_numpy"] = int(self.rng.integers(1000))
        return super().generate_obs()

    def plans(self):
        return 1 + self.unique_id % self.model.most_plans

    def say(self, plan):
        super().say(plan)
        others = [other for other in self.model.agents if other is not self]
        if others and self.random.random() < 0.5:
            self.send_message(f"{plan} {self.random.random()}", [self.random.choice(others)])
        if len(others) > 2 and self.random.random() < self.model.mortality:
            self.random.choice(others).remove()

    def step(self):
        for _ in range(self.plans()):
            super().step()

    async def astep(self):
        for _ in range(self.plans()):
            await super().astep()


def answers(failing):
    """A different answer for each prompt; of some prompts it is a failure."""

    def answer(request):
        digest = hashlib.sha256(request.messages[1].content.encode()).hexdigest()
        if int(digest, 16) % 100 < failing:
            return ConnectionResetError(digest[:12])
        return digest[:12]

    return answer


def state_of(model):
    memories = {agent.unique_id: [str(entry) for entry in agent.memory.entries] for agent in model.agents}
    return memories, [agent.internal_state for agent in model.agents], model.random.getstate()


def run_of(n, seed, most_plans, mortality, failing, config, latency):
    """What became of everybody in three steps, as one hash."""
    model = SpeakersModel(n, ScriptedLLM(answers(failing), latency=latency), Neighbour, seed=seed, parallel=config)
    model.most_plans, model.mortality = most_plans, mortality
    seen = []
    for _ in range(3):
        try:
            model.step()
        except ParallelStepError as error:
            seen.append([error.message, [str(part) for part in error.exceptions]])
        seen.append(state_of(model))
        reports = model.parallel_reports
        seen.append([[(agent.agent_id, agent.outcome, agent.calls) for agent in report.agents] for report in reports])
    return hashlib.sha256(repr((seen, model.log, model.rng.bit_generator.state)).encode()).hexdigest()


def fall_back(agent, error):
    agent.model.log.append((agent.unique_id, f"{error} {agent.random.random()}"))


@pytest.mark.filterwarnings("ignore:.*not one of . agents could decide:RuntimeWarning")
@settings(max_examples=300)
@given(
    n=st.integers(1, 8),
    seed=st.integers(0, 2**31),
    most_plans=st.integers(1, 3),
    mortality=st.sampled_from([0.0, 0.3]),
    failing=st.sampled_from([0, 0, 10, 30]),
    on_error=st.sampled_from(["raise", "skip", fall_back]),
    max_failures=st.sampled_from([None, 0.4]),
    mode=st.sampled_from(["asyncio", "threading"]),
    max_workers=st.sampled_from([None, 1, 2, 8]),
    milliseconds=st.lists(st.integers(0, 3), min_size=1, max_size=12),
)
def test_any_latency_gives_the_same_run(
    n, seed, most_plans, mortality, failing, on_error, max_failures, mode, max_workers, milliseconds
):
    enable_automatic_parallel_stepping()
    calls = iter(range(100_000))

    def latency(request):
        return milliseconds[next(calls) % len(milliseconds)] / 1000

    errors = {"on_error": on_error, "max_failures": max_failures}
    reference = run_of(n, seed, most_plans, mortality, failing, ParallelStepping(**errors), 0.0)
    config = ParallelStepping(mode=mode, max_workers=max_workers, **errors)
    assert run_of(n, seed, most_plans, mortality, failing, config, latency) == reference


class Hermit(Speaker):
    """Draws before it decides, and does not care about others."""

    def __init__(self, model, client):
        super().__init__(model, client)
        self.vision = 0

    def generate_obs(self):
        self.internal_state["drawn"] = self.random.random()
        return super().generate_obs()


@settings(max_examples=50)
@given(
    n=st.integers(0, 8),
    seed=st.integers(0, 2**31),
    mode=st.sampled_from(["asyncio", "threading"]),
    shuffles=st.booleans(),
)
def test_agents_that_do_not_look_at_each_other_step_as_with_mesa_alone(n, seed, mode, shuffles):
    """Same order, same draws, same states: all that a parallel step changes is what one sees of the others."""
    enable_automatic_parallel_stepping(mode=mode)

    def run(parallel):
        model = SpeakersModel(n, ScriptedLLM(answers(0)), Hermit, seed=seed, parallel=parallel)
        for _ in range(2):
            (model.agents.shuffle_do if shuffles else model.agents.do)("step")
        return model.log, state_of(model)

    assert run(parallel=True) == run(parallel=False)


def test_a_thousand_agents_with_eight_workers():
    """A thread that waits for a model or for its turn holds no slot, and no more than eight threads run at once."""
    running, most, lock = 0, 0, threading.Lock()
    eight_run = threading.Barrier(8, timeout=30)

    class Computes(Speaker):
        def step(self):
            nonlocal running, most
            self.llm.generate("hello")
            with lock:
                running += 1
                most = max(most, running)
            eight_run.wait()
            with lock:
                running -= 1
            wait_my_turn()
            self.say("hello")

    enable_automatic_parallel_stepping(mode="threading", max_workers=8)
    model = SpeakersModel(1000, ScriptedLLM("hello", hold_until=1000, patience=60), Computes)
    model.step()
    assert len(model.log) == 1000
    assert most == 8
