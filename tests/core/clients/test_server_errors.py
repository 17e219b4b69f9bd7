"""Errors as servers send them, with a status of success and without, the same through both transports."""

import copy
import json
import pickle

import pytest
from helpers.environment import without_keys_and_proxies
from helpers.transports import KEY, TRANSPORTS, ask, completion, says

from mesa_llm.clients import LLMRequest, Message
from mesa_llm.errors import ModelCallError, ModelTimeoutError, RateLimitedError, UnknownModelError, ends_run
from mesa_llm.journal.serialization import RecordedError
from mesa_llm.limits import RetryingClient
from mesa_llm.module_llm import connect
from mesa_llm.testing import FakeOpenAIServer, Fault, ScriptedLLM

both = pytest.mark.parametrize("transport", TRANSPORTS)
NO, YES = False, True


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    without_keys_and_proxies(monkeypatch)


def failure_of(transport, body, status=200, **more):
    with pytest.raises(ModelCallError) as caught:
        ask(transport, body, status=status, **more)
    assert "\n" not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    return caught.value


def err(message, **more):
    return {"error": {"message": message} | more}


CALL_ERROR, RATE, LATE = ModelCallError, RateLimitedError, ModelTimeoutError
# The body with status 200; the error's class, its status, whether it may pass, and what it says.
IN_A_SUCCESS = {
    "a number": (err("no", code=429), RATE, 429, YES, "answered with status 429: no. Ask less often."),
    "digits": (err("no", code="429"), RATE, 429, YES, "answered with status 429: no. Ask less often."),
    "a status": (err("no", status=503), CALL_ERROR, 503, YES, "status 503: no."),
    "a request that is wrong": (err("no", code=400), CALL_ERROR, 400, NO, "status 400: no."),
    "no choices": ({"choices": None} | err("died", code=502), CALL_ERROR, 502, YES, "status 502: died."),
    "empty choices": ({"choices": []} | err("died", code=502), CALL_ERROR, 502, YES, "status 502: died."),
    "in a choice": (
        {"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "died"}, "message": says("half")}]},
        CALL_ERROR,
        502,
        YES,
        "died.",
    ),
    "beside an answer": (completion(says("half"), **err("died", code=502)), CALL_ERROR, 502, YES, "died."),
    "moderation": (completion(says(""), **err("flagged", code=403)), CALL_ERROR, 403, NO, "flagged."),
    "of a provider behind": (
        err("Provider returned error", code=429, metadata={"raw": "slow down", "provider_name": "X"}),
        RATE,
        429,
        YES,
        "Provider returned error (slow down).",
    ),
    "a type": (err("no", type="rate_limit_error"), RATE, 429, YES, "in place of a completion: no. Ask less often."),
    "a code": (err("no", code="rate_limit_exceeded"), RATE, 429, YES, "no. Ask less often."),
    "of Google": (err("no", status="RESOURCE_EXHAUSTED"), RATE, 429, YES, "no. Ask less often."),
    "overloaded": (err("Overloaded", type="overloaded_error"), CALL_ERROR, 503, YES, "Overloaded."),
    "of Anthropic": ({"type": "error", **err("no", type="overloaded_error")}, CALL_ERROR, 503, YES, "no."),
    "unavailable": (err("no", status="UNAVAILABLE"), CALL_ERROR, 503, YES, "no."),
    "the server's": (err("no", type="server_error"), CALL_ERROR, 500, YES, "no."),
    "late": (err("no", type="timeout"), LATE, 504, YES, "no."),
    "quota": (err("no", type="insufficient_quota"), RATE, 429, NO, "Check the account's plan and balance."),
    "a wrong request": (err("try again", type="invalid_request_error"), CALL_ERROR, 400, NO, "try again."),
    "no such model": (err("no", code="model_not_found"), UnknownModelError, 404, NO, "Check the model's name"),
    "words: loading": ({"error": "model is loading"}, CALL_ERROR, 503, YES, "model is loading."),
    "words: rate": ({"error": "Rate limit reached"}, RATE, 429, YES, "Rate limit reached."),
    "words: busy": ({"error": {"msg": "system busy"}}, CALL_ERROR, 503, YES, "system busy."),
    "words that say nothing": ({"error": "out"}, CALL_ERROR, None, NO, "in place of a completion: out."),
    "true, and words": ({"error": True, "message": "busy"}, CALL_ERROR, 503, YES, "busy."),
    "several": ({"errors": [{"message": "bad"}, {"message": "worse"}]}, CALL_ERROR, None, NO, "bad; worse."),
    "a list of errors": ({"error": [{"message": "busy"}]}, CALL_ERROR, 503, YES, "busy."),
    "of vLLM": ({"object": "error", "message": "bad", "code": 400}, CALL_ERROR, 400, NO, "status 400: bad."),
    "of FastAPI": ({"detail": "Not authenticated"}, CALL_ERROR, 401, NO, "Not authenticated. Check the API key"),
    "of Zhipu": ({"code": 500, "msg": "failed", "success": False}, CALL_ERROR, 500, YES, "failed."),
    "of MiniMax": (
        {"choices": None, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}},
        RATE,
        429,
        YES,
        "rate limit.",
    ),
    "a list": ([err("no", code=503)], CALL_ERROR, 503, YES, "no."),
    "in a stream": (b'data: {"error": {"message": "died", "code": 502}}\n\n', CALL_ERROR, 502, YES, "died."),
    "choices null": ({"id": None, "choices": None}, CALL_ERROR, None, YES, "a completion without choices"),
    "choices empty": ({"choices": []}, CALL_ERROR, None, YES, "a completion without choices"),
    "a choice null": ({"choices": [None]}, CALL_ERROR, None, YES, "a completion without choices"),
    "no message": (completion(None), CALL_ERROR, None, YES, "a completion without choices"),
    "a stream cut off": (
        b'data: {"choices": [{"index": 0, "delta": {"content": "hel"}}]}\n\ndata: {"cho',
        CALL_ERROR,
        None,
        YES,
        "not JSON",
    ),
    "a stream without an end": (
        b'data: {"choices": [{"index": 0, "delta": {"content": "hel"}}]}\n\n',
        CALL_ERROR,
        None,
        YES,
        "not JSON",
    ),
    "a text": (b'"Rate limit reached"', RATE, 429, YES, "Rate limit reached."),
    "a problem": ({"title": "Too Many Requests", "status": 429}, RATE, 429, YES, "Too Many Requests."),
    "a gateway's words": (b"upstream connect error or disconnect", CALL_ERROR, None, YES, "not JSON"),
    "a gateway's page": (b"<html><h1>503 Service Unavailable</h1></html>", CALL_ERROR, None, YES, "503 Service"),
    "another page": (b"<html><h1>Please log in</h1></html>", CALL_ERROR, None, NO, "Is api_base right?"),
    "half": (b'{"choices": [{"mess', CALL_ERROR, None, YES, "not JSON"),
    "empty": (b" ", CALL_ERROR, None, YES, "an empty answer"),
}


@both
@pytest.mark.parametrize("form", IN_A_SUCCESS)
def test_an_error_in_an_answer_with_a_status_of_success(transport, form):
    body, kind, status, is_transient, says_so = IN_A_SUCCESS[form]
    error = failure_of(transport, body)
    assert (type(error), error.status, error.is_transient) == (kind, status, is_transient)
    assert says_so in str(error)


@both
@pytest.mark.parametrize("model", ["openai/m", "openrouter/m", "deepseek/m", "together_ai/m"])
def test_what_may_pass_is_asked_again(transport, model):
    faults = [Fault(status=200, body=IN_A_SUCCESS[form][0]) for form in ("digits", "a code", "choices null")]
    with FakeOpenAIServer([*faults, "recovered"]) as server:
        inner = TRANSPORTS[transport](api_base=server.url, api_key=KEY)
        client = RetryingClient(inner, initial=0.001, jitter=lambda ceiling: 0.0)
        response = client.generate(LLMRequest(model=model, messages=(Message("user", "hi"),)))
    assert (response.message.content, response.retries) == ("recovered", 3)


PER_DAY = [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]
HOPELESS = {
    "code and type": {"type": "insufficient_quota", "code": "insufficient_quota"},
    "code": {"code": "insufficient_quota"},
    "type": {"type": "insufficient_quota", "code": None},
    "type beside a number": {"type": "insufficient_quota", "code": 429},
    "type beside digits": {"type": "insufficient_quota", "code": "429"},
    "billing": {"type": "billing_limit", "code": "billing_hard_limit_reached"},
    "Moonshot": {"type": "exceeded_current_quota_error"},
    "per day": {"status": "RESOURCE_EXHAUSTED", "details": [{"@type": "QuotaFailure", "violations": PER_DAY}]},
    "limit 0": {"message": "Quota exceeded for metric: requests, limit: 0"},
    "balance": {"message": "Insufficient balance"},
}


@both
@pytest.mark.parametrize("wrapped", [dict, lambda body: [body]], ids=["dict", "list"])
@pytest.mark.parametrize("form", HOPELESS)
def test_no_waiting_helps_where_the_quota_is_spent(transport, form, wrapped):
    error = failure_of(transport, wrapped({"error": {"message": "no"} | HOPELESS[form]}), 429)
    assert (type(error), error.status, error.is_transient) == (RateLimitedError, 429, False)
    assert "Check the account's plan and balance." in str(error)
    assert ends_run(error)


@both
@pytest.mark.parametrize(
    "error",
    [
        {"message": "Rate limit reached, limit: 20", "type": "requests", "code": "rate_limit_exceeded"},
        {"message": "You exceeded your current quota, limit: 0.5", "status": "RESOURCE_EXHAUSTED"},
        {"message": "no", "details": [{"violations": [{"quotaId": "GenerateRequestsPerMinutePerProject"}]}]},
    ],
)
def test_other_limits_pass(transport, error):
    failure = failure_of(transport, {"error": error}, 429)
    assert (type(failure), failure.is_transient) == (RateLimitedError, True)


TOO_LONG = {
    "OpenAI": (400, err("This model's maximum context length is 8192 tokens.", code="context_length_exceeded")),
    "a code": (400, err("no", code="context_length_exceeded")),
    "llama.cpp": (400, err("the request exceeds the available context size.", type="exceed_context_size_error")),
    "llama.cpp of old": (500, err("the request exceeds the available context size")),
    "vLLM": (400, {"object": "error", "message": "maximum context length is 8192 tokens (8500 in messages and tools)"}),
    "Anthropic": (400, err("prompt is too long: 210000 tokens > 200000 maximum", type="invalid_request_error")),
    "Anthropic's size": (413, err("Request exceeds the maximum size", type="request_too_large")),
    "Gemini": (400, [err("The input token count (9000) exceeds the maximum number of tokens allowed (8192).")]),
    "Groq": (413, err("Request too large for model `m`: Limit 6000, please reduce your message size")),
    "Mistral": (
        400,
        {"message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"},
    ),
    "Ollama": (400, {"error": "input length exceeds maximum context length"}),
    "a text": (422, b"Input is too long for requested model."),
}


@both
@pytest.mark.parametrize("form", TOO_LONG)
def test_what_makes_a_prompt_shorter(transport, form):
    status, body = TOO_LONG[form]
    error = failure_of(transport, body, status)
    assert (error.status, error.is_transient, error.bad_answer) == (status, False, False)
    for setting in ("memory", "vision", "max_tokens"):
        assert setting in str(error)


WORDS = {
    "list": (400, [err('Unknown name "x": Cannot find field.')], 'status 400: Unknown name "x": Cannot find field.'),
    "list with a delay": (
        429,
        [err("no", details=[{"@type": "RetryInfo", "retryDelay": "26s"}])],
        "status 429: no. Ask less often, next in 26 s.",
    ),
    "Anthropic": (529, {"type": "error", **err("Overloaded", type="overloaded_error")}, "status 529: Overloaded."),
    "a page": (503, b"<html><head><title>503</title></head><body>Service busy</body></html>", "503 Service busy."),
    "FastAPI": (
        422,
        {"detail": [{"loc": ["body", "seed"], "msg": "field required"}]},
        "422: body.seed: field required.",
    ),
    "null": (500, {"error": None}, "status 500: Internal Server Error."),
    "nothing": (502, b"", "status 502: Bad Gateway."),
    "JSON in a text": (400, err(json.dumps(err("inner"))), "status 400: inner."),
    "a parameter": (400, err("Unsupported.", param="seed"), "status 400: Unsupported. (param: seed)."),
    "an object": (400, {"error": {"reason": "x"}}, "status 400: {'reason': 'x'}."),
    "credit": (400, err("Your credit balance is too low."), "too low. Check the account's plan and balance."),
}


@both
@pytest.mark.parametrize("form", WORDS)
def test_the_words_of_an_error(transport, form):
    status, body, says_so = WORDS[form]
    error = failure_of(transport, body, status)
    assert says_so in str(error)
    assert error.is_transient == (status in {429, 500, 502, 503, 529})


BAD_ANSWERS = {
    "Groq's code": (400, err("no", code="tool_use_failed")),
    "Groq": (400, err("Failed to call a function. Please adjust your prompt. See 'failed_generation'.")),
    "Groq's field": (400, err("no", failed_generation="<function=move>")),
    "Groq's JSON": (400, err("Failed to generate JSON.", code="json_validate_failed")),
    "Groq's schema": (400, err("tool call validation failed: parameters for tool move did not match schema")),
    "DashScope": (400, err('The "function.arguments" parameter of the code model must be in JSON format.')),
    "Ollama": (500, {"error": "error parsing tool call: raw='{', err=unexpected end of JSON input"}),
    "llama.cpp": (500, err("Failed to parse tool call arguments as JSON")),
    "in an answer": (200, err("no", code="tool_use_failed")),
    "in an answer, with a code": (200, err("Failed to call a function", code=400)),
}


@both
@pytest.mark.parametrize("form", BAD_ANSWERS)
def test_an_answer_that_the_server_refuses_is_marked(transport, form):
    status, body = BAD_ANSWERS[form]
    error = failure_of(transport, body, status)
    assert (error.bad_answer, error.is_transient) == (True, False)
    assert not ends_run(error)


@both
@pytest.mark.parametrize(
    ("status", "message"),
    [(500, "Value is not callable: null at row 1: tool.parameters|tojson"), (429, "tool_use_failed"), (400, "no")],
)
def test_other_errors_are_not_marked(transport, status, message):
    assert not failure_of(transport, err(message), status).bad_answer


def test_the_mark_of_a_bad_answer_survives_copies_records_and_retries():
    error = ModelCallError("no", model="openai/m", status=400, bad_answer=True)
    copies = [copy.copy(error), pickle.loads(pickle.dumps(error)), RecordedError.of(error).exception()]
    assert all(twin.bad_answer for twin in copies)
    assert RecordedError.from_json(RecordedError.of(error).as_json()).exception().bad_answer
    busy = ModelCallError("busy", status=503, is_transient=True)
    client = RetryingClient(ScriptedLLM([busy, error]), initial=0.001)
    with pytest.raises(ModelCallError, match="Tried 2 times") as caught:
        client.generate(LLMRequest(model="openai/m", messages=()))
    assert caught.value.bad_answer
    assert not RecordedError(kind="ModelCallError", message="of an older journal").exception().bad_answer


@both
def test_a_bad_answer_is_not_asked_again_by_the_client(transport):
    with FakeOpenAIServer(Fault(status=500, body=err("error parsing tool call"))) as server:
        client = connect(api_base=server.url, api_key=KEY, transport=transport)
        with pytest.raises(ModelCallError):
            client.generate(LLMRequest(model="openai/m", messages=(Message("user", "hi"),)))
        assert len(server.requests) == 1


NO_HTTP = {
    "a coding that was not used": {"Content-Encoding": "gzip"},
    "length and chunks": {"Transfer-Encoding": "chunked"},
}


@both
@pytest.mark.parametrize("form", NO_HTTP)
def test_what_is_no_http_may_pass(transport, form, raw_server):
    lines = [f"{name}: {value}" for name, value in NO_HTTP[form].items()]
    body = json.dumps(completion(says("hi"))).encode()
    head = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *lines, "", ""]).encode()
    with pytest.raises(ModelCallError) as caught:
        ask_at(raw_server(head + body), transport)
    assert caught.value.is_transient


@both
def test_a_header_of_many_kilobytes(transport, raw_server):
    body = json.dumps(completion(says("hi"))).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nX-Policy: {'x' * 40_000}\r\n\r\n".encode()
    assert ask_at(raw_server(head + body), transport).message.content == "hi"


def ask_at(url, transport):
    request = LLMRequest(model="openai/fake", messages=(Message("user", "hi"),))
    return TRANSPORTS[transport](api_base=url, api_key=KEY, timeout=60).generate(request)
