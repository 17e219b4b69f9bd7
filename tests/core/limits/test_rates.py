"""Requests and tokens a minute, in virtual time."""

import asyncio
import re

import pytest
from helpers.busy_endpoint import request
from helpers.moved_clock import MINUTE, Together, pass_time, pass_time_of_transport, until_others_wait
from helpers.virtual_time import now, run_in_virtual_time
from hypothesis import given
from hypothesis import strategies as st

from mesa_llm.clients import LLMResponse, Message, Usage
from mesa_llm.errors import ConfigurationError, ModelCallError
from mesa_llm.limits import LimitedClient
from mesa_llm.limits.limited_client import TokenBucket
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM


class Sent:
    """A client that answers with a given usage, and the times at which it was asked."""

    def __init__(self, usage=(0, 0), *, latency=0.0, fails=False):
        self.times = []
        self.texts = []
        self._usage = usage
        self._fails = fails
        self.client = ScriptedLLM(self._answer, latency=latency)

    def _answer(self, asked):
        self.times.append(now())
        self.texts.append(asked.messages[0].content)
        usage = self._usage(len(self.times)) if callable(self._usage) else self._usage
        if self._fails:
            return ConnectionResetError("reset")
        return LLMResponse(message=Message("assistant", "ok"), model="m", usage=Usage(*usage))


async def ask(client, *requests):
    return await asyncio.gather(*map(client.agenerate, requests), return_exceptions=True)


def test_a_minutes_worth_goes_at_once_and_then_as_many_as_the_rate_says():
    sent = Sent()
    client = LimitedClient(sent.client, requests_per_minute=6)
    run_in_virtual_time(ask(client, *[request(str(n)) for n in range(9)]))
    assert sent.times == pytest.approx([0.0] * 6 + [10.0, 20.0, 30.0])
    assert sent.texts == [str(n) for n in range(9)]


def test_a_smaller_burst():
    sent = Sent()
    client = LimitedClient(sent.client, requests_per_minute=60, burst_seconds=2.0)
    run_in_virtual_time(ask(client, *[request()] * 5))
    assert sent.times == pytest.approx([0.0, 0.0, 1.0, 2.0, 3.0])


def test_one_request_may_go_however_small_the_burst():
    sent = Sent()
    client = LimitedClient(sent.client, requests_per_minute=6, burst_seconds=1.0)
    run_in_virtual_time(ask(client, *[request()] * 3))
    assert sent.times == pytest.approx([0.0, 10.0, 20.0])


def test_tokens_are_estimated_first():
    sent = Sent(fails=True)
    client = LimitedClient(sent.client, tokens_per_minute=1000)
    run_in_virtual_time(ask(client, *[request("a" * 384, max_tokens=400)] * 4))  # 100 + 400 tokens each
    assert sent.times == pytest.approx([0.0, 0.0, 30.0, 60.0])


def test_what_was_not_taken_is_given_back_and_whoever_waits_goes():
    sent = Sent((60, 40), latency=1.0)
    client = LimitedClient(sent.client, tokens_per_minute=1000)
    run_in_virtual_time(ask(client, *[request("a" * 384, max_tokens=400)] * 4))
    # After a second 200 of 1000 tokens are taken for good, and there is room for one more call of 500; then the same.
    assert sent.times == pytest.approx([1.0, 1.0, 2.0, 3.0])


def test_what_was_taken_beyond_the_estimate_is_a_debt():
    sent = Sent((100, 1400))
    client = LimitedClient(sent.client, tokens_per_minute=1000)

    async def main():
        await ask(client, request("a" * 384, max_tokens=400))
        await ask(client, request("a" * 384, max_tokens=400))

    run_in_virtual_time(main())
    assert sent.times == pytest.approx([0.0, 60.0])  # a level of -500, and 500 are wanted


def test_an_answer_that_does_not_tell_took_what_was_estimated():
    sent = Sent((0, 0), latency=1.0)
    client = LimitedClient(sent.client, tokens_per_minute=1000)
    run_in_virtual_time(ask(client, *[request("a" * 384, max_tokens=400)] * 3))
    assert sent.times == pytest.approx([1.0, 1.0, 31.0])


def test_a_request_that_is_larger_than_the_bucket_waits_for_a_full_one_and_leaves_a_debt():
    sent = Sent()
    client = LimitedClient(sent.client, tokens_per_minute=600)
    small, huge = request("", max_tokens=296), request("", max_tokens=1196)  # 300 and 1200 tokens
    run_in_virtual_time(ask(client, small, huge, small))
    assert sent.times == pytest.approx([0.0, 30.0, 120.0])


def test_a_request_that_the_transport_has_repeated_counts_each_time():
    def answer(asked):
        times.append(now())
        if asked.messages[0].content == "fails":
            return ModelCallError("refused", retries=1)
        return LLMResponse(message=Message("assistant", "ok"), model="m", retries=2)

    times = []
    client = LimitedClient(ScriptedLLM(answer), requests_per_minute=6)

    async def one_after_the_other():
        for text in ("answers", "fails", "answers", "fails"):
            await ask(client, request(text))

    run_in_virtual_time(one_after_the_other())
    assert times == pytest.approx([0.0, 0.0, 0.0, 30.0])  # 3 + 2 requests of 6, then 3, and their debt


def test_completions_are_learnt():
    sent = Sent((4, 6))
    client = LimitedClient(sent.client, tokens_per_minute=600)

    async def main():
        await ask(client, request(""))
        await ask(client, *[request("")] * 59)
        return now()

    assert run_in_virtual_time(main()) == 0.0  # sixty times ten tokens; guessed at first were 254


def test_both_rates_hold_and_a_small_one_does_not_overtake():
    sent = Sent(fails=True)
    client = LimitedClient(sent.client, tokens_per_minute=600, requests_per_minute=2)
    big, small = request("big", max_tokens=495), request("small", max_tokens=1)
    run_in_virtual_time(ask(client, big, big, small))
    assert sent.texts == ["big", "big", "small"]
    assert sent.times == pytest.approx([0.0, 40.0, 40.7])


def test_a_rate_and_a_number_in_flight_hold_together():
    """A call takes its share of the rate when it is sent, not while it waits for another one to end."""
    sent = Sent(latency=20.0)
    client = LimitedClient(sent.client, requests_per_minute=6, burst_seconds=10.0, max_concurrency=1)
    run_in_virtual_time(ask(client, *[request()] * 3))
    assert sent.times == pytest.approx([20.0, 40.0, 60.0])
    sent = Sent(latency=4.0)
    client = LimitedClient(sent.client, requests_per_minute=6, burst_seconds=20.0, max_concurrency=1)
    run_in_virtual_time(ask(client, *[request()] * 4))
    assert sent.times == pytest.approx([4.0, 8.0, 14.0, 24.0])


def test_who_is_cancelled_in_line_takes_nothing():
    sent = Sent()

    async def main():
        client = LimitedClient(sent.client, requests_per_minute=1)
        await ask(client, request())
        leaves, stays = (asyncio.create_task(client.agenerate(request(text))) for text in ("leaves", "stays"))
        await asyncio.sleep(1.0)
        leaves.cancel()
        await stays

    run_in_virtual_time(main())
    assert sent.times == pytest.approx([0.0, 60.0])


def test_who_is_cancelled_in_the_moment_of_going_gives_back():
    sent = Sent((0, 996))

    async def answer(asked):
        if asked.messages[0].content == "first":
            await asyncio.sleep(1.0)
            asyncio.get_running_loop().call_soon(calls[1].cancel)  # when it may go, as the first took less than thought
            return LLMResponse(message=Message("assistant", "ok"), model="m", usage=Usage(0, 1))
        return await sent.client.complete(asked)

    async def main():
        client = LimitedClient(ScriptedLLM(answer), tokens_per_minute=1000)
        asked = [request(text, max_tokens=900) for text in ("first", "leaves", "stays")]
        calls.extend(asyncio.create_task(client.agenerate(one)) for one in asked)
        await asyncio.gather(*calls, return_exceptions=True)

    calls = []
    run_in_virtual_time(main())
    assert (sent.texts, sent.times) == (["stays"], [1.0])


calls = st.lists(st.tuples(st.floats(0, 40), st.integers(1, 150), st.integers(1, 200)), min_size=1, max_size=25)


@given(calls, st.integers(60, 6000), st.floats(0.5, 90))
def test_never_more_than_the_rate_and_the_burst_allow(calls, per_minute, burst_seconds):
    """Of tokens as they were estimated, in any span of time; the one that overdraws the bucket counts for itself."""
    taken = []

    def answer(asked):
        taken.append((now(), asked.options["max_tokens"] + 4))
        return ConnectionResetError("takes what was estimated")

    async def call(client, delay, tokens):
        await asyncio.sleep(delay)
        await ask(client, request("", max_tokens=tokens))

    async def main():
        client = LimitedClient(ScriptedLLM(answer), tokens_per_minute=per_minute, burst_seconds=burst_seconds)
        await asyncio.gather(*(call(client, delay, tokens) for delay, tokens, _ in calls))

    run_in_virtual_time(main())
    assert len(taken) == len(calls)
    capacity = per_minute / 60 * burst_seconds
    for first, (start, _) in enumerate(taken):
        total = 0
        for end, tokens in taken[first:]:
            over = max(0.0, tokens - capacity)
            assert total + tokens - over <= (capacity + (end - start) * per_minute / 60) * (1 + 1e-5) + 1e-3
            total += tokens


@given(calls, st.integers(60, 6000))
def test_settled_sums_are_the_actual_ones(calls, per_minute):
    async def main():
        used = iter([used for _, _, used in calls])
        inner = ScriptedLLM(
            lambda asked: LLMResponse(message=Message("assistant", ""), model="m", usage=Usage(0, next(used)))
        )
        client = LimitedClient(inner, tokens_per_minute=per_minute, burst_seconds=10**6)
        await ask(client, *(request("", max_tokens=tokens) for _, tokens, _ in calls))
        bucket = client._gates.latest.tokens
        assert bucket.capacity - bucket.level(now()) == pytest.approx(sum(used for _, _, used in calls))

    run_in_virtual_time(main())


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-50, 200)), max_size=50))
def test_after_waiting_as_told_there_is_enough(happenings):
    bucket, time = TokenBucket(per_second=1.5, capacity=60, now=0.0), 0.0
    for seconds, amount in happenings:
        time += seconds + bucket.seconds_until(amount, time)
        time += bucket.seconds_until(amount, time)  # nothing, but for rounding
        assert bucket.seconds_until(amount, time) == 0.0
        bucket.take(amount, time)
        assert bucket.level(time) <= 60


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_waiting_does_not_count_for_the_time_to_decide(mode):
    """One request a minute may go, and six agents have three minutes each."""
    from helpers.speakers import SpeakersModel

    enable_automatic_parallel_stepping()

    async def answer(asked):
        await until_others_wait()
        pass_time(MINUTE)
        pass_time_of_transport(MINUTE)
        return "hello"

    client = LimitedClient(ScriptedLLM(answer), requests_per_minute=1, burst_seconds=1)
    config = ParallelStepping(mode=mode, decide_timeout=3 * MINUTE)
    model = SpeakersModel(6, Together(client, 6), parallel=config)
    model.step()
    assert len(model.log) == 6


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "LimitedClient needs max_concurrency, requests_per_minute or tokens_per_minute."),
        ({"requests_per_minute": 0}, "requests_per_minute must be > 0, got 0. Use None for no limit."),
        ({"tokens_per_minute": -5}, "tokens_per_minute must be > 0, got -5."),
        ({"tokens_per_minute": 5, "burst_seconds": 0}, "burst_seconds must be > 0 seconds, got 0."),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, says):
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        LimitedClient(ScriptedLLM("hello"), **settings)
