"""Whether a long run leaves anything behind: memory, threads, sockets after 100, 200, ... steps of 20 agents.

    uv run python -m benchmarks.long_run [steps] [agents]

Agents ask twice a step, on a server in a process of its own, over the direct transport. The memory is what the process
has resident; it grows until the agents' memories are full, which is after a few steps.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import threading
from pathlib import Path

from benchmarks.contestants.ours import City
from benchmarks.server import running
from mesa_llm.module_llm import connect
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping


def resident_mb() -> float:
    """The memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main(steps: int = 500, agents: int = 20) -> None:
    """Measure and print."""
    enable_automatic_parallel_stepping()
    with running() as server:
        city = City(agents, connect(api_base=server.url(1), api_key="none", transport="direct"), parallel=True)
        print(f"{'steps':>6}{'memory':>12}{'threads':>9}{'files':>7}{'connections':>13}")
        connections = 0
        for step in range(1, steps + 1):
            city.step()
            if step == 10 or step % (steps // 5) == 0:
                gc.collect()
                connections += server.seen().connections
                files = len(os.listdir("/proc/self/fd"))
                print(f"{step:>6}{resident_mb():>9.1f} MB{threading.active_count():>9}{files:>7}{connections:>13}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
