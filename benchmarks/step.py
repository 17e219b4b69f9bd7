"""A step of LLM agents, side by side: ours, mesa-llm 0.3.2, bare aiohttp, and one agent at a time.

    uv run python -m benchmarks.step [--quick]

Every agent asks twice. The server answers after a fixed time, in a process of its own; each contestant runs in a
process of its own too, and is asked for one cell (agents, latency) after another: a first step that does not count,
in which it imports and connects, and then some whose median does. mesa-llm 0.3.2 is called by hand, in an environment
of its own, since on this Mesa its patch never fires. Bare aiohttp posts the bodies that our agents have sent, and
nothing else, with no agents at all. One agent at a time is measured with ten agents.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.server import Seen, Server, running

CONTESTANTS = Path(__file__).parent / "contestants"
AGENTS = (10, 100, 1000)
LATENCIES_MS = (20, 200, 1000)
BARE, DIRECT, ALONE, THEIRS = "bare aiohttp", "ours, asyncio, direct", "one agent at a time", "mesa-llm 0.3.2, asyncio"
THEIR_ENVIRONMENT = ("uv", "run", "--quiet", "--isolated", "--no-project", "--with", "mesa-llm==0.3.2")
TEN = 10
"""How many agents are measured one at a time."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement.

    Attributes:
        contestant: who.
        agents: how many.
        latency_ms: how long the server takes.
        seconds: the median step.
        seen: what the server saw in all its steps, the first one included.
        steps: how many these were.
    """

    contestant: str
    agents: int
    latency_ms: int
    seconds: float
    seen: Seen
    steps: int

    @property
    def floor(self) -> float:
        """Two answers after each other, in seconds."""
        return 2 * self.latency_ms / 1e3


@contextmanager
def contestant(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A contestant's process while the `with` block runs."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as it:
        try:
            yield it
        finally:
            it.kill()


def measure(
    name: str, command: Sequence[str], server: Server, cells: Sequence[tuple[int, int]], *, steps: int
) -> Iterator[Cell]:
    """Measure a contestant.

    Args:
        name: who.
        command: runs it.
        server: whom it asks.
        cells: how many agents, and how many milliseconds an answer takes.
        steps: how many steps count.
    """
    with contestant(command) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for agents, latency_ms in cells:
            server.seen()
            task = {"url": server.url(latency_ms), "agents": agents, "steps": steps + 1}
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{name} has ended: {process.stderr.read() if process.stderr else ''}")
            seconds = json.loads(line)["seconds"]
            yield Cell(name, agents, latency_ms, statistics.median(seconds[1:]), server.seen(), steps + 1)


def ours(*arguments: str) -> list[str]:
    """The command of one of our contestants."""
    return [sys.executable, str(CONTESTANTS / "ours.py"), *arguments]


def run(*, quick: bool = False, steps: int = 3) -> list[Cell]:
    """Measure all.

    Args:
        quick: 10 agents at 20 ms, without mesa-llm and litellm, to see that everything works.
        steps: how many steps count.
    """
    cells = [(agents, latency) for latency in LATENCIES_MS for agents in AGENTS]
    if quick:
        cells = [(10, 20)]
    measured: list[Cell] = []
    with tempfile.TemporaryDirectory() as folder, running() as server:
        bodies = str(Path(folder) / "bodies.json")
        list(
            measure(
                "bodies", ours("asyncio", "direct", bodies), server, [(max(agents for agents, _ in cells), 20)], steps=1
            )
        )
        plan: list[tuple[str, list[str], list[tuple[int, int]]]] = [
            (BARE, [sys.executable, str(CONTESTANTS / "bare_aiohttp.py"), bodies], cells),
            (DIRECT, ours("asyncio", "direct"), cells),
            ("ours, threading, direct", ours("threading", "direct"), cells),
            (ALONE, ours("off", "direct"), [(TEN, latency) for latency in sorted({latency for _, latency in cells})]),
        ]
        if not quick:
            their = str(CONTESTANTS / "mesa_llm_032.py")
            plan += [
                ("ours, asyncio, litellm", ours("asyncio", "litellm"), cells),
                (THEIRS, [*THEIR_ENVIRONMENT, "python", their, "asyncio"], cells),
                (
                    "mesa-llm 0.3.2, threading",
                    [*THEIR_ENVIRONMENT, "python", their, "threading"],
                    [(10, 200), (100, 200)],
                ),
            ]
        for name, command, own in plan:
            for cell in measure(name, command, server, own, steps=1 if name in {ALONE} else steps):
                print(f"  {name}, {cell.agents} agents, {cell.latency_ms} ms: {cell.seconds:.3f} s", flush=True)
                measured.append(cell)
    return measured


def table(measured: Sequence[Cell]) -> str:
    """The cells as a table in Markdown, with ratios to bare aiohttp and to the floor."""
    bare = {(cell.agents, cell.latency_ms): cell.seconds for cell in measured if cell.contestant == BARE}
    lines = [
        "| contestant | agents | answer after | step | ÷ bare aiohttp | ÷ floor | calls | at once | connections |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for cell in sorted(measured, key=lambda cell: (cell.latency_ms, cell.agents)):
        if cell.contestant == ALONE:
            continue
        against = cell.seconds / bare[cell.agents, cell.latency_ms]
        lines.append(
            f"| {cell.contestant} | {cell.agents:,} | {cell.latency_ms} ms | {cell.seconds:.3f} s | {against:.2f} "
            f"| {cell.seconds / cell.floor:.2f} | {cell.seen.calls // cell.steps:,} | {cell.seen.peak:,} "
            f"| {cell.seen.connections:,} |"
        )
    for cell in measured:
        if cell.contestant == ALONE:
            hundred = cell.seconds / cell.agents * 100
            lines.append(
                f"| {ALONE} (from {cell.agents}) | 100 | {cell.latency_ms} ms | {hundred:.1f} s | | "
                f"{hundred / cell.floor:.0f} | | {cell.seen.peak} | |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(run(quick="--quick" in sys.argv)))
