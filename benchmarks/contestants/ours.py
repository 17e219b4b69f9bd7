"""Ours: `ours.py asyncio|threading|off direct|litellm [file for the bodies]`."""

from __future__ import annotations

import gc
import json
import sys
import time

from mesa import Model

from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import ShortTermMemory
from mesa_llm.module_llm import connect
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.reasoning import CoTReasoning

PERSONA = "You are a citizen of a city. " * 20
PROMPT = "You see cops and citizens around you. What do you do?"


class Keeps(AsyncClient):
    """Keeps the bodies of what is asked."""

    def __init__(self, inner: LLMClient) -> None:
        self.inner = inner
        self.bodies: list[dict[str, object]] = []

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer a request. Runs on the transport loop."""
        self.bodies.append(request.as_dict() | {"model": "fake"})
        return await self.inner.agenerate(request)


class City(Model):
    """As many agents as are wanted."""

    def __init__(self, agents: int, client: LLMClient, *, parallel: bool) -> None:
        super().__init__(rng=1)
        self.parallel_stepping = parallel
        for _ in range(agents):
            LLMAgent(
                self,
                CoTReasoning,
                "openai/fake",
                system_prompt=PERSONA,
                step_prompt=PROMPT,
                vision=0,
                client=client,
                memory=ShortTermMemory,  # two calls a step, however many steps
            )

    def step(self) -> None:
        """Step all."""
        self.agents.shuffle_do("step")


def main(mode: str, transport: str, bodies: str | None = None) -> None:
    """Answer lines of standard input."""
    if mode != "off":
        enable_automatic_parallel_stepping(mode)  # type: ignore[arg-type]
    clients: dict[str, LLMClient] = {}
    for line in sys.stdin:
        task = json.loads(line)
        url = task["url"]
        if url not in clients:
            clients[url] = connect(api_base=url, api_key="none", transport=transport, max_concurrency=None)  # type: ignore[arg-type]
        client = Keeps(clients[url]) if bodies else clients[url]
        city = City(task["agents"], client, parallel=mode != "off")
        gc.collect()
        seconds = []
        for _ in range(task["steps"]):
            started = time.perf_counter()
            city.step()
            seconds.append(time.perf_counter() - started)
        if bodies and isinstance(client, Keeps):
            with open(bodies, "w", encoding="utf-8") as stream:
                json.dump(client.bodies[: 2 * task["agents"]], stream)
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
