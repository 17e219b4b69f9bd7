"""What buyers and sellers can do. A call that the market does not allow is refused by a `ToolError`.

Nobody can make a deal at a loss, or without the money: Gode and Sunder (1993), Journal of Political Economy 101,
119-137, found that this constraint by itself makes a market nearly efficient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesa_llm.activation import claim, is_claimed
from mesa_llm.errors import ConflictError, ToolError
from mesa_llm.tools import VisibleAgentId

if TYPE_CHECKING:
    from mesa_llm_examples.negotiation.agents import Negotiator


def make_offer(agent: Negotiator, partner_id: VisibleAgentId, price: int, message: str = "") -> str:
    """Offer to trade one unit with an agent of the other side. Replaces your earlier offer to it.

    Args:
        agent: Who calls; the model does not see this parameter.
        partner_id: The number of the agent, for example 12 for "Seller 12".
        price: What you would pay, or take, for the unit, in whole coins.
        message: What you say with it, if anything.

    Returns:
        The offer.

    Raises:
        ToolError: if one of you trades no more (a `ConflictError` if a deal since everybody decided is the reason), the
            price would be a loss to you, or you do not have the money.
    """
    partner = _partner(agent, partner_id)
    _check_open(agent, partner)
    _check_price(agent, price)
    agent.model.offers.put(agent.unique_id, partner_id, price)
    claim(agent, ("offer", agent.unique_id, partner_id))
    agent.send_message(f"I offer you {price} coins for a unit. {message}".strip(), [partner])
    return f"You offered {price} coins to {partner}."


def accept_offer(agent: Negotiator, partner_id: VisibleAgentId, price: int) -> str:
    """Accept an offer that has been made to you. One unit changes hands at once.

    Args:
        agent: Who calls; the model does not see this parameter.
        partner_id: The number of the agent that made the offer, for example 12 for "Seller 12".
        price: The price that you accept, in coins. If the offer has become better for you, you get the better price.

    Returns:
        The deal.

    Raises:
        ToolError: if there is no such offer (a `ConflictError` if there was one when everybody decided), or the deal
            would be a loss to you, or you do not have the money.
    """
    partner = _partner(agent, partner_id)
    _check_open(agent, partner)
    offered = _offer_of(partner, agent)
    if agent.gain(offered) < agent.gain(price):
        refusal = f"The offer of {partner} is {offered} coins, not {price}."
        if is_claimed(agent, ("offer", partner_id, agent.unique_id)):
            raise ConflictError(f"{refusal} It has just been changed.")
        raise ToolError(refusal)
    _check_price(agent, offered)
    agent.model.settle(agent, partner, offered)
    for one in (agent, partner):
        claim(agent, one)
    agent.send_message(f"I accept your offer of {offered} coins.", [partner])
    return f"You and {partner} made a deal at {offered} coins; you gained {agent.gain(offered)}."


def reject_offer(agent: Negotiator, partner_id: VisibleAgentId, message: str = "") -> str:
    """Reject an offer that has been made to you, so that it stands no more.

    Args:
        agent: Who calls; the model does not see this parameter.
        partner_id: The number of the agent that made the offer, for example 12 for "Seller 12".
        message: What you say with it, if anything.

    Returns:
        What you have rejected.

    Raises:
        ToolError: if there is no such offer (a `ConflictError` if there was one when everybody decided).
    """
    partner = _partner(agent, partner_id)
    offered = _offer_of(partner, agent)
    agent.model.offers.drop(partner_id, agent.unique_id)
    agent.send_message(f"I reject your offer of {offered} coins. {message}".strip(), [partner])
    return f"You rejected the offer of {partner}, {offered} coins."


def _partner(agent: Negotiator, partner_id: int) -> Negotiator:
    partner: Negotiator | None = agent.model.negotiators.get(partner_id)
    if partner is None or type(partner) is type(agent):
        raise ToolError(f"Agent {partner_id} is nobody with whom you can trade: buyers trade with sellers.")
    return partner


def _offer_of(partner: Negotiator, agent: Negotiator) -> int:
    offered = agent.model.offers.price(partner.unique_id, agent.unique_id)
    if offered is None and is_claimed(agent, partner):
        raise ConflictError(f"{partner} has just made a deal, and its offer to you stands no more.")
    if offered is None:
        raise ToolError(f"There is no offer of {partner} to you.")
    return int(offered)


def _check_open(agent: Negotiator, partner: Negotiator) -> None:
    if agent.model.is_closed:
        raise ToolError("The market is closed.")
    for one, who, trades in ((agent, "You", "trade"), (partner, str(partner), "trades")):
        if one.is_open:
            continue
        if is_claimed(agent, one):
            raise ConflictError(f"{who} {trades} no more, after a deal that somebody else has just closed.")
        raise ToolError(f"{who} {trades} no more.")


def _check_price(agent: Negotiator, price: int) -> None:
    if price < 1:
        raise ToolError(f"A price is at least 1 coin, not {price}.")
    if agent.gain(price) < 0:
        raise ToolError(f"A deal at {price} coins is a loss to you: your reservation price is {agent.limit}.")
    if agent.can_pay is not None and price > agent.can_pay:
        raise ToolError(f"You have {agent.can_pay} coins and cannot pay {price}.")
