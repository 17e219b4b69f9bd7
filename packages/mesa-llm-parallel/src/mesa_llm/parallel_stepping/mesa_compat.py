"""What Mesa needs when a step has failed: it is kept stepping.

From Mesa 3.5 on, `model.step()` is an event that schedules the next one when it has succeeded. After an exception there
is no next one: later calls of `step()` advance the time and run nothing, silently. Mesa 3.4 steps on.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesa import Agent

_KEPT = "_mesa_llm_rearm"


@contextmanager
def stepping_on(agents: Iterable[Agent]) -> Iterator[None]:
    """Whatever is raised in here, the agents' models step on."""
    try:
        yield
    except BaseException:
        for model in {id(agent.model): agent.model for agent in agents}.values():
            step_on_after_failure(model)
        raise


def step_on_after_failure(model: Any) -> None:
    """Let the model's next `step()` run although this one fails.

    The step's event is looked at when the step is over: if the model has caught the error, Mesa has scheduled the next
    step itself, and there is nothing to do.

    Args:
        model: a model one of whose steps is failing.
    """
    if not hasattr(model, "_default_schedule") or hasattr(model, _KEPT):
        return
    from mesa.time import Priority  # noqa: PLC0415 - Mesa 3.4 has no such module

    rearm = functools.partial(_rearm, model)
    setattr(model, _KEPT, rearm)  # Mesa's events hold what they call weakly
    model.schedule_event(rearm, at=model.time, priority=Priority.LOW)


def _rearm(model: Any) -> None:
    delattr(model, _KEPT)
    schedule = model._default_schedule
    due = schedule.next_scheduled_time
    if schedule.is_active and (due is None or due <= model.time):
        schedule.pause()
        schedule.resume()
