"""Mesa is kept stepping when an agent has failed.

From Mesa 3.5 on, `model.step()` is a recurring event, and so is what `model.schedule_recurring` calls: it schedules the
next one when it has succeeded. After an exception there is no next one: the time advances and nothing runs, silently.
Mesa 3.4 steps on.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from mesa_llm.activation.context import current_turn

if TYPE_CHECKING:
    from mesa import Agent

_KEPT = "_mesa_llm_rearm"


@contextmanager
def stepping_on(agents: Iterable[Agent]) -> Iterator[None]:
    """Whatever is raised in here, the agents' models step on.

    Args:
        agents: the agents; looked at only if something is raised.
    """
    try:
        yield
    except BaseException:
        for model in {id(agent.model): agent.model for agent in agents}.values():
            step_on_after_failure(model)
        raise


def steps_on[**P, T](method: Callable[P, T]) -> Callable[P, T]:
    """A method of an agent, sync or async, whose failure lets the agent's model step on; in a runner, that does it.

    Args:
        method: the method.
    """
    if inspect.iscoroutinefunction(method):

        async def awaited(*args: Any, **kwargs: Any) -> Any:
            with stepping_on(args[:1] if current_turn() is None else ()):
                return await method(*args, **kwargs)

        return cast("Callable[P, T]", functools.wraps(method)(awaited))

    @functools.wraps(method)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        with stepping_on(cast("tuple[Agent, ...]", args[:1]) if current_turn() is None else ()):
            return method(*args, **kwargs)

    return called


def step_on_after_failure(model: Any) -> None:
    """Reschedule the recurring event that is failing now: the model's own step, or an event of the user's.

    The check runs after this event has ended: if the model has caught the error, Mesa has scheduled the next event
    itself, and nothing is done.

    Args:
        model: a model one of whose events is failing, or none.
    """
    if not hasattr(model, "_event_generators") or hasattr(model, _KEPT):
        return
    from mesa.time import Priority  # noqa: PLC0415 - Mesa 3.4 has no such module

    rearm = functools.partial(_rearm, model)
    setattr(model, _KEPT, rearm)  # Mesa's events hold what they call weakly
    model.schedule_event(rearm, at=model.time, priority=Priority.LOW)


def _rearm(model: Any) -> None:
    delattr(model, _KEPT)
    # The one that has failed is active, and its event is over. More than one if others have failed at the same time.
    over = [
        generator
        for generator in model._event_generators
        if generator.is_active
        and generator._current_event is not None  # as it is for those that are paused
        and generator._current_event not in model._event_list
    ]
    for generator in sorted(over, key=lambda generator: generator._current_event):
        generator.pause()
        generator.resume()
