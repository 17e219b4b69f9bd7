"""What a call costs: the direct transport and litellm, beside bare aiohttp posting the same JSON.

    uv run python -m benchmarks.transport [calls in flight] [rounds]

The server runs in a process of its own. Each round asks through all in turn, all calls at once, so that a noisy machine
is noisy for all; the table gives medians of the CPU time of this process per call, in all its threads. Bare
aiohttp asks on one event loop; "prepared" is the least that it can cost, with the JSON written before and the answer's
not read. The clients are asked as agents ask: on a loop of the caller's, while the connections belong to the transport
loop in another thread. Before that, 50 steps of 50 calls: the connections opened must not grow.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

import aiohttp

from mesa_llm.clients import DirectClient, LiteLLMClient, LLMClient, LLMRequest, Message, ToolSpec
from mesa_llm.testing import FakeOpenAIServer

LATENCY = 0.05  # seconds
DIRECTION = {"type": "string", "enum": ["north", "east", "south", "west"], "description": "where to"}
TOOLS = tuple(
    ToolSpec(
        name, f"{name.capitalize()} by one cell, if it is free.", {"type": "object", "properties": {"to": DIRECTION}}
    )
    for name in ("move", "push", "look")
)
REQUEST = LLMRequest(
    model="hosted_vllm/fake",
    messages=(
        Message("system", "You are a citizen of a city. " * 40),
        Message("user", "You see cops and citizens around you. What do you do? " * 30),
    ),
    tools=TOOLS,
    tool_choice="auto",
    options={"temperature": 0.7, "seed": 1},
)


def serve(pipe: Connection) -> None:
    """Run the server; answers whatever comes through the pipe with the number of connections opened."""
    with FakeOpenAIServer("I stay where I am. " * 20, latency=LATENCY) as server:
        pipe.send(server.url)
        while pipe.recv() is not None:
            pipe.send(server.connections_opened)
            server.requests.clear()


type Round = Callable[[int], Awaitable[None]]


def through(client: LLMClient) -> Round:
    """Calls through a client."""

    async def ask(calls: int) -> None:
        await asyncio.gather(*(client.agenerate(REQUEST) for _ in range(calls)))

    return ask


def through_bare_aiohttp(url: str, session: aiohttp.ClientSession) -> Round:
    """Calls that post the same JSON, and read the answer's."""
    body = REQUEST.as_dict() | {"model": "fake"}

    async def post() -> None:
        async with session.post(f"{url}/chat/completions", json=body) as answer:
            assert (await answer.json())["choices"][0]["message"]["content"]

    async def ask(calls: int) -> None:
        await asyncio.gather(*(post() for _ in range(calls)))

    return ask


def through_prepared_aiohttp(url: str, session: aiohttp.ClientSession) -> Round:
    """Calls that post bytes, and read the answer's."""
    body = json.dumps(REQUEST.as_dict() | {"model": "fake"}).encode()
    headers = {"Content-Type": "application/json"}

    async def post() -> None:
        async with session.post(f"{url}/chat/completions", data=body, headers=headers) as answer:
            await answer.read()

    async def ask(calls: int) -> None:
        await asyncio.gather(*(post() for _ in range(calls)))

    return ask


async def milliseconds(ask: Round, calls: int) -> float:
    """CPU time per call."""
    started = time.process_time()
    await ask(calls)
    return (time.process_time() - started) / calls * 1e3


async def compare(url: str, calls: int, rounds: int) -> None:
    """Measure and print what a call costs."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        bare, prepared = through_bare_aiohttp(url, session), through_prepared_aiohttp(url, session)
        direct, litellm = through(DirectClient(api_base=url)), through(LiteLLMClient(api_base=url))
        measured = {"bare aiohttp": bare, "aiohttp prepared": prepared, "DirectClient": direct}
        columns = await in_turn(list(measured.values()), calls, rounds)
        # By itself and last: it goes on working after its calls have ended.
        columns += await in_turn([litellm], calls, rounds)
    for name, column in zip([*measured, "LiteLLMClient"], columns, strict=True):
        mine, bare_ms, prepared_ms = (statistics.median(each) for each in (column, columns[0], columns[1]))
        print(f"{name:<18}{mine:>8.3f} ms/call{mine / bare_ms:>8.2f} x bare{mine / prepared_ms:>8.2f} x prepared")


async def in_turn(peers: list[Round], calls: int, rounds: int) -> list[list[float]]:
    """What each costs, round by round."""
    for ask in peers:
        await ask(calls)  # imports, and opens the connections
    measured = [[await milliseconds(ask, calls) for ask in peers] for _ in range(rounds)]
    return [list(column) for column in zip(*measured, strict=True)]


def main(calls: int = 300, rounds: int = 9) -> None:
    """Measure and print."""
    pipe, far_end = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(far_end,), daemon=True)
    server.start()
    url = pipe.recv()

    def connections() -> int:
        pipe.send("how many")
        opened: int = pipe.recv()
        return opened

    print(f"{calls} calls in flight, median of {rounds} rounds; Python {sys.version.split()[0]}")
    client, before = DirectClient(api_base=url), connections()
    opened = []
    for _ in range(50):
        asyncio.run(through(client)(50))
        opened.append(connections() - before)
    print(
        f"DirectClient: connections opened by 50 steps of 50 calls: {opened[0]} after the first, {opened[-1]} after all"
    )
    asyncio.run(compare(url, calls, rounds))
    pipe.send(None)
    server.join()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
