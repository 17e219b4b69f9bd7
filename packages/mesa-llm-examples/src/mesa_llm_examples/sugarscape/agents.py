"""Who decides: traders, where to go; and then, when all have gone, with whom to trade.

What a trader's `internal_state` says under a name with a leading underscore is for itself alone; the others see its
marginal rate of substitution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mesa.discrete_space import CellAgent

from mesa_llm.clients import Message
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.reasoning import OneCallReasoning, Plan
from mesa_llm.spaces import free_places_around, neighbors_of
from mesa_llm_examples.sugarscape.tools import Holding, move_to_cell, trade_with

if TYPE_CHECKING:
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


class TraderReasoning(OneCallReasoning):
    """One call for each decision, and none on whom to trade with where nobody is in sight."""

    def decide(
        self,
        prompt: str,
        obs: Observation,
        *,
        ttl: int,
        selected_tools: list[str] | None,
        tool_calls: ToolChoice | None,
    ) -> Thinking:
        """Decide."""
        if prompt == WITH_WHOM and not obs.local_state:
            return Plan(step=obs.step, llm_plan=Message("assistant", "There is nobody to trade with."), ttl=ttl)
        return (yield from super().decide(prompt, obs, ttl=ttl, selected_tools=selected_tools, tool_calls=tool_calls))


class Trader(LLMAgent, CellAgent):
    """Gathers, eats and trades; dies when it has no sugar or no spice left.

    Args:
        model: the world.
        cell: where the trader is at first.
        holding: what it has, and needs.
        vision: how many cells far it sees, without diagonal steps, at least 1.
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
            tools=[move_to_cell, trade_with],
        )
        self.cell = cell
        self.holding = holding

    @property
    def internal_state(self) -> dict[str, Any]:
        """What it tells about itself: its rate to all in whose sight it is, its stores to itself alone."""
        return {
            "mrs": None if self.is_starved else round(self.holding.mrs, 3),
            "_sugar": round(self.holding.sugar, 3),
            "_spice": round(self.holding.spice, 3),
            "_sugar_metabolism": self.holding.sugar_metabolism,
            "_spice_metabolism": self.holding.spice_metabolism,
        }

    @property
    def is_starved(self) -> bool:
        """Whether it has no sugar or no spice left."""
        return self.holding.sugar <= 0 or self.holding.spice <= 0

    def others_in_sight(self) -> dict[int, Trader]:
        """The traders that it sees now, by their id."""
        others = neighbors_of(self, self.vision or 0)
        return {other.unique_id: other for other in others if isinstance(other, Trader)}

    def where_to(self) -> str:
        """The question where to go, with what is on its own cell and on the free ones in sight, nearest first.

        In the question, since it is of no use later: what is observed is remembered.
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
        """Take what is on the cell, and eat; die if that is not enough."""
        sugar, spice = self.model.landscape.harvest(self.cell.coordinate)
        needed = self.holding
        self.holding = needed.changed(sugar - needed.sugar_metabolism, spice - needed.spice_metabolism)
        if self.is_starved:
            self.remove()

    async def astep(self) -> None:
        """Go somewhere, gather and eat; when all have done so, trade."""
        obs = await self.agenerate_obs()
        await self.aapply_plan(await self.reasoning.aplan(self.where_to(), obs, selected_tools=["move_to_cell"]))
        self.gather_and_eat()
        if self.is_starved or not self.model.trade:
            return
        # A second decision: it begins when everybody has moved.
        await self.aapply_plan(await self.reasoning.aplan(WITH_WHOM, selected_tools=["trade_with"]))
