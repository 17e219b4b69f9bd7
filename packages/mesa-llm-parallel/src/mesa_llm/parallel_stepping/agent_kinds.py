"""What kind of agent one is: which of its methods steps it, and whether it decides by a model at all."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from mesa_llm.activation import nearer_method
from mesa_llm.llm_agent import LLMAgent

if TYPE_CHECKING:
    from mesa import Agent


def step_method(agent_class: type, *, in_threads: bool) -> str:
    """`step` or `astep`: the one defined nearer to the class; where one class has both, the one for the mode."""
    return nearer_method(agent_class, "step", "astep", prefer_async=not in_threads) or "step"


def is_plain(agent: Agent) -> bool:
    """Whether the agent has a `step` and no decision: it is no `LLMAgent` and has no `reasoning`."""
    return not isinstance(agent, LLMAgent) and inspect.getattr_static(agent, "reasoning", None) is None


def decides(agent: Agent, *, in_threads: bool) -> bool:
    """Whether the agent can wait together with others."""
    return step_method(type(agent), in_threads=in_threads) == "astep" or not is_plain(agent)
