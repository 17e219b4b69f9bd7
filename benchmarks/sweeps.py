"""Studies: how much of the waiting of several runs overlaps.

    uv run python -m benchmarks.sweeps [runs] [latency in ms]

Each run has ten agents and five steps, two calls a decision: 100 calls, which take ten latencies if nothing else took
time. The table has the seconds of the study with all runs at once, those of the runs one after the other, and how much
of the ideal the study reaches: ten latencies, divided by its seconds.
"""

from __future__ import annotations

import sys
import time
from tempfile import TemporaryDirectory

from mesa import Model

from benchmarks.server import running
from mesa_llm.clients import LLMClient
from mesa_llm.experiments import Sweep
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import ShortTermMemory
from mesa_llm.reasoning import CoTReasoning

AGENTS, STEPS = 10, 5


class Town(Model):
    """Ten agents that think, then call tools."""

    def __init__(self, client: LLMClient, rng: int) -> None:
        super().__init__(rng=rng)
        self.parallel_stepping = True
        for _ in range(AGENTS):
            LLMAgent(self, CoTReasoning, "openai/fake", client=client, step_prompt="Where to?", memory=ShortTermMemory)

    def step(self) -> None:
        """Step."""
        self.agents.shuffle_do("step")


def seconds(url: str, runs: int, at_once: int) -> float:
    """Make a study in a new folder."""
    with TemporaryDirectory() as folder:
        sweep = Sweep(
            Town,
            rng=range(runs),
            steps=STEPS,
            folder=folder,
            api_base=url,
            api_key="none",
            transport="direct",
            runs_at_once=at_once,
        )
        started = time.perf_counter()
        sweep.run(progress=False)
        return time.perf_counter() - started


def main(runs: int = 16, latency_ms: int = 200) -> None:
    """Measure and print."""
    ideal = 2 * STEPS * latency_ms / 1000
    with running() as server:
        url = server.url(latency_ms)
        seconds(url, 1, 1)  # imports and connections
        together, alone = seconds(url, runs, runs), seconds(url, 1, 1)
    print(f"{runs} runs of {2 * AGENTS * STEPS} calls at {latency_ms} ms: {together:.2f} s; one alone {alone:.2f} s")
    print(f"share of the ideal overlap: {ideal / together:.2f} (one run alone: {ideal / alone:.2f})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
