"""Warnings that a model wants to step in parallel and does not: once a class of models, with the first reason."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mesa_llm.activation.context import asks_by_itself
from mesa_llm.activation.mesa_model import step_of
from mesa_llm.errors import NotParallelWarning

if TYPE_CHECKING:
    from mesa import Model

    from mesa_llm.activation.call import ModelCall

_HERE = os.path.dirname(os.path.dirname(__file__)) + os.sep

_warned: weakref.WeakSet[type[Model]] = weakref.WeakSet()
_last: weakref.WeakKeyDictionary[Any, tuple[int, int, weakref.ref[ModelCall]]] = weakref.WeakKeyDictionary()
"""Of each model the last call that an agent has made by itself: the model's step, the agent's id, the call."""


def warn_not_parallel(model_classes: Iterable[type[Model]], reason: str, *, stacklevel: int) -> None:
    """Warn that models of these classes do not step in parallel: once a class, with the first reason.

    Args:
        model_classes: the classes of the models.
        reason: the text of the warning.
        stacklevel: as for `warnings.warn`.
    """
    unwarned = set(model_classes) - set(_warned)
    if not unwarned:
        return
    _warned.update(unwarned)
    warnings.warn(reason, NotParallelWarning, stacklevel=stacklevel + 1)


def warn_of_calls_in_a_row(call: ModelCall) -> None:
    """Warn if agents ask one after the other, outside of their steps, although their model wants parallel steps.

    As in `agents.map("decide")`, in a loop over agents, and in any method that an agent set does while the patch is not
    enabled. One agent that asks alone is no reason, and neither are calls that the user's own code makes side by side.

    Args:
        call: a call that is about to be sent.
    """
    agent = call.agent
    if agent is None or not asks_by_itself() or not getattr(agent.model, "parallel_stepping", False):
        return
    model, now = agent.model, step_of(agent.model)
    before = _last.get(model)
    _last[model] = (now, agent.unique_id, weakref.ref(call))
    if before is None or before[0] != now or before[1] == agent.unique_id or type(model) in _warned:
        return
    earlier = before[2]()
    if earlier is not None and earlier.agent_step is not None:  # it has not ended
        return
    _warned.add(type(model))
    warnings.warn(
        f"{type(model).__name__} sets parallel_stepping, but its agents ask their models one after the other: "
        f"{agent} asks outside of its step and of a parallel step, and so did another one before. To have them ask "
        "together, name the method that asks, enable_automatic_parallel_stepping(methods=('step', 'decide')), and let "
        "an agent set do it, shuffle_do('decide'). Or set parallel_stepping = False.",
        NotParallelWarning,
        skip_file_prefixes=(_HERE,),
    )
