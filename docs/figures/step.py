"""Draws one step of civil violence: all agents at once, and the same agents one at a time.

uv run python docs/figures/step.py
"""

from __future__ import annotations

import time

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from pictures import ACTS, ASKS, SEED, STYLE, save, seconds_until

from mesa_llm.clients import AsyncClient, LLMRequest, LLMResponse, RuleBasedClient
from mesa_llm.parallel_stepping import StepReport, enable_automatic_parallel_stepping
from mesa_llm_examples.civil_violence import CivilViolence, policy

CITIZENS, COPS = 20, 4

type Lane = tuple[float, float]
"""From when to when, in seconds."""


class Timed(AsyncClient):
    """Notes for which agent it answered from when to when."""

    def __init__(self) -> None:
        self.inner = RuleBasedClient(policy, latency=seconds_until)
        self.calls: dict[int, list[Lane]] = {}

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer a request."""
        began = time.perf_counter()
        response = await self.inner.complete(request)
        self.calls.setdefault(request.call.origin.agent_id, []).append((began, time.perf_counter()))
        return response


def in_parallel() -> StepReport:
    """Step all agents at once."""
    enable_automatic_parallel_stepping()
    model = CivilViolence(CITIZENS, COPS, seed=SEED, client=RuleBasedClient(policy, latency=seconds_until))
    model.step()
    report: StepReport = model.parallel_reports[-1]
    return report


def one_at_a_time() -> tuple[float, dict[int, list[Lane]]]:
    """Step the same agents as Mesa does; how long it took, and each agent's calls in the order of the step."""
    client = Timed()
    model = CivilViolence(CITIZENS, COPS, seed=SEED, client=client, parallel_stepping=False)
    began = time.perf_counter()
    model.step()
    seconds = time.perf_counter() - began
    calls = {agent: [(start - began, end - began) for start, end in lanes] for agent, lanes in client.calls.items()}
    return seconds, calls


def draw_lanes(axes: Axes, lanes: list[list[Lane]], end: float, title: str) -> None:
    """Draw how long each agent waits for its answers, one line an agent, and the end of the step."""
    lines = [[(start, y), (until, y)] for y, spans in enumerate(lanes) for start, until in spans]
    axes.add_collection(LineCollection(lines, colors=ASKS, linewidths=2.4, capstyle="butt"))
    axes.axvline(end, color=ACTS, linewidth=2)
    axes.set_title(f"{title}: {end:.1f} s", fontsize=13, fontweight="bold")
    axes.set_ylim(len(lanes) - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def draw() -> Figure:
    """Run both, and draw them one above the other, on one scale of time."""
    report = in_parallel()
    seconds, calls = one_at_a_time()
    order = [agent.agent_id for agent in report.agents]
    assert list(calls) == order, "both steps have the same order"

    figure = Figure(figsize=(5.8, 4.1), layout="constrained")
    alone, together = figure.subplots(2, 1, sharex=True)
    draw_lanes(alone, [calls[agent] for agent in order], seconds, "One agent at a time")
    waits = [[(call.start, call.end) for call in agent.model_calls] for agent in report.agents]
    draw_lanes(together, waits, report.wall_s, "All agents at once")
    together.annotate(
        f"{len(order)} agents, the same questions:\n{seconds / report.wall_s:.0f} times as fast",
        (report.wall_s, len(order) / 2),
        (10, 0),
        textcoords="offset points",
        va="center",
        fontsize=12,
    )
    together.set_xlim(0, seconds * 1.02)
    together.set_xlabel("seconds since the step began", fontsize=11)
    together.tick_params(labelsize=10)
    return figure


if __name__ == "__main__":
    with mpl.rc_context(STYLE):
        save(draw(), "step")
