"""A model server on the loopback that does next to nothing, in a process of its own.

Its address says how long it takes: `http://127.0.0.1:PORT/200/v1` answers after 200 ms. It counts calls, how many are
in flight, and connections.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from weakref import WeakSet

from aiohttp import web

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "fake",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Thought 1: It is quiet here. Action: I stay where I am."},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 400, "completion_tokens": 16, "total_tokens": 416},
    }
).encode()


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server has seen since it was last asked.

    Attributes:
        calls: calls.
        peak: the most that were in flight at once.
        connections: connections on which there were calls, and had not been any before.
    """

    calls: int
    peak: int
    connections: int


@dataclass(frozen=True, slots=True)
class Server:
    """The server, from the outside.

    Attributes:
        port: where it listens.
    """

    port: int
    _pipe: Connection

    def url(self, latency_ms: int) -> str:
        """The base URL at which it answers after so many milliseconds."""
        return f"http://127.0.0.1:{self.port}/{latency_ms}/v1"

    def seen(self) -> Seen:
        """What it has seen since this was last called."""
        self._pipe.send("seen")
        seen: Seen = self._pipe.recv()
        return seen


@contextmanager
def running() -> Iterator[Server]:
    """The server while the `with` block runs."""
    pipe, far_end = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(far_end,), daemon=True)
    process.start()
    far_end.close()  # so that a server that could not start is an end of file here, not a wait without end
    try:
        yield Server(pipe.recv(), pipe)
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Connection) -> None:
    asyncio.run(_run(pipe))


async def _run(pipe: Connection) -> None:
    calls = in_flight = peak = connections = 0
    known: WeakSet[asyncio.BaseTransport] = WeakSet()

    async def answer(request: web.Request) -> web.Response:
        nonlocal calls, in_flight, peak, connections
        calls, in_flight = calls + 1, in_flight + 1
        peak = max(peak, in_flight)
        if request.transport is not None and request.transport not in known:
            known.add(request.transport)
            connections += 1
        await request.read()
        await asyncio.sleep(int(request.match_info["latency"]) / 1000)
        in_flight -= 1
        return web.Response(body=ANSWER, content_type="application/json")

    def tell() -> None:
        nonlocal calls, peak, connections
        pipe.recv()
        pipe.send(Seen(calls, peak, connections))
        calls = peak = connections = 0

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/{latency}/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=600)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    asyncio.get_running_loop().add_reader(pipe.fileno(), tell)
    pipe.send(site._server.sockets[0].getsockname()[1])  # type: ignore[union-attr]
    await asyncio.Event().wait()
