"""What traders can do: go to a cell, and barter. A call that the world does not allow is refused by a `ToolError`.

What two traders exchange, and when they stop, is the trade rule T of Epstein and Axtell (1996), chapter IV.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from mesa_llm.activation import claim, is_claimed
from mesa_llm.errors import ConflictError, ToolError
from mesa_llm.spaces import free_places_around, move_to, position_of
from mesa_llm.tools import VisibleAgent, VisibleCell

if TYPE_CHECKING:
    from mesa_llm_examples.sugarscape.agents import Trader


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What somebody has, and needs.

    Attributes:
        sugar: what it has, above 0.
        spice: likewise.
        sugar_metabolism: what it needs in a step, above 0.
        spice_metabolism: likewise.
    """

    sugar: float
    spice: float
    sugar_metabolism: int
    spice_metabolism: int

    @property
    def welfare(self) -> float:
        """W = sugar^(m1/m) * spice^(m2/m), with the metabolisms m1, m2 and their sum m (page 97)."""
        total = self.sugar_metabolism + self.spice_metabolism
        return float(self.sugar ** (self.sugar_metabolism / total) * self.spice ** (self.spice_metabolism / total))

    @property
    def mrs(self) -> float:
        """The marginal rate of substitution: how much spice a unit of sugar is worth (page 101)."""
        return (self.spice / self.spice_metabolism) / (self.sugar / self.sugar_metabolism)

    def changed(self, sugar: float, spice: float) -> Holding:
        """The holding with so much more of each.

        Args:
            sugar: how much more sugar; below 0 less.
            spice: how much more spice; below 0 less.
        """
        return Holding(
            sugar=self.sugar + sugar,
            spice=self.spice + spice,
            sugar_metabolism=self.sugar_metabolism,
            spice_metabolism=self.spice_metabolism,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One exchange of sugar for spice.

    Attributes:
        sugar: how much goes to whom sugar is worth more.
        spice: how much goes the other way.
        price: spice for a unit of sugar.
    """

    sugar: float
    spice: float
    price: float


def exchanges(buyer: Holding, seller: Holding) -> Iterator[Exchange]:
    """The exchanges of two, one after the other, for as long as both gain by them.

    The price is the geometric mean of their rates of substitution. At a price p above 1, p units of spice are exchanged
    for 1 of sugar; below 1, 1 unit of spice for 1 / p of sugar. They stop when an exchange would not make both better
    off, or their rates would cross.

    Args:
        buyer: of sugar: the one to whom it is worth more.
        seller: of sugar.
    """
    while buyer.mrs > seller.mrs:
        price = math.sqrt(buyer.mrs * seller.mrs)
        sugar, spice = (1.0, price) if price >= 1 else (1 / price, 1.0)
        if sugar >= seller.sugar or spice >= buyer.spice:
            return
        with_sugar, with_spice = buyer.changed(sugar, -spice), seller.changed(-sugar, spice)
        if with_sugar.welfare <= buyer.welfare or with_spice.welfare <= seller.welfare:
            return
        if with_sugar.mrs < with_spice.mrs:
            return
        buyer, seller = with_sugar, with_spice
        yield Exchange(sugar=sugar, spice=spice, price=price)


def move_to_cell(agent: Trader, cell: VisibleCell) -> str:
    """Go to a free cell in your sight.

    Args:
        agent: The trader that calls; the model does not see this parameter.
        cell: The coordinates of the cell, such as [3, 7].

    Returns:
        Where you are.

    Raises:
        ToolError: if the cell is out of sight, or taken (a `ConflictError` if another trader has gone there since
            everybody decided).
    """
    steps = agent.model.landscape.steps_between
    is_place = isinstance(cell, tuple) and len(cell) == 2  # what is none, the move itself refuses
    if is_place and steps(agent.cell.coordinate, cell) > (agent.vision or 0):
        free = free_places_around(agent, agent.vision or 0)
        raise ToolError(f"Cell {cell!r} is out of your sight. Free cells in sight: {free}.")
    move_to(agent, cell)
    return f"You are at {position_of(agent)!r}."


def trade_with(agent: Trader, trader_id: Annotated[int, VisibleAgent("Trader")]) -> str:
    """Exchange sugar for spice with a trader in your sight, for as long as both of you gain by it.

    Args:
        agent: The trader that calls; the model does not see this parameter.
        trader_id: The number of the trader, for example 12 for "Trader 12".

    Returns:
        What you got and gave.

    Raises:
        ToolError: if there is no such trader in sight, or no exchange makes both better off (a `ConflictError` if one
            of the two has traded since everybody decided).
    """
    other = agent.others_in_sight().get(trader_id)
    if other is None:
        raise ToolError(f"There is no trader {trader_id} in your sight now.")
    buyer, seller = (agent, other) if agent.holding.mrs > other.holding.mrs else (other, agent)
    made = list(exchanges(buyer.holding, seller.holding))
    if not made and (is_claimed(agent, agent) or is_claimed(agent, other)):
        raise ConflictError(
            f"One of you has just traded, and you and trader {trader_id} gain nothing from each other now."
        )
    if not made:
        raise ToolError(
            f"You and trader {trader_id} would not both gain: your rates are {agent.holding.mrs:.3f} and "
            f"{other.holding.mrs:.3f}."
        )
    sugar, spice = sum(exchange.sugar for exchange in made), sum(exchange.spice for exchange in made)
    buyer.holding = buyer.holding.changed(sugar, -spice)
    seller.holding = seller.holding.changed(-sugar, spice)
    agent.model.exchanges.extend(made)
    for one in (agent, other):
        claim(agent, one)
    got, gave = (f"{sugar:.2f} sugar", f"{spice:.2f} spice")
    if agent is seller:
        got, gave = gave, got
    other.memory.add_to_memory(
        "trade", {"result": f"Trader {agent.unique_id} traded with you: you got {gave} for {got}."}
    )
    return f"You got {got} from trader {trader_id} for {gave}. Your rate is {agent.holding.mrs:.3f} now."
