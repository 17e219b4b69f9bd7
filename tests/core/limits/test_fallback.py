"""Who answers when the first one cannot."""

import logging
import traceback

import pytest
from helpers.busy_endpoint import request
from helpers.speakers import SpeakersModel, digest
from helpers.virtual_time import now, run_in_virtual_time

from mesa_llm.clients import LLMResponse, Message, RuleBasedClient
from mesa_llm.errors import (
    BudgetExhaustedError,
    ConfigurationError,
    DecisionError,
    JournalMissError,
    ModelCallError,
    RateLimitedError,
)
from mesa_llm.limits import FallbackClient, RetryingClient
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM


def failing(text="it is down.", **more):
    return ScriptedLLM(lambda asked: ModelCallError(f"{asked.model}: {text}", model=asked.model, **more))


def test_the_first_that_can_answers_under_its_own_name(caplog):
    spare = ScriptedLLM("hello")
    client = FallbackClient((failing(), None), (spare, "spare/model"), (failing(), "never/asked"))
    with caplog.at_level(logging.WARNING, "mesa_llm.limits"):
        response = client.generate(request(temperature=0.5))
    assert (response.message.content, response.model, response.retries) == ("hello", "spare/model", 1)
    assert spare.requests == [request(model="spare/model", temperature=0.5)], "nothing else of the request changes"
    assert [record.getMessage() for record in caplog.records] == [
        "spare/model is asked instead, as a call has failed: a/b: it is down."
    ]


def test_an_answer_of_the_first_is_passed_on_as_it_is():
    response = LLMResponse(message=Message("assistant", "x"), model="m", latency_s=0.5)
    assert FallbackClient((ScriptedLLM(response), None), (failing(), None)).generate(request()) is response


def test_each_call_begins_with_the_first():
    first = ScriptedLLM([ModelCallError("down"), "first again"])
    client = FallbackClient((first, None), (ScriptedLLM("spare"), "spare/model"))
    assert [client.generate(request()).message.content for _ in range(2)] == ["spare", "first again"]


def test_it_may_end_in_a_policy():
    client = FallbackClient((failing(), None), (RuleBasedClient(lambda asked: f"by {asked.model}"), "rules/v1"))
    response = client.generate(request())
    assert (response.message.content, response.model) == ("by rules/v1", "rules/v1")


@pytest.mark.parametrize(
    "error", [BudgetExhaustedError("spent"), ValueError("a bug"), DecisionError("nonsense"), JournalMissError("new")]
)
def test_other_errors_are_raised_at_once(error):
    client = FallbackClient((ScriptedLLM(error), None), (ScriptedLLM("spare"), None))
    with pytest.raises(type(error)) as caught:
        client.generate(request())
    assert caught.value is error


def test_if_all_fail_the_last_error_tells_of_the_others():
    last = ScriptedLLM(RateLimitedError("z: slow down.", model="z", status=429, retry_after=3.0, retries=2))
    client = FallbackClient((failing(retries=4), None), (failing("not here."), "c/d"), (last, "e/f"))
    with pytest.raises(RateLimitedError) as caught:
        client.generate(request())
    error = caught.value
    assert str(error) == "z: slow down. Before it, 2 failed: a/b: it is down. | c/d: not here."
    assert (error.model, error.status, error.retry_after) == ("z", 429, 3.0)
    assert error.retries == 2 + 5 + 1
    assert [str(cause) for cause in error.__cause__.exceptions] == [
        "a/b: it is down.",
        "c/d: not here.",
        "z: slow down.",
    ]
    told = "".join(traceback.format_exception(error))
    assert told.count("During handling") == 0


def test_retries_of_each_are_made_before_the_next_is_asked():
    times = []

    def busy(asked):
        times.append((asked.model, now()))
        return ModelCallError("busy", is_transient=True)

    def retrying(inner):
        return RetryingClient(inner, max_attempts=2, jitter=lambda ceiling: ceiling, clock=now)

    async def main():
        client = FallbackClient((retrying(ScriptedLLM(busy)), None), (retrying(ScriptedLLM(busy)), "c/d"))
        with pytest.raises(ModelCallError, match=r"Tried 2 times.*Before it, 1 failed: busy Tried 2 times") as caught:
            await client.agenerate(request())
        return caught.value.retries

    assert run_in_virtual_time(main()) == 3
    assert times == [("a/b", 0.0), ("a/b", 0.5), ("c/d", 0.5), ("c/d", 1.0)]


def test_results_are_a_function_of_the_answers():
    """A model that fails for some requests falls back for these, whoever asks before or beside them."""

    def fails_for_some(asked):
        return ModelCallError("down") if int(digest(asked), 16) % 2 else digest(asked)

    def run(mode):
        enable_automatic_parallel_stepping(mode=mode)
        client = FallbackClient(
            (ScriptedLLM(fails_for_some), None), (RuleBasedClient(lambda asked: "hello"), "rules/v1")
        )
        model = SpeakersModel(6, client)
        for _ in range(2):
            model.step()
        return model.log

    log = run("asyncio")
    assert log == run("threading")
    assert 0 < sum(text == "hello" for _, text in log) < len(log)


@pytest.mark.parametrize("clients", [(), ((ScriptedLLM("x"), None),)])
def test_one_client_is_no_chain(clients):
    with pytest.raises(ConfigurationError, match=r"at least two clients, got [01]\. Use the client itself"):
        FallbackClient(*clients)


@pytest.mark.parametrize("odd", [ScriptedLLM("x"), ("a/b", ScriptedLLM("x")), (ScriptedLLM("x"), 3)])
def test_each_is_a_pair(odd):
    with pytest.raises(ConfigurationError, match="pairs of a client and a model"):
        FallbackClient((ScriptedLLM("x"), None), odd)
