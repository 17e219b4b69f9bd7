"""What the engine costs by itself: agents that do nothing, stepped by us, by bare asyncio tasks, and by Mesa.

    uv run python -m benchmarks.engine [agents …]

Three kinds of agents: one whose `astep` returns at once; one that waits for its turn, as all do that decide; and one
that also waits for something else before, as for an answer (here one pass of the event loop). The peers do the same
without turns. Each round times all of them, in turn, so that a noisy machine is noisy for all; the table gives the
medians.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable

import mesa

from mesa_llm.parallel_stepping import (
    disable_automatic_parallel_stepping,
    enable_automatic_parallel_stepping,
    my_turn,
)

SIZES = (100, 1_000, 10_000, 100_000)


class Returns(mesa.Agent):
    """Does nothing."""

    def step(self) -> None:
        """Return."""

    async def astep(self) -> None:
        """Return."""


class TakesTurn(mesa.Agent):
    """Waits for its turn; bare tasks pass the event loop once instead."""

    async def astep(self) -> None:
        """Wait for the turn."""
        await my_turn()

    async def bare(self) -> None:
        """Wait for one pass of the event loop."""
        await asyncio.sleep(0)


class WaitsAndTakesTurn(mesa.Agent):
    """Waits for something, then for its turn; bare tasks pass the event loop twice."""

    async def astep(self) -> None:
        """Wait for one pass of the event loop, then for the turn."""
        await asyncio.sleep(0)
        await my_turn()

    async def bare(self) -> None:
        """Wait for two passes of the event loop."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)


class Crowd(mesa.Model):
    """Agents of one class."""

    def __init__(self, agent_class: type[mesa.Agent], n: int) -> None:
        super().__init__(rng=1)
        self.parallel_stepping = True
        agent_class.create_agents(self, n)


def ours(model: Crowd) -> None:
    """A parallel step."""
    enable_automatic_parallel_stepping()
    model.agents.shuffle_do("step")
    disable_automatic_parallel_stepping()


def bare_tasks(model: Crowd) -> None:
    """One task an agent in a TaskGroup, in shuffled order."""

    async def run() -> None:
        agents = list(model.agents)
        model.random.shuffle(agents)
        async with asyncio.TaskGroup() as group:
            for agent in agents:
                group.create_task(getattr(agent, "bare", agent.astep)())

    asyncio.run(run())


def mesa_alone(model: Crowd) -> None:
    """Mesa's own step, one agent after the other."""
    model.agents.shuffle_do("step")


def seconds(step: Callable[[Crowd], None], model: Crowd) -> float:
    """How long one step takes."""
    started = time.perf_counter()
    step(model)
    return time.perf_counter() - started


def main(*sizes: int) -> None:
    """Measure and print, for each number of agents."""
    print(f"Medians; microseconds an agent. Python {sys.version.split()[0]}, Mesa {mesa.__version__}")
    print(f"{'agents':<27}{'ours':>10}{'tasks':>10}{'Mesa':>10}{'ours / tasks':>15}")
    for n in sizes or SIZES:
        measure(n, repeats=max(3, min(21, 60_000 // n)))


def measure(n: int, repeats: int) -> None:
    """Measure and print.

    Args:
        n: how many agents.
        repeats: how many rounds.
    """
    for agent_class in (Returns, TakesTurn, WaitsAndTakesTurn):
        model = Crowd(agent_class, n)
        steps = (ours, bare_tasks, mesa_alone)
        for step in steps:
            step(model)
        rounds = [[seconds(step, model) for step in steps] for _ in range(repeats)]
        our_s, tasks_s, mesa_s = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratio = statistics.median(ours_ / tasks for ours_, tasks, _ in rounds)
        print(
            f"{n:>7,} {agent_class.__name__:<19}{our_s / n * 1e6:>10.1f}{tasks_s / n * 1e6:>10.1f}"
            f"{mesa_s / n * 1e6:>10.1f}{ratio:>15.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
