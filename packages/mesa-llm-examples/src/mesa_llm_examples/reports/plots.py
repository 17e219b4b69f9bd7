"""The plots of a run: its states, its model calls, its steps, and one step agent by agent. Needs the extra `report`.

Figures use no window and no global state, and suit light and dark pages. The colours are those of Okabe and Ito (2008),
which colour-blind people can tell apart.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate, cycle
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from mesa_llm_examples.looks import looks_for
from mesa_llm_examples.reports.measures import (
    INCIDENTS,
    calls_of,
    duration_of,
    in_flight,
    incidents,
    is_simulated,
    lanes_of,
    latencies,
    looks_of,
    spread,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mesa_llm.parallel_stepping import AgentReport
    from mesa_llm_examples.reports.run_file import RecordedRun, StepLine


INK = "#24292f"
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "mesa-llm-examples",
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name is literal
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def style() -> Iterator[None]:
    """Make and draw figures in the style of the reports within the `with` block."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # A letter that the font lacks becomes a box in the PNG; the browser draws the page with its own fonts.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def legend(axes: Axes, handles: Sequence[Any], *, title: str | None = None) -> None:
    """Put a legend above axes, in as many columns as fit, so that it is readable on narrow screens.

    Args:
        axes: axes that have their place in the figure.
        handles: artists with labels.
        title: a heading in bold.
    """
    axes.legend(
        handles=list(handles),
        title=title,
        title_fontproperties={"weight": "bold", "size": 11},
        alignment="left",
        ncols=_columns(axes, [str(handle.get_label()) for handle in handles]),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        borderpad=0.2,
        columnspacing=1.4,
        handlelength=1.6,
        frameon=False,
    )


def _columns(axes: Axes, labels: Sequence[str]) -> int:
    """How many columns of a legend fit above the axes, estimated from the lengths of the labels."""
    figure = axes.figure
    assert isinstance(figure, Figure)  # and not a subfigure
    # Before the layout, the margins of the axes are wider than after it.
    width = figure.get_figwidth() * 72 * axes.get_position().width * 1.12
    for rows in range(1, len(labels)):
        columns = [labels[at : at + rows] for at in range(0, len(labels), rows)]  # filled from top to bottom
        if sum(max(map(len, column)) * 5.2 + 34 for column in columns) <= width:
            return len(columns)
    return 1


def as_svg(figure: Figure, name: str) -> str:
    """A figure as an SVG element whose text takes the colour of the page.

    Args:
        figure: the figure.
        name: a prefix of all ids, so that no two figures of a page share one.
    """
    stream = io.StringIO()
    with style():
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    svg = text[text.index("<svg") :].replace(INK, "currentColor")
    return re.sub(r'(\sid="|\shref="#|:href="#|url\(#)', rf"\g<1>{name}-", svg)


PHASES = {"decide": "#56B4E9", "wait": "#9a9a9a", "act": "#D55E00", "settle": "#009E73"}
CALL = "#0072B2"
LOOK = "#F0E442"
FAILED = "#CC79A7"
CONFLICT = "#E69F00"
_STATES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "os^Dv"  # tell the series apart without colours
_MARKED = 25  # about how many points of a series have a marker
_SCALE = 12.0  # series whose maxima differ by a larger factor get axes of their own
_SEEN = 0.005  # a phase with a smaller share of the time is too thin to see, and counts as "all else"


def draw_states(axes: Sequence[Axes], run: RecordedRun, *, title: str | None = None) -> None:
    """The states over time, with axes for each of the `groups_of_states`."""
    lines = [line for line in run.steps if line.states]
    steps = [line.step for line in lines]
    known = looks_for(run.run.example)
    looks = cycle(zip(_STATES * len(_MARKERS), _MARKERS * len(_STATES), strict=True))
    for panel, names in zip(axes, groups_of_states(run), strict=True):
        for name in names:
            color, marker = next(looks)
            if look := known.get(name):
                color, marker = look.color, look.marker
            panel.plot(
                steps,
                [float("nan") if (value := line.states.get(name)) is None else value for line in lines],
                label=(look.label if look else None) or name,
                color=color,
                marker=marker,
                markersize=4,
                markevery=max(1, len(steps) // _MARKED),
                linewidth=1.8,
            )
        panel.set_ylim(bottom=min(0, panel.get_ylim()[0]))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        legend(panel, panel.lines, title=title if panel is axes[0] else None)
    axes[-1].set_xlabel("step")


def groups_of_states(run: RecordedRun) -> list[list[str]]:
    """The names of the states; those with values of a similar size are in one group."""
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


def draw_latencies(axes: Axes, run: RecordedRun, *, title: str | None = None) -> None:
    """A histogram of the times of the answers, with median and 95th percentile."""
    values = latencies(calls_of(run))
    _, middle, high, longest = spread(values)
    axes.hist(values, bins=40, range=(0, longest or 1.0), color=CALL)
    marks = ((middle, "median", "-"), (high, "95th percentile", "--"))
    handles = [
        axes.axvline(value, color=PHASES["act"], linestyle=line, linewidth=1.6, label=f"{label} {value:.3g} s")
        for value, label, line in marks
    ]
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds that an answer took" + (" (simulated)" if is_simulated(run) else ""))
    axes.set_ylabel("answers")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    legend(axes, handles, title=title)


def draw_seconds(axes: Axes, run: RecordedRun, *, title: str | None = None) -> None:
    """The wall time of each step, by phase where the step ran in parallel."""
    lines = [line for line in run.steps if line.step]
    total = sum(line.seconds for line in lines)
    parts, colors, known = {}, {}, [0.0] * len(lines)
    for phase, label in (("decide", "deciding"), ("act", "acting"), ("settle", "settling")):
        seconds = [sum(getattr(report, f"{phase}_s") for report in line.reports) for line in lines]
        if sum(seconds) > _SEEN * total:
            parts[label], colors[label] = seconds, PHASES[phase]
            known = [part + more for part, more in zip(known, seconds, strict=True)]
    rest = "all else" if parts else "wall time"
    parts[rest] = [max(line.seconds - part, 0.0) for line, part in zip(lines, known, strict=True)]
    colors[rest] = PHASES["wait"]
    _stack(axes, lines, parts, colors, title)
    axes.set_ylabel("seconds")


def draw_decisions(axes: Axes, run: RecordedRun, *, title: str | None = None) -> None:
    """How many decisions of each step had a valid call, had none, or failed."""
    lines = [line for line in run.steps if line.step and line.decided is not None]
    counts = [line.decided for line in lines if line.decided is not None]
    parts = {
        "with a valid call": [of.decisions - of.without_call for of in counts],
        "without one": [of.without_call for of in counts],
        "failed": [of.failed_decisions for of in counts],
    }
    colors = {"with a valid call": PHASES["settle"], "without one": PHASES["wait"], "failed": FAILED}
    _stack(axes, lines, parts, colors, title)
    axes.set_ylabel("decisions")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))


def draw_incidents(axes: Axes, run: RecordedRun, *, title: str | None = None) -> None:
    """How often agents failed or fell back, and actions were refused or crashed, in each step."""
    lines = [line for line in run.steps if line.step]
    counts = [incidents(line) for line in lines]
    shades = (FAILED, PHASES["decide"], PHASES["settle"], CONFLICT, CALL, PHASES["act"])
    colors = dict(zip(INCIDENTS, shades, strict=True))
    _stack(axes, lines, {name: [count[name] for count in counts] for name in INCIDENTS}, colors, title)
    axes.set_ylabel("times")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))


def draw_tokens(axes: Axes, run: RecordedRun, *, title: str | None = None) -> None:
    """The tokens that each step read and wrote, and the cumulated cost if it is known."""
    lines = [line for line in run.steps if line.step]
    tokens = {
        "input tokens": [sum(report.prompt_tokens for report in line.reports) for line in lines],
        "output tokens": [sum(report.completion_tokens for report in line.reports) for line in lines],
    }
    handles = _stack(axes, lines, tokens, {"input tokens": CALL, "output tokens": PHASES["decide"]}, title)
    axes.set_ylabel("tokens")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    costs = [sum(report.cost for report in line.reports) for line in lines]
    if any(costs):
        right = axes.twinx()
        right.spines["right"].set_visible(True)
        right.plot([line.step for line in lines], list(accumulate(costs)), "o-", color=PHASES["act"], markersize=3)
        right.set_ylim(bottom=0)
        right.set_ylabel("US$")
        handles.append(Line2D([], [], color=PHASES["act"], marker="o", markersize=3, label="cost so far, US$"))
        legend(axes, handles, title=title)


def _stack(
    axes: Axes,
    lines: Sequence[StepLine],
    parts: Mapping[str, Sequence[float]],
    colors: Mapping[str, str],
    title: str | None,
) -> list[Line2D]:
    """Stacked bars for each step, without the parts that are zero in all steps."""
    steps = [line.step for line in lines]
    bottom = [0.0] * len(lines)
    handles = []
    for label, heights in parts.items():
        if any(heights):
            axes.bar(steps, heights, bottom=bottom, color=colors[label], width=0.8, label=label)
            handles.append(Line2D([], [], color=colors[label], linewidth=5, label=label))
            bottom = [below + height for below, height in zip(bottom, heights, strict=True)]
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if handles:
        legend(axes, handles, title=title)
    return handles


_NAMED_LANES = 30  # the most lanes that have the names of their agents
_LABELS = {
    "decide": "decides", "call": "waits for its LLM", "wait": "waits for its turn", "act": "acts", "settle": "settles",
}  # fmt: skip
_FULL = 0.84  # the height of a span in its lane


def height_of(line: StepLine) -> float:
    """The height that `draw_timeline` needs, in inches."""
    lanes = len(lanes_of(line))
    return 1.6 + 0.18 * lanes if lanes <= _NAMED_LANES else min(4.4 + 0.02 * lanes, 9.0)


def draw_timeline(axes: Axes, line: StepLine, *, in_flight_above: Axes | None = None, title: str | None = None) -> None:
    """One step with a lane for each agent, the first one on top.

    Args:
        axes: the axes of the lanes.
        line: a step in which agents ran in parallel.
        in_flight_above: axes for the number of model calls in flight; `None` to leave it out.
        title: the title of the uppermost axes.
    """
    lanes = lanes_of(line)
    end = duration_of(line)
    parts = _parts_of(lanes)
    for phase in ("wait", "decide", "settle", "call", "act"):
        if parts[phase]:
            _draw_parts(axes, phase, parts[phase], narrow=len(lanes) > _NAMED_LANES)
    handles = [
        Line2D([], [], color=PHASES.get(phase, CALL), linewidth=5, label=label)
        for phase, label in _LABELS.items()
        if parts[phase]
    ]
    if looks := looks_of(line):  # the step's own, so behind all lanes
        spans = [(start, end - start) for start, end in looks]
        axes.broken_barh(spans, (-0.5, len(lanes)), facecolors=LOOK, alpha=0.5, zorder=0, label="look")
        handles.append(Line2D([], [], color=LOOK, alpha=0.5, linewidth=5, label="looking ahead"))
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
        times, counts = in_flight(line)
        peak = max(counts, default=0)
        top.fill_between(times, counts, step="post", color=CALL, linewidth=0)
        top.set_xlim(axes.get_xlim())
        top.set_ylim(0, max(peak, 1) * 1.05)
        top.set_yticks([0, peak])
        top.set_ylabel("calls in\nflight")
        top.tick_params(axis="x", labelbottom=False)
    legend(top, handles, title=title)


def _parts_of(lanes: Sequence[tuple[float, AgentReport]]) -> dict[str, list[tuple[int, float, float]]]:
    """The spans that have the same colour: lane, start and end."""
    parts: dict[str, list[tuple[int, float, float]]] = {phase: [] for phase in _LABELS}
    for lane, (offset, agent) in enumerate(lanes):
        for span in agent.spans:
            parts[span.phase].append((lane, offset + span.start, offset + span.end))
        for call in agent.model_calls:
            parts["call"].append((lane, offset + call.start, offset + call.end))
    return parts


def _draw_marks(axes: Axes, lanes: Sequence[tuple[float, AgentReport]]) -> list[Line2D]:
    """Mark the acts in which agents were refused something, and the ends of agents that failed."""
    marks = {
        ("was refused something", CONFLICT, "D"): [
            (offset + _end_of(agent, "act"), lane) for lane, (offset, agent) in enumerate(lanes) if agent.conflicts
        ],
        ("failed", FAILED, "X"): [
            (offset + _end_of(agent), lane)
            for lane, (offset, agent) in enumerate(lanes)
            if agent.failed or agent.settle_error is not None
        ],
    }
    size = min(5.0, max(1.5, 400 / len(lanes)))
    handles = []
    for (label, color, marker), places in marks.items():
        if places:
            times, numbers = zip(*places, strict=True)
            axes.plot(times, numbers, marker, color=color, markersize=size, markeredgewidth=0, label=label)
            handles.append(Line2D([], [], color=color, marker=marker, linestyle="", label=label))
    return handles


def _end_of(agent: AgentReport, *phases: str) -> float:
    """The end of an agent's last span, or of the last one in some phases."""
    ends = [span.end for span in agent.spans if span.phase in phases] or [span.end for span in agent.spans]
    return max(ends, default=0.0)


def _draw_parts(axes: Axes, phase: str, parts: Iterable[tuple[int, float, float]], *, narrow: bool) -> None:
    half = {"wait": 0.16, "call": _FULL if narrow else 0.5}.get(phase, _FULL) / 2
    corners = [
        [(start, lane - half), (start, lane + half), (end, lane + half), (end, lane - half)]
        for lane, start, end in parts
    ]
    # Most acts are so short that only their edge is visible; the edge of a call separates it from the next one.
    edges = {"act": (PHASES["act"], 1.2), "call": ("none", 0) if narrow else (PHASES["decide"], 0.5)}
    edge = edges.get(phase, ("none", 0))
    axes.add_collection(
        PolyCollection(corners, facecolors=PHASES.get(phase, CALL), edgecolors=edge[0], linewidths=edge[1], label=phase)
    )
