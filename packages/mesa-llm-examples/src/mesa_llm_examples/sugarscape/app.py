"""The web app of Sugarscape: `mesa-llm-examples app sugarscape`, or `solara run` this file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mesa_llm_examples.apps.example import ExampleApp, widgets
from mesa_llm_examples.apps.page import ModelPage
from mesa_llm_examples.catalogue import EXAMPLES
from mesa_llm_examples.sugarscape import Sugarscape, Trader, policy
from mesa_llm_examples.sugarscape.model import RICHEST

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LACKS_SUGAR, LACKS_SPICE = "#0072B2", "#7b3294"
_SUGAR, _SPICE = np.array([0.95, 0.75, 0.1]), np.array([0.85, 0.35, 0.2])  # the colours of the richest cells


def draw_landscape(model: Sugarscape, axes: Axes, chosen: int | None) -> None:
    """Draw sugar and spice as the colours of the cells, and each trader in the colour of the good that it lacks."""
    cells = np.ones((model.grid.height, model.grid.width, 3))
    for good, shade in (("sugar", _SUGAR), ("spice", _SPICE)):
        cells -= (1 - shade) * (model.landscape.now(good).T[..., None] / RICHEST) * 0.7
    axes.imshow(cells.clip(0, 1), origin="lower", interpolation="nearest")
    for color, label, lacks_sugar in ((LACKS_SUGAR, "lack sugar", True), (LACKS_SPICE, "lack spice", False)):
        places = [agent.cell.coordinate for agent in model.agents if (agent.holding.mrs > 1) is lacks_sugar]
        axes.scatter([x for x, _ in places], [y for _, y in places], color=color, s=36, label=label)
    for agent in model.agents:
        if agent.unique_id == chosen:
            x, y = agent.cell.coordinate
            axes.scatter([x], [y], facecolors="none", edgecolors="black", linewidths=2.5, s=120)
    for name, shade in (("sugar", _SUGAR), ("spice", _SPICE)):
        axes.scatter([], [], marker="s", color=shade, label=name)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, frameon=False)


def describe(agent: Trader) -> str:
    """The trader's stores."""
    return f"sugar {agent.holding.sugar:.1f}, spice {agent.holding.spice:.1f}"


APP = ExampleApp(
    title="Sugarscape with trade",
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
        {"population": "#0072B2", "exchanges": "#009E73"},
        {"price": "#D55E00", "gini": "#7f7f7f"},
    ),
    picture=draw_landscape,
    describe=describe,
)

page = ModelPage(APP)
