"""Bounded confidence in the place of a language model: it reads the same prompts and answers in the same form.

The policy sees only the request; it chooses a listener by a hash of the request.
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
DIGITS = 4  # of an opinion in a message


def moved(opinion: float, heard: Sequence[float], *, confidence: float, convergence: float) -> float:
    """The opinion after hearing others, one after the other.

    This is equation 1 of Deffuant et al. (2000): if |x - x'| < d, then x becomes x + μ * (x' - x). In the paper both of
    a pair move; here only the listener does.

    Args:
        opinion: x, 0 to 1.
        heard: the opinions x' of others, in the order in which the person considers them.
        confidence: d.
        convergence: μ, 0 to 0.5.
    """
    for other in heard:
        if abs(other - opinion) < confidence:
            opinion += convergence * (other - opinion)
    return round(opinion, DIGITS)


def policy(request: LLMRequest) -> Message:
    """Listen to those who think alike, and name the new opinion to a neighbour.

    Args:
        request: the person's request.

    Returns:
        The decision, with the tool calls that execute it.
    """
    observation = read_observation(request)
    me = observation["self_state"]["internal_state"]
    heard = [float(match[1]) for said in me["_heard"] if (match := _OPINION.search(said["message"]))]
    opinion = moved(me["_opinion"], heard, confidence=me["_confidence"], convergence=me["_convergence"])
    calls = [] if opinion == me["_opinion"] else [tool_call("change_opinion", opinion=opinion)]
    if people := [int(name.rpartition(" ")[2]) for name in observation["local_state"]]:
        listener = choose(people, request, "listener")
        message = f"My opinion is {opinion}."
        calls.append(tool_call("speak_to", listener_agents_unique_ids=[listener], message=message))
    return Message("assistant", f"I have heard {len(heard)} opinions, and mine is {opinion}.", tuple(calls))
