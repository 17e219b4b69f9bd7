import asyncio
import json
import ssl
import threading
import urllib.error
import urllib.request
from http.client import IncompleteRead, RemoteDisconnected

import aiohttp
import pytest
import trustme

from mesa_llm.clients import tool_call
from mesa_llm.testing import FakeOpenAIServer, Fault

BODY = {"model": "m", "messages": [{"role": "user", "content": "how are you"}]}


def fetch(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, {"X-Test": "1"}), timeout=30) as response:
        return json.load(response)


def post(server, body=BODY):
    return fetch(f"{server.url}/chat/completions", body)


def refusal(server, url=None):
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch(url, None) if url else post(server)
    with caught.value as error:
        return error.code, json.load(error), error.headers


def test_completion():
    with FakeOpenAIServer("fine thanks") as server:
        completion = post(server)
    assert completion["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "fine thanks"}, "finish_reason": "stop"}
    ]
    assert completion["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert completion["model"] == "m"
    (served,) = server.requests
    assert served.body == BODY
    assert served.headers["x-test"] == "1"


def test_answers_may_be_tool_calls_messages_and_whole_completions():
    message = {"content": None, "tool_calls": []}
    with FakeOpenAIServer([tool_call("go", fast=True), message, {"choices": [], "id": "mine"}]) as server:
        first, second, third = (post(server) for _ in range(3))
    (call,) = first["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "go", "arguments": '{"fast": true}'}
    assert first["choices"][0]["finish_reason"] == "tool_calls"
    assert second["choices"][0]["message"] == {"role": "assistant", "content": None, "tool_calls": []}
    assert third == {"choices": [], "id": "mine"}


def test_answer_by_function_of_the_body():
    with FakeOpenAIServer(lambda body: body["model"]) as server:
        assert post(server)["choices"][0]["message"]["content"] == "m"


def test_models_and_unknown_paths():
    with FakeOpenAIServer(models=("a", "b")) as server:
        assert [model["id"] for model in fetch(f"{server.url}/models")["data"]] == ["a", "b"]
        status, body, _ = refusal(server, f"{server.url}/nothing")
    assert status == 404
    assert "GET /v1/nothing" in body["error"]["message"]


def test_status_faults():
    with FakeOpenAIServer([Fault(status=429, retry_after=1.5, body="slow"), Fault(body={"a": 1})]) as server:
        status, body, headers = refusal(server)
        assert (status, body["error"]["message"], headers["Retry-After"]) == (429, "slow", "1.5")
        status, body, headers = refusal(server)
        assert (status, body, headers["Retry-After"]) == (500, {"a": 1}, None)


def test_reset_drops_the_connection():
    with FakeOpenAIServer(Fault.reset()) as server, pytest.raises((RemoteDisconnected, ConnectionResetError)):
        post(server)


def test_malformed_and_wrong_content_type():
    with FakeOpenAIServer([Fault.malformed(), Fault.wrong_content_type()]) as server:
        for _ in range(2):
            with pytest.raises(json.JSONDecodeError):
                post(server)


def test_headers_and_raw_bodies():
    faults = [Fault(status=308, headers={"Location": "/x"}, body=b"moved"), Fault(status=200, body=b"[1]")]
    with FakeOpenAIServer(faults) as server:
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(server)
        with caught.value as error:
            assert (error.code, error.headers["Location"], error.read()) == (308, "/x", b"moved")
        assert post(server) == [1]


def test_half_a_body():
    with FakeOpenAIServer(Fault.half()) as server, pytest.raises(IncompleteRead) as caught:
        post(server)
    assert caught.value.partial == b'{"choices": [{"mess'


@pytest.mark.parametrize("fault", [Fault.endless(), Fault.slow_loris(0.001)], ids=["endless", "slow"])
async def test_a_body_that_never_ends(fault):
    with FakeOpenAIServer(fault) as server:
        async with aiohttp.ClientSession() as session, session.post(f"{server.url}/chat/completions", json=BODY) as got:
            assert got.status == 200
            pieces = [await got.content.readany() for _ in range(5)]
    assert all(pieces)
    assert (max(map(len, pieces)) > 1_000) == (fault.interval == 0)


def test_https():
    authority = trustme.CA()
    served, asked = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(served)
    authority.configure_trust(asked)
    with FakeOpenAIServer(tls=served) as server:
        assert server.url.startswith("https://127.0.0.1:")
        with urllib.request.urlopen(f"{server.url}/models", timeout=30, context=asked) as response:
            assert response.status == 200


def test_down_and_up_again_at_the_same_address():
    server = FakeOpenAIServer()
    with server:
        url = server.url
    with pytest.raises(urllib.error.URLError, match="refused"):
        post(server)
    with server:
        assert server.url == url
        post(server)
    assert len(server.requests) == 1


def test_error_of_the_script_is_told():
    def broken(body):
        raise KeyError("mood")

    with FakeOpenAIServer(broken) as server:
        status, body, _ = refusal(server)
    assert status == 500
    assert body["error"]["message"] == "KeyError: 'mood'"


async def test_hold_until_shows_overlap():
    with FakeOpenAIServer(hold_until=4) as server:
        await asyncio.gather(*(asyncio.to_thread(post, server) for _ in range(4)))
    assert server.peak_concurrency == 4
    assert server.concurrency == 0


def test_hold_until_complains_when_calls_come_alone():
    with FakeOpenAIServer(hold_until=2, patience=0.01) as server:
        status, body, _ = refusal(server)
    assert status == 500
    assert "hold_until=2: after 0.01 s only 1 calls" in body["error"]["message"]


async def test_counts_connections():
    with FakeOpenAIServer() as server:
        async with aiohttp.ClientSession() as session:
            for _ in range(5):
                async with session.post(f"{server.url}/chat/completions", json=BODY) as response:
                    assert response.status == 200
        post(server)
    assert server.connections_opened == 2


def test_stops_at_once_while_a_request_hangs_and_connections_idle():
    arrived = threading.Event()

    def hang(body):
        arrived.set()
        return Fault.hang()

    errors = []

    def ask():
        try:
            post(server)
        except OSError as error:
            errors.append(error)

    server = FakeOpenAIServer(hang)
    server.__enter__()
    asking = threading.Thread(target=ask)
    asking.start()
    assert arrived.wait(30)
    stopping = threading.Thread(target=server.__exit__, args=(None, None, None))
    stopping.start()
    stopping.join(30)
    assert not stopping.is_alive(), "aiohttp waits a minute for requests in progress"
    asking.join(30)
    assert len(errors) == 1
