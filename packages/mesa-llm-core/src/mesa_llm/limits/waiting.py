"""The time in which a call waits in a line: who must know of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from mesa_llm.activation.decisions import queued


class LineObserver(Protocol):
    """Who is told, in the course of a call, that it waits in a line."""

    def line_entered(self) -> None:
        """The call waits."""

    def line_left(self) -> None:
        """It has its place, or has given up."""


_observers: ContextVar[tuple[LineObserver, ...]] = ContextVar("mesa_llm_line_observers", default=())


class told_of_lines:  # noqa: N801 - used as `contextlib.suppress` is
    """Tell an observer of the lines in which the calls made herein wait.

    Args:
        observer: who is told.
    """

    __slots__ = ("_observer", "_token")

    def __init__(self, observer: LineObserver) -> None:
        self._observer = observer

    def __enter__(self) -> None:
        self._token = _observers.set((*_observers.get(), self._observer))

    def __exit__(self, *exception: object) -> None:
        _observers.reset(self._token)


@contextmanager
def in_line() -> Iterator[None]:
    """Marks the time in which a call waits in a line: it does not count for `decide_timeout`."""
    observers = _observers.get()
    with queued():
        for observer in observers:
            observer.line_entered()
        try:
            yield
        finally:
            for observer in observers:
                observer.line_left()
