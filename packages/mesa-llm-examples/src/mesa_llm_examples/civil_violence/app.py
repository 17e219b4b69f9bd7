"""The web app of civil violence: `mesa-llm-examples app civil-violence`, or `solara run` this file."""

from __future__ import annotations

from dataclasses import replace

from mesa.visualization.components import AgentPortrayalStyle

from mesa_llm_examples.apps.example import ExampleApp, widgets
from mesa_llm_examples.apps.page import ModelPage
from mesa_llm_examples.catalogue import EXAMPLES
from mesa_llm_examples.civil_violence import Citizen, CivilViolence, Cop, policy

COLORS = {"active": "#d62728", "quiet": "#2ca02c", "jailed": "#9e9e9e"}
STYLES = {name: AgentPortrayalStyle(color=color) for name, color in COLORS.items()} | {
    "cop": AgentPortrayalStyle(color="#1f3b73", marker="s")
}


def portrayal(agent: Citizen | Cop) -> AgentPortrayalStyle:
    """Draw citizens as dots in the colour of their state, cops as squares."""
    # A new object each time: Mesa writes the agent's position into it.
    return replace(STYLES[agent.state if isinstance(agent, Citizen) else "cop"])


def describe(agent: Citizen | Cop) -> str:
    """A citizen's state; cops have none."""
    return agent.state if isinstance(agent, Citizen) else ""


APP = ExampleApp(
    title="Civil violence",
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
    series=COLORS,
    portrayal=portrayal,
    legend=STYLES,
    describe=describe,
    draw_space={"s": 130, "draw_grid": False},
)

page = ModelPage(APP)
