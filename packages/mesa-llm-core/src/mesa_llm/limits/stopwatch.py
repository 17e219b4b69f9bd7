"""The time that a call takes, without that in which it waits in a line."""

from __future__ import annotations

from collections.abc import Callable


class Stopwatch:
    """Measures the time since it was made, but for that in which a call waits in a line.

    A client that asks its inner one several times at once makes the call wait in several lines: their time counts once.

    Args:
        clock: gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._waited = 0.0
        self._n_lines = 0
        self._entered = 0.0  # when the call entered the first of the lines in which it waits

    @property
    def seconds(self) -> float:
        """The time so far."""
        now = self._entered if self._n_lines else self._clock()
        return now - self._began - self._waited

    def line_entered(self) -> None:
        """The call waits in one more line."""
        if not self._n_lines:
            self._entered = self._clock()
        self._n_lines += 1

    def line_left(self) -> None:
        """The call has its place there, or has given up."""
        self._n_lines -= 1
        if not self._n_lines:
            self._waited += self._clock() - self._entered
