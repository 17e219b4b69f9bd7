"""Python's garbage collector, while a step runs.

By default it looks for garbage whenever 700 objects more have been made than freed, and goes through everything there
is once a quarter has been added. While a thousand agents wait for their models, each with its prompt, its coroutines and
its connection, that is always so, and there is next to nothing to find: what a step makes is in use until the agent
has acted, and is freed then without the collector. It took half the time of a step.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG = 10_000
"""So many objects more than before the collector looks, while a step runs."""

_changing = threading.Lock()  # protects the two below: several threads may step a model each
_n_running = 0
_usual: tuple[int, int, int] | None = None


@contextmanager
def unhurried() -> Iterator[None]:
    """Have the garbage collector look for garbage less often. It is the process's own, so for all threads.

    A threshold that is higher already, and a collector that is switched off, are left alone. Afterwards it is as it
    was.
    """
    _begin()
    try:
        yield
    finally:
        _end()


def _begin() -> None:
    global _n_running, _usual  # noqa: PLW0603 - the process has one collector
    with _changing:
        _n_running += 1
        usual = gc.get_threshold()
        if _n_running == 1 and 0 < usual[0] < YOUNG:
            _usual = usual
            gc.set_threshold(YOUNG, *usual[1:])


def _end() -> None:
    global _n_running, _usual  # noqa: PLW0603
    with _changing:
        _n_running -= 1
        if _n_running == 0 and _usual is not None:
            if gc.get_threshold()[0] == YOUNG:  # else somebody has set it meanwhile, and that holds
                gc.set_threshold(*_usual)
            _usual = None


def _forget_after_fork() -> None:
    """In a child that was forked in the middle of a step, that step does not go on."""
    global _changing, _n_running
    _changing = threading.Lock()
    if _n_running:
        _n_running = 1
        _end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
