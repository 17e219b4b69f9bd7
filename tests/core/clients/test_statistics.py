import asyncio
from dataclasses import replace

import pytest

from mesa_llm.activation import ModelCall
from mesa_llm.clients import AsyncClient, CallCounts, LLMClient, LLMRequest, LLMResponse, Message, MeteredClient, Usage
from mesa_llm.limits import LimitedClient
from mesa_llm.testing import ScriptedLLM

REQUEST = LLMRequest(model="m", messages=())
ANSWER = LLMResponse(message=Message("assistant", "ok"), model="m", usage=Usage(10, 3))


async def test_counts_calls_tokens_and_overlap():
    client = MeteredClient(ScriptedLLM(ANSWER, hold_until=5))
    assert isinstance(client, LLMClient)
    await asyncio.gather(*(client.agenerate(REQUEST) for _ in range(5)))
    counts = client.counts()
    assert (counts.calls, counts.failures, counts.in_flight, counts.peak_in_flight) == (5, 0, 0, 5)
    assert (counts.prompt_tokens, counts.completion_tokens) == (50, 15)


def test_waited_seconds_are_the_latencies_of_the_answers_as_their_transport_gives_them():
    took = [replace(ANSWER, latency_s=2.0), ValueError("no"), replace(ANSWER, latency_s=3.0)]
    others = [ANSWER, replace(ANSWER, source="journal"), replace(ANSWER, source="shared")]
    client = MeteredClient(ScriptedLLM([*took, *others]))
    client.generate(REQUEST)
    with pytest.raises(ValueError, match="no"):
        client.generate(REQUEST)
    for _ in range(4):
        client.generate(REQUEST)
    assert client.counts() == CallCounts(
        calls=6,
        failures=1,
        peak_in_flight=1,
        prompt_tokens=50,
        completion_tokens=15,
        measured_calls=3,
        waited_seconds=5.0,
    )


def test_cost_is_that_of_the_calls_whose_price_is_known():
    client = MeteredClient(
        ScriptedLLM([replace(ANSWER, cost=0.5), ANSWER, ValueError("no"), replace(ANSWER, cost=0.25)])
    )
    for _ in range(2):
        client.generate(REQUEST)
    with pytest.raises(ValueError, match="no"):
        client.generate(REQUEST)
    client.generate(REQUEST)
    assert client.counts().cost == 0.75


def test_in_flight_while_the_model_thinks():
    seen = []

    def look(request):
        seen.append(client.counts().in_flight)
        return ANSWER

    client = MeteredClient(ScriptedLLM(look))
    client.generate(REQUEST)
    assert seen == [1]


async def test_a_call_that_waits_in_a_queue_of_ours_is_not_in_flight():
    seen = []

    def look(request):
        seen.append(client.counts().in_flight)
        return ANSWER

    client = MeteredClient(LimitedClient(ScriptedLLM(look, hold_until=2), max_concurrency=2))
    await asyncio.gather(*(client.agenerate(REQUEST) for _ in range(6)))
    assert (client.counts().calls, client.counts().in_flight) == (6, 0)
    assert client.counts().peak_in_flight == 2
    assert set(seen) <= {1, 2}


async def test_of_equal_requests_made_together_for_one_call_none_is_lost():
    class Asks(AsyncClient):
        async def complete(self, request):
            return (await asyncio.gather(*(client.complete(request) for _ in range(5))))[0]

    client = MeteredClient(LimitedClient(ScriptedLLM(ANSWER), max_concurrency=1))
    await Asks().agenerate(REQUEST)
    assert (client.counts().calls, client.counts().in_flight) == (5, 0)


async def test_cancelled_call_is_a_failure_and_no_longer_in_flight():
    arrived = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def never(request):
        loop.call_soon_threadsafe(arrived.set)
        await asyncio.Event().wait()

    client = MeteredClient(ScriptedLLM(never))
    call = asyncio.create_task(client.agenerate(REQUEST))
    await arrived.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await MeteredClient(ScriptedLLM("ok")).agenerate(REQUEST)  # comes after the cancellation on the transport loop
    counts = client.counts()
    assert (counts.calls, counts.failures, counts.in_flight) == (1, 1, 0)


def test_works_for_a_client_that_is_no_async_client():
    class Echo:
        async def complete(self, request):
            return ANSWER

    client = MeteredClient(Echo())
    assert client.generate(REQUEST) is ANSWER
    assert client.counts().calls == 1


def asked(**facts):
    """A request whose call has some facts, such as that it was asked ahead."""
    call = ModelCall()
    for name, value in facts.items():
        setattr(call, name, value)
    return replace(REQUEST, call=call)


async def test_an_answer_that_was_asked_ahead_counts_once_although_a_journal_records_it_later():
    client = MeteredClient(ScriptedLLM(ANSWER))
    await client.complete(asked(asked_ahead=True))
    await client.complete(asked(known=ANSWER))
    assert (client.counts().calls, client.counts().prompt_tokens) == (1, 10)


async def test_a_call_asked_ahead_that_is_not_needed_any_more_is_no_failure():
    begun = asyncio.Event()

    class Never(AsyncClient):
        async def complete(self, request):
            begun.set()
            await asyncio.Event().wait()

    client = MeteredClient(Never())
    call = asyncio.create_task(client.complete(asked(asked_ahead=True)))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (client.counts().calls, client.counts().failures, client.counts().in_flight) == (1, 0, 0)
