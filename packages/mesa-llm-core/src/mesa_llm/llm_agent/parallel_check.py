"""Says so when a model asks for parallel stepping and does not get it."""

from __future__ import annotations

import warnings
import weakref
from typing import TYPE_CHECKING

from mesa_llm.activation import current_turn
from mesa_llm.errors import NotParallelWarning

if TYPE_CHECKING:
    from mesa_llm.llm_agent.llm_agent import LLMAgent

_told: weakref.WeakSet[type] = weakref.WeakSet()


def warn_if_not_parallel(agent: LLMAgent) -> None:
    """Warn once a model class if an agent steps by itself although its model sets `parallel_stepping`."""
    if current_turn() is not None or not getattr(agent.model, "parallel_stepping", False):
        return
    model_class = type(agent.model)
    if model_class in _told:
        return
    _told.add(model_class)
    warnings.warn(
        f"{model_class.__name__} sets parallel_stepping, but {type(agent).__name__} {agent.unique_id} steps by itself. "
        "Call mesa_llm.parallel_stepping.enable_automatic_parallel_stepping() and step the agents with "
        "self.agents.shuffle_do('step'), or set parallel_stepping = False.",
        NotParallelWarning,
        stacklevel=5,
    )
