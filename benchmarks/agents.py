"""What agents cost before any model is asked: to build, to keep, and to let look around.

    uv run python -m benchmarks.agents [agents] [repeats]

Building: as many `LLMAgent`s as plain Mesa agents, in one client's care; the difference is ours. Looking: one
observation on grids that are equally crowded and grow, for several visions, with a property layer and without. The cost
is to follow the neighbours, so the columns of a row should be alike, but for the processor's caches. Each round times
everything, in turn, so that a noisy machine is noisy for all; the tables give medians.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable

import mesa
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid

from mesa_llm.llm_agent import LLMAgent
from mesa_llm.module_llm import connect
from mesa_llm.reasoning import CoTReasoning

SIDES = (20, 100, 300)
VISIONS = (1, 2, 3, 4, 5)
CROWD = 0.3
OBSERVERS = 100


class Walker(LLMAgent, CellAgent):
    """An LLM agent in a cell."""


def build_plain(model: mesa.Model) -> mesa.Agent:
    """A plain Mesa agent."""
    return mesa.Agent(model)


def build_ours(model: mesa.Model) -> mesa.Agent:
    """An LLM agent, as a model would build it."""
    return LLMAgent(
        model,
        CoTReasoning,
        "openai/gpt-4o-mini",
        system_prompt="You are a citizen of a town.",
        vision=2,
        internal_state={"mood": "calm", "wealth": 3, "_secret": 1},
        step_prompt="What do you do?",
        client=CLIENT,
    )


CLIENT = connect()


def seconds_to_build(build: Callable[[mesa.Model], mesa.Agent], n: int) -> float:
    """How long a model of `n` agents takes to build."""
    model = mesa.Model(rng=1)
    gc.collect()
    started = time.perf_counter()
    for _ in range(n):
        build(model)
    return time.perf_counter() - started


def bytes_per_agent(build: Callable[[mesa.Model], mesa.Agent], n: int) -> float:
    """What an agent of `n` takes in Python's memory."""
    model = mesa.Model(rng=1)
    build(model)
    gc.collect()
    tracemalloc.start()
    for _ in range(n):
        build(model)
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken / n


class Town(mesa.Model):
    """A crowded grid."""

    def __init__(self, side: int, *, layer: bool) -> None:
        super().__init__(rng=1)
        self.grid = OrthogonalMooreGrid((side, side), torus=True, capacity=1, random=self.random)
        if layer:
            self.grid.create_property_layer("sugar", default_value=1, dtype=int)
        for cell in self.random.sample(list(self.grid.all_cells), int(CROWD * side * side)):
            walker = Walker(self, CoTReasoning, client=CLIENT, internal_state={"mood": "calm", "wealth": 3})
            walker.cell = cell

    def seconds_to_look(self, vision: int) -> float:
        """How long an agent takes to observe, on average over some of them; the prompt's text included."""
        observers = self.random.sample(list(self.agents), OBSERVERS)
        for observer in observers:
            observer.vision = vision
        started = time.perf_counter()
        for observer in observers:
            observer.generate_obs().as_json()
        return (time.perf_counter() - started) / OBSERVERS


def main(n: int = 10_000, repeats: int = 9) -> None:
    """Measure and print."""
    print(f"Median of {repeats} rounds; Python {sys.version.split()[0]}, Mesa {mesa.__version__}\n")
    rounds = [(seconds_to_build(build_ours, n), seconds_to_build(build_plain, n)) for _ in range(repeats)]
    ours, plain = (statistics.median(column) for column in zip(*rounds, strict=True))
    kept, kept_plain = bytes_per_agent(build_ours, n), bytes_per_agent(build_plain, n)
    print(f"{n} agents{'ours':>16}{'Mesa':>12}{'difference':>14}")
    print(f"{'to build':<16}{ours:>8.3f} s{plain:>10.3f} s{ours - plain:>12.3f} s")
    print(f"{'each keeps':<16}{kept / 1e3:>7.2f} KB{kept_plain / 1e3:>9.2f} KB{(kept - kept_plain) / 1e3:>11.2f} KB\n")
    for layer in (False, True):
        towns = [Town(side, layer=layer) for side in SIDES]
        heads = "".join(f"{f'{side} x {side}':>14}" for side in SIDES)
        print(f"{'one look, with a layer' if layer else 'one look':<24}{heads}{'largest / smallest':>22}")
        for vision in VISIONS:
            looks = [[town.seconds_to_look(vision) for town in towns] for _ in range(repeats)]
            medians = [statistics.median(column) for column in zip(*looks, strict=True)]
            ratio = statistics.median(largest / smallest for smallest, *_, largest in looks)
            columns = "".join(f"{median * 1e6:>11.0f} us" for median in medians)
            print(f"{f'vision {vision}':<24}{columns}{ratio:>22.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
