"""Which step of its model an agent is in, and whether it still is in its model."""

from __future__ import annotations

from typing import Any


def step_of(model: Any) -> int:
    """The number of the model's current step; 1 during the first.

    Mesa 3 counts them in `model.steps`; Mesa 4 has only `model.time`, which a step advances by one.

    Args:
        model: the Mesa model.
    """
    steps = getattr(model, "steps", None)
    return int(model.time if steps is None else steps)


def is_in_model(agent: Any) -> bool:
    """Whether an agent has not been removed. A removed one may still be in its cell, or in a set of the user's.

    Args:
        agent: the Mesa agent.
    """
    return agent in agent.model.agents
