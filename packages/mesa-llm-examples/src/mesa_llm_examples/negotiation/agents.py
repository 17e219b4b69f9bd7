"""Buyers decide what to pay, sellers decide what to take.

In an agent's `internal_state`, names with a leading underscore appear in its own prompt only; the others see no more
than whether it still trades. An action that the market does not allow refuses, and the agent remembers why.

Nobody can trade at a loss, or pay money that it does not have: Gode and Sunder (1993), Journal of Political Economy
101, 119-137, found that this constraint alone makes a market nearly efficient.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from mesa_llm.actions import action, wait
from mesa_llm.activation import claim, is_claimed, step_of
from mesa_llm.errors import ActionError, ConflictError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import ShortTermMemory
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.tools import VisibleAgentId

if TYPE_CHECKING:
    from mesa_llm_examples.negotiation.model import Negotiation

EVERYBODY = -1  # a vision without bounds

MARKET = """\
Buyers and sellers bargain in pairs, by offers and messages, for some rounds. An offer is for one unit, in whole coins.
It binds you until it is accepted, or replaced by another offer of yours to the same agent; so make only offers that
you want to be accepted. Nobody knows the values and costs of the others, only the range in which all of them lie. What
is not traded after the last round is worth nothing."""

BUYER_PERSONA = f"""\
You are a buyer.
{MARKET}
Each unit is worth your reservation price to you, and you gain what you pay less than that. You cannot pay more than the
money you have. Your haste says how soon you give in: below 1 you hold out until the end, above 1 you give in early."""

SELLER_PERSONA = f"""\
You are a seller.
{MARKET}
Each unit costs you your reservation price, and you gain what you are paid more than that. Your haste says how soon you
give in: below 1 you hold out until the end, above 1 you give in early."""

TASK = "Accept one of the offers to you, or make an offer to one agent of the other side that is still open, or wait."


@action
def make_offer(agent: Negotiator, partner_id: VisibleAgentId, price: int, message: str = "") -> str:
    """Offer to trade one unit with an agent of the other side. Replaces your earlier offer to it.

    Args:
        agent: Who acts; the model does not see this parameter.
        partner_id: The number of the agent, for example 12 for "Seller 12".
        price: What you would pay, or take, for the unit, in whole coins.
        message: What you say with it, if anything.
    """
    partner = _partner(agent, partner_id)
    _check_price(agent, price)
    agent.model.offers.put(agent.unique_id, partner_id, price)
    claim(agent, ("offer", agent.unique_id, partner_id))
    agent.send_message(f"I offer you {price} coins for a unit. {message}".strip(), [partner])
    return f"You offered {price} coins to {partner}."


@action
def accept_offer(agent: Negotiator, partner_id: VisibleAgentId, price: int) -> str:
    """Accept an offer that has been made to you. One unit changes hands at once.

    Args:
        agent: Who acts; the model does not see this parameter.
        partner_id: The number of the agent that made the offer, for example 12 for "Seller 12".
        price: The price that you accept, in coins. If the offer has become better for you, you get the better price.
    """
    partner = _partner(agent, partner_id)
    offered = agent.model.offers.price(partner_id, agent.unique_id)
    if offered is None:
        if is_claimed(agent, partner):
            raise ConflictError(f"{partner} has just made a deal, and its offer to you stands no more.")
        raise ActionError(f"There is no offer of {partner} to you.")
    if agent.gain(offered) < agent.gain(price):
        refusal = f"The offer of {partner} is {offered} coins, not {price}."
        if is_claimed(agent, ("offer", partner_id, agent.unique_id)):
            raise ConflictError(f"{refusal} It has just been changed.")
        raise ActionError(refusal)
    _check_price(agent, offered)
    agent.model.settle(agent, partner, offered)
    for one in (agent, partner):
        claim(agent, one)
    agent.send_message(f"I accept your offer of {offered} coins.", [partner])
    return f"You and {partner} made a deal at {offered} coins; you gained {agent.gain(offered)}."


def _partner(agent: Negotiator, partner_id: int) -> Negotiator:
    """The other agent of a pair in which both can still trade."""
    partner: Negotiator | None = agent.model.negotiators.get(partner_id)
    if partner is None or type(partner) is type(agent):
        raise ActionError(f"Agent {partner_id} is nobody with whom you can trade: buyers trade with sellers.")
    if agent.model.is_closed:
        raise ActionError("The market is closed.")
    for one, who in ((agent, "You trade"), (partner, f"{partner} trades")):
        if not one.is_open and is_claimed(agent, one):
            raise ConflictError(f"{who} no more, after a deal that somebody else has just closed.")
        if not one.is_open:
            raise ActionError(f"{who} no more.")
    return partner


def _check_price(agent: Negotiator, price: int) -> None:
    if price < 1:
        raise ActionError(f"A price is at least 1 coin, not {price}.")
    if agent.gain(price) < 0:
        raise ActionError(f"A deal at {price} coins is a loss to you: your reservation price is {agent.limit}.")
    if agent.can_pay is not None and price > agent.can_pay:
        raise ActionError(f"You have {agent.can_pay} coins and cannot pay {price}.")


class Negotiator(LLMAgent):
    """What buyers and sellers share: a limit, money, and the offers from and to them.

    Args:
        model: the market.
        system_prompt: who the negotiator is.
        limit: the reservation price in coins: the value of a unit to a buyer, or its cost to a seller.
        haste: how soon the negotiator concedes, above 0: 1 evenly, less late, more early.
        money: the coins at first.
    """

    def __init__(self, model: Negotiation, *, system_prompt: str, limit: int, haste: float, money: int) -> None:
        super().__init__(
            model,
            OneCallReasoning,
            llm_model=model.llm_model,
            system_prompt=system_prompt,
            vision=EVERYBODY,
            api_base=model.api_base,
            client=model.client,
            memory=ShortTermMemory,
            actions=[make_offer, accept_offer, wait],
        )
        self.limit = limit
        self.haste = haste
        self.money = money
        self.units = 0
        """How many units the negotiator has traded."""

    @abstractmethod
    def gain(self, price: int) -> int:
        """The gain from a deal, in coins; below 0 a loss.

        Args:
            price: the price in coins.
        """

    @property
    def can_pay(self) -> int | None:
        """The most that the negotiator can pay, in coins; `None` for a seller, who pays nothing."""
        return None

    @property
    def is_open(self) -> bool:
        """Whether the negotiator still trades."""
        return self.units < self.model.units and not self.model.is_closed

    @property
    def internal_state(self) -> dict[str, Any]:
        """Whether the negotiator still trades, which everybody sees, and what only the negotiator sees."""
        book, named = self.model.offers, self.model.negotiators
        return {
            "open": self.is_open,
            "_side": type(self).__name__.lower(),
            "_round": step_of(self.model),
            "_rounds": self.model.rounds,
            "_price_range": [self.model.lowest_price, self.model.highest_price],
            "_reservation_price": self.limit,
            "_haste": self.haste,
            "_money": self.money,
            "_units_left": self.model.units - self.units,
            "_offers_to_you": {str(named[maker]): price for maker, price in book.to(self.unique_id).items()},
            "_your_offers": {str(named[to]): price for to, price in book.by(self.unique_id).items()},
        }

    async def astep(self) -> None:
        """Make or accept an offer, as long as there is something left to trade."""
        if self.is_open:
            await self.aact(TASK, observe=True)


class Buyer(Negotiator):
    """Gains the difference between the value of a unit and its price.

    Args:
        model: the market.
        limit: the value of a unit to the buyer, in coins.
        haste: how soon the buyer concedes.
        money: the budget, in coins.
    """

    def __init__(self, model: Negotiation, *, limit: int, haste: float, money: int) -> None:
        super().__init__(model, system_prompt=BUYER_PERSONA, limit=limit, haste=haste, money=money)

    @property
    def can_pay(self) -> int:
        """The buyer's money."""
        return self.money

    @property
    def is_open(self) -> bool:
        """Whether the buyer wants more units and has the money for the cheapest possible one."""
        return super().is_open and self.money >= self.model.lowest_price

    def gain(self, price: int) -> int:
        """The gain from a deal, in coins; below 0 a loss."""
        return self.limit - price


class Seller(Negotiator):
    """Gains the difference between the price of a unit and its cost.

    Args:
        model: the market.
        limit: the cost of a unit to the seller, in coins.
        haste: how soon the seller concedes.
    """

    def __init__(self, model: Negotiation, *, limit: int, haste: float) -> None:
        super().__init__(model, system_prompt=SELLER_PERSONA, limit=limit, haste=haste, money=0)

    def gain(self, price: int) -> int:
        """The gain from a deal, in coins; below 0 a loss."""
        return price - self.limit
