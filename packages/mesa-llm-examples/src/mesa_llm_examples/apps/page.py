"""The page on which a model runs: its space, its states over time, its calls, and each agent's mind."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import solara
import solara.lab
from matplotlib.figure import Figure
from mesa.visualization import make_plot_component, make_space_component
from mesa.visualization.components import AgentPortrayalStyle
from mesa.visualization.utils import force_update, update_counter

from mesa_llm_examples.apps.panels import Controls, Counters, Decisions, Inspector, Parameters
from mesa_llm_examples.apps.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.axes import Axes

    from mesa_llm_examples.apps.example import ExampleApp


_WIDTH, _HEIGHT = 6.4, 4.8
"""The size of the plots all together, in inches."""


@solara.component
def ModelPage(app: ExampleApp) -> None:
    """The page of an example, for one visitor.

    Steps run on a thread of their own, so the page answers meanwhile. What is chosen in the side bar holds from the
    next reset on.

    Args:
        app: the example.
    """
    session = solara.use_memo(lambda: Session(app), [])
    _, draw_again = solara.use_state(0)
    choices, set_choices = solara.use_state(session.choices)
    chosen, set_chosen = solara.use_state(cast(int | None, None))
    session.on_change = lambda: _draw(session, draw_again)
    session.choices = choices
    frame = session.frame
    solara.use_effect(lambda: session.close, [])

    solara.Title(app.title)
    with solara.AppBar():
        solara.AppBarTitle(app.title)
        solara.lab.ThemeToggle()
    with solara.Sidebar(), solara.Column():
        with solara.Card("Model"):
            Parameters(app, choices, set_choices)
        with solara.Card("Decisions"):
            Decisions(choices, set_choices)
    with solara.Column(style={"padding": "8px 16px"}):
        watched = frame.watched
        Controls(session, frame, pending=watched is not None and watched.choices != choices)
        if watched is None:
            return
        Counters(watched, frame.reports, busy=frame.state.busy)
        with solara.ColumnsResponsive(12, medium=6):
            if app.picture is None:
                Space(app, watched.model, chosen)
            else:
                Picture(app, watched.model, chosen)
            States(app, watched.model)
        Inspector(frame.agents, chosen, set_chosen)


@solara.component
def Space(app: ExampleApp, model: Any, chosen: int | None) -> None:
    """The model's space, with the chosen agent marked."""

    def portray(agent: Any) -> Any:
        style = app.portrayal(agent) if app.portrayal is not None else AgentPortrayalStyle()
        return replace(style, edgecolors="black", linewidths=2.5) if agent.unique_id == chosen else style

    def draw() -> Any:
        return make_space_component(
            portray, post_process=lambda axes: _dress(axes, app.legend or app.plots[0]), **app.draw_space
        )

    # Made anew only when another agent is marked: a component that is another each time is drawn each time.
    component = solara.use_memo(draw, [chosen])
    with solara.Div(classes=["space"]):
        component(model)


@solara.component
def Picture(app: ExampleApp, model: Any, chosen: int | None) -> None:
    """The model as its app draws it, with the chosen agent marked."""
    update_counter.get()  # drawn anew whenever Mesa's own components are
    figure = Figure(layout="constrained")
    assert app.picture is not None
    app.picture(model, figure.add_subplot(), chosen)
    with solara.Div(classes=["space"]):
        solara.FigureMatplotlib(figure, format="png", bbox_inches="tight")


@solara.component
def States(app: ExampleApp, model: Any) -> None:
    """The model's states over time."""

    def plots() -> list[Any]:
        dress = partial(_plain, height=_HEIGHT / len(app.plots))
        return [make_plot_component(dict(series), post_process=dress)[0] for series in app.plots]

    components = solara.use_memo(plots, [])
    with solara.Div(classes=["states"]):
        for component in components:
            component(model)


def _draw(session: Session, draw_again: Callable[[Callable[[int], int]], None]) -> None:
    draw_again(lambda times: times + 1)
    state = session.frame.state
    if state.playing or not state.busy:  # a step may have ended
        force_update()  # which is what Mesa's components wait for


def _dress(axes: Axes, legend: Mapping[str, Any]) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal")
    for name, style in legend.items():
        color, marker = (style, "o") if isinstance(style, str) else (style.color, style.marker)
        axes.scatter([], [], color=color, marker=marker, label=name)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, frameon=False)


def _plain(axes: Axes, height: float) -> None:
    cast(Figure, axes.figure).set_size_inches(_WIDTH, height)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=0)
