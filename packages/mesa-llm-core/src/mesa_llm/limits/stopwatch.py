"""The time that a call takes, without that in which it waits in a line."""

from __future__ import annotations

from collections.abc import Callable


class Stopwatch:
    """Measures the time since it was made, but for that in which a call waits in a line.

    Args:
        clock: gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._waited = 0.0
        self._entered: float | None = None  # when the call entered the line in which it waits

    @property
    def seconds(self) -> float:
        """The time so far."""
        now = self._clock() if self._entered is None else self._entered
        return now - self._began - self._waited

    def line_entered(self) -> None:
        """The call waits. It does so in one line at a time."""
        self._entered = self._clock()

    def line_left(self) -> None:
        """The call has its place, or has given up."""
        assert self._entered is not None
        self._waited += self._clock() - self._entered
        self._entered = None
