"""What is drawn of a run: its states, its model calls, its steps. Needs matplotlib, of the extra `report`.

Figures have no window and no global state, and a style for light and dark pages. The colours are those of Okabe and Ito
(2008), which colour-blind people can tell apart.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate, cycle
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from mesa_llm_examples.reports.measures import INCIDENTS, calls_of, incidents, is_simulated, latencies, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mesa_llm.parallel_stepping import StepReport
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
    "text.parse_math": False,  # a dollar in a name is a dollar
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def style() -> Iterator[None]:
    """Within its `with` block, figures are made and drawn in our style."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # A letter that the font lacks is a box in the picture; pages are drawn with the fonts of the browser.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure.

    Args:
        width: in inches.
        height: in inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def legend(axes: Axes, handles: Sequence[Any], *, title: str | None = None) -> None:
    """Name what axes show, above them: in as many columns as fit, so that it is seen on narrow screens too.

    Args:
        axes: with the place that they have in the figure.
        handles: artists with labels.
        title: stands above, in bold.
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
    """How many columns of a legend fit above the axes, by an estimate of how wide letters are."""
    figure = axes.figure
    assert isinstance(figure, Figure)  # `new_figure` has no figures within figures
    # Before the layout, axes leave a wider margin than after it.
    width = figure.get_figwidth() * 72 * axes.get_position().width * 1.12
    for rows in range(1, len(labels)):
        columns = [labels[at : at + rows] for at in range(0, len(labels), rows)]  # filled from top to bottom
        if sum(max(map(len, column)) * 5.2 + 34 for column in columns) <= width:
            return len(columns)
    return 1


def as_svg(figure: Figure, name: str) -> str:
    """A figure as an SVG element whose text has the colour of the page around it.

    Args:
        figure: what is drawn.
        name: begins all ids, so that no two figures of a page share one.
    """
    stream = io.StringIO()
    with style():
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    svg = text[text.index("<svg") :].replace(INK, "currentColor")
    return re.sub(r'(\sid="|\shref="#|:href="#|url\(#)', rf"\g<1>{name}-", svg)


PHASES = {"decide": "#56B4E9", "wait": "#9a9a9a", "act": "#D55E00", "settle": "#009E73"}
CALL = "#0072B2"
FAILED = "#CC79A7"
CONFLICT = "#E69F00"
_STATES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "os^Dv"  # so that series differ without their colours
_MARKED = 25
_SCALE = 12.0
"""Series whose greatest values differ by a larger factor get axes of their own."""
_SEEN = 0.005
"""What took a smaller share of the time of all steps would not be seen, and counts as all else."""


def draw_states(axes: Sequence[Axes], run: RecordedRun, *, title: str | None = None) -> None:
    """The states over time, on as many axes as `groups_of_states` gives groups."""
    lines = [line for line in run.steps if line.states]
    steps = [line.step for line in lines]
    looks = cycle(zip(_STATES * len(_MARKERS), _MARKERS * len(_STATES), strict=True))
    for panel, names in zip(axes, groups_of_states(run), strict=True):
        for name in names:
            color, marker = next(looks)
            panel.plot(
                steps,
                [_height(line.states.get(name)) for line in lines],
                label=name,
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


def draw_latencies(axes: Axes, run: RecordedRun, *, title: str | None = None) -> None:
    """How long answers took, with median and 95th percentile."""
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
    """Wall time of each step, by phase where the step ran in parallel."""
    lines = _numbered(run)
    total = sum(line.seconds for line in lines)
    parts, colors, known = {}, {}, [0.0] * len(lines)
    for phase, label in (("decide", "deciding"), ("act", "acting"), ("settle", "settling")):
        seconds = [sum(_seconds(report, phase) for report in line.reports) for line in lines]
        if sum(seconds) > _SEEN * total:
            parts[label], colors[label] = seconds, PHASES[phase]
            known = [part + more for part, more in zip(known, seconds, strict=True)]
    rest = "all else" if parts else "wall time"
    parts[rest] = [max(line.seconds - part, 0.0) for line, part in zip(lines, known, strict=True)]
    colors[rest] = PHASES["wait"]
    _stack(axes, lines, parts, colors, title)
    axes.set_ylabel("seconds")


def _seconds(report: StepReport, phase: str) -> float:
    return float(getattr(report, f"{phase}_s"))


def draw_incidents(axes: Axes, run: RecordedRun, *, title: str | None = None) -> None:
    """How often agents failed, fell back or were refused something in each step."""
    lines = _numbered(run)
    counts = [incidents(line) for line in lines]
    colors = dict(zip(INCIDENTS, (FAILED, PHASES["decide"], PHASES["settle"], CONFLICT), strict=True))
    _stack(axes, lines, {name: [count[name] for count in counts] for name in INCIDENTS}, colors, title)
    axes.set_ylabel("times")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))


def draw_tokens(axes: Axes, run: RecordedRun, *, title: str | None = None) -> None:
    """Tokens read and written in each step, and what they cost up to there, if that is known."""
    lines = _numbered(run)
    tokens = {
        "tokens read": [sum(report.prompt_tokens for report in line.reports) for line in lines],
        "tokens written": [sum(report.completion_tokens for report in line.reports) for line in lines],
    }
    handles = _stack(axes, lines, tokens, {"tokens read": CALL, "tokens written": PHASES["decide"]}, title)
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


def _numbered(run: RecordedRun) -> list[StepLine]:
    return [line for line in run.steps if line.step]


def _stack(
    axes: Axes,
    lines: Sequence[StepLine],
    parts: Mapping[str, Sequence[float]],
    colors: Mapping[str, str],
    title: str | None,
) -> list[Line2D]:
    """Bars, one a step, of those parts that are not nothing throughout."""
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
