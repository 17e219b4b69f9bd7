"""Draws how long a step takes for 1 to 1000 agents: all at once, one at a time, and the slowest answer alone.

uv run python docs/figures/speedup.py
"""

from __future__ import annotations

import time
from statistics import median

import matplotlib as mpl
from matplotlib.figure import Figure
from mesa import Model
from pictures import ACTS, ALONE, ASKS, FASTEST, INK, SLOWEST, STYLE, save, seconds_until

from mesa_llm.clients import LLMRequest, RuleBasedClient
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.reasoning import OneCallReasoning

SIZES = (1, 3, 10, 30, 100, 300, 1000)
LONGEST_ALONE = 30
"""With more agents, one at a time is not run, as that takes minutes: what the same answers take, added up, is drawn."""
REPEATS = 3


class Timed:
    """What each answer of one step takes."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, request: LLMRequest) -> float:
        """Note it, and give it to the client."""
        self.seconds.append(seconds_until(request))
        return self.seconds[-1]


def step(size: int, parallel: bool | ParallelStepping) -> tuple[float, list[float]]:
    """Step a fresh model once: how long that took, and how long each answer."""
    answers = Timed()
    client = RuleBasedClient(lambda request: "I rest.", latency=answers)
    model = Model(rng=1)
    model.parallel_stepping = parallel
    for number in range(size):
        LLMAgent(
            model, OneCallReasoning, client=client, step_prompt=f"You are number {number}. What do you do?", tools=[]
        )
    began = time.perf_counter()
    model.agents.shuffle_do("step")
    return time.perf_counter() - began, answers.seconds


def draw() -> Figure:
    """Measure, and draw."""
    enable_automatic_parallel_stepping()
    step(1, parallel=True)  # starts threads and loops
    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    axes = figure.subplots()
    answers = {size: step(size, parallel=True)[1] for size in SIZES}
    alone = [size for size in SIZES if size <= LONGEST_ALONE]
    axes.plot(alone, [step(size, parallel=False)[0] for size in alone], "s-", color=ALONE, label="one at a time")
    rest = [size for size in SIZES if size >= LONGEST_ALONE]
    axes.plot(rest, [sum(answers[size]) for size in rest], "--", color=ALONE, label="not run: the answers, added up")
    for mode, color, marker in (("threading", ACTS, "^"), ("asyncio", ASKS, "o")):
        config = ParallelStepping(mode=mode)
        times = [median(step(size, parallel=config)[0] for _ in range(REPEATS)) for size in SIZES]
        axes.plot(SIZES, times, f"{marker}-", color=color, label=f"all at once, {mode}")
    axes.plot(SIZES, [max(answers[size]) for size in SIZES], ":", color=INK, linewidth=2, label="the slowest answer")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(SIZES, [str(size) for size in SIZES])
    ticks = (0.3, 1, 3, 10, 30, 100, 300)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("agents")
    axes.set_ylabel("seconds for one step")
    axes.set_title(f"One question an agent, answered in {FASTEST} to {SLOWEST} s")
    axes.legend(loc="upper left")
    return figure


if __name__ == "__main__":
    with mpl.rc_context(STYLE):
        save(draw(), "speedup")
