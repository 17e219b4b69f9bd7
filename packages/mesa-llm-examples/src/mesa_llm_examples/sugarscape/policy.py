"""The rules of Epstein and Axtell (1996) in the place of a language model, on the same prompts.

The policy sees only the request. Where Epstein and Axtell draw at random, it chooses by a hash of the request.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mesa_llm.clients import Message, tool_call
from mesa_llm.reasoning import read_observation
from mesa_llm_examples.shared import choose
from mesa_llm_examples.sugarscape.agents import Holding

if TYPE_CHECKING:
    from mesa_llm.clients import LLMRequest

_CELL = re.compile(r"^- \[(\d+), (\d+)\], (\d+) steps away: (\d+) sugar, (\d+) spice$", re.MULTILINE)
NEAR = 1.05  # rates of substitution that differ by a smaller factor count as equal


def policy(request: LLMRequest) -> Message:
    """Answer a trader's request: where to go, or with whom to trade.

    Args:
        request: the trader's request.

    Returns:
        The decision, with the tool calls that execute it.
    """
    observation = read_observation(request)
    if any(tool.name == "move_to_cell" for tool in request.tools):
        return _go(observation["self_state"], request)
    return _trade(observation, request)


def _go(myself: Mapping[str, Any], request: LLMRequest) -> Message:
    """The movement rule M for two goods (chapter IV): go to the nearest of the cells that give the most welfare."""
    me = myself["internal_state"]
    holding = Holding(
        sugar=me["_sugar"],
        spice=me["_spice"],
        sugar_metabolism=me["_sugar_metabolism"],
        spice_metabolism=me["_spice_metabolism"],
    )
    welfare, steps = {}, {}
    for cell in _CELL.findall(request.messages[-1].content):
        x, y, away, sugar, spice = map(int, cell)
        welfare[x, y] = round(holding.changed(sugar, spice).welfare, 6)
        steps[x, y] = away
    best = max(welfare.values())
    candidates = [cell for cell in welfare if welfare[cell] == best]
    nearest = min(steps[cell] for cell in candidates)
    chosen = choose([cell for cell in candidates if steps[cell] == nearest], request, "cell")
    if not steps[chosen]:
        return Message("assistant", f"Nowhere in sight is better than here, where my welfare would be {best:.2f}.")
    return Message(
        "assistant",
        f"At {list(chosen)} my welfare would be {best:.2f}, and nowhere more.",
        (tool_call("move_to_cell", cell=list(chosen)),),
    )


def _trade(observation: Mapping[str, Any], request: LLMRequest) -> Message:
    """Trade with the trader whose rate of substitution is farthest from one's own, where there is most to gain."""
    mine = observation["self_state"]["internal_state"]["mrs"]
    gaps = {
        name: abs(math.log(other["internal_state"]["mrs"] / mine)) if other["internal_state"]["mrs"] and mine else 0.0
        for name, other in observation["local_state"].items()
        if name.startswith("Trader ")
    }
    widest = max(gaps.values(), default=0.0)
    if widest < math.log(NEAR):
        return Message("assistant", "Nobody in sight has a rate that is far from mine.")
    chosen = choose([name for name, gap in gaps.items() if gap == widest], request, "partner")
    return Message(
        "assistant",
        f"The rate of {chosen} is farthest from mine, {mine:g}.",
        (tool_call("trade_with", trader_id=int(chosen.rpartition(" ")[2])),),
    )
