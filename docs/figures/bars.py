"""Draws the benchmark of a step as four bars, from the table in `docs/explanation/benchmarks.md`.

uv run python docs/figures/bars.py
"""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from pictures import ALONE, ASKS, PEER, STYLE, save

PAGE = Path(__file__).parents[1] / "explanation" / "benchmarks.md"


def measured() -> dict[str, float]:
    """Seconds for a step of 100 agents, answers after 200 ms, by who took them."""
    text = PAGE.read_text("utf-8").replace("\xa0", " ")
    section = text.split("Answers after 200 ms;")[1].split("Answers after 1000 ms;")[0]
    alone = re.search(r"one agent at a time, 10 agents take ([\d.]+) s", section)
    assert alone is not None
    rows = dict(re.findall(r"^\| 100 \| ([^|]+?) \| ([\d.]+) s", section, re.MULTILINE))
    return {
        "one agent at a time": 10 * float(alone[1]),
        "mesa-llm 0.3.2": float(rows["mesa-llm 0.3.2, asyncio"]),
        "mesa-llm-parallel": float(rows["ours, asyncio, direct"]),
        "bare HTTP": float(rows["bare aiohttp"]),
    }


def draw() -> Figure:
    """Draw the bars; the first is cut, since it is 40 times as long as the others."""
    seconds = measured()
    figure = Figure(figsize=(5.8, 2.6), layout="constrained")
    axes = figure.subplots()
    longest = 1.35 * seconds["mesa-llm 0.3.2"]
    colors = (ALONE, PEER, ASKS, PEER)
    for place, ((name, value), color) in enumerate(zip(seconds.items(), colors, strict=True)):
        shown = min(value, longest)
        note = f" {value:.1f} s (the bar is cut)" if value > shown else f" {value:.2f} s"
        axes.barh(place, shown, color=color, height=0.66)
        axes.text(shown, place, note, ha="left", va="center", fontsize=12)
        axes.text(
            -0.04, place, name, ha="right", va="center", fontsize=12, fontweight="bold" if color == ASKS else None
        )
    axes.set_xlim(0, 1.7 * longest)
    axes.invert_yaxis()
    axes.set_axis_off()
    return figure


def run() -> str:
    """The run that the table shows."""
    text = " ".join(PAGE.read_text("utf-8").split())
    found = re.search(r"\*(\d{4}-\d\d-\d\d), .*?mesa ([\d.]+),.*?mesa-llm-parallel ([\d.]+)\.\*", text)
    python = re.search(r"Python ([\d.]+),", text)
    assert found is not None
    assert python is not None
    return f"python -m benchmarks, {found[1]}, mesa-llm-parallel {found[3]}, mesa {found[2]}, Python {python[1]}"


if __name__ == "__main__":
    with mpl.rc_context(STYLE):
        save(draw(), "bars", run())
