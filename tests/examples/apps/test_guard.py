"""An app answers its own page only: other hosts, other origins and browsers without its token are refused."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

pytest.importorskip("solara", reason="the extra `app` is not installed")

from helpers.handshake import answer, handshake
from starlette.applications import Starlette

from mesa_llm_examples.apps.guard import Guard, is_loopback, protect
from mesa_llm_examples.apps.serving import app_files

OWN = "127.0.0.1:8765"
LAN = "192.168.1.5"


async def inside(scope, receive, send):
    """An app that lets everything in."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"the page"})


def sent(guard, kind="http", headers=(), *, server=("127.0.0.1", 8765), query=""):
    """What a guard answers to a request, as ASGI messages."""
    messages = []

    async def send(message):
        messages.append(message)

    async def receive():
        return {"type": f"{kind}.connect"}

    scope = {
        "type": kind,
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "server": server,
    }
    asyncio.run(guard(scope, receive, send))
    return messages


def refuses(guard, headers, **scope):
    """Whether a guard refuses a page and a WebSocket: both or neither."""
    page = sent(guard, "http", headers, **scope)[0]["status"] == 403
    socket = sent(guard, "websocket", headers, **scope)[0]["type"] == "websocket.close"
    assert page is socket
    return page


def headers_of(message):
    return {name.decode(): value.decode() for name, value in message["headers"]}


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": OWN},
        {"Host": OWN, "Origin": f"http://{OWN}"},
        {"Host": "localhost:8765", "Origin": "http://localhost:8765"},
        {"Host": "LOCALHOST:8765", "Origin": "http://localhost:8765"},
        {"Host": "[::1]:8765", "Origin": "http://[::1]:8765"},
        {"Host": "localhost:9000", "Origin": "http://localhost:9000"},  # forwarded by ssh
        {"Host": "lab.example", "Origin": "https://lab.example"},  # allowed, by way of a proxy
    ],
)
def test_the_own_page_is_served(headers):
    assert not refuses(Guard(inside, hosts=["lab.example"]), headers.items())


@pytest.mark.parametrize(
    "headers",
    [
        [("Host", OWN), ("Origin", "http://evil.example")],
        [("Host", OWN), ("Origin", "null")],
        [("Host", OWN), ("Origin", "")],
        [("Host", OWN), ("Origin", "http://127.0.0.1:3000")],  # another app on this machine
        [("Host", OWN), ("Origin", "http://localhost:8765")],
        [("Host", OWN), ("Origin", f"http://{OWN}"), ("Origin", "http://evil.example")],
        [("Host", OWN), ("Origin", f"http://{OWN}.evil.example")],
        [("Host", OWN), ("Origin", f"http://{OWN}@evil.example")],
        [("Host", "evil.example:8765"), ("Origin", "http://evil.example:8765")],  # DNS rebinding
        [("Host", "evil.example:8765")],
        [("Host", "localhost.evil.example")],
        [("Host", f"{LAN}:8765")],
        [("Host", OWN), ("Host", "evil.example")],
        [("Host", "[")],
        [("Host", "")],
        [],
    ],
)
def test_what_is_refused(headers):
    assert refuses(Guard(inside), headers)


@pytest.mark.parametrize(
    ("host", "origin", "refused"),
    [
        (f"{LAN}:8765", f"http://{LAN}:8765", False),
        ("lab.example:8765", "http://lab.example:8765", False),
        ("localhost:8765", "http://localhost:8765", True),
        ("evil.example:8765", "http://evil.example:8765", True),
    ],
)
def test_elsewhere_than_on_the_loopback_the_address_of_the_connection_counts(host, origin, refused):
    guard = Guard(inside, hosts=["lab.example"])
    assert refuses(guard, [("Host", host), ("Origin", origin)], server=(LAN, 8765)) is refused


def test_a_refusal_says_what_helps():
    start, body = sent(Guard(inside), headers=[("Host", "evil.example")])
    assert start["status"] == 403
    assert "--allow-host NAME" in body["body"].decode()


def test_the_page_cannot_be_framed_by_another():
    assert headers_of(sent(Guard(inside), headers=[("Host", OWN)])[0]) == {
        "content-security-policy": "frame-ancestors 'self'"
    }


def test_a_token_is_shown_once_and_then_in_a_cookie():
    guard = Guard(inside, token="secret")
    own = [("Host", OWN)]
    assert refuses(guard, own)
    assert refuses(guard, own, query="token=wrong")
    assert refuses(guard, own, query="token=")
    start = sent(guard, headers=own, query="a=1&token=secret")[0]
    headers = headers_of(start)
    assert (start["status"], headers["location"]) == (303, f"http://{OWN}/?a=1")
    assert "HttpOnly" in headers["set-cookie"]
    cookie = headers["set-cookie"].partition(";")[0]
    assert not refuses(guard, [*own, ("Cookie", cookie)])
    assert refuses(guard, [*own, ("Cookie", cookie.replace("8765", "8766"))])
    assert refuses(guard, [*own, ("Cookie", cookie), ("Origin", "http://evil.example")])
    assert sent(guard, "websocket", own, query="token=secret") == [{"type": "websocket.accept"}]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True), ("127.0.0.1", True), ("127.0.0.2", True), ("::1", True),
        ("0.0.0.0", False), ("::", False), (LAN, False), ("lab.example", False), ("", False),
    ],
)  # fmt: skip
def test_which_addresses_are_on_this_machine_only(host, loopback):
    assert is_loopback(host) is loopback


def test_a_server_is_guarded_once():
    app = Starlette()
    protect(app, token="first")
    guard = app.middleware_stack
    protect(app)
    assert app.middleware_stack is guard


@contextmanager
def running(*command, **variables):
    """A server in a process of its own: gives its address, and what stands in the printed one after it."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "SOLARA_TELEMETRY_MIXPANEL_ENABLE": "False"} | variables
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            for line in process.stdout:
                found = re.search(r"is at (\S+)|Solara is ready at (\S+)", line)
                if found:
                    yield urlsplit(found[1] or found[2])
                    break
            else:
                pytest.fail("The server has not started.")
        finally:
            process.send_signal(signal.SIGKILL)


READY = """
import asyncio, sys, solara.__main__, uvicorn

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(f"Solara is ready at http://127.0.0.1:{self.config.port}/", flush=True)

uvicorn.Server = Server
solara.__main__.cli()
"""
"""`solara run`, which says when it listens."""

FILE = str(app_files()["opinion"])
SERVERS = {
    "the command": (sys.executable, "-m", "mesa_llm_examples", "app", "opinion", "--no-open", "--port", "0"),
    "solara run": (
        sys.executable, "-c", READY, "run", "--no-check-version", "--production", "--no-open", "--port", "0", FILE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("server", SERVERS)
def test_a_running_app_refuses_other_pages(server):
    with running(*SERVERS[server], MESA_LLM_APP_ALLOW_HOST="lab.example") as url:
        address, own = (url.hostname, url.port), url.netloc
        assert answer(address).status == 200
        assert handshake(address) == 101
        assert handshake(address, Origin=f"http://{own}") == 101
        local = f"localhost:{url.port}"
        assert handshake(address, Host=local, Origin=f"http://{local}") == 101
        assert handshake(address, Host="lab.example", Origin="https://lab.example") == 101
        assert answer(address, Origin="http://evil.example").status == 403
        assert handshake(address, Origin="http://evil.example") == 403
        assert answer(address, Host="evil.example").status == 403
        assert handshake(address, Host="evil.example", Origin="http://evil.example") == 403


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
def test_where_other_machines_can_connect_a_token_is_needed(server):
    with running(*SERVERS[server], "--host", "0.0.0.0", MESA_LLM_APP_TOKEN="secret") as url:
        address = (url.hostname, url.port)
        assert url.query == ("token=secret" if server == "the command" else "")
        assert answer(address).status == 403
        assert handshake(address) == 403
        shown = answer(address, "/?token=secret")
        assert shown.status == 303
        cookie = shown.headers["Set-Cookie"].partition(";")[0]
        assert answer(address, Cookie=cookie).status == 200
        assert handshake(address, Cookie=cookie, Origin=f"http://{url.netloc}") == 101
        assert handshake(address, Cookie=cookie, Origin="http://evil.example") == 403
