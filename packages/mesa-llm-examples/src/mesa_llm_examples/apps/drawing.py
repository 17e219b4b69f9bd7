"""Draws a model as PNG images, between two steps: an image does not change when the model goes on."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mesa.visualization.components import AgentPortrayalStyle
from mesa.visualization.mpl_space_drawing import draw_space

from mesa_llm_examples.apps.session import Pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mesa_llm_examples.apps.example import ExampleApp

_WIDTH, _HEIGHT = 6.4, 4.8
"""The size of the plots all together, in inches."""

_matplotlib = threading.Lock()  # protects matplotlib's caches: it is not made for threads, and each page has one


def draw(app: ExampleApp, model: Any, chosen: int | None) -> Pictures:
    """The model's world, and its states over time.

    Args:
        app: how they are drawn.
        model: the model; nothing may change it meanwhile.
        chosen: the id of the agent that is marked.
    """
    with _matplotlib:
        return Pictures(world=_world(app, model, chosen), states=_states(app, model))


def _world(app: ExampleApp, model: Any, chosen: int | None) -> bytes:
    if app.picture is not None:
        figure = Figure(layout="constrained")
        app.picture(model, figure.add_subplot(), chosen)
        return _png(figure)
    figure = Figure()
    axes = figure.add_subplot()

    def portray(agent: Any) -> Any:
        style = app.portrayal(agent) if app.portrayal is not None else AgentPortrayalStyle()
        return replace(style, edgecolors="black", linewidths=2.5) if agent.unique_id == chosen else style

    space = getattr(model, "grid", None) or model.space
    draw_space(space, portray, ax=axes, **app.draw_space)
    _dress(axes, app.legend or app.plots[0])
    return _png(figure)


def _states(app: ExampleApp, model: Any) -> tuple[bytes, ...]:
    collected = model.datacollector.get_model_vars_dataframe()
    return tuple(_plot(collected, series, height=_HEIGHT / len(app.plots)) for series in app.plots)


def _plot(collected: Any, series: Mapping[str, str], height: float) -> bytes:
    figure = Figure(figsize=(_WIDTH, height))
    axes = figure.add_subplot()
    for name, color in series.items():
        axes.plot(collected[name], label=name, color=color)
    axes.legend(loc="best")
    axes.set_xlabel("Step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=0)
    return _png(figure)


def _dress(axes: Axes, legend: Mapping[str, Any]) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal")
    for name, style in legend.items():
        color, marker = (style, "o") if isinstance(style, str) else (style.color, style.marker)
        axes.scatter([], [], color=color, marker=marker, label=name)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, frameon=False)


def _png(figure: Figure) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight")
    return file.getvalue()
