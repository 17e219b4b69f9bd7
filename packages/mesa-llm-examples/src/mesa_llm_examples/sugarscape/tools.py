"""What traders can do. A call that the world does not allow is refused by a `ToolError`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mesa_llm.activation import claim, is_claimed
from mesa_llm.errors import ConflictError, ToolError
from mesa_llm.spaces import free_places_around, move_to, position_of
from mesa_llm.tools import VisibleAgent, VisibleCell
from mesa_llm_examples.sugarscape.barter import exchanges

if TYPE_CHECKING:
    from mesa_llm_examples.sugarscape.agents import Trader


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
