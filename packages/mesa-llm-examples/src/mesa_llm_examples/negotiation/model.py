"""The market of buyers and sellers, the offers and deals on it, and what is counted."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from mesa import DataCollector, Model

from mesa_llm.activation import step_of
from mesa_llm.clients import RuleBasedClient
from mesa_llm_examples.negotiation.agents import Buyer, Negotiator, Seller
from mesa_llm_examples.negotiation.policy import policy
from mesa_llm_examples.shared import at_least, ordered

if TYPE_CHECKING:
    from mesa_llm.clients import LLMClient
    from mesa_llm.parallel_stepping import ParallelStepping


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
        """What one agent offers another; `None` if no offer stands.

        Args:
            maker: the id of the agent that made the offer.
            recipient: the id of the agent to which it was made.
        """
        return self._by[maker].get(recipient)

    def to(self, recipient: int) -> dict[int, int]:
        """The offers that an agent can accept: the ids of their makers, and the prices.

        Args:
            recipient: the agent's id.
        """
        return dict(sorted(self._to[recipient].items()))

    def by(self, maker: int) -> dict[int, int]:
        """The offers that an agent has made: the ids of their recipients, and the prices.

        Args:
            maker: the agent's id.
        """
        return dict(sorted(self._by[maker].items()))

    def drop(self, maker: int, recipient: int) -> None:
        """Take an offer away, if it stands.

        Args:
            maker: the id of the agent that made it.
            recipient: the id of the agent to which it was made.
        """
        self._to[recipient].pop(maker, None)
        self._by[maker].pop(recipient, None)

    def drop_above(self, maker: int, price: int) -> None:
        """Take away the offers of an agent that are above a price.

        Args:
            maker: the agent's id.
            price: the highest price in coins that may still stand.
        """
        for recipient, offered in self.by(maker).items():
            if offered > price:
                self.drop(maker, recipient)

    def drop_all(self, agent: int) -> None:
        """Take away the offers from and to an agent.

        Args:
            agent: the agent's id.
        """
        for recipient in self.by(agent):
            self.drop(agent, recipient)
        for maker in self.to(agent):
            self.drop(maker, agent)


HASTES = (0.5, 1.0, 2.0)
"""How soon agents give in; each as likely."""


class Negotiation(Model):
    """A market without a market price: every pair bargains for itself, all pairs at the same time.

    Args:
        buyers: how many buyers, at least 0.
        sellers: how many sellers, at least 0.
        units: how many units each seller has, and each buyer wants, at least 1.
        rounds: for how many steps the market is open, at least 1.
        lowest_price: the lowest possible value and cost of a unit, in coins, at least 1.
        highest_price: the highest possible value and cost of a unit, in coins, at least as much.
        seed: the same seed and the same answers give the same run, on the same release of Mesa; `None` for another
            run each time.
        llm_model: the language model, as `provider/model`; by default none is asked, and a rule decides.
        api_base: the base URL of the model's server, if it is not the provider's own.
        client: the way to the model.
        parallel_stepping: whether all agents decide at the same time, and if need be how.

    Raises:
        ConfigurationError: if a value cannot work.
    """

    def __init__(
        self,
        buyers: int = 10,
        sellers: int = 10,
        *,
        units: int = 2,
        rounds: int = 10,
        lowest_price: int = 10,
        highest_price: int = 100,
        seed: int | None = None,
        llm_model: str | None = None,
        api_base: str | None = None,
        client: LLMClient | None = None,
        parallel_stepping: bool | ParallelStepping = True,
    ) -> None:
        at_least("buyers", buyers, 0)
        at_least("sellers", sellers, 0)
        at_least("units", units, 1)
        at_least("rounds", rounds, 1)
        at_least("lowest_price", lowest_price, 1)
        at_least("highest_price", highest_price, 1)
        ordered("lowest_price", lowest_price, "highest_price", highest_price)
        super().__init__(rng=seed)
        self.units = units
        self.rounds = rounds
        self.lowest_price = lowest_price
        self.highest_price = highest_price
        self.parallel_stepping = parallel_stepping
        self.llm_model = llm_model or "rule-based/faratin-1998"
        self.api_base = api_base
        self.client = RuleBasedClient(policy) if client is None and llm_model is None else client

        self.offers = OfferBook()
        self.deals: list[Deal] = []
        self.negotiators: dict[int, Negotiator] = {}
        """Buyers and sellers, by their id."""
        draw = self.random
        for _ in range(buyers):
            limit = draw.randint(lowest_price, highest_price)
            self._join(Buyer(self, limit=limit, haste=draw.choice(HASTES), money=draw.randint(limit, 2 * limit)))
        for _ in range(sellers):
            self._join(Seller(self, limit=draw.randint(lowest_price, highest_price), haste=draw.choice(HASTES)))

        self.datacollector = DataCollector(
            model_reporters={
                "offers": "standing_offers",
                "deals": "deals_made",
                "price": "mean_price",
                "surplus": "surplus",
                "efficiency": "efficiency",
            }
        )
        self.datacollector.collect(self)

    def _join(self, negotiator: Negotiator) -> None:
        self.negotiators[negotiator.unique_id] = negotiator

    def step(self) -> None:
        """Let everybody decide and act, and count."""
        self.agents.shuffle_do("step")
        self.datacollector.collect(self)

    def settle(self, one: Negotiator, other: Negotiator, price: int) -> None:
        """Carry out a deal; offers that can be kept no more stand no more.

        Args:
            one: the buyer or the seller.
            other: the other one.
            price: in coins.
        """
        buyer, seller = (one, other) if isinstance(one, Buyer) else (other, one)
        for negotiator in (buyer, seller):
            negotiator.trade(price)
            if not negotiator.is_open:
                self.offers.drop_all(negotiator.unique_id)
        self.offers.drop(buyer.unique_id, seller.unique_id)
        self.offers.drop(seller.unique_id, buyer.unique_id)
        self.offers.drop_above(buyer.unique_id, buyer.money)
        deal = Deal(
            step=step_of(self),
            buyer=buyer.unique_id,
            seller=seller.unique_id,
            price=price,
            surplus=buyer.limit - seller.limit,
        )
        self.deals.append(deal)

    @property
    def is_closed(self) -> bool:
        """Whether the last round is over."""
        return step_of(self) > self.rounds

    @property
    def standing_offers(self) -> int:
        """How many offers stand."""
        return len(self.offers)

    @property
    def deals_made(self) -> int:
        """How many units have changed hands so far."""
        return len(self.deals)

    @property
    def mean_price(self) -> float | None:
        """The mean price of all deals so far, in coins; `None` if there are none."""
        return fmean(deal.price for deal in self.deals) if self.deals else None

    @property
    def surplus(self) -> int:
        """What all have gained together so far, in coins."""
        return sum(deal.surplus for deal in self.deals)

    @property
    def possible_surplus(self) -> int:
        """What all could gain together, in coins, if budgets were no matter.

        The highest values meet the lowest costs; that is where the curves of supply and demand cross.
        """
        agents = self.negotiators.values()
        values = sorted((agent.limit for agent in agents if isinstance(agent, Buyer)), reverse=True)
        costs = sorted(agent.limit for agent in agents if isinstance(agent, Seller))
        return self.units * sum(max(0, value - cost) for value, cost in zip(values, costs, strict=False))

    @property
    def efficiency(self) -> float | None:
        """Which share of the possible surplus has been gained so far, 0 to 1; `None` if none is possible."""
        possible = self.possible_surplus
        return self.surplus / possible if possible else None

    def result(self) -> str:
        """What came of it, in one line."""
        if not self.deals:
            return "No deal was made."
        return (
            f"{self.deals_made} deals at a mean price of {self.mean_price:.1f} coins; together they gained "
            f"{self.surplus} of {self.possible_surplus} coins that were possible ({self.efficiency:.0%})."
        )
