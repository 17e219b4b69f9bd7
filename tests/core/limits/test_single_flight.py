"""Identical requests share a call while it is in flight, and nothing after."""

import asyncio
from dataclasses import replace

import pytest
from helpers.busy_endpoint import request
from helpers.moved_clock import MINUTE, Together, pass_time, until_decided, until_others_wait
from helpers.speakers import SpeakersModel, seen_by
from helpers.virtual_time import now, run_in_virtual_time
from hypothesis import given
from hypothesis import strategies as st

from mesa_llm.activation.call import ModelCall
from mesa_llm.clients import AsyncClient, LLMResponse, Message, Usage
from mesa_llm.errors import ConfigurationError, ModelTimeoutError
from mesa_llm.limits import LimitedClient, SingleFlightClient
from mesa_llm.limits.fair_queue import FairQueue
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM

ANSWER = LLMResponse(message=Message("assistant", "hello"), model="m", usage=Usage(10, 3), cost=0.5, retries=2)
SAME = request(temperature=0)


async def ask(client, *requests):
    return await asyncio.gather(*map(client.agenerate, requests), return_exceptions=True)


def test_one_call_is_made_and_only_one_answer_counts():
    inner = ScriptedLLM(ANSWER, latency=1.0)
    client = SingleFlightClient(inner)
    first, *others = run_in_virtual_time(ask(client, *[SAME] * 5))
    assert len(inner.requests) == 1
    assert (first, first.latency_s) == (ANSWER, 1.0)
    assert (
        others
        == [LLMResponse(message=ANSWER.message, model="m", usage=Usage(0, 0), cost=0.0, retries=0, source="shared")] * 4
    )
    assert {other.latency_s for other in others} == {None}, "the exchange was not theirs"
    assert client.shared == 4


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ({"temperature": 0}, True),
        ({"temperature": 0.0, "top_p": 0.5}, True),
        ({"seed": 0}, True),
        ({"seed": 7, "temperature": 1.0}, True),
        ({}, False),
        ({"temperature": 0.1}, False),
        ({"temperature": None, "seed": None}, False),
    ],
)
def test_only_what_wants_the_same_answer_is_shared(options, shares):
    inner = ScriptedLLM(ANSWER, latency=1.0)
    client = SingleFlightClient(inner)
    run_in_virtual_time(ask(client, request(**options), request(**options)))
    assert (len(inner.requests), client.shared) == ((1, 1) if shares else (2, 0))


def test_requests_that_differ_in_anything_are_not():
    inner = ScriptedLLM(ANSWER, latency=1.0)
    different = [request("a", seed=1), request("b", seed=1), request("a", seed=2), request("a", "c/d", seed=1)]
    run_in_virtual_time(ask(SingleFlightClient(inner), *different))
    assert len(inner.requests) == 4


def test_it_is_no_cache():
    inner = ScriptedLLM(ANSWER, latency=1.0)
    client = SingleFlightClient(inner)

    async def main():
        await ask(client, SAME)
        # Asked in the moment in which the answer is there and those who wait have not yet got it.
        loop = asyncio.get_running_loop()
        loop.call_at(2.0, lambda: loop.call_soon(lambda: later.append(loop.create_task(client.agenerate(SAME)))))
        await client.agenerate(SAME)
        return await later[0], client._flights.latest

    later = []
    response, flights = run_in_virtual_time(main())
    assert len(inner.requests) == 3
    assert (response.source, client.shared, flights) == ("model", 0, {})


def test_a_failure_goes_to_all_each_with_an_error_of_its_own():
    error = ModelTimeoutError("slow", model="a/b", status=504)
    client = SingleFlightClient(ScriptedLLM(error, latency=1.0))
    errors = run_in_virtual_time(ask(client, *[SAME] * 3))
    assert [(type(e), str(e), e.status) for e in errors] == [(ModelTimeoutError, "slow", 504)] * 3
    assert len({id(e) for e in errors}) == 3
    assert client.shared == 2


@pytest.mark.parametrize("leaves", [0, 1, 2])
def test_who_is_cancelled_leaves_the_call_to_the_others(leaves):
    inner = ScriptedLLM(ANSWER, latency=2.0)
    client = SingleFlightClient(inner)

    async def main():
        calls = [asyncio.create_task(client.agenerate(SAME)) for _ in range(3)]
        await asyncio.sleep(1.0)
        calls[leaves].cancel()
        return await asyncio.gather(*calls, return_exceptions=True)

    results = run_in_virtual_time(main())
    assert isinstance(results.pop(leaves), asyncio.CancelledError)
    assert [result.source for result in results] == ["model", "shared"], "the tokens are counted once all the same"
    assert len(inner.requests) == 1


def test_when_all_are_cancelled_the_call_is_and_a_newcomer_makes_another():
    inner = ScriptedLLM(ANSWER, latency=2.0)
    client = SingleFlightClient(inner)

    async def main():
        calls = [asyncio.create_task(client.agenerate(SAME)) for _ in range(3)]
        await asyncio.sleep(1.0)
        for call in calls:
            call.cancel()
        newcomer = asyncio.create_task(client.agenerate(SAME))
        await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(0)
        assert inner.in_flight == 1
        response = await newcomer
        return response, now()

    response, seconds = run_in_virtual_time(main())
    assert (response.source, seconds, len(inner.requests)) == ("model", 3.0, 2)


def test_what_json_cannot_hold_is_refused():
    client = SingleFlightClient(ScriptedLLM(ANSWER))
    with pytest.raises(ConfigurationError, match="cannot be written as JSON"):
        client.generate(request(seed=1, stop=object()))


visits = st.lists(st.tuples(st.floats(0, 5), st.integers(0, 2), st.none() | st.floats(0, 6)), max_size=20)


@given(visits)
def test_every_caller_is_answered_and_what_was_called_is_what_was_counted(visits):
    inner = ScriptedLLM(lambda asked: copy_of(ANSWER, asked), latency=1.0)
    client = SingleFlightClient(inner)

    async def visit(delay, text, until):
        await asyncio.sleep(delay)
        call = asyncio.create_task(client.agenerate(request(str(text), seed=1)))
        if until is not None:
            asyncio.get_running_loop().call_later(until, call.cancel)
        return await call

    async def main():
        return await asyncio.gather(*(visit(*one) for one in visits), return_exceptions=True)

    results = run_in_virtual_time(main())
    answered = [result for result in results if not isinstance(result, asyncio.CancelledError)]
    for (_, text, until), result in zip(visits, results, strict=True):
        if not isinstance(result, asyncio.CancelledError):
            assert result.message.content == str(text)
        else:
            assert until is not None
    originals = sum(result.source == "model" for result in answered)
    assert originals <= len(inner.requests)
    assert sum(result.usage.total_tokens for result in answered) == 13 * originals
    assert client.shared == len(answered) - originals
    assert client._flights.latest in (None, {})


def copy_of(response, asked):
    return LLMResponse(
        message=Message("assistant", asked.messages[0].content), model=response.model, usage=response.usage
    )


class Clock:
    """In place of a turn: when its agent's time to decide stood still."""

    def __init__(self):
        self.stood = []

    def queue(self):
        began = now()
        return lambda: self.stood.append((began, now()))


def test_while_the_call_waits_the_time_of_all_aboard_stands_still():
    class WaitsFromOneToFour(AsyncClient):
        async def complete(self, asked):
            await asyncio.sleep(1.0)
            await FairQueue(lambda item: max(0.0, 4.0 - now()), lambda item: None).enter(None, asked.call)
            await asyncio.sleep(2.0)
            return ANSWER

    client = SingleFlightClient(WaitsFromOneToFour())

    async def decide(arrives, leaves, clock):
        await asyncio.sleep(arrives)
        call = ModelCall()
        call.turn = clock
        asyncio.get_running_loop().call_at(leaves, asyncio.current_task().cancel)
        await client.agenerate(replace(SAME, call=call))

    async def main():
        visits = [(0.5, 9.0), (2.0, 9.0), (0.5, 3.0), (5.0, 9.0)]
        clocks = [Clock() for _ in visits]
        calls = [
            decide(0.0, 9.0, Clock()),
            *(decide(*visit, clock) for visit, clock in zip(visits, clocks, strict=True)),
        ]
        await asyncio.gather(*calls, return_exceptions=True)
        return [clock.stood for clock in clocks]

    assert run_in_virtual_time(main()) == [[(1.0, 4.0)], [(2.0, 4.0)], [(1.0, 3.0)], []]
    assert client.shared == 3


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_a_shared_calls_time_in_a_line_counts_for_none_of_those_who_share(mode):
    """The first agent's call is in the way of the one that the others share: 2 minutes each, and nobody has 3."""
    enable_automatic_parallel_stepping()

    async def answer(asked):
        await (until_decided(1) if asked == SAME else until_others_wait())
        pass_time(2 * MINUTE)
        return ANSWER

    inner = ScriptedLLM(answer)
    client = SingleFlightClient(LimitedClient(inner, max_concurrency=1))
    config = ParallelStepping(mode=mode, decide_timeout=3 * MINUTE)
    model = SpeakersModel(4, Together(OnlyTheFirstDiffers(client), 4), parallel=config)
    model.agents.do("step")
    assert len(model.log) == 4
    assert (len(inner.requests), client.shared) == (2, 2)
    (report,) = model.parallel_reports
    assert (report.prompt_tokens, report.completion_tokens) == (20, 6)


class OnlyTheFirstDiffers(AsyncClient):
    """Makes the requests of all agents but the first the same."""

    def __init__(self, inner):
        self.inner = inner

    async def complete(self, asked):
        return await self.inner.agenerate(asked if seen_by(asked) == 1 else SAME)
