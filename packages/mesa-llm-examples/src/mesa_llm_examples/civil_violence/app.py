"""The web app of civil violence: `mesa-llm-examples app civil-violence`, or `solara run` this file."""

from __future__ import annotations

from dataclasses import replace

from mesa.visualization.components import AgentPortrayalStyle

from mesa_llm_examples.apps.example import ExampleApp, widgets
from mesa_llm_examples.apps.page import ModelPage
from mesa_llm_examples.catalogue import EXAMPLES
from mesa_llm_examples.civil_violence import Citizen, CivilViolence, Cop, policy
from mesa_llm_examples.looks import LOOKS
from mesa_llm_examples.reports.plots import INK

STATES = LOOKS["civil-violence"]
STYLES = {name: AgentPortrayalStyle(color=look.color, marker=look.marker) for name, look in STATES.items()} | {
    "cop": AgentPortrayalStyle(color=INK, marker="s")
}


def portrayal(agent: Citizen | Cop) -> AgentPortrayalStyle:
    """Draw citizens in colour and shape of their state, cops as squares."""
    # A new object each time: Mesa writes the agent's position into it.
    return replace(STYLES[agent.state if isinstance(agent, Citizen) else "cop"])


def describe(agent: Citizen | Cop) -> str:
    """A citizen's state; cops have none."""
    return agent.state if isinstance(agent, Citizen) else ""


APP = ExampleApp(
    title="Civil violence",
    about="Citizens rebel if their grievance exceeds the risk of arrest; cops arrest rebels in sight (Epstein 2002). "
    "To try: lower the legitimacy of the regime to 0.3, then Apply and reset.",
    make_model=CivilViolence,
    policy=policy,
    parameters=widgets(
        EXAMPLES["civil-violence"],
        citizens=("Citizens", 1, 200, 1),
        cops=("Cops", 0, 50, 1),
        legitimacy=("Legitimacy of the regime", 0.0, 1.0, 0.05),
        citizen_vision=("Citizens see (cells)", 0, 7, 1),
        cop_vision=("Cops see (cells)", 0, 7, 1),
        max_jail_term=("Longest jail term (steps)", 1, 30, 1),
        movement="Everybody moves",
    ),
    series=STATES,
    units=("citizens",),
    portrayal=portrayal,
    legend=STYLES,
    describe=describe,
    draw_space={"s": 85, "draw_grid": False},
)

page = ModelPage(APP)
