"""Says so when a model asks for parallel stepping and does not get it: once a model class, with the first reason."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mesa_llm.activation import current_turn
from mesa_llm.errors import NotParallelWarning

if TYPE_CHECKING:
    from mesa import Model

    from mesa_llm.llm_agent.llm_agent import LLMAgent

_told: weakref.WeakSet[type[Model]] = weakref.WeakSet()


def warn_not_parallel(model_classes: Iterable[type[Model]], reason: str, *, stacklevel: int) -> None:
    """Warn that models of these classes do not step in parallel, unless it has been said of all of them."""
    untold = set(model_classes) - set(_told)
    if not untold:
        return
    _told.update(untold)
    warnings.warn(reason, NotParallelWarning, stacklevel=stacklevel + 1)


def warn_if_not_parallel(agent: LLMAgent) -> None:
    """Warn if an agent steps by itself although its model sets `parallel_stepping`."""
    if current_turn() is not None or not getattr(agent.model, "parallel_stepping", False):
        return
    model_class = type(agent.model)
    warn_not_parallel(
        [model_class],
        f"{model_class.__name__} sets parallel_stepping, but {type(agent).__name__} {agent.unique_id} steps by itself. "
        "Call mesa_llm.parallel_stepping.enable_automatic_parallel_stepping() and step the agents with "
        "self.agents.shuffle_do('step'), or set parallel_stepping = False.",
        stacklevel=4,
    )
