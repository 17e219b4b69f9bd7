"""What both pictures share: answers that take seeded times, the looks, and which run a picture shows."""

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

SEED = 42
FASTEST, SLOWEST = 0.2, 1.0
"""Seconds until an answer: the bounds of what is drawn for each request."""

# Okabe and Ito (2008): colour-blind people can tell them apart.
ASKS, WAITS, ACTS, ALONE = "#0072B2", "#9a9a9a", "#D55E00", "#CC79A7"
INK = "#808080"
"""Readable on light pages and on dark ones."""
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


def save(figure: Figure, name: str) -> None:
    """Save a picture among the assets, with the run that it shows below it and in its metadata."""
    now = datetime.now(UTC).date().isoformat()
    versions = ", ".join(f"{package} {version(package)}" for package in ("mesa-llm-parallel", "mesa"))
    run = f"make figures, {now}, {versions}, Python {platform.python_version()}, seed {SEED}"
    figure.supxlabel(run, fontsize=7, x=0.99, ha="right")
    FigureCanvasSVG(figure)
    path = Path(__file__).parents[1] / "assets" / name
    figure.savefig(path, transparent=True, metadata={"Date": now, "Creator": None, "Description": run})
    # Without the spaces that matplotlib leaves at ends of lines.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
