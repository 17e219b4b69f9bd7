"""Python's garbage collector, while a step runs.

It looks for garbage whenever 700 objects more have been made than freed, and goes through everything there is whenever
that has grown by a quarter. While a thousand agents wait for their models, each with its prompt, its coroutines and its
connection, it keeps looking, and there is nothing to find: what a step makes is in use until the agent has acted, and
is freed then without the collector. That took nearly half the time of a step. So it waits until there is more.
Where a step looks ahead, each copy of the model is garbage after its look, and is collected as one of the youngest.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

IN_FLIGHT = 200
"""Objects that an agent has while it waits for its model, those of its connection included, and some to spare."""

_changing = threading.Lock()  # protects the three below: several threads may step a model each
_running: set[object] = set()
_usual: tuple[int, int, int] | None = None  # the thresholds before, while they are changed
_set = 0  # the first of them as it was changed


@contextmanager
def relaxed(n_agents: int) -> Iterator[None]:
    """Have the garbage collector look only when there is more than so many agents need.

    The collector is the process's own, so this holds for all threads. A threshold that is higher already and a
    collector that is switched off are left alone. Afterwards it is as it was.

    Args:
        n_agents: how many agents step together.
    """
    step = object()
    with _changing:
        _running.add(step)
        _raise(n_agents * IN_FLIGHT)
    try:
        yield
    finally:
        with _changing:
            _running.discard(step)
            _put_back()


def _raise(n_objects: int) -> None:
    global _usual, _set  # noqa: PLW0603 - the process has one collector
    thresholds = gc.get_threshold()
    if 0 < thresholds[0] < n_objects:
        if _usual is None or thresholds[0] != _set:  # the latter: user code has set it meanwhile
            _usual = thresholds
        _set = n_objects
        gc.set_threshold(n_objects, *thresholds[1:])


def _put_back() -> None:
    """Do so if no step runs any more."""
    global _usual  # noqa: PLW0603
    if not _running and _usual is not None:
        if gc.get_threshold()[0] == _set:  # else user code has set it meanwhile, and that stays
            gc.set_threshold(*_usual)
        _usual = None


def _forget_after_fork() -> None:
    """In a child that was forked in the middle of a step, that step does not go on."""
    global _changing  # noqa: PLW0603
    _changing = threading.Lock()
    _running.clear()
    _put_back()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
