"""Draws one step of civil violence: all agents at once, and the same agents one at a time.

uv run python docs/figures/step.py
"""

from __future__ import annotations

import time

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pictures import ACTS, ASKS, SEED, STYLE, WAITS, save, seconds_until

from mesa_llm.activation import current_activation
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
        self.calls.setdefault(current_activation().agent.unique_id, []).append((began, time.perf_counter()))
        return response


def in_parallel() -> tuple[StepReport, dict[int, str]]:
    """Step all agents at once; the report, and the agents' names."""
    enable_automatic_parallel_stepping()
    model = CivilViolence(CITIZENS, COPS, seed=SEED, client=RuleBasedClient(policy, latency=seconds_until))
    model.step()
    return model.parallel_reports[-1], {agent.unique_id: str(type(agent).__name__) for agent in model.agents}


def one_at_a_time() -> tuple[float, dict[int, list[Lane]]]:
    """Step the same agents as Mesa does; how long it took, and each agent's calls in the order of the step."""
    client = Timed()
    model = CivilViolence(CITIZENS, COPS, seed=SEED, client=client, parallel_stepping=False)
    began = time.perf_counter()
    model.step()
    seconds = time.perf_counter() - began
    calls = {agent: [(start - began, end - began) for start, end in lanes] for agent, lanes in client.calls.items()}
    return seconds, calls


def draw_lanes(axes: Axes, lanes: list[list[Lane]], color: str, width: float) -> None:
    """Draw stretches of time, one line an agent."""
    lines = [[(start, y), (end, y)] for y, spans in enumerate(lanes) for start, end in spans]
    axes.add_collection(LineCollection(lines, colors=color, linewidths=width, capstyle="butt"))


def draw_acts(axes: Axes, acts: list[float]) -> None:
    """Mark when each agent acted; it takes too little time to be drawn as a stretch."""
    axes.plot(acts, range(len(acts)), "|", color=ACTS, markersize=8, markeredgewidth=2)


def draw() -> Figure:
    """Run both, and draw them side by side."""
    report, kinds = in_parallel()
    seconds, calls = one_at_a_time()
    order = [agent.agent_id for agent in report.agents]
    assert list(calls) == order, "both steps have the same order"

    figure = Figure(figsize=(7.6, 4.8), layout="constrained")
    together, alone = figure.subplots(1, 2, sharey=True)
    draw_lanes(
        together, [[span[1:] for span in agent.spans if span.phase == "wait"] for agent in report.agents], WAITS, 1
    )
    draw_lanes(together, [[(call.start, call.end) for call in agent.model_calls] for agent in report.agents], ASKS, 5)
    draw_acts(together, [next(span.start for span in agent.spans if span.phase == "act") for agent in report.agents])
    draw_lanes(alone, [calls[agent] for agent in order], ASKS, 5)
    draw_acts(alone, [calls[agent][-1][1] for agent in order])
    alone.axvspan(0, report.wall_s, color=WAITS, alpha=0.25, linewidth=0)
    alone.annotate(
        f"the step on the left: {report.wall_s:.1f} s",
        (report.wall_s, len(order) - 1),
        (3, 0),
        textcoords="offset points",
        va="center",
    )
    together.set_title(f"All at once: {report.wall_s:.1f} s")
    alone.set_title(f"One at a time: {seconds:.1f} s")
    together.set_yticks(range(len(order)), [f"{kinds[agent]} {agent}" for agent in order], fontsize=7)
    together.set_ylim(len(order) - 0.4, -0.6)
    for axes, end in ((together, report.wall_s), (alone, seconds)):
        axes.set_xlim(0, end * 1.02)
        axes.set_xlabel("seconds since the step began")
    handles = [
        Line2D([], [], color=ASKS, linewidth=5, label="asks the model"),
        Line2D([], [], color=WAITS, linewidth=1, label="has decided, waits for its turn"),
        Line2D([], [], color=ACTS, marker="|", linestyle="", markersize=8, markeredgewidth=2, label="acts"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=3)
    return figure


if __name__ == "__main__":
    with mpl.rc_context(STYLE):
        save(draw(), "step.svg")
