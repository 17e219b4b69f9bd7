"""Figures without a window or a global state, in a style for light and dark pages. Needs matplotlib."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_INK = "#707070"
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "mesa-llm-examples",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def style() -> AbstractContextManager[None]:
    """Within its `with` block, figures are made and drawn in our style."""
    return mpl.rc_context(_STYLE)


def new_figure(height: float, *, width: float = 8.0) -> Figure:
    """An empty figure.

    Args:
        height: in inches.
        width: in inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def as_svg(figure: Figure) -> str:
    """A figure as an SVG element whose text has the colour of the page around it."""
    stream = io.StringIO()
    with style():
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :].replace(_INK, "currentColor")
