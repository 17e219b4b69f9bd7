"""The page on which a model runs: its world, its states over time, its calls, and what each agent saw and did."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import solara
import solara.lab
from mesa.visualization.solara_viz import UserInputs
from solara.alias import rw
from solara.server import kernel_context

from mesa_llm_examples.apps.example import draw
from mesa_llm_examples.apps.guard import protect_solara
from mesa_llm_examples.apps.serving import at_start
from mesa_llm_examples.apps.session import ACTIVATIONS, MODES, Choices, Session, gets_key
from mesa_llm_examples.apps.views import AgentRecord, call_counters, last_step, view_of
from mesa_llm_examples.words import decisions_in_words

if TYPE_CHECKING:
    from mesa_llm_examples.apps.example import ExampleApp
    from mesa_llm_examples.apps.session import Frame, Session, Watched


TICK = 0.2  # seconds between two updates of the counters while a step runs
NARROW = 960  # pixels; in a narrower window the side bar lies over the page, and is closed at first
RULE, LANGUAGE_MODEL = "the rule (no model is asked)", "a language model"


@solara.component
def SideBar(title: str, children: list[Any]) -> None:
    """The title bar, and the side bar that its button opens and closes.

    Solara's own side bar is open at first in every window, and is wider than a telephone.
    """
    # With `None` the browser decides by its width: open beside the page, closed over it.
    is_open, set_open = solara.use_state(cast(bool | None, None))
    with solara.AppBar():
        solara.Button(
            icon_name="mdi-menu",
            icon=True,
            on_click=lambda: set_open(not is_open),
            style={"order": "-1", "margin-right": "12px"},  # left of the title
            classes=["side-bar-button"],
            attributes={"aria-label": "Side bar"},
        )
        solara.AppBarTitle(title)
        solara.lab.ThemeToggle()
    with solara.v.NavigationDrawer(
        app=True,
        clipped=True,
        v_model=is_open,
        on_v_model=set_open,
        width="400px",
        style_="max-width: calc(100vw - 56px)",  # leaves room to tap beside it
        mobile_break_point=NARROW,
        disable_route_watcher=True,
        class_="side-bar",
    ):
        solara.Column(style={"padding": "12px"}, children=children)


@solara.component
def Controls(session: Session, frame: Frame, *, pending: bool) -> None:
    """The buttons step, play and reset, and the number of the step."""
    with solara.Row(style={"flex-wrap": "wrap", "align-items": "center"}, classes=["controls"]):
        if frame.watched is not None:
            solara.Button("Step", color="primary", on_click=session.step, disabled=frame.busy, classes=["step"])
            if frame.playing:
                solara.Button("Pause", color="primary", on_click=session.pause, classes=["pause"])
            else:
                solara.Button("Play", color="primary", on_click=session.play, classes=["play"])
        solara.Button(
            "Apply and reset" if pending else "Reset", on_click=session.reset, outlined=not pending, classes=["reset"]
        )
        solara.Text(f"Step {frame.steps}" + (" …" if frame.busy else ""), classes=["steps"])
    if frame.error is not None:
        solara.Error(frame.error, classes=["failure"])


@solara.component
def Parameters(app: ExampleApp, choices: Choices, on_choices: Callable[[Choices], None]) -> None:
    """The parameters of the model and the seed."""

    def choose(name: str, value: Any) -> None:
        on_choices(replace(choices, parameters={**choices.parameters, name: value}))

    UserInputs(app.labelled(choices.parameters), on_change=choose)
    solara.InputInt("Seed", value=choices.seed, on_value=lambda seed: on_choices(replace(choices, seed=seed)))


@solara.component
def Decisions(choices: Choices, on_choices: Callable[[Choices], None]) -> None:
    """What decides, the rule or a model, and in which mode the agents step."""

    def choose_who(who: str) -> None:
        if who == RULE:
            on_choices(replace(choices, llm_model=None, api_base=""))
        else:
            start = at_start()
            on_choices(replace(choices, llm_model=start.llm_model or "", api_base=start.api_base))

    solara.Select(
        "Mode", value=choices.mode, values=list(MODES), on_value=lambda mode: on_choices(replace(choices, mode=mode))
    )
    if choices.mode != "off":
        solara.Select(
            "Activation",
            value=choices.activation,
            values=list(ACTIVATIONS),
            on_value=lambda activation: on_choices(replace(choices, activation=activation)),
        )
    who = RULE if choices.llm_model is None else LANGUAGE_MODEL
    solara.Select("Decided by", value=who, values=[RULE, LANGUAGE_MODEL], on_value=choose_who)
    if choices.llm_model is not None:
        solara.InputText(
            "Model, as provider/name",
            value=choices.llm_model,
            on_value=lambda name: on_choices(replace(choices, llm_model=name)),
        )
        solara.InputText(
            "Base URL (empty: the provider's own)",
            value=choices.api_base,
            on_value=lambda address: on_choices(replace(choices, api_base=address)),
        )
        if not gets_key(choices.llm_model, choices.api_base):
            solara.Text(
                "No key from the environment is sent to this address: the app was not started with it.",
                classes=["no-key"],
            )
    else:
        solara.SliderFloat(
            f"Answers after: {choices.latency:g} s",
            value=choices.latency,
            on_value=lambda latency: on_choices(replace(choices, latency=latency)),
            min=0.0,
            max=2.0,
            step=0.05,
        )


@solara.component
def Counters(frame: Frame, watched: Watched) -> None:
    """The counts of the run, updated while a step runs."""
    busy = frame.busy
    _, look_again = solara.use_state(watched.client.counts())

    def tick(cancel: threading.Event) -> None:
        while busy and not cancel.wait(TICK):
            look_again(watched.client.counts())

    solara.use_thread(tick, dependencies=[id(watched), busy], intrusive_cancel=False)
    with solara.Row(style={"flex-wrap": "wrap"}, classes=["counters"]):
        for name, value in call_counters(watched.client.counts()).items():
            with solara.Column(gap="0px", style={"width": "7.5em"}):
                solara.Text(
                    value,
                    style={"font-size": "1.4em", "font-variant-numeric": "tabular-nums"},
                    classes=["counter-" + name.replace(" ", "-")],
                )
                solara.Text(name, style={"opacity": "0.7"})
    solara.Text(last_step(frame.reports), style={"opacity": "0.7"}, classes=["last-step"])
    if said := decisions_in_words(frame.decided):
        solara.Text(f"All steps: {said}.", style={"opacity": "0.7"}, classes=["decided"])


@solara.component
def Inspector(agents: Mapping[int, AgentRecord], chosen: int | None, on_chosen: Callable[[int | None], None]) -> None:
    """What an agent saw, thought, did and heard."""
    solara.v.Autocomplete(
        label="Agent",
        items=[{"text": record.label, "value": agent_id} for agent_id, record in agents.items()],
        v_model=chosen,
        on_v_model=on_chosen,
        clearable=True,
        hide_details=True,
        class_="agent",
        style_="max-width: 24em",
    )
    record = None if chosen is None else agents.get(chosen)
    if record is None:
        solara.Text("Choose an agent to see what it saw, thought, did and heard.")
        return
    view = view_of(record)
    when = "" if view.step is None else f" in step {view.step}"
    with solara.ColumnsResponsive(12, medium=6):
        with solara.Column():
            _section(f"Saw{when}", view.observation or "Nothing yet.", "observation")
        with solara.Column():
            _section(f"Thought{when}", view.reasoning or "Nothing yet.", "reasoning")
            _section("Did", "\n".join(view.acts) or "Nothing yet.", "acts")
            _section("Messages", "\n".join(view.messages) or "None.", "messages")
            if view.other:
                _section("Also remembers", "\n".join(view.other), "other")


def _section(title: str, text: str, name: str) -> None:
    solara.Text(title, style={"font-weight": "bold"})
    # A child text is shown literally: nothing that a model writes is taken for markup.
    solara.v.Html(
        tag="pre",
        class_=name,
        style_="white-space: pre-wrap; overflow-wrap: anywhere; max-height: 26em; overflow-y: auto; font-size: 0.85em",
        children=[text],
    )


protect_solara()


@solara.component
def ModelPage(app: ExampleApp) -> None:
    """The page of an example, for one visitor.

    Steps run on a thread of their own, so the page answers meanwhile. Choices in the side bar take effect at the next
    reset. Play stops when no browser shows the page any more.

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
        Counters(frame, watched)
        with solara.ColumnsResponsive(12, medium=6):
            with solara.Div(classes=["space"]):
                rw.Image(value=frame.pictures.world, format="png")
            with solara.Div(classes=["states"]):
                for plot in frame.pictures.states:
                    rw.Image(value=plot, format="png")
        Inspector(frame.agents, session.chosen, session.mark)


def _connection() -> Callable[[], bool]:
    """Whether a browser is connected to the current page; outside a server, always."""
    if not kernel_context.has_current_context():
        return lambda: True
    pages = kernel_context.get_current_context().page_status

    def is_connected() -> bool:
        statuses = list(pages.values())  # a copy: other threads connect and disconnect pages
        return not statuses or kernel_context.PageStatus.CONNECTED in statuses

    return is_connected
