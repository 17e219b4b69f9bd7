"""Who decides: buyers, what to pay; sellers, what to take.

What an agent's `internal_state` says under a name with a leading underscore is for itself alone; the others see no more
than whether it still trades.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import step_of
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm_examples.negotiation.tools import accept_offer, make_offer, reject_offer

if TYPE_CHECKING:
    from mesa_llm_examples.negotiation.model import Negotiation

EVERYBODY = -1

MARKET = """\
Buyers and sellers bargain in pairs, by offers and messages, for some rounds. An offer is for one unit, in whole coins.
It binds you until it is accepted, rejected, or replaced by another offer of yours to the same agent; so make only
offers that you want to be accepted. Nobody knows the values and costs of the others, only the range in which all of
them lie. What is not traded after the last round is worth nothing."""

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

TASK = """\
Accept one of the offers to you, or make an offer to one agent of the other side that is still open, or wait. Reject
offers that you will not come back to."""


class Negotiator(LLMAgent):
    """What buyers and sellers have in common: a limit, money, and the offers made to them.

    Args:
        model: the market.
        system_prompt: who it is.
        limit: its reservation price in coins: what a unit is worth to a buyer, or costs a seller.
        haste: how soon it gives in, above 0: 1 evenly, less late, more early.
        money: what it has, in coins.
    """

    def __init__(self, model: Negotiation, *, system_prompt: str, limit: int, haste: float, money: int) -> None:
        super().__init__(
            model,
            OneCallReasoning,
            llm_model=model.llm_model,
            system_prompt=system_prompt,
            vision=EVERYBODY,
            step_prompt=TASK,
            api_base=model.api_base,
            client=model.client,
            tools=[make_offer, accept_offer, reject_offer],
        )
        self.limit = limit
        self.haste = haste
        self.money = money
        self.units = 0
        """How many units it has traded."""

    @abstractmethod
    def gain(self, price: int) -> int:
        """What a deal at this price is worth to it, in coins; below 0 a loss.

        Args:
            price: the price in coins.
        """

    @abstractmethod
    def trade(self, price: int) -> None:
        """Do its part of a deal.

        Args:
            price: the price in coins.
        """

    @property
    @abstractmethod
    def can_pay(self) -> int | None:
        """What it can pay at most, in coins; `None` if it pays nothing."""

    @property
    def is_open(self) -> bool:
        """Whether it still trades."""
        return self.units < self.model.units and not self.model.is_closed

    @property
    def internal_state(self) -> dict[str, Any]:
        """What it tells about itself: whether it still trades to everybody, the rest to itself alone."""
        book, named = self.model.offers, self.model.negotiators
        return {
            "open": self.is_open,
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
        """Observe, decide and act; or be done."""
        if self.is_open:
            await super().astep()


class Buyer(Negotiator):
    """Gains what it pays less than a unit is worth to it.

    Args:
        model: the market.
        limit: what a unit is worth to it, in coins.
        haste: how soon it gives in.
        money: its budget, in coins.
    """

    def __init__(self, model: Negotiation, *, limit: int, haste: float, money: int) -> None:
        super().__init__(model, system_prompt=BUYER_PERSONA, limit=limit, haste=haste, money=money)

    @property
    def can_pay(self) -> int:
        """What it has."""
        return self.money

    @property
    def is_open(self) -> bool:
        """Whether it wants more, and has what the cheapest unit may cost."""
        return super().is_open and self.money >= self.model.lowest_price

    def gain(self, price: int) -> int:
        """What a deal at this price is worth to it, in coins; below 0 a loss."""
        return self.limit - price

    def trade(self, price: int) -> None:
        """Pay, and get a unit."""
        self.money -= price
        self.units += 1


class Seller(Negotiator):
    """Gains what it is paid more than a unit costs it.

    Args:
        model: the market.
        limit: what a unit costs it, in coins.
        haste: how soon it gives in.
    """

    def __init__(self, model: Negotiation, *, limit: int, haste: float) -> None:
        super().__init__(model, system_prompt=SELLER_PERSONA, limit=limit, haste=haste, money=0)

    @property
    def can_pay(self) -> None:
        """It pays nothing."""

    def gain(self, price: int) -> int:
        """What a deal at this price is worth to it, in coins; below 0 a loss."""
        return price - self.limit

    def trade(self, price: int) -> None:
        """Give a unit, and be paid."""
        self.money += price
        self.units += 1
