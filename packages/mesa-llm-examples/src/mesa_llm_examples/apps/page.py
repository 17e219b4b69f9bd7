"""The page on which a model runs: its space, its states over time, its calls, and each agent's mind."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import solara
import solara.lab
from mesa.visualization import make_plot_component, make_space_component
from mesa.visualization.utils import force_update

from mesa_llm_examples.apps.panels import Controls, Counters, Decisions, Inspector, Parameters
from mesa_llm_examples.apps.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.axes import Axes

    from mesa_llm_examples.apps.example import ExampleApp


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
            Space(app, watched.model, chosen)
            States(app, watched.model)
        Inspector(frame.agents, chosen, set_chosen)


@solara.component
def Space(app: ExampleApp, model: Any, chosen: int | None) -> None:
    """The model's space, with the chosen agent marked."""

    def portray(agent: Any) -> Any:
        style = app.portrayal(agent)
        return replace(style, edgecolors="black", linewidths=2.5) if agent.unique_id == chosen else style

    def draw() -> Any:
        return make_space_component(
            portray, post_process=lambda axes: _dress(axes, app.legend or app.series), **app.draw_space
        )

    # Made anew only when another agent is marked: a component that is another each time is drawn each time.
    component = solara.use_memo(draw, [chosen])
    with solara.Div(classes=["space"]):
        component(model)


@solara.component
def States(app: ExampleApp, model: Any) -> None:
    """The model's states over time."""
    component, _ = solara.use_memo(lambda: make_plot_component(dict(app.series), post_process=_plain), [])
    with solara.Div(classes=["states"]):
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


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=0)
