"""One step with a lane an agent: what it did when, and its model calls. Needs matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D

from mesa_llm_examples.reports.measures import duration_of, in_flight, lanes_of
from mesa_llm_examples.reports.plots import CALL, CONFLICT, FAILED, PHASES, legend

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    from mesa_llm.parallel_stepping import AgentReport
    from mesa_llm_examples.reports.run_file import StepLine

_NAMED_LANES = 30
_LABELS = {"decide": "decides", "call": "waits for a model", "wait": "waits for its turn", "act": "acts"}
_LABELS |= {"settle": "settles"}
_FULL = 0.84


def height_of(line: StepLine) -> float:
    """How high `draw_timeline` is to be drawn, in inches."""
    lanes = len(lanes_of(line))
    return 1.6 + 0.18 * lanes if lanes <= _NAMED_LANES else min(4.4 + 0.02 * lanes, 9.0)


def draw_timeline(axes: Axes, line: StepLine, *, in_flight_above: Axes | None = None, title: str | None = None) -> None:
    """One step with a lane an agent, the first one on top.

    Args:
        axes: for the lanes.
        line: a step in which agents ran in parallel.
        in_flight_above: axes for the number of model calls in flight; `None` to leave that out.
        title: of the uppermost axes.
    """
    lanes = lanes_of(line)
    end = duration_of(line)
    handles = []
    parts = _parts_of(lanes)
    for phase in ("wait", "decide", "settle", "call", "act"):
        if parts[phase]:
            _draw_parts(axes, phase, parts[phase], narrow=len(lanes) > _NAMED_LANES)
    for phase, label in _LABELS.items():
        if parts[phase]:
            handles.append(Line2D([], [], color=_color(phase), linewidth=5, label=label))
    handles += _draw_marks(axes, lanes)
    axes.set_xlim(0, end * 1.03)
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    if len(lanes) <= _NAMED_LANES:
        names = [f"{agent.agent_class} {agent.agent_id}" for _, agent in lanes]
        axes.set_yticks(range(len(lanes)), names, fontsize=8)
        axes.tick_params(axis="y", length=0)
    else:
        axes.set_ylabel(f"{len(lanes):,} agents, in the order of the step")
        axes.set_yticks([])
    axes.set_xlabel("seconds since the step began")
    top = axes if in_flight_above is None else in_flight_above
    if in_flight_above is not None:
        in_flight_above.set_xlim(axes.get_xlim())
        _draw_in_flight(in_flight_above, line)
    legend(top, handles, title=title)


def _parts_of(lanes: Sequence[tuple[float, AgentReport]]) -> dict[str, list[tuple[int, float, float]]]:
    """What is drawn in each colour: lane, start and end."""
    parts: dict[str, list[tuple[int, float, float]]] = {phase: [] for phase in _LABELS}
    for lane, (offset, agent) in enumerate(lanes):
        for span in agent.spans:
            parts[span.phase].append((lane, offset + span.start, offset + span.end))
        for call in agent.model_calls:
            parts["call"].append((lane, offset + call.start, offset + call.end))
    return parts


def _draw_marks(axes: Axes, lanes: Sequence[tuple[float, AgentReport]]) -> list[Line2D]:
    """Mark where agents were refused something, which is when they acted, and where they failed."""
    marks: dict[str, list[tuple[float, int]]] = {"was refused something": [], "failed": []}
    for lane, (offset, agent) in enumerate(lanes):
        if agent.conflicts:
            marks["was refused something"].append((offset + _end_of(agent, "act"), lane))
        if agent.failed or agent.settle_error is not None:
            marks["failed"].append((offset + _end_of(agent), lane))
    looks = {"was refused something": (CONFLICT, "D"), "failed": (FAILED, "X")}
    size = min(5.0, max(1.5, 400 / len(lanes)))
    handles = []
    for label, places in marks.items():
        if places:
            color, marker = looks[label]
            times, numbers = zip(*places, strict=True)
            axes.plot(times, numbers, marker, color=color, markersize=size, markeredgewidth=0, label=label)
            handles.append(Line2D([], [], color=color, marker=marker, linestyle="", label=label))
    return handles


def _end_of(agent: AgentReport, *phases: str) -> float:
    """When the last of an agent's spans ended, or the last one of some phases."""
    ends = [span.end for span in agent.spans if span.phase in phases] or [span.end for span in agent.spans]
    return max(ends, default=0.0)


def _draw_parts(axes: Axes, phase: str, parts: Iterable[tuple[int, float, float]], *, narrow: bool) -> None:
    half = {"wait": 0.16, "call": _FULL if narrow else 0.5}.get(phase, _FULL) / 2
    corners = [
        [(start, lane - half), (start, lane + half), (end, lane + half), (end, lane - half)]
        for lane, start, end in parts
    ]
    # An act is most often too short to be seen but for its edge; the edge of a call parts it from the next one.
    edges = {"act": (PHASES["act"], 1.2), "call": ("none", 0) if narrow else (PHASES["decide"], 0.5)}
    edge = edges.get(phase, ("none", 0))
    axes.add_collection(
        PolyCollection(corners, facecolors=_color(phase), edgecolors=edge[0], linewidths=edge[1], label=phase)
    )


def _color(phase: str) -> str:
    return CALL if phase == "call" else PHASES[phase]


def _draw_in_flight(axes: Axes, line: StepLine) -> None:
    times, counts = in_flight(line)
    axes.fill_between(times, counts, step="post", color=CALL, linewidth=0)
    peak = max(counts, default=0)
    axes.set_ylim(0, max(peak, 1) * 1.05)
    axes.set_yticks([0, peak])
    axes.set_ylabel("calls in\nflight")
    axes.tick_params(axis="x", labelbottom=False)
