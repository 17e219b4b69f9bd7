"""What the journal costs while a run is recorded, and how fast a run is replayed.

    uv run python -m benchmarks.journal [agents] [steps] [rounds]

Citizens and cops decide by the offline policy, which answers after 20 ms: recorded, and not recorded, in turn, so that
a noisy machine is noisy for both. First call by call, one after the other; then in steps, in which all are asked at the
same time, so that what takes time is mostly the making of prompts, and the writing of all of them. Then the same run is
replayed without any latency, beside a run in which a client answers at once from memory: what is left is the time of
the engine, the agents and their prompts. Last, the same requests are recorded and replayed without agents.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import tempfile
import time
from pathlib import Path

from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse, RuleBasedClient
from mesa_llm.clients.messages import request_key
from mesa_llm.journal import Journal, JournaledClient
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm_examples.civil_violence import CivilViolence, policy

LATENCY = 0.02


class FromMemory(AsyncClient):
    """Answers at once: what it has been told before, by the request."""

    def __init__(self, inner: LLMClient) -> None:
        self.inner = inner
        self.answers: dict[str, LLMResponse] = {}

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer a request. Runs on the transport loop."""
        key = request_key(request)
        if key not in self.answers:
            self.answers[key] = await self.inner.agenerate(request)
        return self.answers[key]


def seconds_of(client: LLMClient, agents: int, steps: int) -> float:
    """How long a run takes, without making the model."""
    model = CivilViolence(agents * 5 // 6, agents - agents * 5 // 6, seed=1, client=client)
    started = time.perf_counter()
    for _ in range(steps):
        model.step()
    return time.perf_counter() - started


class Keeps(AsyncClient):
    """Keeps what it is asked."""

    def __init__(self, inner: LLMClient) -> None:
        self.inner = inner
        self.requests: list[LLMRequest] = []

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer a request. Runs on the transport loop."""
        self.requests.append(request)
        return await self.inner.agenerate(request)


def calls_per_second(client: LLMClient, requests: list[LLMRequest]) -> float:
    """How many of these a client answers in a second, all at once."""

    async def ask() -> None:
        await asyncio.gather(*map(client.agenerate, requests))

    started = time.perf_counter()
    asyncio.run(ask())
    return len(requests) / (time.perf_counter() - started)


def seconds_one_by_one(client: LLMClient, requests: list[LLMRequest]) -> float:
    """How long these calls take, one after the other."""

    async def ask() -> None:
        for request in requests:
            await client.agenerate(request)

    started = time.perf_counter()
    asyncio.run(ask())
    return time.perf_counter() - started


def main(agents: int = 72, steps: int = 10, rounds: int = 5) -> None:
    """Measure and print."""
    gc.freeze()  # as the command line of the examples does
    enable_automatic_parallel_stepping()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.db"
        bare = RuleBasedClient(policy, latency=LATENCY)
        memory = FromMemory(RuleBasedClient(policy))
        seconds_of(memory, agents, steps)
        keeps = Keeps(RuleBasedClient(policy))
        seconds_of(keeps, agents, steps)
        few = keeps.requests[:20]
        per_call, ratios, replayed, remembered, size = [], [], [], [], 0.0
        for _ in range(rounds):
            with JournaledClient(bare, Path(folder) / "calls.db") as client:
                per_call.append(seconds_one_by_one(client, few) / seconds_one_by_one(bare, few))
            without = seconds_of(bare, agents, steps)
            with JournaledClient(bare, path) as client:
                ratios.append(seconds_of(client, agents, steps) / without)
            with JournaledClient(None, path, mode="replay") as client:
                replayed.append(seconds_of(client, agents, steps))
                calls = client.replayed
            size = size or path.stat().st_size / calls  # of the first run: the others ask the same
            remembered.append(seconds_of(memory, agents, steps))
        with JournaledClient(keeps.inner, path) as client:
            recorded_alone = calls_per_second(client, keeps.requests)
        with JournaledClient(None, path, mode="replay") as client:
            replayed_alone = calls_per_second(client, keeps.requests)
        asked = sum(len(str(call.request)) for call in Journal(path).calls()) / calls
    print(f"civil violence, {agents} agents, {steps} steps, {calls} calls a run, median of {rounds} rounds")
    at = f"recorded / not recorded, at {LATENCY * 1e3:.0f} ms:"
    print(f"{at} {statistics.median(per_call):.3f} call by call, {statistics.median(ratios):.3f} in steps")
    print(f"replayed                          {calls / statistics.median(replayed):,.0f} calls/s")
    print(f"answered from memory              {calls / statistics.median(remembered):,.0f} calls/s")
    print(f"without agents                    {replayed_alone:,.0f} calls/s (recorded: {recorded_alone:,.0f})")
    print(f"in the file                       {size:,.0f} bytes a call (a request alone is {asked:,.0f} characters)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
