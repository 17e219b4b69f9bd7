"""What core asks of a Mesa model: its step, its random generators, and that it steps on after a failure.

From Mesa 3.5 on, `model.step()` is a recurring event, and so is what `model.schedule_recurring` calls: it schedules the
next one when it has succeeded. After an exception nothing is scheduled: the time advances and nothing runs, silently.
Mesa 3.4 steps on.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any, cast

from mesa_llm.activation.context import current_turn

if TYPE_CHECKING:
    from mesa import Agent

_KEPT = "_mesa_llm_rearm"


def step_of(model: Any) -> int:
    """The number of the model's current step; 1 during the first.

    Mesa 3 counts them in `model.steps`; Mesa 4 has only `model.time`, which a step advances by one.

    Args:
        model: the Mesa model.
    """
    steps = getattr(model, "steps", None)
    return int(model.time if steps is None else steps)


def is_in_model(agent: Any) -> bool:
    """Whether an agent has not been removed. A removed one may still be in its cell, or in a set of the user's."""
    return agent in agent.model.agents


def restorer(agents: Iterable[Agent], *others: Random) -> Callable[[], None]:
    """A function that puts the generators of the agents' models, and others, back into their present state."""
    models = {id(agent.model): agent.model for agent in agents}.values()
    generators = {id(generator): generator for generator in [*(model.random for model in models), *others]}.values()
    states = [(generator, generator.getstate()) for generator in generators]
    # A scenario may leave its seed there in Mesa 4.0.0a0, as that of Mesa's own example of civil violence does.
    bit_generators = [model.rng.bit_generator for model in models if hasattr(model.rng, "bit_generator")]
    bit_states = [(bit_generator, bit_generator.state) for bit_generator in bit_generators]

    def restore() -> None:
        for generator, state in states:
            generator.setstate(state)
        for bit_generator, bit_state in bit_states:
            bit_generator.state = bit_state

    return restore


@contextmanager
def stepping_on(agents: Iterable[Agent] = (), *, models: Iterable[Any] = ()) -> Iterator[None]:
    """Let the agents' models step on, and others, whatever the block raises. The agents are looked at only then."""
    try:
        yield
    except BaseException:
        for model in {id(model): model for model in (*models, *(agent.model for agent in agents))}.values():
            step_on_after_failure(model)
        raise


def steps_on[**P, T](method: Callable[P, T]) -> Callable[P, T]:
    """A method of an agent, sync or async, whose failure lets the model step on. Runners see to that themselves."""
    is_async = inspect.iscoroutinefunction(method)

    async def awaited(*args: Any, **kwargs: Any) -> Any:
        with stepping_on(args[:1]):
            return await cast("Awaitable[Any]", method(*args, **kwargs))

    @functools.wraps(method)
    def called(*args: Any, **kwargs: Any) -> Any:
        if current_turn() is not None:
            return method(*args, **kwargs)
        if is_async:
            return awaited(*args, **kwargs)
        with stepping_on(args[:1]):
            return method(*args, **kwargs)

    return cast("Callable[P, T]", inspect.markcoroutinefunction(called) if is_async else called)


def step_on_after_failure(model: Any) -> None:
    """Reschedule the recurring event of the model that is failing now, if one is: its own step, or one of the user's.

    The check runs after this event has ended: if the model has caught the error, Mesa has scheduled the next event
    itself, and nothing is done.
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
