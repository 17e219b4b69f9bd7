"""Notices random draws whose order depends on how fast the model answers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mesa import Model

type Notice = Callable[[Model], None]
"""Called at each draw, with the model whose generator it is."""


@contextmanager
def watched(models: Iterable[Model], notice: Notice) -> Iterator[None]:
    """Call `notice` whenever somebody draws from `model.random` or `model.rng` of these models.

    The generators give the numbers that they would give anyway.
    """
    with ExitStack() as watches:
        for model in models:
            watches.enter_context(_random_watched(model, notice))
            watches.enter_context(_rng_watched(model, notice))
        yield


@contextmanager
def _random_watched(model: Model, notice: Notice) -> Iterator[None]:
    """`random.Random` draws everything through these two methods, which an instance can shadow."""
    generator = model.random
    if type(generator) is not random.Random or "getrandbits" in vars(generator):
        yield
        return
    for name in ("random", "getrandbits"):
        setattr(generator, name, _noticed(getattr(generator, name), model, notice))
    try:
        yield
    finally:
        del generator.random, generator.getrandbits


def _noticed(draw: Callable[..., Any], model: Model, notice: Notice) -> Callable[..., Any]:
    def noticed(*args: Any) -> Any:
        notice(model)
        return draw(*args)

    return noticed


@contextmanager
def _rng_watched(model: Model, notice: Notice) -> Iterator[None]:
    """A NumPy generator is a thin layer over a bit generator: for a while, another layer lies over the same one."""
    generator = getattr(model, "rng", None)
    if type(generator) is not np.random.Generator:
        yield
        return
    watcher = _WatchedGenerator(generator.bit_generator)
    watcher.notice = lambda: notice(model)
    model.rng = watcher
    try:
        yield
    finally:
        watcher.notice = _ignore
        if model.rng is watcher:
            model.rng = generator


def _ignore() -> None:
    pass


class _WatchedGenerator(np.random.Generator):
    notice: Callable[[], None] = staticmethod(_ignore)

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in {"notice", "bit_generator"}:
            self.notice()
        return super().__getattribute__(name)
