"""What a failure of the direct client says, and whether it may pass."""

import errno
import gzip
import os
import socket
import threading
import traceback
from email.utils import formatdate

import pytest
from helpers.environment import without_keys_and_proxies
from helpers.moved_clock import MINUTE, timing_out

from mesa_llm.clients import DirectClient, LLMRequest, Message
from mesa_llm.errors import (
    ConfigurationError,
    EndpointUnreachableError,
    MissingAPIKeyError,
    ModelCallError,
    ModelTimeoutError,
    RateLimitedError,
    UnknownModelError,
)
from mesa_llm.testing import FakeOpenAIServer, Fault

KEY = "sk-very-secret-0123456789"
MODEL = "openai/fake"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    without_keys_and_proxies(monkeypatch)


def failure_of(client, model=MODEL):
    with pytest.raises(ModelCallError) as caught:
        client.generate(LLMRequest(model=model, messages=(Message("user", "hi"),)))
    error = caught.value
    assert "\n" not in str(error)
    assert (error.__cause__, error.__context__) == (None, None)
    return error


def html(text, **fields):
    return Fault(body=text.encode(), headers={"Content-Type": "text/html; charset=utf-8"}, **fields)


QUOTA = {"error": {"message": "You exceeded your quota", "type": "insufficient_quota", "code": "insufficient_quota"}}
UPSTREAM = {"error": {"message": "upstream is busy", "code": 502}}
NO, YES = False, True

FAULTS = {
    "rate": (Fault(status=429, body="slow down"), RateLimitedError, 429, YES, "slow down. Ask less often."),
    "quota": (Fault(status=429, body=QUOTA), RateLimitedError, 429, NO, "You exceeded your quota. Check the account's"),
    "balance": (Fault(status=402, body="empty"), ModelCallError, 402, NO, "empty. Check the account's balance."),
    "unknown": (Fault(status=404, body="no `fake`"), UnknownModelError, 404, NO, "no `fake`. Check the model's name"),
    "no key": (Fault(status=401, body="who"), ModelCallError, 401, NO, "who. Check the API key"),
    "forbidden": (Fault(status=403, body="not yours"), ModelCallError, 403, NO, "not yours. Check the API key"),
    "bad": (Fault(status=400, body="context\ntoo long"), ModelCallError, 400, NO, "context too long."),
    "unprocessable": (Fault(status=422, body={"detail": "no such field"}), ModelCallError, 422, NO, "no such field."),
    "conflict": (Fault(status=409), ModelCallError, 409, YES, "scripted fault."),
    "too early": (Fault(status=425), ModelCallError, 425, YES, "scripted fault."),
    "late": (Fault(status=408), ModelTimeoutError, 408, YES, "scripted fault."),
    "gateway": (Fault(status=504, body="upstream"), ModelTimeoutError, 504, YES, "upstream."),
    "server": (Fault(status=500, body="out of memory"), ModelCallError, 500, YES, "out of memory."),
    "page": (html("<style>b{}</style><h1>502 Bad</h1>", status=502), ModelCallError, 502, YES, "502: 502 Bad."),
    "speechless": (Fault(status=503, body=b""), ModelCallError, 503, YES, "Service Unavailable."),
    "moved": (Fault(status=307, headers={"Location": "http://b/"}), ModelCallError, 307, NO, "redirects to http://b/."),
    "half": (Fault.half(), ModelCallError, None, YES, "broke off in the middle of its answer"),
    "malformed": (Fault.malformed(), ModelCallError, None, YES, 'not JSON (application/json): {"choices": [{"mess.'),
    "empty": (Fault(status=200, body=b" "), ModelCallError, None, YES, "sent an empty answer."),
    "reset": (Fault.reset(), EndpointUnreachableError, None, YES, "Is the server running"),
    "login": (Fault.wrong_content_type(), ModelCallError, None, NO, "(text/html): Please log in. Is api_base right?"),
    "not utf-8": (Fault(status=200, body=b"\xff\xfe"), ModelCallError, None, NO, "not JSON (application/json)"),
    "deep": (Fault(status=200, body=b"[" * 200_000), ModelCallError, None, NO, "not JSON"),
    "no choices": ({"choices": []}, ModelCallError, None, YES, "sent a completion without choices"),
    "a list": (Fault(status=200, body=b"[1]"), ModelCallError, None, NO, "sent JSON that is not a completion: [1]."),
    "no message": ({"choices": [{"index": 0}]}, ModelCallError, None, YES, "sent a completion without choices"),
    "other JSON": (Fault(status=200, body={"status": "ok"}), ModelCallError, None, NO, 'not a completion: {"status"'),
    "told": (Fault(status=200, body=UPSTREAM), ModelCallError, 502, YES, "status 502: upstream is busy."),
    "told late": ({"choices": [{"message": {"content": "I"}} | UPSTREAM]}, ModelCallError, 502, YES, "upstream is"),
    "told plainly": (Fault(status=200, body={"error": "out"}), ModelCallError, None, NO, "place of a completion: out."),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(fault):
    answer, kind, status, is_transient, text = FAULTS[fault]
    with FakeOpenAIServer(answer) as server:
        error = failure_of(DirectClient(api_base=server.url, api_key=KEY, timeout=20))
    assert (type(error), error.status, error.is_transient) == (kind, status, is_transient)
    assert (error.model, error.endpoint) == (MODEL, server.url)
    assert text in str(error)
    assert f"{MODEL} at {server.url} " in str(error)
    assert status is None or f"status {status}" in str(error)
    assert len(server.requests) == 1, "a failure is not retried, a redirection not followed"


@pytest.mark.parametrize("fault", [Fault.hang(), Fault.slow_loris()], ids=["hang", "slow loris"])
def test_no_whole_answer_in_time(fault):
    with FakeOpenAIServer(timing_out(fault)) as server:
        error = failure_of(DirectClient(api_base=server.url, timeout=MINUTE))
        assert (type(error), error.is_transient) == (ModelTimeoutError, True)
        assert "did not answer within 60 s. Give it a longer timeout." in str(error)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "90"},
        {"Retry-After": formatdate(4_000_000_000, usegmt=True)},
        {"Retry-After-Ms": "90000", "Retry-After": "1"},
    ],
    ids=["seconds", "date", "milliseconds"],
)
@pytest.mark.parametrize("status", [429, 503])
def test_when_to_ask_again(headers, status):
    with FakeOpenAIServer(Fault(status=status, headers=headers)) as server:
        error = failure_of(DirectClient(api_base=server.url))
    assert error.retry_after >= 90


def test_echoed_keys_are_masked_in_the_whole_traceback(monkeypatch):
    monkeypatch.setenv("OTHER_TOKEN", "of-another-service")
    secrets = (KEY, "of-another-service", "hush-hush", "Basic-word")
    headers = {"X-Api-Key": "hush-hush", "Cookie": "Basic-word"}
    for answer in (
        Fault(status=401, body=f"wrong: {secrets}"),
        Fault(status=200, body=str(secrets).encode()),
        Fault(status=302, headers={"Location": f"/?key={secrets}"}),
        {"choices": [str(secrets)]},
    ):
        with FakeOpenAIServer(answer) as server:
            base = server.url.replace("//", "//me:pass-word@")
            for client in (
                DirectClient(api_base=server.url, api_key=KEY, headers=headers),
                DirectClient(api_base=base, headers=headers),
            ):
                error = failure_of(client)
                shown = "".join(traceback.format_exception(error)) + str(vars(error))
                assert "***" in shown
                for secret in (*secrets, "pass-word"):
                    assert secret not in shown


def test_a_key_that_cannot_be_sent_is_not_shown():
    client = DirectClient(api_key="sk-" + "geheimnißvoll")
    with pytest.raises(ConfigurationError, match="api_key must be printable ASCII") as caught:
        client.generate(LLMRequest(model=MODEL, messages=()))
    assert "sk-geheim" not in "".join(traceback.format_exception(caught.value))


def test_missing_key_that_the_server_wants():
    with FakeOpenAIServer(Fault(status=401, body="who are you")) as server:
        error = failure_of(DirectClient(api_base=server.url))
    assert type(error) is MissingAPIKeyError
    assert "who are you. No key was sent. Set the environment variable OPENAI_API_KEY" in str(error)


def test_nobody_at_the_address_and_then_somebody():
    server = FakeOpenAIServer()
    with server:
        client = DirectClient(api_base=server.url)
        client.generate(LLMRequest(model=MODEL, messages=()))
    error = failure_of(client)
    assert (type(error), error.is_transient) == (EndpointUnreachableError, True)
    assert f"{MODEL} at {server.url} cannot be reached: Cannot connect to host" in str(error)
    assert "ssl" not in str(error)
    with server:
        client.generate(LLMRequest(model=MODEL, messages=()))
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("code", "is_transient"), [(socket.EAI_AGAIN, True), (socket.EAI_NONAME, False)], ids=["try again", "not known"]
)
def test_a_name_that_is_not_found(monkeypatch, code, is_transient):
    def fail(*args, **kwargs):
        raise socket.gaierror(code, "the resolver's words")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    error = failure_of(DirectClient(api_base="http://model.test/v1"))
    assert (type(error), error.is_transient) == (EndpointUnreachableError, is_transient)
    assert "the resolver's words" in str(error)


def test_no_more_open_files(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with FakeOpenAIServer() as server:
        client = DirectClient(api_base=server.url)
        monkeypatch.setattr(socket.socket, "connect", fail)
        error = failure_of(client)
    assert (type(error), error.is_transient) == (EndpointUnreachableError, True)
    assert "ulimit -n" in str(error)


def test_http_and_https_mixed_up():
    with FakeOpenAIServer() as server:
        error = failure_of(DirectClient(api_base=server.url.replace("http", "https")))
    assert (type(error), error.is_transient) == (EndpointUnreachableError, False)
    assert "WRONG_VERSION_NUMBER" in str(error)


@pytest.mark.parametrize("answer", [Fault.endless(), "x" * 2_000], ids=["endless", "long"])
def test_an_answer_that_is_too_large_is_not_read(answer):
    with FakeOpenAIServer(answer) as server:
        error = failure_of(DirectClient(api_base=server.url, max_response_bytes=1_000))
        assert (type(error), error.is_transient) == (ModelCallError, False)
        assert "sent an answer of more than 1,000 bytes. max_response_bytes can be raised." in str(error)


def test_a_small_answer_that_unpacks_to_a_large_one_is_not_read():
    bomb = gzip.compress(b" " * 20_000_000)
    with FakeOpenAIServer(Fault(status=200, body=bomb, headers={"Content-Encoding": "gzip"})) as server:
        error = failure_of(DirectClient(api_base=server.url))
    assert "sent an answer of more than 16,777,216 bytes" in str(error)


def test_ten_megabytes_are_an_answer():
    with FakeOpenAIServer("x" * 10_000_000) as server:
        response = DirectClient(api_base=server.url).generate(LLMRequest(model=MODEL, messages=()))
    assert len(response.message.content) == 10_000_000


def test_of_a_large_error_only_the_beginning_is_read():
    with FakeOpenAIServer(Fault(status=500, body=b"sorry " * 10_000_000)) as server:
        error = failure_of(DirectClient(api_base=server.url))
    assert error.status == 500
    assert "500: sorry sorry" in str(error)
    assert len(str(error)) < 1_000


def test_an_answer_that_is_no_http():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"+OK ready\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        error = failure_of(DirectClient(api_base=f"http://127.0.0.1:{listener.getsockname()[1]}/v1"))
        thread.join()
    assert (type(error), error.is_transient) == (ModelCallError, True)
    assert "sent what is not HTTP" in str(error)
