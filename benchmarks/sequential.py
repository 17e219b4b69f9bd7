"""Sequential activation: how many latencies a step takes and what asking ahead wastes, on a clock of its own.

    uv run python -m benchmarks.sequential [rows …] [--large] [--max-waste 0.5] [--latency 0.2]

A call takes one second on a virtual clock, so latencies and calls hold for any machine and any model; only the seconds
of the processor are this machine's. Plain Mesa waits once for each call. "Sent" are the calls sent for each call that
plain Mesa makes. "Expected" is the rule of thumb: 3 + 1.3 d latencies for each call that an agent makes in turn, where
d is how many others an agent sees. Every run is compared with plain Mesa's, by its state after each step.

In civil violence, "stable" answers like a model with preferences: a choice changes only if what was chosen is gone.
The rule of the example chooses by a hash of all that is seen. The geometric graph is a torus with d neighbours for an
agent, in which half of the acts change what the neighbours see.

With `--latency`, answers take so many seconds of real time instead, and one step of each row is timed: the seconds that
its rounds take at least, its seconds, and of these those of looks and of copies (also within looks).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import networkx as nx
import numpy as np
from mesa import Model
from mesa.discrete_space import CellAgent, Network

from mesa_llm.clients import LLMClient, LLMRequest, RuleBasedClient
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.recording import state_hash
from mesa_llm_examples import civil_violence, negotiation, opinion, sugarscape
from tests.helpers.virtual_latency import VirtualTimeClient, on_virtual_time

type Make = Callable[..., Model]
type Rule = Callable[[LLMRequest], Any]

CITIZENS = 60 / 72
"""The share of citizens, as in the example; the others are cops."""


def chance(*parts: object) -> float:
    """A number in [0, 1) that depends on nothing but the arguments."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6]) / 2**48


def stable(options: Sequence[Any], observation: Any, purpose: str) -> Any:
    """The option that an agent prefers in a step: another one only if it is gone."""
    me = observation["self_state"]["agent_unique_id"], observation["step"], purpose
    return min(options, key=partial(chance, me))


def civil(n: int, vision: int, density: float | None = None) -> Make:
    """Civil violence with `n` agents; on a grid as the example makes it, unless a share of cells is given."""
    citizens = round(n * CITIZENS)
    side = None if density is None else round((n / density) ** 0.5)
    return partial(
        civil_violence.CivilViolence,
        citizens,
        n - citizens,
        width=side,
        height=side,
        citizen_vision=vision,
        cop_vision=vision,
    )


class Person(LLMAgent, CellAgent):
    """Sees the marks of its neighbours, and may change its own."""

    def __init__(self, model: Geometric, cell: Any) -> None:
        super().__init__(
            model,
            OneCallReasoning,
            llm_model="rule/geometric",
            client=model.client,
            vision=1,
            tools=[],
            internal_state={"mark": 0},
        )
        self.cell = cell

    def step(self) -> None:
        """Observe, ask and act."""
        answer = self.llm.generate(json.dumps(self.generate_obs().as_json())).message.content
        if chance("acts", answer) < self.model.p:
            self.internal_state = {"mark": chance("mark", answer)}


class Geometric(Model):
    """People on a random geometric graph on a torus."""

    def __init__(
        self, n: int, d: float, p: float, *, seed: int, client: LLMClient, parallel_stepping: Any = False
    ) -> None:
        super().__init__(rng=seed)
        self.client, self.parallel_stepping, self.p = client, parallel_stepping, p
        places = np.random.default_rng(seed).random((n, 2))
        apart = np.abs(places[:, None] - places[None])
        near = (np.minimum(apart, 1 - apart) ** 2).sum(axis=2) < d / (np.pi * n)
        np.fill_diagonal(near, val=False)
        self.grid = Network(nx.from_numpy_array(near), capacity=1, random=self.random)
        for cell in self.grid.all_cells:
            Person(self, cell)

    def step(self) -> None:
        """Everybody steps."""
        self.agents.shuffle_do("step")


def _any_answer(request: LLMRequest) -> str:
    return f"{chance(request.messages[-1].content):.6f}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is measured.

    Attributes:
        make: makes the model of a seed.
        rule: answers.
        stable: whether choices are stable.
        seeds: how many runs.
        steps: how many steps a run has.
        is_large: whether it takes minutes.
        rounds: the most latencies a step may take, on average.
        sent: the most calls that may be sent for each that is needed.
    """

    make: Make
    rule: Rule
    stable: bool = False
    seeds: int = 2
    steps: int = 2
    is_large: bool = False
    rounds: float = float("inf")
    sent: float = float("inf")


def _civil(n: int, vision: int, density: float | None = None, *, stable: bool, **of_row: Any) -> Row:
    return Row(make=civil(n, vision, density), rule=civil_violence.policy, stable=stable, **of_row)


def _geometric(n: int, **of_row: Any) -> Row:
    return Row(make=partial(Geometric, n, 8, 0.5), rule=_any_answer, **of_row)


ROWS: dict[str, Row] = {
    "negotiation 20": Row(make=negotiation.Negotiation, rule=negotiation.policy, steps=3, rounds=4.2, sent=1.4),
    "opinion 40": Row(make=opinion.Opinion, rule=opinion.policy, steps=3, rounds=4.5, sent=1.24),
    "sugarscape 40": Row(make=sugarscape.Sugarscape, rule=sugarscape.policy, seeds=6, steps=3, rounds=11, sent=1.5),
    "geometric 10": _geometric(10, seeds=4, rounds=6, sent=1.8),
    "geometric 30": _geometric(30, seeds=4, rounds=8.5, sent=1.55),
    "geometric 100": _geometric(100, rounds=11, sent=1.4),
    "geometric 300": _geometric(300, steps=1),
    "geometric 1000": _geometric(1000, seeds=1, steps=1, is_large=True),
    **{
        f"{title}, {'stable' if stable else 'hash'}": _civil(*size, stable=stable, **of_row)
        for title, size, of_row in (
            ("civil 72, vision 2", (72, 2), {"seeds": 1, "rounds": 37, "sent": 1.55}),
            ("civil 72, vision 7", (72, 7), {"seeds": 1, "is_large": True}),
            ("civil 400, vision 1, density .1", (400, 1, 0.1), {"seeds": 1, "steps": 1, "rounds": 10, "sent": 1.2}),
            ("civil 400, vision 2, density .2", (400, 2, 0.2), {"seeds": 1, "steps": 1, "is_large": True}),
            ("civil 1000, vision 2, density .2", (1000, 2, 0.2), {"seeds": 1, "steps": 1, "is_large": True}),
        )
        for stable in (True, False)
    },
}


@dataclass
class Measured:
    """What was measured, a step on average.

    Attributes:
        agents: how many agents stepped.
        seen: how many others an agent saw, on average.
        steps: how many steps were measured.
        calls: calls that plain Mesa makes: it waits for each of them.
        latencies: for how many latencies the agents waited.
        asked: calls that were sent.
        looks: how often the step looked ahead.
        cpu_s: processor seconds.
        copy_s: seconds that copies took.
    """

    agents: int = 0
    seen: float = 0.0
    steps: int = 0
    calls: int = 0
    latencies: float = 0.0
    asked: int = 0
    looks: int = 0
    cpu_s: float = 0.0
    copy_s: float = 0.0

    @property
    def rounds(self) -> float:
        """Latencies a step."""
        return self.latencies / self.steps

    @property
    def sent(self) -> float:
        """Calls sent for each that is needed."""
        return self.asked / self.calls

    def line(self, title: str) -> str:
        """A line of the table."""
        chain = self.calls / (self.agents * self.steps)  # calls of an agent, one after the other
        return (
            f"{title:42}{self.seen:5.1f}{self.calls / self.steps:10.0f}{self.rounds:9.1f}"
            f"{chain * (3 + 1.3 * self.seen):10.1f}{self.sent:8.2f}{self.looks / self.steps:8.1f}"
            f"{self.cpu_s / self.steps:9.2f}{self.copy_s / self.steps:9.2f}"
        )


HEADING = (
    f"{'a step of':42}{'d':>5}{'plain, L':>10}{'ours, L':>9}{'expected':>10}{'sent':>8}{'looks':>8}"
    f"{'cpu, s':>9}{'copy, s':>9}"
)


def measure(row: Row, *, max_waste: float | None = 0.5) -> Measured:
    """Run the steps of a row.

    Raises:
        AssertionError: if a run differs from plain Mesa's.
    """
    enable_automatic_parallel_stepping()
    measured = Measured()
    with patch.object(civil_violence.model, "choose", stable if row.stable else civil_violence.model.choose):
        for seed in range(row.seeds):
            _run(row, seed, max_waste, measured)
    return measured


def _run(row: Row, seed: int, max_waste: float | None, measured: Measured) -> None:
    plain: Any = row.make(seed=seed, client=RuleBasedClient(row.rule), parallel_stepping=False)
    other: Any = row.make(seed=seed, client=RuleBasedClient(row.rule), parallel_stepping=False)
    measured.seen = statistics.mean(len(agent.generate_obs().local_state) for agent in other.agents)
    settings = ParallelStepping(activation="sequential", max_waste=max_waste)
    with on_virtual_time(VirtualTimeClient(RuleBasedClient(row.rule))) as client:
        model: Any = row.make(seed=seed, client=client, parallel_stepping=settings)
        measured.agents = len(model.agents)
        for _ in range(row.steps):
            plain.step()
            began = time.process_time()
            model.step()
            measured.cpu_s += time.process_time() - began
            assert state_hash(model) == state_hash(plain), "sequential activation differs from plain Mesa"
            report = model.parallel_reports[-1]
            measured.steps += 1
            measured.calls += report.calls
            measured.looks += len(report.look_ahead.looks)
            measured.copy_s += report.look_ahead.copy_s
    measured.latencies += client.now
    measured.asked += client.asked


def timed(title: str, row: Row, latency: float, *, max_waste: float | None = 0.5) -> str:
    """A line about the second step of a row in real time; the first one connects and imports."""
    enable_automatic_parallel_stepping()
    settings = ParallelStepping(activation="sequential", max_waste=max_waste)
    client = RuleBasedClient(row.rule, latency=latency)
    with patch.object(civil_violence.model, "choose", stable if row.stable else civil_violence.model.choose):
        model: Any = row.make(seed=0, client=client, parallel_stepping=settings)
        model.step()
        began = time.process_time()
        model.step()
        cpu_s = time.process_time() - began
    report = model.parallel_reports[-1]
    floor = report.rounds * latency
    looks_s = sum(end - start for start, end in report.look_ahead.looks)
    return (
        f"{title:42}{report.calls * latency:10.1f}{floor:10.2f}{report.wall_s:10.2f}{report.wall_s / floor:8.2f}"
        f"{looks_s:10.2f}{report.look_ahead.copy_s:10.2f}{cpu_s:9.2f}"
    )


TIMED_HEADING = (
    f"{'seconds of a step of':42}{'plain':>10}{'rounds':>10}{'ours':>10}{'ratio':>8}"
    f"{'looks':>10}{'copies':>10}{'cpu':>9}"
)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sequential", description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", help="parts of the titles of the rows; by default all that are small")
    parser.add_argument("--large", action="store_true", help="also those that take minutes")
    parser.add_argument("--max-waste", type=lambda text: None if text == "None" else float(text), default=0.5)
    parser.add_argument("--latency", type=float, help="seconds of real time that an answer takes")
    arguments = parser.parse_args()
    print(TIMED_HEADING if arguments.latency else HEADING)
    for title, row in ROWS.items():
        wanted = any(part in title for part in arguments.rows) if arguments.rows else not row.is_large
        if wanted or (arguments.large and not arguments.rows):
            if arguments.latency:
                print(timed(title, row, arguments.latency, max_waste=arguments.max_waste), flush=True)
            else:
                print(measure(row, max_waste=arguments.max_waste).line(title), flush=True)


if __name__ == "__main__":
    main()
