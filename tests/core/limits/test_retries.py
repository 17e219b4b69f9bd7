"""What is asked again, when, and how it ends."""

import asyncio
import logging
import random
import re

import pytest
from helpers.busy_endpoint import refusal, request
from helpers.moved_clock import MINUTE, pass_time
from helpers.speakers import SpeakersModel
from helpers.virtual_time import now, run_in_virtual_time
from hypothesis import given
from hypothesis import strategies as st

from mesa_llm.clients import AsyncClient, LLMResponse, Message, Usage
from mesa_llm.errors import (
    ConfigurationError,
    DecisionTimeoutError,
    ModelCallError,
    ModelTimeoutError,
    RateLimitedError,
    StepAborted,
    UnknownModelError,
)
from mesa_llm.limits import LimitedClient, RetryingClient
from mesa_llm.limits.retries import full_jitter
from mesa_llm.parallel_stepping import ParallelStepError, ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM

BUSY = ModelCallError("a/b answered with status 503.", model="a/b", endpoint="here", status=503, is_transient=True)


def longest_jitter(ceiling):
    return ceiling


def retrying(inner, **settings):
    return RetryingClient(inner, clock=now, jitter=settings.pop("jitter", longest_jitter), **settings)


def ask(client):
    """The answer or the error, and the times of its requests."""

    async def main():
        return (await asyncio.gather(client.agenerate(request()), return_exceptions=True))[0]

    return run_in_virtual_time(main())


def timed(script):
    """A client that follows a script, and the times at which it was asked."""
    times = []
    answers = iter(script)

    def answer(asked):
        times.append(now())
        return next(answers)

    return ScriptedLLM(answer), times


def test_it_asks_again_until_there_is_an_answer_and_says_how_often(caplog):
    inner, times = timed([BUSY, BUSY, BUSY, "hello"])
    with caplog.at_level(logging.INFO, "mesa_llm.limits"):
        response = ask(retrying(inner))
    assert (response.message.content, response.retries) == ("hello", 3)
    assert times == [0.0, 0.5, 1.5, 3.5]
    assert [record.getMessage() for record in caplog.records] == [
        f"a/b: attempt {n} of 6 failed, the next one is in {wait} s: a/b answered with status 503."
        for n, wait in ((1, "0.50"), (2, "1.00"), (3, "2.00"))
    ]


def test_retries_of_the_inner_client_are_added():
    inner = ScriptedLLM([BUSY, LLMResponse(message=Message("assistant", "x"), model="m", retries=2, usage=Usage(3, 4))])
    response = ask(retrying(inner))
    assert (response.retries, response.usage) == (3, Usage(3, 4))


def test_an_answer_at_once_is_passed_on_as_it_is():
    response = LLMResponse(message=Message("assistant", "x"), model="m", latency_s=0.5)
    assert ask(retrying(ScriptedLLM(response))) is response


def test_waits_are_bounded_and_so_is_their_number():
    inner, times = timed([BUSY] * 9)
    error = ask(retrying(inner, max_attempts=8, initial=1.0, longest=5.0))
    assert times == [0.0, 1.0, 3.0, 7.0, 12.0, 17.0, 22.0, 27.0]
    assert str(error) == "a/b answered with status 503. Tried 8 times within 27 s."


def test_the_last_error_keeps_its_type_and_attributes():
    last = ModelTimeoutError("slow.", model="a/b", endpoint="here", status=504, is_transient=True, retries=1)
    last.add_note("a note")
    inner, _ = timed([BUSY, last])
    error = ask(retrying(inner, max_attempts=2))
    assert type(error) is ModelTimeoutError
    assert str(error) == "slow. Tried 2 times within 0.5 s."
    assert (error.model, error.endpoint, error.status, error.is_transient) == ("a/b", "here", 504, True)
    assert error.retries == 2
    assert error.__notes__ == ["a note"]
    assert (str(last), last.retries) == ("slow.", 1), "the error of the inner client is left alone"


def test_an_error_of_a_class_with_other_arguments_is_told_too():
    class OddError(ModelCallError):
        def __init__(self, code, place):
            super().__init__(f"odd {code} at {place}.", is_transient=True)

    assert str(ask(retrying(ScriptedLLM(lambda asked: OddError(1, 2)), max_attempts=2))).startswith(
        "odd 1 at 2. Tried 2 times"
    )


def test_time_is_bounded():
    inner, times = timed([BUSY] * 9)
    error = ask(retrying(inner, max_attempts=9, max_elapsed=5.0, initial=1.0))
    assert times == [0.0, 1.0, 3.0, 5.0]
    assert "Tried 4 times within 5 s." in str(error)


@pytest.mark.parametrize(
    "error",
    [ModelCallError("400"), UnknownModelError("404"), RateLimitedError("429"), ValueError("a bug"), TimeoutError()],
)
def test_what_cannot_pass_fails_at_once_and_unchanged(error):
    inner, times = timed([error])
    assert ask(retrying(inner)) is error
    assert times == [0.0]


def test_what_cannot_pass_after_what_can_says_so():
    error = ask(retrying(ScriptedLLM([BUSY, UnknownModelError("no such model.")])))
    assert type(error) is UnknownModelError
    assert str(error) == "no such model. Tried 2 times within 0.5 s."
    assert error.retries == 1


def test_retry_after_is_waited_for_and_the_jitter_comes_on_top():
    inner, times = timed([refusal(retry_after=7.0), refusal(retry_after=1.0), "hello"])
    ask(retrying(inner))
    assert times == [0.0, 7.5, 9.5]


def test_a_retry_after_beyond_the_time_that_is_left_fails_at_once_and_says_so():
    inner, times = timed([BUSY, refusal(retry_after=119.75)])
    error = ask(retrying(inner))
    assert times == [0.0, 0.5]
    assert type(error) is RateLimitedError
    assert str(error).endswith(
        "Tried 2 times within 0.5 s. The server wants to be asked again in 119.75 s, and 119.5 s are left."
    )
    first = ask(retrying(timed([refusal(retry_after=600.0)])[0]))
    assert str(first).endswith("Tried once. The server wants to be asked again in 600 s, and 120.0 s are left.")


def test_a_retry_after_within_the_time_that_is_left_is_not_lengthened_beyond_it():
    inner, times = timed([refusal(retry_after=9.0), "hello"])
    assert ask(retrying(inner, max_elapsed=10.0, initial=5.0)).retries == 1
    assert times == [0.0, 10.0]


@given(
    st.lists(st.sampled_from([None, 0.0, 0.3, 4.0, 50.0]), max_size=12),
    st.integers(1, 8),
    st.floats(0.1, 60),
    st.floats(0, 1),
)
def test_attempts_and_time_are_bounded_whatever_the_server_says(afters, max_attempts, max_elapsed, share):
    inner, times = timed([*(refusal(after) for after in afters), "hello"])
    settings = {"max_attempts": max_attempts, "max_elapsed": max_elapsed, "jitter": lambda ceiling: share * ceiling}
    outcome = ask(retrying(inner, **settings))
    assert 1 <= len(times) <= max_attempts
    assert times[-1] <= max_elapsed * (1 + 1e-9)
    for before, after, asked in zip(times, times[1:], afters, strict=False):
        assert after - before >= (asked or 0.0) - 1e-9
    assert outcome.retries == len(times) - 1
    assert isinstance(outcome, LLMResponse) == (len(times) == len(afters) + 1)


def test_jitter_is_even_and_comes_from_nobody_elses_generator():
    state = random.getstate()
    draws = [full_jitter(2.0) for _ in range(2000)]
    assert random.getstate() == state
    assert 0 <= min(draws) < 0.1
    assert 1.9 < max(draws) <= 2.0
    assert 0.9 < sum(draws) / len(draws) < 1.1


def test_results_and_generators_do_not_depend_on_retries():
    def run(client):
        enable_automatic_parallel_stepping()
        model = SpeakersModel(5, client)
        state = random.getstate()
        model.step()
        assert random.getstate() == state
        return model.log, model.random.getstate(), model.rng.bit_generator.state

    class Flaky(AsyncClient):
        def __init__(self):
            self.asked = set()

        async def complete(self, asked):
            if asked.messages not in self.asked:
                self.asked.add(asked.messages)
                raise BUSY
            return LLMResponse(message=Message("assistant", "hello"), model="m")

    assert run(RetryingClient(Flaky(), initial=0.001)) == run(ScriptedLLM("hello"))


def test_who_waits_for_a_retry_holds_no_place():
    async def main():
        answered = asyncio.Event()

        def answer(asked):
            if asked.messages[0].content == "fails once" and not answered.is_set():
                return BUSY
            answered.set()
            return "hello"

        async def until_the_other_is_answered(seconds):
            await answered.wait()

        limited = LimitedClient(ScriptedLLM(answer, latency=1.0), max_concurrency=1)
        client = retrying(limited, sleep=until_the_other_is_answered)
        calls = [client.agenerate(request(text)) for text in ("fails once", "other")]
        return [response.retries for response in await asyncio.gather(*calls)]

    assert run_in_virtual_time(main()) == [1, 0]


def test_time_in_a_line_further_in_does_not_count():
    """All fail once. The last of them has waited for 99 s by then, and is asked again all the same."""
    asked_before = set()

    def answer(asked):
        text = asked.messages[0].content
        if text in asked_before:
            return "hello"
        asked_before.add(text)
        return BUSY

    async def main():
        limited = LimitedClient(ScriptedLLM(answer, latency=1.0), max_concurrency=1)
        outer = retrying(retrying(limited, max_attempts=1, max_elapsed=1.5), max_elapsed=5.0)  # both do not count it
        answers = await asyncio.gather(*(outer.agenerate(request(str(n))) for n in range(100)))
        assert now() > 190
        return {answer.retries for answer in answers}

    assert run_in_virtual_time(main()) == {1}


def test_cancelling_ends_the_wait_at_once():
    async def main():
        call = asyncio.create_task(retrying(ScriptedLLM(BUSY), initial=20.0).agenerate(request()))
        await asyncio.sleep(1.0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return now()

    assert run_in_virtual_time(main()) == 1.0


def test_an_aborted_step_passes():
    class Aborts(AsyncClient):
        async def complete(self, asked):
            raise StepAborted

    async def main():
        with pytest.raises(StepAborted):
            await retrying(Aborts()).agenerate(request())

    run_in_virtual_time(main())


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_waiting_for_a_retry_counts_for_the_time_to_decide(mode):
    enable_automatic_parallel_stepping()
    waiting = []

    async def sleep(seconds):
        waiting.append(seconds)
        if len(waiting) == 2:
            pass_time(MINUTE)
        await asyncio.Event().wait()

    config = ParallelStepping(mode=mode, decide_timeout=MINUTE)
    client = RetryingClient(ScriptedLLM(BUSY), jitter=longest_jitter, initial=MINUTE / 2, sleep=sleep)
    model = SpeakersModel(2, client, parallel=config)
    with pytest.raises(ParallelStepError) as caught:
        model.step()
    assert all(isinstance(error, DecisionTimeoutError) for error in caught.value.exceptions)


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
@pytest.mark.parametrize(("pause", "left"), [(MINUTE, "60"), (29.0, "25")])
def test_no_retry_waits_past_the_time_to_decide(mode, pause, left):
    enable_automatic_parallel_stepping()

    async def takes_its_time(asked):
        if left == "25" and not inner.requests[1:]:
            pass_time(35.0)
        raise BUSY

    inner = ScriptedLLM(takes_its_time)
    client = RetryingClient(inner, jitter=longest_jitter, initial=pause, longest=MINUTE)
    model = SpeakersModel(1, client, parallel=ParallelStepping(mode=mode, decide_timeout=MINUTE))
    with pytest.raises(ParallelStepError) as caught:
        model.step()
    (error,) = caught.value.exceptions
    assert type(error) is ModelCallError
    assert re.search(rf"Tried once. The next attempt would be in {pause:g} s, and its agent has {left}", str(error))
    assert len(inner.requests) == 1


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"max_attempts": 0}, "max_attempts must be an integer >= 1, got 0. Use 1 to ask once."),
        ({"max_elapsed": 0}, "max_elapsed must be > 0 seconds, got 0."),
        ({"initial": -1}, "initial must be > 0 seconds, got -1."),
        ({"longest": "1"}, "longest must be > 0 seconds, got '1'."),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, says):
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        RetryingClient(ScriptedLLM("hello"), **settings)
