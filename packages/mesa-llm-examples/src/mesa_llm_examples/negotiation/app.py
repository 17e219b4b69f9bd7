"""The web app of the negotiation: `mesa-llm-examples app negotiation`, or `solara run` this file."""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from mesa_llm_examples.apps.example import ExampleApp, widgets
from mesa_llm_examples.apps.page import ModelPage
from mesa_llm_examples.catalogue import EXAMPLES
from mesa_llm_examples.looks import BLUE, GREEN, LOOKS, ORANGE
from mesa_llm_examples.negotiation import Buyer, Negotiation, Seller, policy
from mesa_llm_examples.reports.plots import INK, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BUYERS, SELLERS, DEALS = BLUE, ORANGE, GREEN
MARKET = LOOKS["negotiation"]


def draw_market(model: Negotiation, axes: Axes, chosen: int | None) -> None:
    """Draw demand, supply, and the prices of the deals in their order."""
    for agent_class, color, label in ((Buyer, BUYERS, "values of buyers"), (Seller, SELLERS, "costs of sellers")):
        limits = sorted(agent.limit for agent in model.negotiators.values() if isinstance(agent, agent_class))
        if agent_class is Buyer:
            limits.reverse()
        units = list(chain.from_iterable(repeat(limit, model.units) for limit in limits))
        units += units[-1:]  # draws the last step of the curve
        axes.step(range(len(units)), units, where="post", color=color, label=label)
    axes.plot(
        [number + 0.5 for number in range(len(model.deals))],
        [deal.price for deal in model.deals],
        MARKET["deals"].marker,
        color=DEALS,
        label="prices of deals",
    )
    own = [(number, deal) for number, deal in enumerate(model.deals) if chosen in (deal.buyer, deal.seller)]
    if chosen in model.negotiators:
        axes.axhline(model.negotiators[chosen].limit, color=INK, linestyle=":", label="the chosen agent")
        axes.plot([n + 0.5 for n, _ in own], [deal.price for _, deal in own], "o", color="none", mec=INK, ms=12)
    axes.set_xlabel("units")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("coins")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    legend(axes, axes.lines)
    if not model.deals:
        axes.text(0.5, 0.05, "no deals yet", transform=axes.transAxes, ha="center")


def describe(agent: Buyer | Seller) -> str:
    """How many units the agent has traded."""
    return f"{agent.units} of {agent.model.units} units"


APP = ExampleApp(
    title="Negotiation",
    about="Buyers and sellers bargain by offers and messages until the market closes (Faratin, Sierra and Jennings "
    "1998). The curves are the values of buyers and the costs of sellers; deals can be made where values exceed costs. "
    "To try: more buyers than sellers, then Apply and reset.",
    make_model=Negotiation,
    policy=policy,
    parameters=widgets(
        EXAMPLES["negotiation"],
        buyers=("Buyers", 0, 40, 1),
        sellers=("Sellers", 0, 40, 1),
        units=("Units each", 1, 5, 1),
        rounds=("Rounds", 1, 30, 1),
        lowest_price=("Lowest limit (coins)", 1, 100, 1),
        highest_price=("Highest limit (coins)", 1, 200, 1),
    ),
    series=({name: MARKET[name] for name in ("offers", "deals")}, {"price": MARKET["price"]}),
    units=("number", "coins"),
    picture=draw_market,
    describe=describe,
)

page = ModelPage(APP)
