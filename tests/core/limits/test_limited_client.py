"""A limit on calls changes when answers come, and nothing else."""

import asyncio

import pytest
from helpers.moved_clock import MINUTE, PATIENCE, Together, pass_time, until_others_wait
from helpers.speakers import Speaker, SpeakersModel, seen_by

from mesa_llm.clients import LLMRequest, Message
from mesa_llm.concurrency import calling_loop
from mesa_llm.errors import ConfigurationError
from mesa_llm.limits import LimitedClient
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM
from mesa_llm.testing.scripted_llm import Gate

REQUEST = LLMRequest(model="a/b", messages=(Message("user", "hello"),))


@pytest.fixture(params=["asyncio", "threading"])
def mode(request):
    enable_automatic_parallel_stepping(mode=request.param)
    return request.param


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "2"])
def test_a_limit_that_is_none_is_refused(n):
    with pytest.raises(
        ConfigurationError, match=r"max_concurrency must be an integer >= 1, got .*or None for no limit"
    ):
        LimitedClient(ScriptedLLM("hello"), max_concurrency=n)


def test_so_many_calls_at_once_and_no_more():
    inner = ScriptedLLM("hello", hold_until=3)
    client = LimitedClient(inner, max_concurrency=3)

    async def ask_all():
        await asyncio.gather(*(client.agenerate(REQUEST) for _ in range(12)))

    calling_loop.run(ask_all())
    assert inner.peak_in_flight == 3


def test_a_failed_or_cancelled_call_gives_its_place_back():
    async def answer(request):
        if len(inner.requests) == 1:
            raise ConnectionResetError
        if len(inner.requests) == 2:
            await asyncio.Event().wait()
        return "hello"

    inner = ScriptedLLM(answer)
    client = LimitedClient(inner, max_concurrency=1)

    async def fail_then_cancel_then_ask():
        with pytest.raises(ConnectionResetError):
            await client.agenerate(REQUEST)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.agenerate(REQUEST), 0.01)
        return (await client.agenerate(REQUEST)).message.content

    assert calling_loop.run(fail_then_cancel_then_ask()) == "hello"


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_results_do_not_depend_on_the_limit(mode, limit):
    def run(client):
        model = SpeakersModel(5, client)
        model.step()
        model.step()
        return model.log

    def answer(request):
        return f"I am {seen_by(request)}"

    assert run(LimitedClient(ScriptedLLM(answer), max_concurrency=limit)) == run(ScriptedLLM(answer))


def test_a_sync_call_in_a_tool_and_a_nested_step_finish_with_one_place(mode):
    class Nests(Speaker):
        def say(self, plan):
            super().say(plan)
            self.llm.generate("a call of a tool, while acting")
            if self.unique_id == 1:
                self.model.agents_by_type[Speaker].do("step")

    client = LimitedClient(ScriptedLLM("hello"), max_concurrency=1)
    model = SpeakersModel(2, client, Nests)
    for _ in range(2):
        Speaker(model, client)
    model.agents_by_type[Nests].do("step")
    assert [agent_id for agent_id, _ in model.log] == [1, 3, 4, 2]


def test_waiting_for_a_place_does_not_count_for_the_time_to_decide(mode):
    """Four calls of a minute, one after the other, take longer than anybody is given; each by itself does not."""

    async def answer(request):
        await until_others_wait()
        pass_time(MINUTE)
        return "hello"

    config = ParallelStepping(mode=mode, decide_timeout=3 * MINUTE)
    client = LimitedClient(ScriptedLLM(answer), max_concurrency=1)
    model = SpeakersModel(4, Together(client, 4), parallel=config)
    model.step()
    assert len(model.log) == 4


def test_the_clock_goes_on_after_waiting_for_a_place(mode):
    """The second of three calls, one after the other, takes longer than its agent is given."""

    async def answer(request):
        if seen_by(request) == 2:
            await until_others_wait()
            pass_time(MINUTE)
            await asyncio.Event().wait()
        return "hello"

    config = ParallelStepping(mode=mode, decide_timeout=MINUTE, on_error="skip")
    model = SpeakersModel(3, Together(LimitedClient(ScriptedLLM(answer), max_concurrency=1), 3), parallel=config)
    model.agents.do("step")
    (report,) = model.parallel_reports
    assert [agent.outcome for agent in report.agents] == ["acted", "failed", "acted"]


def test_waiting_for_a_thread_does_not_count_either():
    """Four agents, one slot: each computes for a minute, in which the others are queued, and nobody has more than three."""

    async def answer(request):
        if request.messages[-1].content == "All of you?":
            await all_ask.wait()
        return "hello"

    class Computes(Speaker):
        def step(self):
            self.llm.generate("All of you?")
            asyncio.run(until_others_wait())
            pass_time(MINUTE)  # it computes, and holds the one slot
            super().step()

    config = ParallelStepping(mode="threading", max_workers=1, decide_timeout=3 * MINUTE)
    all_ask = Gate(4, PATIENCE)
    model = SpeakersModel(4, ScriptedLLM(answer), Computes, parallel=config)
    enable_automatic_parallel_stepping()
    model.step()
    assert len(model.log) == 4


async def test_it_serves_any_loop_and_no_loop():
    client = LimitedClient(ScriptedLLM("hello"), max_concurrency=1)
    await client.agenerate(REQUEST)
    assert (await asyncio.to_thread(client.generate, REQUEST)).message.content == "hello"
