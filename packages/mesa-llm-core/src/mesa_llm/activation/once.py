"""What is said once, although many agents would say it.

A warning that a model wants to step in parallel and does not comes once a class of models, with the first reason. A
line of a log comes once a step, and its count when the step has ended.
"""

from __future__ import annotations

import logging
import os
import warnings
import weakref
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mesa_llm.activation.context import asks_by_itself
from mesa_llm.activation.mesa_model import step_of
from mesa_llm.concurrency import fork_safe_lock
from mesa_llm.errors import NotParallelWarning
from mesa_llm.errors.tracebacks import place_of, shorten

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


@dataclass(slots=True)
class _Lines:
    """What has been logged of one model in one of its steps."""

    step: int
    repeats: dict[Hashable, tuple[logging.Logger, str, int]] = field(default_factory=dict)


_lines: weakref.WeakKeyDictionary[Any, _Lines] = weakref.WeakKeyDictionary()
_changing = fork_safe_lock()  # protects _lines: agents log on several threads


def log_once(
    logger: logging.Logger,
    level: int,
    text: str,
    *,
    model: Any,
    kind: Hashable,
    exc_info: BaseException | None = None,
) -> None:
    """Log a line, unless one of its kind has been logged in this step of the model; then count it.

    The count is logged when the step has ended: by `log_counts`, or with the next line of a later step.

    Args:
        logger: logs it.
        level: at which level.
        text: the line.
        model: the Mesa model whose agents it is about; `None` logs the line in any case.
        kind: lines of the same kind say the same.
        exc_info: the error, to be shown with its traceback.
    """
    if model is not None and not _is_first(logger, text, model, kind):
        return
    logger.log(level, text, exc_info=exc_info)


def log_error_once(
    logger: logging.Logger, level: int, text: str, error: BaseException, *, model: Any, kind: Hashable = None
) -> None:
    """Log an error of a user's code by `log_once`, with a short traceback; of one kind if it comes from one place."""
    shorten(error)
    log_once(logger, level, text, model=model, kind=(kind, type(error), place_of(error)), exc_info=error)


def _is_first(logger: logging.Logger, text: str, model: Any, kind: Hashable) -> bool:
    step = step_of(model)
    with _changing:
        lines = _lines.get(model)
        earlier = lines if lines is not None and lines.step != step else None
        if lines is None or earlier is not None:
            lines = _lines[model] = _Lines(step)
        *_, count = lines.repeats.get(kind, (logger, text, 0))
        if not count:
            lines.repeats[kind] = logger, text, 1
        else:
            lines.repeats[kind] = *lines.repeats[kind][:2], count + 1
    _log(earlier)
    return not count


def log_counts(model: Any) -> None:
    """Log how often lines have been repeated in a model's step. To be called when it has ended."""
    with _changing:
        lines = _lines.pop(model, None)
    _log(lines)


def _log(lines: _Lines | None) -> None:
    if lines is None:
        return
    for logger, text, count in lines.repeats.values():
        if count > 1:
            logger.warning("%d more times in step %d: %s", count - 1, lines.step, text)
