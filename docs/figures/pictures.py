"""What the pictures share: answers that take seeded times, the looks, and which run a picture shows."""

from __future__ import annotations

import platform
import random
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.backends.backend_svg import FigureCanvasSVG

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mesa_llm.clients import LLMRequest

ASSETS = Path(__file__).parents[1] / "assets"
SEED = 42
FASTEST, SLOWEST = 0.2, 1.0
"""Seconds until an answer: the bounds of what is drawn for each request."""

# Okabe and Ito (2008): colour-blind people can tell them apart.
ASKS, ACTS, ALONE, PEER = "#0072B2", "#D55E00", "#CC79A7", "#8c8c8c"
INK = "#595959"
ON_DARK = {INK: "#c8c8c8", ASKS: "#56b4e9"}
"""What takes their place on dark pages: no grey has a contrast of 4.5 to 1 with both."""
STYLE = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "font.family": "sans-serif",
    "font.size": 9,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "mesa-llm",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def seconds_until(request: LLMRequest) -> float:
    """How long the answer to a request takes: the same request always as long."""
    return random.Random(f"{SEED} {request.messages}").uniform(FASTEST, SLOWEST)


def this_run() -> str:
    """Which run a picture shows."""
    now = datetime.now(UTC).date().isoformat()
    versions = ", ".join(f"{package} {version(package)}" for package in ("mesa-llm-parallel", "mesa"))
    return f"make figures, {now}, {versions}, Python {platform.python_version()}, seed {SEED}"


def save(figure: Figure, name: str, run: str = "") -> None:
    """Save a picture among the assets, for light pages and for dark ones, with the run that it shows below it.

    Args:
        figure: the picture.
        name: its name without the ending.
        run: the run; by default this one.
    """
    now = datetime.now(UTC).date().isoformat()
    run = run or this_run()
    figure.supxlabel(run, fontsize=7, x=0.99, ha="right")
    FigureCanvasSVG(figure)
    path = ASSETS / f"{name}.svg"
    figure.savefig(path, transparent=True, metadata={"Date": now, "Creator": None, "Description": run})
    # Without the spaces that matplotlib leaves at ends of lines.
    light = "\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n"
    path.write_text(light)
    dark = light
    for color, on_dark in ON_DARK.items():
        dark = dark.replace(color.lower(), on_dark)
    path.with_stem(f"{name}-dark").write_text(dark)
