"""A step of LLM agents, side by side: ours, mesa-llm 0.3.2, bare aiohttp, and one agent at a time.

    uv run python -m benchmarks.step [--quick]

Every agent asks twice. The server answers after a fixed time, in a process of its own; each contestant runs in a
process of its own too, and is asked for one cell (agents, latency) after another: a first step that does not count, in
which it imports and connects, and then some whose median does. mesa-llm 0.3.2 is called by hand, in an environment of
its own, since on this Mesa its patch never fires; with 1,000 agents only at 200 ms and for one step. Who is not done
after three minutes is not waited for. Bare aiohttp posts the bodies that our agents have sent, and nothing else, with
no agents at all. One agent at a time is measured with ten agents. The server counts the calls of a step, how many it
has at once, and the connections opened in all steps together, the first one included.
"""

from __future__ import annotations

import json
import os
import select
import signal
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
PATIENCE = 180.0
"""Seconds after which a contestant that has not come to the end of its steps is not waited for any longer."""


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
        is_done: whether it came to the end of them; if not, `seconds` is how long it was waited for.
    """

    contestant: str
    agents: int
    latency_ms: int
    seconds: float
    seen: Seen
    steps: int
    is_done: bool = True

    @property
    def floor(self) -> float:
        """Two answers after each other, in seconds."""
        return 2 * self.latency_ms / 1e3


@contextmanager
def contestant(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A contestant's process while the `with` block runs."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as it:
        try:
            yield it
        finally:
            os.killpg(it.pid, signal.SIGKILL)  # uv and what it runs


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
            if not select.select([process.stdout], [], [], PATIENCE)[0]:
                yield Cell(name, agents, latency_ms, PATIENCE, server.seen(), steps + 1, is_done=False)
                return
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
                (THEIRS, [*THEIR_ENVIRONMENT, "python", their, "asyncio"], [cell for cell in cells if cell[0] < 1000]),
                (
                    "mesa-llm 0.3.2, threading",
                    [*THEIR_ENVIRONMENT, "python", their, "threading"],
                    [(10, 200), (100, 200)],
                ),
            ]
            plan.append((THEIRS, [*THEIR_ENVIRONMENT, "python", their, "asyncio"], [(1000, 200)]))
        for name, command, own in plan:
            few = name == ALONE or (name == THEIRS and own[0][0] == 1000)
            for cell in measure(name, command, server, own, steps=1 if few else steps):
                print(f"  {name}, {cell.agents} agents, {cell.latency_ms} ms: {shown(cell)}", flush=True)
                measured.append(cell)
    return measured


def per_step(cell: Cell) -> float:
    """Seconds a step; of a contestant that has not come to the end, at least."""
    return cell.seconds if cell.is_done else cell.seconds / cell.steps


def shown(cell: Cell) -> str:
    """The time of a step."""
    return f"{cell.seconds:.3f} s" if cell.is_done else f"> {per_step(cell):.0f} s"


def summary(measured: Sequence[Cell]) -> list[str]:
    """What the ratios come to, a sentence each."""
    found = {(cell.contestant, cell.agents, cell.latency_ms): cell for cell in measured}
    sentences = []
    for latency_ms in LATENCIES_MS:
        ours, bare = found.get((DIRECT, 1000, latency_ms)), found.get((BARE, 1000, latency_ms))
        if ours is not None and bare is not None:
            sentences.append(
                f"1,000 agents, answers after {latency_ms} ms: {ours.seconds / bare.seconds:.2f} times as long as bare "
                "aiohttp takes for the same calls."
            )
    for agents in (100, 1000):
        ours, theirs = found.get((DIRECT, agents, 200)), found.get((THEIRS, agents, 200))
        if ours is not None:
            sentences.append(
                f"{agents:,} agents, answers after 200 ms: {ours.seconds / ours.floor:.2f} times the floor."
            )
        if ours is not None and theirs is not None:
            much = f"{'' if theirs.is_done else 'more than '}{per_step(theirs) / ours.seconds:.3g} times"
            sentences.append(f"{agents:,} agents, answers after 200 ms: mesa-llm 0.3.2 takes {much} as long.")
    return sentences


def table(measured: Sequence[Cell]) -> str:
    """The cells as tables in Markdown, one for each latency, with ratios to bare aiohttp and to the floor."""
    return "\n\n".join(
        f"{one_at_a_time(measured, latency_ms)}\n\n{_table_of(measured, latency_ms)}"
        for latency_ms in sorted({cell.latency_ms for cell in measured})
    )


def one_at_a_time(measured: Sequence[Cell], latency_ms: int) -> str:
    """The heading of a table, with what agents took one at a time, as many as were measured."""
    alone = [cell for cell in measured if (cell.contestant, cell.latency_ms) == (ALONE, latency_ms)]
    took = f"; one agent at a time, {alone[0].agents} agents take {alone[0].seconds:.2f} s a step" if alone else ""
    return f"Answers after {latency_ms} ms{took}:"


def _table_of(measured: Sequence[Cell], latency_ms: int) -> str:
    cells = [cell for cell in measured if cell.latency_ms == latency_ms and cell.contestant != ALONE]
    bare = {cell.agents: cell.seconds for cell in cells if cell.contestant == BARE}
    lines = [
        "| agents | contestant | step | ÷ bare | ÷ floor | calls | at once | opened |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for cell in sorted(cells, key=lambda cell: cell.agents):
        more, seconds = "" if cell.is_done else "> ", per_step(cell)
        name = cell.contestant.replace(" ", "\N{NO-BREAK SPACE}")
        lines.append(
            f"| {cell.agents:,} | {name} | {shown(cell)} | {more}{seconds / bare[cell.agents]:.2f} "
            f"| {more}{seconds / cell.floor:.2f} | {cell.seen.calls // cell.steps:,} | {cell.seen.peak:,} "
            f"| {cell.seen.connections:,} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(run(quick="--quick" in sys.argv)))
