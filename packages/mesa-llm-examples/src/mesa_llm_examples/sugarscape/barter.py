"""What two traders exchange, and when they stop: the trade rule T of Epstein and Axtell (1996), chapter IV."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass


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
