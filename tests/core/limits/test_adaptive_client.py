"""The limit that adapts, at work: what goes through a client, in virtual time."""

import asyncio
import copy
import dataclasses
import pickle

import pytest
from helpers.busy_endpoint import BusyEndpoint, refusal, request
from helpers.virtual_time import now, run_in_virtual_time

from mesa_llm.clients import RuleBasedClient
from mesa_llm.clients.chat_completion import to_response
from mesa_llm.errors import ConfigurationError, EndpointUnreachableError, ModelCallError, ModelTimeoutError
from mesa_llm.limits import AdaptiveConcurrency, LimitedClient
from mesa_llm.testing import ScriptedLLM


async def ask(client, n=1, *, start=0):
    """`n` calls at once; their answers or errors."""
    calls = (client.agenerate(request(str(number))) for number in range(start, start + n))
    return await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize("n", ["adaptve", 0, AdaptiveConcurrency])
def test_other_words_are_refused(n):
    with pytest.raises(ConfigurationError, match=r'max_concurrency must be an integer >= 1, got .*Use "adaptive"'):
        LimitedClient(ScriptedLLM("hello"), max_concurrency=n)


def test_a_fixed_limit_can_be_read_too():
    async def main():
        client = LimitedClient(ScriptedLLM("hello", latency=1.0), max_concurrency=3)
        assert (client.limit, client.in_flight) == (3, 0)
        asking = asyncio.create_task(ask(client, 9))
        await asyncio.sleep(0.5)
        assert (client.limit, client.in_flight) == (3, 3)
        await asking
        return client.in_flight

    assert run_in_virtual_time(main()) == 0


def test_it_finds_what_the_endpoint_takes():
    endpoint = BusyEndpoint(capacity=30, latency=1.0)
    client = LimitedClient(endpoint.client, max_concurrency="adaptive")

    async def main():
        for step in range(20):
            await ask(client, 100, start=100 * step)
        return client.limit

    assert (client.limit, client.in_flight) == (20, 0)
    assert 25 <= run_in_virtual_time(main()) <= 31
    assert client.in_flight == 0
    assert sum(endpoint.refused.values()) < 60  # of 2000


def test_steps_of_more_agents_than_the_limit_grow_it_and_smaller_ones_do_not():
    async def main(n):
        client = LimitedClient(ScriptedLLM("hello", latency=1.0), max_concurrency=AdaptiveConcurrency(start=10))
        for _ in range(10):
            await ask(client, n)
        return client.limit

    assert run_in_virtual_time(main(9)) == 10
    assert run_in_virtual_time(main(50)) == 80


def test_calls_go_in_the_order_in_which_they_came():
    inner = ScriptedLLM("hello", latency=lambda asked: (int(asked.messages[0].content) * 7 % 5) / 10)
    run_in_virtual_time(ask(LimitedClient(inner, max_concurrency=AdaptiveConcurrency(start=3)), 40))
    assert [int(asked.messages[0].content) for asked in inner.requests] == list(range(40))


def test_a_call_that_is_cancelled_in_the_moment_of_going_leaves_its_place_to_the_next():
    async def answer(asked):
        if asked.messages[0].content == "0":
            await asyncio.sleep(1.0)
            asyncio.get_running_loop().call_soon(calls[1].cancel)  # when its place has been given, before it goes on
        return "hello"

    async def main():
        client = LimitedClient(ScriptedLLM(answer), max_concurrency=1)
        calls.extend(asyncio.create_task(client.agenerate(request(str(number)))) for number in range(3))
        results = await asyncio.gather(*calls, return_exceptions=True)
        return [type(result).__name__ for result in results], client.in_flight

    calls = []
    assert run_in_virtual_time(main()) == (["LLMResponse", "CancelledError", "LLMResponse"], 0)


def test_nothing_is_sent_while_the_server_does_not_want_it():
    sent = []

    def answer(asked):
        sent.append(now())
        return refusal(retry_after=30.0) if len(sent) == 1 else "hello"

    async def main():
        client = LimitedClient(ScriptedLLM(answer), max_concurrency="adaptive")
        await ask(client)
        await ask(client, 3)

    run_in_virtual_time(main())
    assert sent == [0.0, 30.0, 30.0, 30.0]


@pytest.mark.parametrize(
    ("error", "grows"),
    [
        (ModelCallError("400"), True),
        (ValueError("a bug"), True),
        (ModelCallError("503", is_transient=True), False),
        (EndpointUnreachableError("nobody there"), False),
        (ModelTimeoutError("slow"), False),
    ],
)
def test_a_failure_pauses_growth_if_it_can_pass(error, grows):
    async def main():
        answers = ["hello", "hello", error, "hello"]
        client = LimitedClient(ScriptedLLM(answers, latency=1.0), max_concurrency=AdaptiveConcurrency(start=3))
        await ask(client, 4)
        return client.limit

    assert run_in_virtual_time(main()) == (6 if grows else 3)


def test_an_answer_after_a_retry_further_in_is_no_evidence():
    answer = dataclasses.replace(to_response("hello", model="a/b"), retries=1)
    retried = ScriptedLLM(answer, latency=1.0)

    async def main():
        client = LimitedClient(retried, max_concurrency=AdaptiveConcurrency(start=2))
        await ask(client, 20)
        return client.limit

    assert run_in_virtual_time(main()) == 2


def test_it_copies_and_pickles_and_begins_anew():
    client = LimitedClient(RuleBasedClient(say_hello), max_concurrency=AdaptiveConcurrency(start=1))
    client.generate(request())
    assert client.limit == 2
    for twin in (copy.deepcopy(client), pickle.loads(pickle.dumps(client))):
        assert twin.limit == 1
        twin.generate(request())
        assert twin.limit == 2


def say_hello(asked):
    return "hello"
