"""A call knows its place in the run: the same place whatever the latencies, the mode, and who runs the agents."""

import asyncio
import copy

import pytest
from helpers.journals import Twice
from helpers.speakers import OneCall, Speaker, SpeakersModel

from mesa_llm.activation import current_origin
from mesa_llm.clients import AsyncClient, LLMRequest, Message
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping, my_turn
from mesa_llm.testing import ScriptedLLM


class Places(AsyncClient):
    """Notes the place of each call, as any client in a stack can."""

    def __init__(self):
        self.seen = []
        self.inner = ScriptedLLM(lambda request: "hello", latency=lambda request: len(self.seen) % 3 / 1000)

    async def complete(self, request):
        origin = current_origin()
        assert origin is request.call.origin
        self.seen.append(origin and (origin.step, origin.agent_class, origin.agent_id, origin.call))
        return await self.inner.agenerate(request)


@pytest.mark.parametrize("mode", ["asyncio", "threading", "off"])
def test_steps_and_calls_are_numbered_by_agent(mode):
    if mode != "off":
        enable_automatic_parallel_stepping(mode=mode)
    places = Places()
    model = SpeakersModel(3, places, Twice, parallel=mode != "off")
    model.agents.do("step")
    model.agents.select(lambda agent: agent.unique_id < 3).do("step")
    steps = {1: (1, 2), 2: (1, 2), 3: (1,)}
    expected = {(step, "Twice", agent, call) for agent in steps for step in steps[agent] for call in (1, 2, 3)}
    assert len(places.seen) == len(expected)
    assert set(places.seen) == expected


def test_a_copy_goes_on_counting_where_the_original_was():
    enable_automatic_parallel_stepping()
    model = SpeakersModel(1, Places())
    model.step()
    twin = copy.deepcopy(model)
    twin.step()
    assert [step for step, *_ in next(iter(twin.agents)).llm.client.seen] == [1, 2]


def test_a_call_outside_a_step_has_no_place():
    places = Places()
    places.generate(LLMRequest(model="a/b", messages=(Message("user", "hello"),)))
    assert places.seen == [None]


@pytest.mark.filterwarnings("ignore:.*not one of 1 agents could decide:RuntimeWarning")
@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_calls_of_a_fallback_are_further_calls_of_its_agent(mode):
    places = Places()

    class Fails(OneCall):
        def decide(self, *args, **kwargs):
            yield from super().decide(*args, **kwargs)
            raise LookupError

    def fall_back(agent, error):
        agent.llm.generate("what now?")

    enable_automatic_parallel_stepping(mode=mode)
    model = SpeakersModel(1, places, parallel=ParallelStepping(mode=mode, on_error=fall_back))
    (agent,) = model.agents
    agent.reasoning = Fails(agent)
    model.step()
    assert places.seen == [(1, "Speaker", 1, 1), (1, "Speaker", 1, 2)]


@pytest.mark.parametrize("steps", [0, 2])
def test_a_call_between_steps_counts_with_the_agents_last_step(steps):
    places = Places()
    model = SpeakersModel(1, places, parallel=False)
    for _ in range(steps):
        model.step()
    (agent,) = model.agents
    places.seen.clear()
    agent.llm.generate("what now?")
    agent.llm.for_model("c/d").generate("and now?")
    calls = 1 if steps else 0  # in its last step
    assert places.seen == [(steps, "Speaker", 1, calls + 1), (steps, "Speaker", 1, calls + 2)]
    model.step()
    assert places.seen[2:] == [(steps + 1, "Speaker", 1, 1)]


@pytest.mark.parametrize("mode", ["asyncio", "threading", "off"])
def test_an_agent_that_is_stepped_within_anothers_step_counts_its_own(mode):
    class Chief(Speaker):
        def say(self, plan):
            super().say(plan)
            self.model.agents_by_type[Speaker].do("step")
            self.llm.generate("done?")

    enable_automatic_parallel_stepping()
    places = Places()
    model = SpeakersModel(1, places, Chief, parallel=mode != "off" and ParallelStepping(mode=mode))
    Speaker(model, places)
    for _ in range(2):
        model.agents_by_type[Chief].do("step")
    assert sorted(places.seen) == sorted(
        [(step, "Chief", 1, call) for step in (1, 2) for call in (1, 2)] + [(step, "Speaker", 2, 1) for step in (1, 2)]
    )


class SameRequest(Speaker):
    """Sends one request several times, two of them side by side."""

    async def astep(self):
        request = self.llm.request("hello")
        await asyncio.gather(self.llm.acomplete(request), self.llm.acomplete(request))
        await self.llm.acomplete(request)
        await my_turn()


def test_a_request_that_is_sent_again_is_another_call():
    enable_automatic_parallel_stepping()
    places = Places()
    SpeakersModel(1, places, SameRequest).step()
    assert places.seen == [(1, "SameRequest", 1, call) for call in (1, 2, 3)]
