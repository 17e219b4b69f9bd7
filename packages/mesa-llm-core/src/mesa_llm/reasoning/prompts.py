"""How prompts are put together.

What all agents share stands first and what changes most stands last, so that servers which cache prompts by their
beginning have something to reuse: instructions, persona | memory, observation, task.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mesa_llm.errors import DecisionError

if TYPE_CHECKING:
    from mesa_llm.clients import LLMRequest
    from mesa_llm.reasoning.observation import Observation

_OBSERVATION = "# Observation"


def system_prompt(instructions: str, persona: str | None) -> str:
    """Instructions for all agents, then who this one is."""
    return f"{instructions}\n\n# Who you are\n{persona.strip()}" if persona and persona.strip() else instructions


def user_prompt(memory: str, observation: Observation, task: str) -> str:
    """What the agent remembers, what it sees, what it has to decide."""
    return f"# Memory\n{memory}\n\n{_OBSERVATION}\n{observation}\n\n# Task\n{task}"


def read_observation(request: LLMRequest) -> dict[str, Any]:
    """The observation that a prompt of this module holds, for policies that answer instead of a model.

    Args:
        request: a request made by one of the reasonings.

    Returns:
        `step`, `self_state` and `local_state`, as in `Observation`.

    Raises:
        DecisionError: if the request holds no observation.
    """
    for message in reversed(request.messages):
        _, found, rest = message.content.partition(f"{_OBSERVATION}\n")
        if found:
            observation: dict[str, Any] = json.loads(rest.split("\n", 1)[0])
            return observation
    raise DecisionError(f"No observation in the request: none of its {len(request.messages)} messages has one.")
