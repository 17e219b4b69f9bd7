"""What is drawn of a run. Needs matplotlib, of the extra `report`.

The colours are those of Okabe and Ito (2008), which colour-blind people can tell apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median, quantiles
from typing import TYPE_CHECKING

from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mesa_llm_examples.reports import canvas

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mesa_llm.parallel_stepping import AgentReport, Span, StepReport
    from mesa_llm_examples.reports.run_file import RecordedRun, StepLine

PHASES = {"decide": "#0072B2", "wait": "#9a9a9a", "act": "#D55E00", "settle": "#009E73"}
CALL = "#56B4E9"
FAILED = "#CC79A7"
STATES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
_NAMED_LANES = 30
_SCALE = 12.0
"""Series whose greatest values differ by a larger factor get axes of their own."""


def draw_states(axes: Sequence[Axes], run: RecordedRun) -> None:
    """The states over time, on as many axes as `groups_of_states` gives groups."""
    steps = [line for line in run.steps if line.states]
    colors = iter(STATES * 9)
    for panel, names in zip(axes, groups_of_states(run), strict=True):
        for name in names:
            values = [_height(line.states.get(name)) for line in steps]
            panel.plot([line.step for line in steps], values, label=name, color=next(colors), linewidth=1.8)
        panel.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), borderaxespad=0.2)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_ylim(bottom=min(0, panel.get_ylim()[0]))
    axes[-1].set_xlabel("step")


def _height(value: float | None) -> float:
    return float("nan") if value is None else value


def groups_of_states(run: RecordedRun) -> list[list[str]]:
    """The names of the states, those together whose values are about as large."""
    greatest: dict[str, float] = {}
    for line in run.steps:
        for name, value in line.states.items():
            greatest[name] = max(greatest.get(name, 0.0), abs(value or 0.0))
    groups: list[list[str]] = []
    top = 0.0
    for name in sorted(greatest, key=lambda name: -greatest[name]):
        if not groups or (top > _SCALE * greatest[name] and greatest[name] > 0):
            groups.append([])
            top = greatest[name]
        groups[-1].append(name)
    order = list(greatest)
    return [sorted(group, key=order.index) for group in groups]


def draw_timeline(axes: Axes, line: StepLine) -> None:
    """One step with a lane an agent, the first one on top: what it did when, and its model calls."""
    began = min(report.started for report in line.reports)
    lanes = [(report.started - began, agent) for report in line.reports for agent in report.agents]
    height = 170 / max(len(lanes), 8)  # points
    for phase, color in PHASES.items():
        spans = [
            [(offset + span.start, lane), (offset + span.end, lane)]
            for lane, (offset, agent) in enumerate(lanes)
            for span in agent.spans
            if span.phase == phase
        ]
        width = height * (0.25 if phase == "wait" else 0.8)
        axes.add_collection(LineCollection(spans, colors=color, linewidths=width, capstyle="butt", label=phase))
    calls = [
        [(offset + call.start, lane), (offset + call.end, lane)]
        for lane, (offset, agent) in enumerate(lanes)
        for call in agent.model_calls
    ]
    axes.add_collection(LineCollection(calls, colors=CALL, linewidths=height * 0.35, capstyle="butt"))
    acts = [(offset + span.start, lane) for lane, (offset, agent) in enumerate(lanes) for span in _acts(agent)]
    if acts:  # most are too short to be seen as spans
        axes.plot(*zip(*acts, strict=True), "|", color=PHASES["act"], markersize=max(height, 3), markeredgewidth=1.5)
    failed = [
        (offset + agent.spans[-1].end, lane)
        for lane, (offset, agent) in enumerate(lanes)
        if agent.failed and agent.spans
    ]
    if failed:
        axes.plot(*zip(*failed, strict=True), "x", color=FAILED, markersize=5, label="failed")
    axes.set_xlim(0, max([report.started - began + report.wall_s for report in line.reports]) * 1.01)
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    if len(lanes) <= _NAMED_LANES:
        axes.set_yticks(range(len(lanes)), [f"{agent.agent_class} {agent.agent_id}" for _, agent in lanes], fontsize=7)
    else:
        axes.set_ylabel(f"{len(lanes)} agents, in the order of the step")
        axes.set_yticks([])
    axes.set_xlabel("seconds since the step began")
    _phase_legend(axes, failed=bool(failed))


def _acts(agent: AgentReport) -> Iterator[Span]:
    return (span for span in agent.spans if span.phase == "act")


def _phase_legend(axes: Axes, *, failed: bool) -> None:
    colors = {"decides": PHASES["decide"], "its model calls": CALL, "waits": PHASES["wait"], "acts": PHASES["act"]}
    colors["settles"] = PHASES["settle"]
    handles = [Line2D([], [], color=color, linewidth=4, label=label) for label, color in colors.items()]
    if failed:
        handles.append(Line2D([], [], color=FAILED, marker="x", linestyle="", label="failed"))
    axes.legend(handles=handles, frameon=False, loc="upper left", bbox_to_anchor=(1, 1), borderaxespad=0.2)


def latencies(run: RecordedRun) -> list[float]:
    """How long each model call took, in seconds."""
    return [call.latency_s for report in run.reports() for agent in report.agents for call in agent.model_calls]


def draw_latencies(axes: Axes, run: RecordedRun) -> None:
    """How long model calls took, with median and 95th percentile."""
    values = latencies(run)
    axes.hist(values, bins=min(40, max(5, len(values) // 5)), color=CALL)
    for value, label, style in ((median(values), "median", "-"), (percentile_95(values), "95th percentile", "--")):
        axes.axvline(value, color=PHASES["act"], linestyle=style, label=f"{label}: {value:.3g} s")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    axes.set_xlabel("seconds until a model call was answered")
    axes.set_ylabel("calls")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def percentile_95(values: Sequence[float]) -> float:
    """The 95th percentile."""
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def draw_seconds(axes: Axes, run: RecordedRun) -> None:
    """Wall time of each step, by phase where the step ran in parallel."""
    lines = [line for line in run.steps if line.step]
    steps = [line.step for line in lines]
    bottom = [0.0] * len(lines)
    for phase in ("decide", "act", "settle"):
        seconds = [sum(_seconds(report, phase) for report in line.reports) for line in lines]
        axes.bar(steps, seconds, bottom=bottom, color=PHASES[phase], label=f"{phase}s")
        bottom = [below + more for below, more in zip(bottom, seconds, strict=True)]
    rest = [max(line.seconds - below, 0.0) for line, below in zip(lines, bottom, strict=True)]
    axes.bar(steps, rest, bottom=bottom, color=PHASES["wait"], label="all else")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    axes.set_ylabel("seconds")
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _seconds(report: StepReport, phase: str) -> float:
    return float(getattr(report, f"{phase}_s"))


def draw_tokens(axes: Axes, run: RecordedRun) -> None:
    """Tokens read and written in each step, and what they cost up to there, if that is known."""
    lines = [line for line in run.steps if line.step]
    steps = [line.step for line in lines]
    read = [sum(report.prompt_tokens for report in line.reports) for line in lines]
    written = [sum(report.completion_tokens for report in line.reports) for line in lines]
    axes.bar(steps, read, color=CALL, label="tokens read")
    axes.bar(steps, written, bottom=read, color=PHASES["decide"], label="tokens written")
    axes.set_ylabel("tokens")
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = axes.get_legend_handles_labels()
    costs = [sum(report.cost for report in line.reports) for line in lines]
    if any(costs):
        right = axes.twinx()
        total = [sum(costs[: index + 1]) for index in range(len(costs))]
        handles += right.plot(steps, total, color=PHASES["act"], label="cost so far, US$")
        labels.append("cost so far, US$")
        right.set_ylim(bottom=0)
        right.set_ylabel("US$")
    axes.legend(handles, labels, frameon=False, loc="upper left", bbox_to_anchor=(1.08, 1), borderaxespad=0.2)


def has_tokens(run: RecordedRun) -> bool:
    """Whether the model told how many tokens it read and wrote."""
    return any(report.tokens for report in run.reports())


def slowest_step(run: RecordedRun) -> StepLine | None:
    """The step that took longest, of those that have a report."""
    return max((line for line in run.steps if line.reports), key=lambda line: line.seconds, default=None)


def save_png(run: RecordedRun, line: StepLine | None, path: Path) -> None:
    """Save `draw_all` as a picture, 1350 pixels wide.

    Raises:
        OSError: if it cannot be written.
    """
    with canvas.style():
        draw_all(run, line).savefig(path, dpi=150, facecolor="white")


def draw_all(run: RecordedRun, line: StepLine | None) -> Figure:
    """States, one step, latencies, and what the steps took, in one figure.

    Args:
        run: the run.
        line: the step that is drawn with a lane an agent; `None` if there is none to draw.
    """
    groups = groups_of_states(run)
    heights = [2.6 / len(groups) + 0.4] * len(groups)
    has_calls = bool(latencies(run))
    heights += ([4.0] if line else []) + ([1.8] if has_calls else []) + [1.8] + ([1.8] if has_tokens(run) else [])
    figure = canvas.new_figure(sum(heights) + 0.6, width=9)
    panels = figure.subplots(len(heights), 1, height_ratios=heights)
    axes = iter(panels if len(heights) > 1 else [panels])
    state_axes = [next(axes) for _ in groups]
    if groups:
        draw_states(state_axes, run)
    if line is not None:
        panel = next(axes)
        draw_timeline(panel, line)
        panel.set_title(f"Step {line.step}", loc="left")
    if has_calls:
        draw_latencies(next(axes), run)
    draw_seconds(next(axes), run)
    if has_tokens(run):
        draw_tokens(next(axes), run)
    figure.suptitle(f"{run.run.headline}\n{run.run.decisions}", fontsize=11)
    return figure
