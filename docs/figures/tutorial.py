"""Draws what the tutorials end with, by running the Python of their pages.

uv run python docs/figures/tutorial.py
"""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pictures import ACTS, ASKS, STYLE, save

TUTORIALS = Path(__file__).parents[1] / "tutorials"


def program(page: str) -> dict[str, Any]:
    """What the blocks of a page define, run one after the other."""
    blocks = re.findall(
        r"^```python[^\n]*\n(.*?)^```$", (TUTORIALS / page).read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    names: dict[str, Any] = {"__name__": "docs_block"}
    with redirect_stdout(io.StringIO()):
        exec(compile("".join(blocks), page, "exec"), names)
    return names


def draw(lines: dict[str, list[float]], label: str) -> Figure:
    """Draw values over steps, a line each."""
    figure = Figure(figsize=(5.8, 2.9), layout="constrained")
    axes = figure.subplots()
    for (name, values), color, marker in zip(lines.items(), (ASKS, ACTS), ("o", "s"), strict=False):
        axes.plot(values, color=color, marker=marker, label=name)
        top = max(values)
        axes.annotate(name, (values.index(top), top), (8, 0), textcoords="offset points", va="center", fontsize=12)
    axes.set_xlabel("step", fontsize=11)
    axes.set_ylabel(label, fontsize=11)
    axes.set_xlim(left=0)
    axes.set_ylim(0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def main() -> None:
    """Draw both."""
    city = program("from-rule-to-llm.md")
    lines = {name: city[f"by_{name.lower()}"].datacollector.model_vars["active"] for name in ("rule", "LLM")}
    save(draw(lines, "active citizens"), "rule-and-llm")
    town = program("first-llm-model.md")["town"]
    save(draw({"goods": town.datacollector.model_vars["goods"]}, "goods in the town"), "goods")


if __name__ == "__main__":
    with mpl.rc_context(STYLE):
        main()
