"""Which offers stand, and what a deal is."""

from __future__ import annotations

from collections import defaultdict
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

    An offer binds its maker until it is answered, replaced, or cannot be kept any more.
    """

    def __init__(self) -> None:
        # Each offer twice, since agents look at both, in every observation of each other.
        self._to: defaultdict[int, dict[int, int]] = defaultdict(dict)
        self._by: defaultdict[int, dict[int, int]] = defaultdict(dict)

    def __len__(self) -> int:
        return sum(map(len, self._by.values()))

    def put(self, maker: int, recipient: int, price: int) -> None:
        """Make an offer, in the place of an earlier one.

        Args:
            maker: the id of the agent that makes it.
            recipient: the id of the agent to which it is made.
            price: the price in coins.
        """
        self._to[recipient][maker] = self._by[maker][recipient] = price

    def price(self, maker: int, recipient: int) -> int | None:
        """What one agent offers another; `None` if no offer stands."""
        return self._by[maker].get(recipient)

    def to(self, recipient: int) -> dict[int, int]:
        """The offers that an agent can accept: the ids of their makers, and the prices."""
        return dict(sorted(self._to[recipient].items()))

    def by(self, maker: int) -> dict[int, int]:
        """The offers that an agent has made: the ids of their recipients, and the prices."""
        return dict(sorted(self._by[maker].items()))

    def drop(self, maker: int, recipient: int) -> None:
        """Take an offer away, if it stands."""
        self._to[recipient].pop(maker, None)
        self._by[maker].pop(recipient, None)

    def drop_above(self, maker: int, price: int) -> None:
        """Take away the offers of an agent that are above a price in coins."""
        for recipient, offered in self.by(maker).items():
            if offered > price:
                self.drop(maker, recipient)

    def drop_all(self, agent: int) -> None:
        """Take away the offers from and to an agent."""
        for recipient in self.by(agent):
            self.drop(agent, recipient)
        for maker in self.to(agent):
            self.drop(maker, agent)
