"""A timer that can be paused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_PASSES = 2


class PausableTimer:
    """Calls something when its time is up, not counting the time in which it was paused.

    What came while the event loop was busy comes first: so a timer does not win against an answer that was there in
    time, on a loop that was not.

    Args:
        loop: the event loop that calls; all methods are called on its thread.
        seconds: the time.
        callback: what is called.
        uncounted: the seconds so far in which the timer does not run either; never less than before.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        callback: Callable[[], object],
        *,
        uncounted: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._loop = loop
        self._callback = callback
        self._uncounted = uncounted
        self._seen_uncounted = uncounted()
        self._left = seconds
        self._n_pauses = 0
        self._is_cancelled = False
        self._handle: asyncio.Handle | None = None
        self._run()

    def pause(self) -> None:
        """Stop counting. Pauses overlap: the timer goes on when all have ended."""
        self._n_pauses += 1
        if self._handle is not None:
            if isinstance(self._handle, asyncio.TimerHandle):
                self._left = max(0.0, self._handle.when() - self._loop.time())
            self._stop()

    def resume(self) -> None:
        """End a pause."""
        self._n_pauses -= 1
        if self._n_pauses == 0 and not self._is_cancelled:
            self._run()

    @property
    def seconds_left(self) -> float:
        """The time that is left, about. May be read from any thread."""
        handle = self._handle
        return max(0.0, handle.when() - self._loop.time()) if isinstance(handle, asyncio.TimerHandle) else self._left

    def cancel(self) -> None:
        """Never call."""
        self._is_cancelled = True
        self._stop()

    def _run(self) -> None:
        self._handle = self._loop.call_later(self._left, self._look)

    def _look(self) -> None:
        seen, self._seen_uncounted = self._seen_uncounted, self._uncounted()
        self._left = self._seen_uncounted - seen
        if self._left > 0:
            self._run()
        else:
            self._left = 0.0
            self._call_after(_PASSES)

    def _call_after(self, passes: int) -> None:
        if passes:
            self._handle = self._loop.call_soon(self._call_after, passes - 1)
        else:
            self._handle = None
            self._callback()

    def _stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
