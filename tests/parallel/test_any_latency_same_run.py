"""The law of the project: same seed and same answers give the same run, whatever the latencies, mode and pool."""

import hashlib

from helpers.speakers import Speaker, SpeakersModel
from hypothesis import given, settings
from hypothesis import strategies as st

from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM


class Neighbour(Speaker):
    """Draws before it observes, plans once or twice as it was told, sends a message, and may remove another agent."""

    def generate_obs(self):
        self.internal_state["drawn"] = self.random.randrange(1000)
        return super().generate_obs()

    def plans(self):
        return 1 + int(self.unique_id % self.model.twice_every == 0)

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


def answer(request):
    """A different answer for each prompt."""
    return hashlib.sha256(request.messages[1].content.encode()).hexdigest()[:12]


def run_of(n, seed, twice_every, mortality, config, latency):
    model = SpeakersModel(n, ScriptedLLM(answer, latency=latency), Neighbour, seed=seed, parallel=config)
    model.twice_every, model.mortality = twice_every, mortality
    for _ in range(3):
        model.step()
    memories = [[str(entry) for entry in agent.memory.entries] for agent in model.agents]
    return model.log, memories, model.random.getstate()


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(1, 9),
    seed=st.integers(0, 2**31),
    twice_every=st.integers(1, 4),
    mortality=st.sampled_from([0.0, 0.3]),
    config=st.builds(
        ParallelStepping,
        mode=st.sampled_from(["asyncio", "threading"]),
        max_workers=st.sampled_from([None, 1, 2, 8]),
    ),
    milliseconds=st.lists(st.integers(0, 4), min_size=1, max_size=12),
)
def test_any_latency_gives_the_same_run(n, seed, twice_every, mortality, config, milliseconds):
    enable_automatic_parallel_stepping()
    calls = iter(range(10_000))

    def latency(request):
        return milliseconds[next(calls) % len(milliseconds)] / 1000

    reference = run_of(n, seed, twice_every, mortality, ParallelStepping(), 0.0)
    assert run_of(n, seed, twice_every, mortality, config, latency) == reference
