"""Figures without a window or a global state, in a style for light and dark pages. Needs matplotlib."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
