"""What an import takes, and the first decision after it, each in a process of its own.

    uv run python -m benchmarks.imports [rounds] [0: without mesa-llm 0.3.2]

The import of `mesa_llm.parallel_stepping` is timed after that of Mesa, which takes most of the time. "First decision":
from the start of the process to the end of a step of one agent on a server that answers at once; mesa-llm 0.3.2 in an
environment of its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.server import running
from benchmarks.step import CONTESTANTS, THEIR_ENVIRONMENT, ours

BEYOND_MESA = """
import time
began = time.perf_counter()
import mesa
started = time.perf_counter()
import mesa_llm.parallel_stepping
print(time.perf_counter() - started, started - began)
"""


def beyond_mesa() -> tuple[float, float]:
    """Seconds that our import takes when Mesa has been imported, and those that Mesa's takes."""
    result = subprocess.run([sys.executable, "-c", BEYOND_MESA], capture_output=True, text=True, check=True)
    ours_s, mesa_s = map(float, result.stdout.split())
    return ours_s, mesa_s


def first_decision(command: Sequence[str], url: str) -> float:
    """Seconds from the start of a contestant to the end of its first step, of one agent."""
    task = json.dumps({"url": url, "agents": 1, "steps": 1}) + "\n"
    started = time.perf_counter()
    subprocess.run(command, input=task, capture_output=True, text=True, check=True)
    return time.perf_counter() - started


def main(rounds: int = 5, theirs: int = 1) -> None:
    """Measure and print.

    Args:
        rounds: of how many the median is given.
        theirs: 0 to leave out mesa-llm 0.3.2.
    """
    their = [*THEIR_ENVIRONMENT, "python", str(CONTESTANTS / "mesa_llm_032.py"), "asyncio"]
    contestants = {"ours, direct": ours("asyncio", "direct"), "ours, litellm": ours("asyncio", "litellm")}
    if theirs:
        contestants["mesa-llm 0.3.2"] = their
    with running() as server:
        url = server.url(0)
        for command in contestants.values():
            first_decision(command, url)  # makes the environment, and fills the disk's cache
        imports = [beyond_mesa() for _ in range(2 * rounds - 1)]
        ours_s, mesa_s = map(statistics.median, zip(*imports, strict=True))
        print(f"import mesa_llm.parallel_stepping, after import mesa: {ours_s:.3f} s (import mesa: {mesa_s:.3f} s)")
        for name, command in contestants.items():
            seconds = statistics.median([first_decision(command, url) for _ in range(rounds)])
            print(f"first decision, {name:<16}{seconds:>8.2f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
