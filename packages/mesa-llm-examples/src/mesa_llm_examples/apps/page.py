"""The page on which a model runs: its world, its states over time, its calls, and what each agent saw and did."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import solara
import solara.lab
from mesa.visualization.solara_viz import UserInputs
from solara.server import kernel_context

from mesa_llm_examples.apps.example import draw
from mesa_llm_examples.apps.guard import protect_solara
from mesa_llm_examples.apps.serving import at_start
from mesa_llm_examples.apps.session import ACTIVATIONS, MODES, Choices, Session, gets_key
from mesa_llm_examples.apps.views import AgentRecord, call_counters, last_step, view_of
from mesa_llm_examples.words import counted, decisions_in_words

if TYPE_CHECKING:
    from mesa_llm_examples.apps.calls import Call, CallLog
    from mesa_llm_examples.apps.example import ExampleApp
    from mesa_llm_examples.apps.session import Frame, Picture, Session, Watched


MEANINGS = {
    "calls in flight": "Calls that wait for their answer now",
    "conflicts": "How often another agent got there first",
}
TICK = 0.2  # seconds between two updates of the counters while a step runs
NARROW = 960  # pixels; in a narrower window the side bar lies over the page, and is closed at first
RULE, LANGUAGE_MODEL = "a Python rule (no LLM is called)", "an LLM"


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
            over = frame.busy or frame.finished
            solara.Button("Step", color="primary", on_click=session.step, disabled=over, classes=["step"])
            if frame.playing:
                solara.Button("Pause", color="primary", on_click=session.pause, classes=["pause"])
            else:
                solara.Button("Play", color="primary", on_click=session.play, disabled=frame.finished, classes=["play"])
        solara.Button(
            "Apply and reset" if pending else "Reset", on_click=session.reset, outlined=not pending, classes=["reset"]
        )
        solara.Text(f"Step {frame.steps}" + (" …" if frame.busy else ""), classes=["steps"])
    if frame.error is not None:
        solara.Error(frame.error, classes=["failure"])
    if frame.finished:
        solara.Success(f"Finished after {counted(frame.steps, 'step')}. {frame.result}".strip(), classes=["finished"])
    elif frame.result:
        solara.Text(frame.result, classes=["result"])


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
            "LLM, as provider/name",
            value=choices.llm_model,
            on_value=lambda name: on_choices(replace(choices, llm_model=name)),
        )
        solara.InputText(
            "Address of its server (empty: the provider's own)",
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
        llm = watched.choices.llm_model is not None
        counters = call_counters(watched.client.counts(), conflicts=frame.conflicts, llm=llm)
        for name, value in counters.items():
            with solara.Column(gap="0px", style={"min-width": "7.5em"}):
                solara.Text(
                    value,
                    style={"font-size": "1.4em", "font-variant-numeric": "tabular-nums"},
                    classes=["counter-" + re.sub(r"\W+", "-", name).strip("-")],
                )
                solara.v.Html(
                    tag="span", style_="opacity: 0.8", children=[name], attributes={"title": MEANINGS.get(name, "")}
                )
    solara.Text(
        last_step(frame.reports) or "No step yet: press Step or Play.", style={"opacity": "0.8"}, classes=["last-step"]
    )
    if said := decisions_in_words(frame.decided):
        solara.Text(f"All steps: {said}.", style={"opacity": "0.8"}, classes=["decided"])


@solara.component_vue("picture.vue")
def Image(svg: str, alt: str, spots: list[dict[str, Any]], event_choose: Callable[[int], None]) -> None:
    """A picture; agents in it can be clicked. It follows the page's light and dark."""


@solara.component_vue("copy.vue")
def Copy(text: str, label: str) -> None:
    """A button that copies a text."""


def _show(picture: Picture, agents: Mapping[int, AgentRecord], on_chosen: Callable[[int | None], None]) -> None:
    spots = [
        {"id": agent_id, "x": x, "y": y, "label": agents[agent_id].label}
        for agent_id, (x, y) in picture.spots.items()
        if agent_id in agents
    ]
    Image(svg=picture.svg, alt=picture.alt, spots=spots, event_choose=on_chosen)


def _heading(level: int, text: str) -> None:
    solara.v.Html(
        tag=f"h{level}", children=[text], style_=f"font-size: {1.7 - 0.3 * level:.1f}em; margin: 0.4em 0 0.2em"
    )


@solara.component
def Inspector(
    agents: Mapping[int, AgentRecord],
    chosen: int | None,
    on_chosen: Callable[[int | None], None],
    calls: CallLog,
    *,
    clickable: bool = True,
) -> None:
    """What an agent saw, thought, did and heard, in one of its steps."""
    step, set_step = solara.use_state(cast(int | None, None))  # `None`: the last
    order = list(agents)

    def move(by: int) -> None:
        at = order.index(chosen) if chosen is not None and chosen in agents else min(-by, 0)
        on_chosen(order[(at + by) % len(order)])

    with solara.Row(style={"flex-wrap": "wrap", "align-items": "end"}, classes=["choose-agent"]):
        solara.v.Autocomplete(
            label="Agent: click one in the picture, or write its name" if clickable else "Agent: write its name",
            items=[{"text": record.label, "value": agent_id} for agent_id, record in agents.items()],
            v_model=chosen,
            on_v_model=on_chosen,
            clearable=True,
            hide_details=True,
            class_="agent",
            style_="max-width: 26em",
        )
        solara.Button("Previous agent", on_click=lambda: move(-1), text=True, disabled=not agents)
        solara.Button("Next agent", on_click=lambda: move(1), text=True, disabled=not agents)
    record = None if chosen is None else agents.get(chosen)
    if chosen is None or record is None:
        solara.Text("Choose an agent to see what it saw, thought, did and heard.")
        return
    if len(record.steps) > 1:
        shown = step if step in record.steps else record.steps[-1]
        solara.SliderValue(
            f"Step {shown}",
            value=shown,
            values=record.steps,
            on_value=lambda value: set_step(None if value == record.steps[-1] else value),
        )
    view = view_of(record, step if step in record.steps else None)
    when = "" if view.step is None else f" in step {view.step}"
    with solara.ColumnsResponsive(12, medium=6):
        with solara.Column():
            _section(f"Saw{when}", view.observation or "Nothing yet.", "observation")
            _neighbours(view.neighbours)
            _section("Messages", "\n".join(view.messages) or "None.", "messages")
            if view.other:
                _section("Also remembers", "\n".join(view.other), "other")
        with solara.Column():
            _section(f"Thought{when}", view.reasoning or "Nothing yet.", "reasoning")
            _section("Did", "\n".join(view.acts) or "Nothing yet.", "acts")
            asked = [] if view.step is None else calls.of(chosen, view.step)
            if asked:
                _heading(3, f"Asked and answered{when}, word for word")
            for call in asked:
                Conversation(call)


@solara.component
def Conversation(call: Call) -> None:
    """A prompt and its answer, as bubbles. The prompt is closed at first."""
    with solara.Column(gap="4px", classes=["conversation"]):
        _bubble("System", call.system, "system", is_open=False)
        _bubble("World", call.prompt, "world", is_open=False)
        _bubble("Agent" + (f" ({call.took})" if call.took else ""), call.answer, "answer", is_open=True)
        Copy(text=f"{call.system}\n\n{call.prompt}", label="Copy the prompt")


def _bubble(who: str, text: str, name: str, *, is_open: bool) -> None:
    lines = "" if is_open else f": {counted(len(text.split()), 'word')}"
    solara.v.Html(
        tag="details",
        class_=f"bubble {name}",
        attributes={"open": True} if is_open else {},
        style_="border: 1px solid rgba(128, 128, 128, 0.4); border-radius: 10px; padding: 4px 10px;"
        + ("margin-left: 2em; background: rgba(0, 114, 178, 0.12)" if name == "answer" else ""),
        children=[
            solara.v.Html(tag="summary", children=[f"{who}{lines}"], style_="cursor: pointer; font-weight: bold"),
            solara.v.Html(tag="pre", children=[text], style_=_TEXT),
        ],
    )


def _neighbours(rows: tuple[tuple[str, str, str], ...]) -> None:
    """The agents in sight, as a table."""
    _heading(3, f"Saw {counted(len(rows), 'other agent')}")
    if not rows:
        return
    cells = [[solara.v.Html(tag="td", children=[cell], style_=_CELL) for cell in row] for row in rows]
    head = [solara.v.Html(tag="th", children=[name], style_=_CELL) for name in ("who", "where", "what it shows")]
    solara.v.Html(
        tag="div",
        style_="max-height: 26em; overflow: auto",
        children=[
            solara.v.Html(
                tag="table",
                class_="neighbours",
                style_="font-size: 0.85em; border-collapse: collapse",
                children=[solara.v.Html(tag="tr", children=row) for row in (head, *cells)],
            )
        ],
    )


_CELL = "text-align: left; padding: 1px 12px 1px 0; vertical-align: top"
_TEXT = "white-space: pre-wrap; overflow-wrap: anywhere; max-height: 26em; overflow-y: auto; font-size: 0.85em"


def _section(title: str, text: str, name: str) -> None:
    _heading(3, title)
    # A child text is shown literally: nothing that a model writes is taken for markup.
    solara.v.Html(tag="pre", class_=name, style_=_TEXT, children=[text])


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
        with solara.Card("Simulation"):
            Parameters(app, choices, set_choices)
        with solara.Card("Decisions"):
            Decisions(choices, set_choices)
    with solara.Column(style={"padding": "8px 16px"}):
        watched = frame.watched
        _heading(1, app.title)
        if app.about:
            solara.Text(app.about, classes=["about"], style={"max-width": "60em"})
        Controls(session, frame, pending=watched is not None and watched.choices != choices)
        if watched is None:
            return
        Counters(frame, watched)
        with solara.ColumnsResponsive(12, medium=6):
            with solara.Div(classes=["space"]):
                _heading(2, f"After step {frame.steps}" if frame.steps else "Before the first step")
                _show(frame.pictures.world, frame.agents, session.mark)
            with solara.Div(classes=["states"]):
                _heading(2, "Over time")
                for plot in frame.pictures.states:
                    _show(plot, frame.agents, session.mark)
        _heading(2, "An agent")
        clickable = bool(frame.pictures.world.spots)
        Inspector(frame.agents, session.chosen, session.mark, watched.calls, clickable=clickable)


def _connection() -> Callable[[], bool]:
    """Whether a browser is connected to the current page; outside a server, always."""
    if not kernel_context.has_current_context():
        return lambda: True
    pages = kernel_context.get_current_context().page_status

    def is_connected() -> bool:
        statuses = list(pages.values())  # a copy: other threads connect and disconnect pages
        return not statuses or kernel_context.PageStatus.CONNECTED in statuses

    return is_connected
