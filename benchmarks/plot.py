"""The picture of steps side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import StrMethodFormatter

from benchmarks.step import ALONE, Cell, per_step
from mesa_llm_examples.reports import plots

COLORS = ("#009E73", "#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#CC79A7", "#000000")
"""Of Okabe and Ito (2008), which colour-blind people can tell apart."""


def draw(measured: Sequence[Cell], path: Path) -> None:
    """Draw the seconds of a step over the number of agents, a panel a latency.

    Of a contestant that has not come to the end, the time in which it did not, as an arrow upwards.
    """
    latencies = sorted({cell.latency_ms for cell in measured})
    names = list(dict.fromkeys(cell.contestant for cell in measured))
    with plots.style():
        figure = plots.new_figure(2.6 * len(latencies) + 2.2, 4.2)
        panels = figure.subplots(1, len(latencies), sharey=True, squeeze=False)[0]
        for panel, latency in zip(panels, latencies, strict=True):
            for name, color in zip(names, COLORS, strict=False):
                cells = [cell for cell in measured if cell.contestant == name and cell.latency_ms == latency]
                if not cells:
                    continue
                agents = [cell.agents for cell in cells]
                seconds = [per_step(cell) for cell in cells]
                if name == ALONE:
                    agents, seconds = [10, 1000], [seconds[0], seconds[0] * 100]
                panel.plot(agents, seconds, "o-", color=color, label=name, markersize=4)
                for cell in cells:
                    if not cell.is_done:
                        panel.plot(cell.agents, per_step(cell) * 1.5, "^", color=color)
            panel.axhline(2 * latency / 1e3, color="#9a9a9a", linestyle=":", label="floor: two answers")
            panel.set_xscale("log")
            panel.set_yscale("log")
            for axis in (panel.xaxis, panel.yaxis):
                axis.set_major_formatter(StrMethodFormatter("{x:g}"))  # as text: powers would need a typesetter
            panel.set_title(f"answers after {latency} ms", fontsize=10)
            panel.set_xlabel("agents")
        panels[0].set_ylabel("seconds a step")
        handles, labels = panels[len(latencies) // 2].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", frameon=False)
        path.write_text(plots.as_svg(figure, "steps").replace("currentColor", "#808080"), encoding="utf-8")
