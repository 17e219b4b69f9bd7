"""Traders decide with whom to trade and, when all have traded, where to go.

In a trader's `internal_state`, names with a leading underscore appear in its own prompt only; the others see its
marginal rate of substitution. What is on the cells in sight, the observation has from the grid's property layers. An
action that the world does not allow refuses, and the trader remembers why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from mesa.discrete_space import CellAgent

from mesa_llm.actions import action, wait
from mesa_llm.activation import claim, is_claimed, my_turn
from mesa_llm.errors import ActionError, ConflictError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import ShortTermMemory
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.spaces import move_to, neighbors_of, position_of
from mesa_llm.tools import VisibleAgent, VisibleCell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mesa.discrete_space import Cell

    from mesa_llm_examples.sugarscape.model import Sugarscape

PERSONA = """\
You live on a landscape where sugar and spice grow, and need both: in each step you eat as much of each as your
metabolism says, and you die when you have none left of either. So have an eye on the one of which your store lasts for
fewer steps. You gather all that is on the cell to which you go. The landscape has no edges: who leaves it on one side
comes in on the other. Two traders can exchange sugar for spice. Your marginal rate of substitution, mrs, is how much
spice a unit of sugar is worth to you: above 1 you lack sugar, below 1 spice. You see that of the others. The farther
apart the two rates, the more both of you gain by trading, and nobody ever loses by it."""

WITH_WHOM = "Decide with whom of those in your sight you trade, or wait."
WHERE_TO = "Decide to which of the free cells in your sight you go, or wait: then you stay where you are."


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What a trader has, above 0, and what it needs in a step, above 0."""

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
        """The holding with that much more of each; below 0 less."""
        return replace(self, sugar=self.sugar + sugar, spice=self.spice + spice)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One exchange: sugar to the trader to whom it is worth more, spice the other way, at spice per unit of sugar."""

    sugar: float
    spice: float
    price: float


def exchanges(buyer: Holding, seller: Holding) -> Iterator[Exchange]:
    """The exchanges of two traders, one after the other, for as long as both gain: Epstein's and Axtell's trade rule T.

    The price is the geometric mean of their rates of substitution. At a price p above 1, p units of spice are exchanged
    for 1 of sugar; below 1, 1 unit of spice for 1 / p of sugar. They stop when an exchange would not make both better
    off, or their rates would cross.

    Args:
        buyer: the buyer of sugar, to whom it is worth more.
        seller: the seller of sugar.
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


@action
def trade_with(agent: Trader, trader_id: Annotated[int, VisibleAgent("Trader")]) -> str:
    """Exchange sugar for spice with a trader in your sight, for as long as both of you gain by it.

    Args:
        agent: The trader that acts; the model does not see this parameter.
        trader_id: The number of the trader, for example 12 for "Trader 12".
    """
    other = agent.others_in_sight().get(trader_id)
    if other is None:
        raise ActionError(f"There is no trader {trader_id} in your sight now.")
    buyer, seller = (agent, other) if agent.holding.mrs > other.holding.mrs else (other, agent)
    made = list(exchanges(buyer.holding, seller.holding))
    if not made and (is_claimed(agent, agent) or is_claimed(agent, other)):
        raise ConflictError(
            f"One of you has just traded, and you and trader {trader_id} gain nothing from each other now."
        )
    if not made:
        raise ActionError(
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


@action
def move_to_cell(agent: Trader, cell: VisibleCell) -> str:
    """Go to a free cell in your sight.

    Args:
        agent: The trader that acts; the model does not see this parameter.
        cell: The coordinates of the cell, such as [3, 7].
    """
    place: Any = cell  # what is no place, the move itself refuses
    is_place = isinstance(place, tuple) and len(place) == 2
    if is_place and steps_between(agent.cell.coordinate, place, agent.model.size) > (agent.vision or 0):
        raise ActionError(f"Cell {cell!r} is out of your sight.")
    move_to(agent, cell)
    return f"You are at {position_of(agent)!r}."


def steps_between(one: Sequence[int], other: Sequence[int], size: Sequence[int]) -> int:
    """The distance of two cells on a torus of a size, without diagonal steps."""
    distance: int = sum(min((x - y) % n, (y - x) % n) for x, y, n in zip(one, other, size, strict=True))
    return distance


class Trader(LLMAgent, CellAgent):
    """Trades, gathers and eats; dies when it has no sugar or no spice left.

    Args:
        model: the world.
        cell: the trader's first cell.
        holding: what the trader has and needs.
        vision: how many cells far the trader sees, without diagonal steps, at least 1.
    """

    def __init__(self, model: Sugarscape, cell: Cell, *, holding: Holding, vision: int) -> None:
        super().__init__(
            model,
            OneCallReasoning,
            llm_model=model.llm_model,
            system_prompt=PERSONA,
            vision=vision,
            api_base=model.api_base,
            client=model.client,
            memory=ShortTermMemory,
            actions=[trade_with, move_to_cell, wait],
        )
        self.cell = cell
        self.holding = holding

    @property
    def internal_state(self) -> dict[str, Any]:
        """The trader's rate, which everybody in sight sees, and what only the trader sees."""
        return {
            "mrs": None if self.is_starved else round(self.holding.mrs, 3),
            "_sugar": round(self.holding.sugar, 3),
            "_spice": round(self.holding.spice, 3),
            "_sugar_metabolism": self.holding.sugar_metabolism,
            "_spice_metabolism": self.holding.spice_metabolism,
            "_size_of_the_landscape": list(self.model.size),
        }

    @property
    def is_starved(self) -> bool:
        """Whether the trader has no sugar or no spice left."""
        return self.holding.sugar <= 0 or self.holding.spice <= 0

    def others_in_sight(self) -> dict[int, Trader]:
        """The traders in sight now, by id."""
        others = neighbors_of(self, self.vision or 0)
        return {other.unique_id: other for other in others if isinstance(other, Trader)}

    def gather_and_eat(self) -> None:
        """Gather what is on the cell, and eat; die if that is not enough."""
        sugar, spice = self.model.landscape.harvest(self.cell.coordinate)
        needed = self.holding
        self.holding = needed.changed(sugar - needed.sugar_metabolism, spice - needed.spice_metabolism)
        if self.is_starved:
            self.remove()

    async def astep(self) -> None:
        """Trade with somebody in sight; when all have done so, move, gather and eat."""
        if self.model.trade and self.others_in_sight():
            await self.aact(WITH_WHOM, [trade_with, wait], observe=True)
        else:
            await my_turn()
        # The second decision begins when everybody has traded.
        await self.aact(WHERE_TO, [move_to_cell, wait], observe=True)
        self.gather_and_eat()
