"""A time-dependent tactic in the place of a language model: it reads the same prompts and answers in the same form.

The policy sees only the request. Among equally good options it chooses by a hash of the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mesa_llm.clients import Message, tool_call
from mesa_llm.reasoning import read_observation
from mesa_llm_examples.shared import choose

if TYPE_CHECKING:
    from mesa_llm.clients import LLMRequest, ToolCall


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
        The decision, with the tool calls that execute it.
    """
    observation = read_observation(request)
    me = observation["self_state"]["internal_state"]
    is_buyer = "You are a buyer." in request.messages[0].content
    price = _wanted(me, is_buyer=is_buyer)
    offers: dict[str, int] = me["_offers_to_you"]
    best = _best(offers, request, is_buyer=is_buyer)
    if best is not None and _as_good(offers[best], price, is_buyer=is_buyer):
        call = tool_call("accept_offer", partner_id=_number(best), price=offers[best])
        return Message("assistant", f"{offers[best]} is no worse than the {price} that I would ask for.", (call,))
    losses = [
        name for name, offered in offers.items() if not _as_good(offered, _limit(me, is_buyer), is_buyer=is_buyer)
    ]
    calls = [tool_call("reject_offer", partner_id=_number(name)) for name in losses]
    partner = best if best is not None and best not in losses else _somebody(observation, request, is_buyer=is_buyer)
    return Message("assistant", f"I would make a deal at {price}.", (*calls, *_ask(partner, price, me)))


def _limit(me: Mapping[str, Any], is_buyer: bool) -> int:
    limit: int = me["_reservation_price"]
    money: int = me["_money"]
    return min(limit, money) if is_buyer else limit


def _wanted(me: Mapping[str, Any], *, is_buyer: bool) -> int:
    lowest, highest = me["_price_range"]
    last = me["_rounds"] - 1
    elapsed = (me["_round"] - 1) / last if last else 1.0
    start = lowest if is_buyer else highest
    return aspiration(start, _limit(me, is_buyer), elapsed=elapsed, haste=me["_haste"])


def _as_good(offered: int, price: int, *, is_buyer: bool) -> bool:
    return offered <= price if is_buyer else offered >= price


def _best(offers: Mapping[str, int], request: LLMRequest, *, is_buyer: bool) -> str | None:
    if not offers:
        return None
    best = min(offers.values()) if is_buyer else max(offers.values())
    return choose([name for name, price in offers.items() if price == best], request, "best offer")


def _somebody(observation: Mapping[str, Any], request: LLMRequest, *, is_buyer: bool) -> str | None:
    """An agent of the other side that still trades."""
    side = "Seller " if is_buyer else "Buyer "
    others = observation["local_state"].items()
    trading = [name for name, other in others if name.startswith(side) and other["internal_state"]["open"]]
    return choose(trading, request, "partner") if trading else None


def _ask(partner: str | None, price: int, me: Mapping[str, Any]) -> list[ToolCall]:
    if partner is None or me["_your_offers"].get(partner) == price:
        return []
    return [tool_call("make_offer", partner_id=_number(partner), price=price)]


def _number(name: str) -> int:
    return int(name.rpartition(" ")[2])
