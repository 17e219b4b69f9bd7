"""Logs a line once a step where many agents would repeat it, and a count when the step has ended."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from mesa_llm.activation.mesa_model import step_of
from mesa_llm.concurrency import fork_safe_lock
from mesa_llm.errors.tracebacks import place_of, shorten


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
