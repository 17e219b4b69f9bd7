"""Epstein's rule in the place of a language model: it reads the same prompts and answers in the same form.

The policy sees only the request. Where Epstein draws at random (which active citizen, which free cell), it chooses by a
hash of the request. So it has no state, and the same prompt gets the same answer in any order and in any process.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mesa_llm.clients import tool_call
from mesa_llm.reasoning import read_observation
from mesa_llm_examples.shared import choose

if TYPE_CHECKING:
    from mesa_llm.clients import LLMRequest, ToolCall

_CHANGE = re.compile(r"\bbecome (active|quiet)\b")
_ARREST = re.compile(r"\barrest citizen (\d+)\b")
_MOVE = re.compile(r"\bmove (\w+)")


def arrest_probability(cops: int, actives: int, arrest_constant: float) -> float:
    """The probability of arrest that a citizen estimates: P = 1 - exp(-k * floor(C / A)).

    Epstein (2002), PNAS 99 (suppl. 3), page 7244, has no floor. He chooses k = 2.3, which makes P about 0.9 for one cop
    and one active citizen. The floor is from Wilensky (2004), NetLogo Rebellion model,
    https://ccl.northwestern.edu/netlogo/models/Rebellion, who found that the outbursts of the paper do not come about
    without it. It makes P zero where the active outnumber the cops. (Mesa's own example rounds to the nearest integer.)

    Args:
        cops: C, the cops in sight.
        actives: A, the active citizens in sight and the citizen itself, so at least 1.
        arrest_constant: k, above 0.
    """
    return 1 - math.exp(-arrest_constant * (cops // actives))


def policy(request: LLMRequest) -> str | list[ToolCall]:
    """Answer a citizen or a cop: the first request in words, the second, which executes the words, in tool calls.

    Args:
        request: the agent's request.

    Returns:
        The decision in words, or its tool calls.
    """
    if request.tool_choice != "none":
        return _carry_out(request.messages[-1].content)
    observation = read_observation(request)
    is_cop = any(tool.name == "arrest_citizen" for tool in request.tools)
    thoughts, deed = _think_as_cop(observation, request) if is_cop else _think_as_citizen(observation)
    numbered = [f"Thought {number}: {thought}" for number, thought in enumerate(thoughts, 1)]
    return "\n".join([*numbered, f"Action: I {deed} and {_move(observation, request)}."])


def _think_as_citizen(observation: Mapping[str, Any]) -> tuple[list[str], str]:
    me = observation["self_state"]["internal_state"]
    others = observation["local_state"]
    cops = sum(name.startswith("Cop ") for name in others)
    actives = 1 + len(_actives(others))
    grievance = me["_hardship"] * (1 - me["_legitimacy"])
    probability = arrest_probability(cops, actives, me["_arrest_constant"])
    net_risk = me["_risk_aversion"] * probability
    state = "active" if grievance - net_risk > me["_threshold"] else "quiet"
    thoughts = [
        f"I see {cops} cops, and with me there would be {actives} active.",
        f"My grievance is {me['_hardship']:g} * (1 - {me['_legitimacy']:g}) = {grievance:.3f}.",
        f"I would be arrested with probability {probability:.3f}; to me that is a risk of {net_risk:.3f}.",
        f"{grievance:.3f} - {net_risk:.3f} is {'' if state == 'active' else 'not '}above {me['_threshold']:g}.",
    ]
    return thoughts, f"{'stay' if state == me['state'] else 'become'} {state}"


def _think_as_cop(observation: Mapping[str, Any], request: LLMRequest) -> tuple[list[str], str]:
    actives = _actives(observation["local_state"])
    if not actives:
        return ["I see nobody who is active."], "arrest nobody"
    chosen = choose(actives, request, "arrest")
    return [f"I see {len(actives)} who are active: {', '.join(actives)}."], f"arrest citizen {chosen.split()[-1]}"


def _actives(others: Mapping[str, Any]) -> list[str]:
    return [
        name
        for name, other in others.items()
        if name.startswith("Citizen ") and other["internal_state"]["state"] == "active"
    ]


def _move(observation: Mapping[str, Any], request: LLMRequest) -> str:
    free = observation["self_state"]["internal_state"].get("_free_directions")
    return f"move {choose(free, request, 'move')}" if free else "stay where I am"


def _carry_out(decision: str) -> list[ToolCall]:
    action = decision.rpartition("Action:")[2]
    calls = []
    if change := _CHANGE.search(action):
        calls.append(tool_call("change_state", state=change[1]))
    if arrest := _ARREST.search(action):
        calls.append(tool_call("arrest_citizen", citizen_id=int(arrest[1])))
    if move := _MOVE.search(action):
        calls.append(tool_call("move_one_step", direction=move[1]))
    return calls
