"""Traders decide where to go and, when all have moved, with whom to trade.

In a trader's `internal_state`, names with a leading underscore appear in its own prompt only; the others see its
marginal rate of substitution. A tool call that the world does not allow raises a `ToolError`, whose text the trader
remembers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from mesa.discrete_space import CellAgent

from mesa_llm.activation import claim, is_claimed
from mesa_llm.clients import Message
from mesa_llm.errors import ConflictError, ToolError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import ShortTermMemory
from mesa_llm.reasoning import OneCallReasoning, Plan
from mesa_llm.spaces import free_places_around, move_to, neighbors_of, position_of
from mesa_llm.tools import VisibleAgent, VisibleCell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mesa.discrete_space import Cell

    from mesa_llm.clients import ToolChoice
    from mesa_llm.reasoning import Observation
    from mesa_llm.reasoning.plan import Thinking
    from mesa_llm_examples.sugarscape.model import Sugarscape

PERSONA = """\
You live on a landscape where sugar and spice grow, and need both: in each step you eat as much of each as your
metabolism says, and you die when you have none left of either. So have an eye on the one of which your store lasts for
fewer steps. You gather all that is on the cell to which you go. Two traders can exchange sugar for spice. Your marginal
rate of substitution, mrs, is how much spice a unit of sugar is worth to you: above 1 you lack sugar, below 1 spice. You
see that of the others. The farther apart the two rates, the more both of you gain by trading, and nobody ever loses by
it."""

WHERE_TO = """\
Decide to which of the free cells in your sight you go, or stay where you are by calling no tool. What is there for you,
nearest first:"""
WITH_WHOM = "Decide with whom of those in your sight you trade, if with anybody."


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


class TraderReasoning(OneCallReasoning):
    """One call for each decision; a trader with nobody in sight makes none to choose a partner."""

    def decide(
        self,
        prompt: str,
        obs: Observation,
        *,
        ttl: int,
        selected_tools: list[str] | None,
        tool_calls: ToolChoice | None,
    ) -> Thinking:
        """Make a decision."""
        if prompt == WITH_WHOM and not obs.local_state:
            return Plan(step=obs.step, llm_plan=Message("assistant", "There is nobody to trade with."), ttl=ttl)
        return (yield from super().decide(prompt, obs, ttl=ttl, selected_tools=selected_tools, tool_calls=tool_calls))


class Trader(LLMAgent, CellAgent):
    """Gathers, eats and trades; dies when it has no sugar or no spice left.

    Args:
        model: the world.
        cell: the trader's first cell.
        holding: what the trader has and needs.
        vision: how many cells far the trader sees, without diagonal steps, at least 1.
    """

    def __init__(self, model: Sugarscape, cell: Cell, *, holding: Holding, vision: int) -> None:
        super().__init__(
            model,
            TraderReasoning,
            llm_model=model.llm_model,
            system_prompt=PERSONA,
            vision=vision,
            api_base=model.api_base,
            client=model.client,
            memory=ShortTermMemory,
            tools=[move_to_cell, trade_with],
        )
        self.cell = cell
        self.holding = holding

    @property
    def internal_state(self) -> dict[str, Any]:
        """The trader's rate, which everybody in sight sees, and its stores, which only the trader sees."""
        return {
            "mrs": None if self.is_starved else round(self.holding.mrs, 3),
            "_sugar": round(self.holding.sugar, 3),
            "_spice": round(self.holding.spice, 3),
            "_sugar_metabolism": self.holding.sugar_metabolism,
            "_spice_metabolism": self.holding.spice_metabolism,
        }

    @property
    def is_starved(self) -> bool:
        """Whether the trader has no sugar or no spice left."""
        return self.holding.sugar <= 0 or self.holding.spice <= 0

    def others_in_sight(self) -> dict[int, Trader]:
        """The traders in sight now, by id."""
        others = neighbors_of(self, self.vision or 0)
        return {other.unique_id: other for other in others if isinstance(other, Trader)}

    def where_to(self) -> str:
        """The question where to go, with what is on the trader's cell and on the free cells in sight, nearest first.

        This is part of the question and not of the observation: an observation is remembered, and old amounts are
        useless.
        """
        here, land = self.cell.coordinate, self.model.landscape
        places = [here, *(free_places_around(self, self.vision or 0) or ())]
        cells = [
            f"- {list(place)}, {land.steps_between(here, place)} steps away: "
            f"{land.sugar[place]} sugar, {land.spice[place]} spice"
            for place in places
        ]
        return "\n".join([WHERE_TO, *cells])

    def gather_and_eat(self) -> None:
        """Gather what is on the cell, and eat; die if that is not enough."""
        sugar, spice = self.model.landscape.harvest(self.cell.coordinate)
        needed = self.holding
        self.holding = needed.changed(sugar - needed.sugar_metabolism, spice - needed.spice_metabolism)
        if self.is_starved:
            self.remove()

    async def astep(self) -> None:
        """Move, gather and eat; when all have done so, trade."""
        obs = await self.agenerate_obs()
        await self.aapply_plan(await self.reasoning.aplan(self.where_to(), obs, selected_tools=["move_to_cell"]))
        self.gather_and_eat()
        if self.is_starved or not self.model.trade:
            return
        # The second decision begins when everybody has moved.
        await self.aapply_plan(await self.reasoning.aplan(WITH_WHOM, selected_tools=["trade_with"]))


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
