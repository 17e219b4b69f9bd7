"""The web app of opinion dynamics: `mesa-llm-examples app opinion`, or `solara run` this file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx

from mesa_llm_examples.apps.example import ExampleApp, widgets
from mesa_llm_examples.apps.page import ModelPage
from mesa_llm_examples.catalogue import EXAMPLES
from mesa_llm_examples.looks import LOOKS
from mesa_llm_examples.opinion import Opinion, Person, policy
from mesa_llm_examples.reports.plots import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = "viridis"
LISTENING, DEAF = "#808080", "#80808040"


def draw_network(model: Opinion, axes: Axes, chosen: int | None) -> dict[int, tuple[float, float]]:
    """Draw people in the colour of their opinion; a dark connection joins two who would listen to each other.

    Returns:
        Where each person is.
    """
    people = {agent.cell.coordinate: agent for agent in model.agents}
    graph = model.grid.G
    places = nx.circular_layout(graph)
    listening = [abs(people[one].opinion - people[other].opinion) < model.confidence for one, other in graph.edges]
    edges = [LISTENING if is_listening else DEAF for is_listening in listening]
    nx.draw_networkx_edges(graph, places, ax=axes, edge_color=edges, width=0.8)
    marked = [INK if people[node].unique_id == chosen else "white" for node in graph]
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
        linewidths=[2.5 if color == INK else 0.5 for color in marked],
    )
    axes.figure.colorbar(nodes, ax=axes, label="opinion: 0 against, 1 for", shrink=0.7)
    axes.set_aspect("equal")
    axes.axis("off")
    return {people[node].unique_id: (float(x), float(y)) for node, (x, y) in places.items()}


def describe(agent: Person) -> str:
    """The person's opinion."""
    return f"{agent.opinion:.2f}"


APP = ExampleApp(
    title="Opinion dynamics",
    about="People tell their acquaintances what they think, and listen to those who think alike (Deffuant et al. "
    "2000). Each thin line is the opinion of one person. To try: lower the confidence to 0.15, then Apply and reset.",
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
    series={"clusters": LOOKS["opinion"]["clusters"]},
    units=("number",),
    lines="opinion",
    picture=draw_network,
    describe=describe,
)

page = ModelPage(APP)
