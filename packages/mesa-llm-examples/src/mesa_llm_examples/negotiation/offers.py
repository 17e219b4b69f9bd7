"""Which offers stand, and what a deal is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """One unit that has changed hands.

    Attributes:
        step: the model's step.
        buyer: the id of the buyer.
        seller: the id of the seller.
        price: in coins.
        surplus: what both have gained together, in coins: the buyer's value less the seller's cost.
    """

    step: int
    buyer: int
    seller: int
    price: int
    surplus: int


class OfferBook:
    """The offers that stand: from each agent to each other at most one, in coins for one unit.

    An offer binds whoever made it until it is answered, replaced, or cannot be kept any more.
    """

    def __init__(self) -> None:
        self._prices: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self._prices)

    def put(self, maker: int, recipient: int, price: int) -> None:
        """Make an offer, in the place of an earlier one.

        Args:
            maker: the id of who makes it.
            recipient: the id of whom it is made to.
            price: the price in coins.
        """
        self._prices[maker, recipient] = price

    def price(self, maker: int, recipient: int) -> int | None:
        """What is offered; `None` if no offer stands.

        Args:
            maker: the id of who made it.
            recipient: the id of whom it was made to.
        """
        return self._prices.get((maker, recipient))

    def to(self, recipient: int) -> dict[int, int]:
        """The offers that an agent can accept: who made them, and the price.

        Args:
            recipient: the agent's id.
        """
        return {maker: price for (maker, to), price in sorted(self._prices.items()) if to == recipient}

    def by(self, maker: int) -> dict[int, int]:
        """The offers that an agent has made: to whom, and the price.

        Args:
            maker: the agent's id.
        """
        return {to: price for (by, to), price in sorted(self._prices.items()) if by == maker}

    def drop(self, maker: int, recipient: int) -> None:
        """An offer stands no more, if it ever did.

        Args:
            maker: the id of who made it.
            recipient: the id of whom it was made to.
        """
        self._prices.pop((maker, recipient), None)

    def drop_above(self, maker: int, price: int) -> None:
        """The offers of an agent above a price stand no more.

        Args:
            maker: the agent's id.
            price: the price in coins that may still stand.
        """
        self._prices = {pair: asked for pair, asked in self._prices.items() if pair[0] != maker or asked <= price}

    def drop_all(self, agent: int) -> None:
        """The offers from and to an agent stand no more.

        Args:
            agent: the agent's id.
        """
        self._prices = {pair: price for pair, price in self._prices.items() if agent not in pair}
