"""The web app of Sugarscape: `mesa-llm-examples app sugarscape`, or `solara run` this file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mesa_llm_examples.apps.example import ExampleApp, widgets
from mesa_llm_examples.apps.page import ModelPage
from mesa_llm_examples.catalogue import EXAMPLES
from mesa_llm_examples.looks import BLUE, GREEN, LOOKS, Look
from mesa_llm_examples.reports.plots import legend
from mesa_llm_examples.sugarscape import Sugarscape, Trader, policy
from mesa_llm_examples.sugarscape.model import RICHEST

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LACKS_SUGAR, LACKS_SPICE = Look(BLUE, "o"), Look(GREEN, "^")
_MARK = "#000000"  # on maps, which are light on dark pages too
_SUGAR, _SPICE = np.array([0.90, 0.62, 0.0]), np.array([0.80, 0.47, 0.65])  # the colours of the richest cells
_GAP = 1  # cells between the two maps


def draw_landscape(model: Sugarscape, axes: Axes, chosen: int | None) -> dict[int, tuple[float, float]]:
    """Draw two maps, sugar on the left and spice on the right, and on both each trader as what it lacks.

    Returns:
        Where each trader is on the left map.
    """
    width, height = model.grid.width, model.grid.height
    right = width + _GAP
    for good, shade, start in (("sugar", _SUGAR, 0), ("spice", _SPICE, right)):
        cells = 1 - (1 - shade) * (model.landscape.now(good).T[..., None] / RICHEST)
        extent = (start - 0.5, start + width - 0.5, -0.5, height - 0.5)
        axes.imshow(cells.clip(0, 1), origin="lower", interpolation="nearest", extent=extent)
        axes.text(start + (width - 1) / 2, height, good, ha="center", va="bottom")
    for look, label, lacks_sugar in ((LACKS_SUGAR, "lack sugar", True), (LACKS_SPICE, "lack spice", False)):
        places = [agent.cell.coordinate for agent in model.agents if (agent.holding.mrs > 1) is lacks_sugar]
        both = [(x + start, y) for start in (0, right) for x, y in places]
        xs, ys = [x for x, _ in both], [y for _, y in both]
        axes.scatter(xs, ys, color=look.color, marker=look.marker, s=16, linewidths=0, label=label)
    for agent in model.agents:
        if agent.unique_id == chosen:
            x, y = agent.cell.coordinate
            axes.scatter([x, x + right], [y, y], facecolors="none", edgecolors=_MARK, linewidths=2, s=80)
    axes.set_xlim(-0.5, right + width - 0.5)
    axes.set_ylim(-0.5, height + 1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    legend(axes, axes.collections[:2])
    return {agent.unique_id: agent.cell.coordinate for agent in model.agents}


def describe(agent: Trader) -> str:
    """The trader's stores."""
    return f"sugar {agent.holding.sugar:.1f}, spice {agent.holding.spice:.1f}"


APP = ExampleApp(
    title="Sugarscape with trade",
    about="Traders gather sugar and spice, need both, and exchange one for the other (Epstein and Axtell 1996). The "
    "darker a cell, the more grows on it. To try: switch trade off, then Apply and reset.",
    make_model=Sugarscape,
    policy=policy,
    parameters=widgets(
        EXAMPLES["sugarscape"],
        traders=("Traders", 0, 200, 1),
        width=("Width (cells)", 3, 50, 1),
        height=("Height (cells)", 3, 50, 1),
        max_metabolism=("Largest metabolism", 1, 8, 1),
        max_vision=("Farthest sight (cells)", 1, 8, 1),
        growth=("Growth per step", 0, 4, 1),
        trade="Everybody trades",
    ),
    series=(
        {name: LOOKS["sugarscape"][name] for name in ("population", "exchanges")},
        {"price": LOOKS["sugarscape"]["price"]},
        {"gini": LOOKS["sugarscape"]["gini"]},
    ),
    units=("number", "spice per sugar", "0: all equal"),
    picture=draw_landscape,
    describe=describe,
)

page = ModelPage(APP)
