"""The page on which a model runs: its space, its states over time, its calls, and each agent's mind."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import solara
import solara.lab
from solara.server import kernel_context

from mesa_llm_examples.apps.drawing import draw
from mesa_llm_examples.apps.guard import protect_solara
from mesa_llm_examples.apps.panels import Controls, Counters, Decisions, Inspector, Parameters, Picture, SideBar
from mesa_llm_examples.apps.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from mesa_llm_examples.apps.example import ExampleApp

protect_solara()


@solara.component
def ModelPage(app: ExampleApp) -> None:
    """The page of an example, for one visitor.

    Steps run on a thread of their own, so the page answers meanwhile. What is chosen in the side bar holds from the
    next reset on. Play stops when no browser shows the page any more.

    Args:
        app: the example.
    """
    protect_solara()  # if this module was imported before the server
    session = solara.use_memo(lambda: Session(app, draw=partial(draw, app), is_watched=_connection()), [])
    _, draw_again = solara.use_state(0)
    choices, set_choices = solara.use_state(session.choices)
    session.on_change = lambda: draw_again(lambda times: times + 1)
    session.choices = choices
    frame = session.frame
    solara.use_effect(lambda: session.close, [])

    solara.Title(app.title)
    with SideBar(app.title):
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
            with solara.Div(classes=["space"]):
                Picture(frame.pictures.world)
            with solara.Div(classes=["states"]):
                for plot in frame.pictures.states:
                    Picture(plot)
        Inspector(frame.agents, session.chosen, session.mark)


def _connection() -> Callable[[], bool]:
    """Whether a browser is connected to the page that is being made. Elsewhere than in a server it always is."""
    if not kernel_context.has_current_context():
        return lambda: True
    pages = kernel_context.get_current_context().page_status

    def is_connected() -> bool:
        statuses = list(pages.values())  # other threads connect and disconnect pages
        return not statuses or kernel_context.PageStatus.CONNECTED in statuses

    return is_connected
