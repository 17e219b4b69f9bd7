"""How far a parallel step has come, while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_running: dict[int, tuple[Callable[[Any], StepProgress], ...]] = {}
"""Gives the progress of the steps that run, by the `id` of the model, the innermost last. A running step keeps its
model alive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProgress:
    """How far a parallel step had come at one moment.

    Attributes:
        step: the number of the model's step; 1 during the first.
        agents: how many agents step.
        decided: how many of them have decided and have nothing left to decide: they wait for their turn, act, or have
            ended.
        acted: how many of them have had their turn.
        failed: how many of them could not decide, or failed while acting.
        seconds: since the step began.
    """

    step: int
    agents: int
    decided: int
    acted: int
    failed: int
    seconds: float


def progress_of(model: Any) -> StepProgress | None:
    """How far the running parallel step of a model has come; `None` if no step runs.

    Call it from another thread, since the one that steps the model is busy. The step goes on meanwhile, so the numbers
    may be of slightly different moments. Of a step within a step, it shows the inner one.

    Args:
        model: a Mesa model.
    """
    steps = _running.get(id(model))
    if not steps:
        return None
    return steps[-1](model)


@contextmanager
def shown(progress: Callable[[Any], StepProgress], models: Iterable[Any]) -> Iterator[None]:
    """Let `progress_of` the models tell of a step, while it runs.

    Args:
        progress: gives the progress of the step in one of the models.
        models: the models.

    A model is stepped by one thread at a time, so nothing here needs a lock.
    """
    keys = [id(model) for model in models]
    for key in keys:
        _running[key] = (*_running.get(key, ()), progress)
    try:
        yield
    finally:
        for key in keys:
            left = tuple(other for other in _running[key] if other is not progress)
            if left:
                _running[key] = left
            else:
                del _running[key]
