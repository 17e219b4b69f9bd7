"""The limit: `bare_aiohttp.py FILE` posts the bodies of a file, two after each other an agent, and nothing else.

The FILE is what `ours.py` has kept.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp


async def run(bodies: list[dict[str, Any]]) -> None:
    """Answer lines of standard input."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(url: str, number: int) -> None:
            for body in (bodies[number % len(bodies)], bodies[-1 - number % len(bodies)]):
                async with session.post(f"{url}/chat/completions", json=body) as answer:
                    assert (await answer.json())["choices"][0]["message"]["content"]

        for line in sys.stdin:
            task = json.loads(line)
            seconds = []
            for _ in range(task["steps"]):
                started = time.perf_counter()
                await asyncio.gather(*(ask(task["url"], number) for number in range(task["agents"])))
                seconds.append(time.perf_counter() - started)
            print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    asyncio.run(run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
