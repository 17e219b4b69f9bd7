"""A run as one picture, in the format of a slide. Needs matplotlib."""

from __future__ import annotations

import textwrap
from functools import partial
from typing import TYPE_CHECKING

from mesa_llm_examples.reports import canvas, figures, measures
from mesa_llm_examples.reports.timeline import draw_timeline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mesa_llm_examples.reports.run_file import RecordedRun, StepLine


def save_png(run: RecordedRun, line: StepLine | None, path: Path) -> None:
    """Save `draw_all` as a picture of 1920 by 1080 pixels.

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
    groups = len(figures.groups_of_states(run))
    small = _small_panels(run)
    figure = canvas.new_figure(12.8, 7.2)
    columns = [width for width, wanted in ((1.0, groups), (1.2, line)) if wanted]
    rows = figure.add_gridspec(2 if columns else 1, 1, height_ratios=[1.9, 1] if columns else None)
    top = rows[0].subgridspec(1, max(len(columns), 1), width_ratios=columns or None)
    places = (top[0, column] for column in range(len(columns)))
    if groups:
        states = next(places).subgridspec(groups, 1).subplots(squeeze=False)[:, 0]
        figures.draw_states(list(states), run, title="States over time")
    if line is not None:
        above, lanes = next(places).subgridspec(2, 1, height_ratios=[1, 5]).subplots(squeeze=False)[:, 0]
        draw_timeline(lanes, line, in_flight_above=above, title=_title(line))
    below = rows[-1].subgridspec(1, len(small)).subplots(squeeze=False)[0]
    for axes, draw in zip(below, small, strict=True):
        draw(axes)
    figure.suptitle(textwrap.fill(run.run.headline, 95), fontsize=15, fontweight="bold", x=0.01, ha="left")
    figure.supxlabel(textwrap.fill(_footer(run), 190), fontsize=9, x=0.01, ha="left")
    return figure


def _small_panels(run: RecordedRun) -> list[Callable[[Axes], None]]:
    panels: list[Callable[[Axes], None]] = []
    if measures.latencies(measures.calls_of(run)):
        panels.append(partial(figures.draw_latencies, run=run, title="Latencies"))
    panels.append(partial(figures.draw_seconds, run=run, title="Steps"))
    if measures.has_tokens(run):
        panels.append(
            partial(figures.draw_tokens, run=run, title="Tokens and cost" if measures.has_cost(run) else "Tokens")
        )
    if any(any(measures.incidents(line).values()) for line in run.steps):
        panels.append(partial(figures.draw_incidents, run=run, title="Failures and conflicts"))
    return panels


def _title(line: StepLine) -> str:
    peak = max(measures.in_flight(line)[1], default=0)
    return f"Step {line.step}, agent by agent" + (f": up to {peak:,} model calls at once" if peak > 1 else "")


def _footer(run: RecordedRun) -> str:
    parts = (
        measures.how_it_ended(run),
        f"Decisions: {run.run.decisions}.",
        f"Model calls: {measures.calls_in_words(run)}.",
        f"Time: {measures.time_in_words(run)}.",
    )
    return " ".join(part for part in parts if part)
