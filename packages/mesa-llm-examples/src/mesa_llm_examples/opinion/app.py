"""The web app of opinion dynamics: `mesa-llm-examples app opinion`, or `solara run` this file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx

from mesa_llm_examples.apps.example import ExampleApp, widgets
from mesa_llm_examples.apps.page import ModelPage
from mesa_llm_examples.catalogue import EXAMPLES
from mesa_llm_examples.opinion import Opinion, Person, policy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = "viridis"
LISTENING, DEAF = "#707070", "#dddddd"


def draw_network(model: Opinion, axes: Axes, chosen: int | None) -> None:
    """Draw people in the colour of their opinion; a dark connection joins two who would listen to each other."""
    people = {agent.cell.coordinate: agent for agent in model.agents}
    graph = model.grid.G
    places = nx.circular_layout(graph)
    listening = [abs(people[one].opinion - people[other].opinion) < model.confidence for one, other in graph.edges]
    edges = [LISTENING if is_listening else DEAF for is_listening in listening]
    nx.draw_networkx_edges(graph, places, ax=axes, edge_color=edges, width=0.8)
    marked = ["black" if people[node].unique_id == chosen else "white" for node in graph]
    nodes = nx.draw_networkx_nodes(
        graph,
        places,
        ax=axes,
        node_size=140,
        node_color=[people[node].opinion for node in graph],
        cmap=COLORS,
        vmin=0,
        vmax=1,
        edgecolors=marked,
        linewidths=[2.5 if color == "black" else 0.5 for color in marked],
    )
    axes.figure.colorbar(nodes, ax=axes, label="opinion: 0 against, 1 for", shrink=0.7)
    axes.set_aspect("equal")
    axes.axis("off")


def describe(agent: Person) -> str:
    """The person's opinion."""
    return f"{agent.opinion:.2f}"


APP = ExampleApp(
    title="Opinion dynamics",
    make_model=Opinion,
    policy=policy,
    parameters=widgets(
        EXAMPLES["opinion"],
        people=("People", 0, 150, 1),
        neighbors=("Neighbours", 0, 20, 2),
        rewiring=("Rewired (share)", 0.0, 1.0, 0.05),
        confidence=("Confidence", 0.0, 1.0, 0.05),
        convergence=("Convergence", 0.0, 0.5, 0.05),
        topic="What they talk about",
    ),
    series=({"mean": "#0072B2", "variance": "#D55E00"}, {"clusters": "#009E73"}),
    picture=draw_network,
    describe=describe,
)

page = ModelPage(APP)
