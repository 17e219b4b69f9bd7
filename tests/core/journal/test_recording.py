"""What is recorded, in which form, and when it is handed out."""

import asyncio
import json
import sqlite3
import threading

import pytest
from helpers.journals import REQUEST, run
from helpers.moved_clock import MINUTE, pass_time, turns_beside, until_queued
from helpers.speakers import SpeakersModel, digest
from hypothesis import given
from hypothesis import strategies as st

import mesa_llm.errors
from mesa_llm.clients import AsyncClient, LLMRequest, LLMResponse, Message, RuleBasedClient, ToolCall, Usage
from mesa_llm.clients.messages import request_key
from mesa_llm.concurrency import calling_loop
from mesa_llm.errors import (
    BudgetExhaustedError,
    ConfigurationError,
    DecisionError,
    DecisionTimeoutError,
    JournalError,
    ModelCallError,
    RateLimitedError,
)
from mesa_llm.journal import Journal, JournaledClient, serialization
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM

TEXTS = st.text(st.characters(exclude_categories=[]))  # half surrogate pairs included
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
CALLS = st.builds(ToolCall, TEXTS, TEXTS, TEXTS)
MESSAGES = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    TEXTS,
    st.lists(CALLS, max_size=2).map(tuple),
    st.none() | TEXTS,
)
REQUESTS = st.builds(
    LLMRequest,
    model=TEXTS,
    messages=st.lists(MESSAGES, max_size=3).map(tuple),
    options=st.dictionaries(TEXTS | st.sampled_from(["max_tokens", "seed", "messages2", "m"]), JSON, max_size=4).filter(
        lambda options: not {"messages", "model"} & set(options)
    ),
)


@given(REQUESTS)
def test_a_request_is_stored_in_parts_and_put_together_again(request):
    key, texts = serialization.texts_of(request)
    assert key.hex() == request_key(request)
    by_digest = {serialization.text_digest(text): text for text in texts}
    assert serialization.request_from(
        b"".join(map(serialization.text_digest, texts)), by_digest.__getitem__
    ) == json.loads(json.dumps(request.as_dict()))


@given(
    st.builds(
        LLMResponse,
        message=MESSAGES,
        model=TEXTS,
        usage=st.builds(Usage, st.integers(0), st.integers(0)),
        finish_reason=TEXTS,
        cost=st.none() | st.floats(allow_nan=False),
        retries=st.integers(0),
        reasoning=TEXTS,
        source=st.just("journal"),
    )
)
def test_a_response_is_read_as_it_was_written(response):
    text = serialization.response_to_json(response)
    assert serialization.response_from_json(text) == response
    assert text.isascii()  # SQLite takes no half surrogate pairs


class OwnError(RateLimitedError):
    """Somebody's own kind."""


class OwnTimeoutError(TimeoutError):
    """Likewise."""


RECORDED = [
    (
        RateLimitedError("slow", model="a/b", status=429, retry_after=1.5, is_transient=True, retries=2),
        RateLimitedError,
    ),
    (OwnError("slow", retries=1), RateLimitedError),
    (ModelCallError("odd"), ModelCallError),
    (DecisionError("no decision"), DecisionError),
    (DecisionTimeoutError("too late"), DecisionTimeoutError),
    (ConnectionResetError(104, "reset"), ConnectionResetError),
    (TimeoutError("too slow"), TimeoutError),
    (OwnTimeoutError("too slow"), TimeoutError),
    (OSError(object(), "odd"), OSError),
]


@pytest.mark.parametrize(("error", "as_kind"), RECORDED, ids=[type(error).__name__ for error, _ in RECORDED])
def test_an_outcome_that_is_an_error_is_raised_as_what_it_was(error, as_kind):
    recorded = serialization.RecordedError.of(error)
    again = serialization.RecordedError.from_json(recorded.as_json()).exception()
    assert type(again) is as_kind
    assert str(again) == str(error)
    assert {name: getattr(again, name) for name in vars(error)} == vars(error)


def test_every_error_of_a_model_can_be_recorded():
    for error in vars(mesa_llm.errors).values():
        if isinstance(error, type) and issubclass(error, ModelCallError | DecisionError):
            assert type(serialization.RecordedError.of(error("text")).exception()) is error


@pytest.mark.parametrize(
    "error",
    [BudgetExhaustedError("spent"), ConfigurationError("wrong"), TypeError("wrong"), KeyError("wrong"), LookupError()],
    ids=repr,
)
def test_what_is_no_outcome_is_not_recorded(path, error):
    with JournaledClient(ScriptedLLM([error, "hello"]), path) as client:
        with pytest.raises(type(error)):
            client.generate(REQUEST)
        client.generate(REQUEST)
    assert [call.state for call in Journal(path).calls()] == ["answered"]


def test_an_answer_is_on_disk_before_it_is_handed_out(path):
    with JournaledClient(ScriptedLLM("hello"), path) as client:
        for n in range(1, 20):
            client.generate(REQUEST)
            assert [call.state for call in Journal(path).calls()] == ["answered"] * n


def test_a_call_in_flight_can_be_seen(path):
    asked, answer = threading.Event(), asyncio.Event()

    async def hold(request):
        asked.set()
        await answer.wait()
        return "hello"

    async def scenario():
        call = asyncio.create_task(client.agenerate(REQUEST))
        while [call.state for call in Journal(path).calls()] != ["started"]:  # noqa: ASYNC110 - of the file
            await asyncio.sleep(0)
        assert asked.is_set()
        call.cancel()

    with JournaledClient(ScriptedLLM(hold), path) as client:
        calling_loop.run(scenario())
    (call,) = Journal(path).calls()
    assert (call.state, call.response, call.duration) == ("started", None, None)


def test_the_place_and_the_contents_of_a_call(path):
    enable_automatic_parallel_stepping()
    with JournaledClient(ScriptedLLM(digest), path, metadata={"seed": 7}) as client:
        SpeakersModel(1, client).step()
        client.generate(REQUEST)
    in_step, outside = Journal(path).calls()
    assert (in_step.step, in_step.agent_id, in_step.agent_class, in_step.call) == (1, 1, "Speaker", 1)
    assert (outside.step, outside.agent_id, outside.agent_class, outside.call) == (None, None, "", 1)
    assert outside.request == REQUEST.as_dict()
    assert outside.request_key == request_key(REQUEST)
    assert outside.response.message.content == digest(REQUEST)
    assert outside.duration >= 0
    assert outside.run == in_step.run == "1"


def test_neither_keys_nor_addresses_are_in_the_file(path):
    class Keyed(RuleBasedClient):
        api_key = "sk-secret"
        api_base = "http://secret-host"

    with JournaledClient(Keyed(lambda request: "hello"), path) as client:
        client.generate(REQUEST)
    assert b"secret" not in path.read_bytes()


def test_what_prompts_have_in_common_is_stored_once(path):
    enable_automatic_parallel_stepping()
    with JournaledClient(ScriptedLLM("hello"), path) as client:
        model = SpeakersModel(5, client)
        for agent in model.agents:
            agent.system_prompt = "You are one of many. " * 100
        for _ in range(4):
            model.step()
    assert path.read_bytes().count(b"You are one of many. " * 50) <= 2


@pytest.mark.parametrize("n_in_flight", [1, 50])
def test_a_journal_that_cannot_be_written_fails_the_calls(path, n_in_flight):
    """Nothing is handed out that is not recorded."""

    async def ask_all():
        return await asyncio.gather(*(client.agenerate(REQUEST) for _ in range(n_in_flight)), return_exceptions=True)

    client = JournaledClient(ScriptedLLM("hello"), path)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE calls")
    connection.close()
    for _ in range(2):
        failures = calling_loop.run(ask_all())
        assert {type(failure) for failure in failures} == {JournalError}
        assert "cannot be written any more: no such table: calls" in str(failures[0])
    client.close()  # everybody has been told


def test_a_failure_that_no_call_was_told_of_is_told_when_the_client_closes(path):
    client = JournaledClient(ScriptedLLM("hello"), path)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE calls")
    connection.close()
    with pytest.raises(JournalError, match="cannot be written any more"):
        client.close()


def test_waiting_for_the_file_does_not_count_for_the_time_to_decide(path, mode):
    """Another process holds the file for longer than anybody is given to decide."""
    tasks = []

    async def release(turn):
        await until_queued(turns_beside(turn))
        pass_time(2 * MINUTE, board=turn.board)
        other.execute("COMMIT")

    def answer(request):
        if len(inner.requests) == 4:
            tasks.append(asyncio.get_running_loop().create_task(release(request.call.turn)))
        return "hello"

    inner = ScriptedLLM(answer)
    client = JournaledClient(inner, path)
    other = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        model = run(client, parallel=ParallelStepping(mode=mode, decide_timeout=MINUTE, on_error="skip"), steps=1)
        assert len(model.log) == 4
    finally:
        other.close()
        client.close()


def test_off_touches_no_file(path):
    class Inner(AsyncClient):
        async def complete(self, request):
            return LLMResponse(message=Message("assistant", "hello"), model="a/b")

    with JournaledClient(Inner(), path, mode="off") as client:
        assert client.generate(REQUEST).source == "model"
        assert client.run is None
        assert client.replayed == 0
    assert client.generate(REQUEST).message.content == "hello"
    assert not path.exists()
