import os
import socket
import traceback
from email.utils import formatdate

import pytest
from helpers.moved_clock import MINUTE, timing_out

from mesa_llm.clients import LiteLLMClient, LLMRequest, Message
from mesa_llm.errors import (
    EndpointUnreachableError,
    MissingAPIKeyError,
    ModelCallError,
    ModelTimeoutError,
    RateLimitedError,
    UnknownModelError,
)
from mesa_llm.testing import FakeOpenAIServer, Fault

KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_AUTH_TOKEN")):
            monkeypatch.delenv(name)


def request(model="openai/fake", **options):
    return LLMRequest(model=model, messages=(Message("user", "hi"),), options=options)


def failure_of(client, model="openai/fake", **options):
    with pytest.raises(ModelCallError) as caught:
        client.generate(request(model, **options))
    assert "\n" not in str(caught.value)
    return caught.value


FAULTS = {
    "rate": (Fault(status=429, retry_after=1.5, body="slow down"), RateLimitedError, 429, "slow down. Ask less often"),
    "unknown": (Fault(status=404, body="no model `fake`"), UnknownModelError, 404, "no model `fake`. Check the model"),
    "server": (Fault(status=500, body="out\nof memory"), ModelCallError, 500, "out of memory."),
    "overload": (Fault(status=503, body={"detail": "loading"}), ModelCallError, 503, "503: loading."),
    "bad": (Fault(status=400, body="context too long"), ModelCallError, 400, "context too long."),
    "forbidden": (Fault(status=403, body="not yours"), ModelCallError, 403, "Check the API key"),
    "gateway": (Fault(status=504, body="upstream"), ModelTimeoutError, 504, "upstream."),
    "reset": (Fault.reset(), EndpointUnreachableError, None, "Is the server running"),
    "hang": (timing_out(Fault.hang()), ModelTimeoutError, None, "did not answer within 60 s"),
    "malformed": (Fault.malformed(), ModelCallError, None, "sent an answer that is not JSON"),
    "html": (Fault.wrong_content_type(), ModelCallError, None, "Please log in"),
    "no choices": ({"choices": []}, ModelCallError, None, "choices"),
}


@pytest.mark.parametrize("model", ["openai/fake", "hosted_vllm/fake"])
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_becomes_one_of_our_errors(fault, model):
    answer, kind, status, text = FAULTS[fault]
    with FakeOpenAIServer(answer) as server:
        error = failure_of(LiteLLMClient(api_base=server.url, api_key=KEY, timeout=MINUTE), model)
    assert type(error) is kind
    assert (error.model, error.endpoint, error.status) == (model, server.url, status)
    assert text in str(error)
    assert model in str(error)
    assert server.url in str(error)
    assert status is None or str(status) in str(error)
    assert len(server.requests) == 1, "a failure is not retried"


@pytest.mark.parametrize("fault", FAULTS)
def test_whether_it_may_pass(fault):
    answer, *_ = FAULTS[fault]
    with FakeOpenAIServer(answer) as server:
        error = failure_of(LiteLLMClient(api_base=server.url, timeout=MINUTE), "hosted_vllm/fake")
    assert error.is_transient == (fault not in {"unknown", "bad", "forbidden", "html"})


def test_retry_after_is_passed_on():
    faults = [Fault(status=429, retry_after=1.5), Fault(status=503, headers={"Retry-After": formatdate(4e9)})]
    with FakeOpenAIServer(faults) as server:
        first, second = (failure_of(LiteLLMClient(api_base=server.url)) for _ in faults)
    assert "next in 1.5 s" in str(first)
    assert first.retry_after == 1.5
    assert second.retry_after > 1e6


def test_an_exhausted_quota_does_not_pass():
    quota = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
    with FakeOpenAIServer(Fault(status=429, body=quota)) as server:
        error = failure_of(LiteLLMClient(api_base=server.url))
    assert (type(error), error.is_transient) == (RateLimitedError, False)
    assert "Check the account's plan and balance" in str(error)


@pytest.mark.parametrize("model", ["openai/fake", "hosted_vllm/fake"])
def test_echoed_key_is_masked_in_the_whole_traceback(model):
    with FakeOpenAIServer(Fault(status=401, body=f"Incorrect API key provided: {KEY}.")) as server:
        error = failure_of(LiteLLMClient(api_base=server.url, api_key=KEY), model)
    assert error.status == 401
    assert "Incorrect API key provided: ***." in str(error)
    assert KEY not in "".join(traceback.format_exception(error))


def test_echoed_key_of_the_environment_is_masked(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "plain-word-key")
    with FakeOpenAIServer(Fault(status=400, body="you sent plain-word-key")) as server:
        error = failure_of(LiteLLMClient(api_base=server.url))
    assert "you sent ***." in str(error)


@pytest.mark.parametrize("model", ["openai/fake", "ollama/fake", "ollama_chat/fake"])
def test_nobody_at_the_address(model, closed_port):
    endpoint = f"http://127.0.0.1:{closed_port}"
    error = failure_of(LiteLLMClient(api_base=endpoint), model)
    assert type(error) is EndpointUnreachableError
    assert error.status is None
    assert f"{model} at {endpoint} cannot be reached" in str(error)
    assert "ssl" not in str(error)
    assert error.is_transient


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("openai/gpt-4o-mini", "OPENAI_API_KEY"),
        ("anthropic/claude-x", "ANTHROPIC_API_KEY"),
        ("gemini/gemini-x", "GEMINI_API_KEY"),
        ("novita/x", "NOVITA_API_KEY"),
    ],
)
def test_missing_key_names_its_variable(model, variable):
    error = failure_of(LiteLLMClient(), model)
    assert type(error) is MissingAPIKeyError
    assert variable in str(error)
    assert (error.model, error.endpoint, error.status) == (model, None, None)


def test_missing_key_that_the_server_wants():
    with FakeOpenAIServer(Fault(status=401, body="who are you")) as server:
        error = failure_of(LiteLLMClient(api_base=server.url))
    assert type(error) is MissingAPIKeyError
    assert "who are you. No key was sent. Set the environment variable OPENAI_API_KEY" in str(error)


def test_unknown_provider(capfd):
    error = failure_of(LiteLLMClient(), "nobody/x")
    assert type(error) is UnknownModelError
    assert "nobody/x: litellm has no provider 'nobody'" in str(error)
    assert capfd.readouterr() == ("", ""), "litellm prints advice unless told not to"


def test_unknown_provider_with_an_endpoint(closed_port):
    error = failure_of(LiteLLMClient(api_base=f"http://127.0.0.1:{closed_port}"), "nobody/x")
    assert type(error) is UnknownModelError


def test_programming_error_is_no_unreachable_endpoint():
    with FakeOpenAIServer() as server:
        error = failure_of(LiteLLMClient(api_base=server.url), temperature=object())
    assert type(error) is ModelCallError
    assert "TypeError: Object of type object is not JSON serializable" in str(error)
    assert isinstance(error.__cause__, TypeError)
    assert not error.is_transient
    assert server.requests == []


def test_a_name_that_is_not_known_does_not_pass(monkeypatch):
    def fail(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    error = failure_of(LiteLLMClient(api_base="http://model.test/v1"))
    assert (type(error), error.is_transient) == (EndpointUnreachableError, False)
