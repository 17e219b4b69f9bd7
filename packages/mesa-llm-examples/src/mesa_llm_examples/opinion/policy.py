"""Bounded confidence in the place of a language model: it reads the same prompts and answers in the same form.

The policy knows nothing but the request; whom to speak to it takes from a hash of the request.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mesa_llm.clients import Message, tool_call
from mesa_llm.reasoning import read_observation
from mesa_llm_examples.shared import choose

if TYPE_CHECKING:
    from mesa_llm.clients import LLMRequest

_OPINION = re.compile(r"\bopinion is (\d+(?:\.\d+)?)")
DIGITS = 4
"""The number of digits of an opinion in a message."""


def moved(opinion: float, heard: Sequence[float], *, confidence: float, convergence: float) -> float:
    """The opinion after hearing others, one after the other.

    Equation 1 of Deffuant et al. (2000): if |x - x'| < d, then x becomes x + μ * (x' - x). There both of a pair move;
    here the one who listens does.

    Args:
        opinion: x, 0 to 1.
        heard: the opinions x' of others, in the order in which they are considered.
        confidence: d.
        convergence: μ, 0 to 0.5.
    """
    for other in heard:
        if abs(other - opinion) < confidence:
            opinion += convergence * (other - opinion)
    return round(opinion, DIGITS)


def policy(request: LLMRequest) -> Message:
    """Listen to those who think alike, and tell somebody what to think of it.

    Args:
        request: what an agent of the model asks.

    Returns:
        Its decision, with the tool calls that carry it out.
    """
    observation = read_observation(request)
    me = observation["self_state"]["internal_state"]
    found = [_OPINION.search(told["message"]) for told in me["_heard"]]
    heard = [float(match[1]) for match in found if match]
    opinion = moved(me["_opinion"], heard, confidence=me["_confidence"], convergence=me["_convergence"])
    calls = [] if opinion == me["_opinion"] else [tool_call("change_opinion", opinion=opinion)]
    if people := [int(name.rpartition(" ")[2]) for name in observation["local_state"]]:
        listener = choose(people, request, "listener")
        message = f"My opinion is {opinion}."
        calls.append(tool_call("speak_to", listener_agents_unique_ids=[listener], message=message))
    return Message("assistant", f"I have heard {len(heard)} opinions, and mine is {opinion}.", tuple(calls))
