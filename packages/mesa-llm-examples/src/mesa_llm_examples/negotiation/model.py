"""The market of buyers and sellers with its offers and deals, what is counted, and a time-dependent tactic.

The tactic decides if no LLM is asked. It answers in the same form, and sees only the request. Among equally
good options it chooses by a hash of the observation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mesa import DataCollector, Model

from mesa_llm.activation import step_of
from mesa_llm.clients import RuleBasedClient
from mesa_llm.errors import ConfigurationError
from mesa_llm.reasoning import read_observation
from mesa_llm_examples.negotiation.agents import Buyer, Negotiator, Seller
from mesa_llm_examples.shared import at_least, choose, chosen, id_in
from mesa_llm_examples.words import counted

if TYPE_CHECKING:
    from mesa_llm.clients import LLMClient, LLMRequest, Message
    from mesa_llm.parallel_stepping import ParallelStepping


@dataclass(frozen=True, slots=True)
class Deal:
    """One unit that has changed hands: when, from whom to whom (ids), and for how many coins."""

    step: int
    buyer: int
    seller: int
    price: int
    surplus: int
    """What both gain together: the buyer's value less the seller's cost."""


class OfferBook:
    """The standing offers: at most one from each agent to each other, in coins for one unit.

    An offer binds its maker until the recipient answers it, the maker replaces it, or the maker cannot keep it any
    more. Agents are given by their ids.
    """

    def __init__(self) -> None:
        # Each offer is kept twice: every observation of an agent reads the offers to it and those by it.
        self._to: defaultdict[int, dict[int, int]] = defaultdict(dict)
        self._by: defaultdict[int, dict[int, int]] = defaultdict(dict)

    def __len__(self) -> int:
        return sum(map(len, self._by.values()))

    def put(self, maker: int, recipient: int, price: int) -> None:
        """Make an offer; it replaces an earlier one."""
        self._to[recipient][maker] = self._by[maker][recipient] = price

    def price(self, maker: int, recipient: int) -> int | None:
        """What one agent offers another; `None` if no offer stands."""
        return self._by[maker].get(recipient)

    def to(self, recipient: int) -> dict[int, int]:
        """The offers that an agent can accept, by their makers."""
        return dict(sorted(self._to[recipient].items()))

    def by(self, maker: int) -> dict[int, int]:
        """The offers that an agent has made, by their recipients."""
        return dict(sorted(self._by[maker].items()))

    def drop(self, maker: int, recipient: int) -> None:
        """Withdraw an offer, if it stands."""
        self._to[recipient].pop(maker, None)
        self._by[maker].pop(recipient, None)

    def drop_above(self, maker: int, price: int) -> None:
        """Withdraw the offers of an agent that are above a price."""
        for recipient, offered in self.by(maker).items():
            if offered > price:
                self.drop(maker, recipient)

    def drop_all(self, agent: int) -> None:
        """Withdraw the offers from and to an agent."""
        for recipient in self.by(agent):
            self.drop(agent, recipient)
        for maker in self.to(agent):
            self.drop(maker, agent)


HASTES = (0.5, 1.0, 2.0)  # how soon agents concede; each is equally likely


class Negotiation(Model):
    """A market without a market price: every pair bargains by itself, all pairs at the same time.

    Args:
        buyers: how many buyers, at least 0.
        sellers: how many sellers, at least 0.
        units: how many units each seller has, and each buyer wants, at least 1.
        rounds: for how many steps the market is open, at least 1.
        lowest_price: the lowest possible value and cost of a unit, in coins, at least 1.
        highest_price: the highest possible value and cost of a unit, in coins, at least `lowest_price`.
        seed: the same seed and the same answers give the same run, on the same release of Mesa; with `None` every run
            differs.
        llm_model: the LLM, as `provider/model`; by default a rule decides and no LLM is called.
        api_base: the base URL of the model's server, if it is not the provider's own.
        client: the client that agents ask, in the place of one made from `llm_model` and `api_base`.
        parallel_stepping: whether all agents decide at the same time; a `ParallelStepping` also says how.

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
        if lowest_price > highest_price:
            raise ConfigurationError(
                f"lowest_price must not be above highest_price, got {lowest_price!r} and {highest_price!r}. Swap them."
            )
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
        draw = self.random
        for _ in range(buyers):
            limit = draw.randint(lowest_price, highest_price)
            Buyer(self, limit=limit, haste=draw.choice(HASTES), money=draw.randint(limit, 2 * limit))
        for _ in range(sellers):
            Seller(self, limit=draw.randint(lowest_price, highest_price), haste=draw.choice(HASTES))
        self.negotiators: dict[int, Negotiator] = {agent.unique_id: agent for agent in self.agents}
        """Buyers and sellers by id."""

        self.datacollector = DataCollector(
            model_reporters={
                "offers": [len, [self.offers]],
                "deals": [len, [self.deals]],
                "price": "mean_price",
                "surplus": "surplus",
                "efficiency": "efficiency",
            }
        )
        self.datacollector.collect(self)

    def step(self) -> None:
        """Every agent decides and acts; then the deals are counted. After the last round, `running` is false."""
        self.agents.shuffle_do("step")
        self.datacollector.collect(self)
        self.running = step_of(self) < self.rounds

    def settle(self, one: Negotiator, other: Negotiator, price: int) -> None:
        """Execute a deal, and withdraw the offers that can no longer be kept.

        Args:
            one: the buyer or the seller.
            other: the other one.
            price: the price in coins.
        """
        buyer, seller = (one, other) if isinstance(one, Buyer) else (other, one)
        buyer.money -= price
        seller.money += price
        for negotiator in (buyer, seller):
            negotiator.units += 1
            if not negotiator.is_open:
                self.offers.drop_all(negotiator.unique_id)
        self.offers.drop(buyer.unique_id, seller.unique_id)
        self.offers.drop(seller.unique_id, buyer.unique_id)
        self.offers.drop_above(buyer.unique_id, buyer.money)
        surplus = buyer.limit - seller.limit
        self.deals.append(Deal(step_of(self), buyer.unique_id, seller.unique_id, price, surplus))

    @property
    def is_closed(self) -> bool:
        """Whether the last round is over."""
        return step_of(self) > self.rounds

    @property
    def mean_price(self) -> float | None:
        """The mean price of all deals so far, in coins; `None` before the first."""
        return fmean(deal.price for deal in self.deals) if self.deals else None

    @property
    def surplus(self) -> int:
        """The gains of all agents so far, in coins."""
        return sum(deal.surplus for deal in self.deals)

    @property
    def possible_surplus(self) -> int:
        """The gains of all agents, in coins, if the highest values met the lowest costs, whatever the budgets.

        These are the deals up to the crossing of supply and demand.
        """
        agents = self.negotiators.values()
        values = sorted((agent.limit for agent in agents if isinstance(agent, Buyer)), reverse=True)
        costs = sorted(agent.limit for agent in agents if isinstance(agent, Seller))
        return self.units * sum(max(0, value - cost) for value, cost in zip(values, costs, strict=False))

    @property
    def efficiency(self) -> float | None:
        """The share of the possible surplus that has been gained so far, 0 to 1; `None` if nothing can be gained."""
        possible = self.possible_surplus
        return self.surplus / possible if possible else None

    def result(self) -> str:
        """The outcome in one line."""
        played = step_of(self)
        if played < self.rounds and not self.deals:
            return f"{played} of {counted(self.rounds, 'round')} played; no deal yet."
        if not self.deals:
            return "No deal was made."
        return (
            f"{len(self.deals)} deals at a mean price of {self.mean_price:.1f} coins; together they gained "
            f"{self.surplus} of {self.possible_surplus} coins that were possible ({self.efficiency:.0%})."
        )


def aspiration(start: float, limit: float, *, elapsed: float, haste: float) -> int:
    """The price to ask for: start + a * (limit - start), with a = elapsed ** (1 / haste), in whole coins.

    This is the polynomial time-dependent tactic of Faratin, Sierra and Jennings (1998), without an initial concession.
    A haste (their β) below 1 makes a Boulware tactic, which holds out until the end; above 1 it makes a Conceder.

    Args:
        start: the price at first.
        limit: the reservation price, which is reached at the end.
        elapsed: the share of the time that is over, 0 to 1.
        haste: β, above 0.
    """
    conceded: float = elapsed ** (1 / haste)
    return round(start + conceded * (limit - start))


def policy(request: LLMRequest) -> Message:
    """Accept an offer that is as good as the price to ask for now; else ask one agent of the other side for that price.

    Args:
        request: the agent's request.

    Returns:
        The reason, and the action as a call.
    """
    seen = read_observation(request)
    me = seen["self_state"]["internal_state"]
    is_buyer = me["_side"] == "buyer"
    limit = min(me["_reservation_price"], me["_money"]) if is_buyer else me["_reservation_price"]
    lowest, highest = me["_price_range"]
    last = me["_rounds"] - 1
    price = aspiration(
        lowest if is_buyer else highest,
        limit,
        elapsed=(me["_round"] - 1) / last if last else 1.0,
        haste=me["_haste"],
    )

    def is_as_good(offered: int, wanted: int) -> bool:
        return offered <= wanted if is_buyer else offered >= wanted

    offers = {name: offered for name, offered in me["_offers_to_you"].items() if is_as_good(offered, limit)}
    partner = None
    if offers:
        best = min(offers.values()) if is_buyer else max(offers.values())
        partner = choose([name for name, offered in offers.items() if offered == best], seen, "best offer")
        if is_as_good(best, price):
            reason = f"{best} is no worse than the {price} that I would ask for."
            return chosen(reason, "accept_offer", partner_id=id_in(partner), price=best)
    elif others := _still_open(seen, "Seller" if is_buyer else "Buyer"):
        partner = choose(others, seen, "partner")
    if partner is None or me["_your_offers"].get(partner) == price:
        return chosen(f"I would make a deal at {price}, and have nothing new to offer.", "wait")
    return chosen(f"I would make a deal at {price}.", "make_offer", partner_id=id_in(partner), price=price)


def _still_open(seen: Mapping[str, Any], side: str) -> list[str]:
    """The agents of a side that still trade."""
    others = seen["local_state"].items()
    return [name for name, other in others if name.startswith(side) and other["internal_state"]["open"]]
