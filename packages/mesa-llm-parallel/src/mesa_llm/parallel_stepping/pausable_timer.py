"""A timer that can be paused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class PausableTimer:
    """Calls something when its time is up, not counting the time in which it was paused.

    Args:
        loop: the event loop that calls; all methods are called on its thread.
        seconds: the time.
        callback: what is called.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, callback: Callable[[], object]) -> None:
        self._loop = loop
        self._callback = callback
        self._left = seconds
        self._n_pauses = 0
        self._is_cancelled = False
        self._handle: asyncio.TimerHandle | None = loop.call_later(seconds, callback)

    def pause(self) -> None:
        """Stop counting. Pauses overlap: the timer goes on when all have ended."""
        self._n_pauses += 1
        if self._handle is not None:
            self._left = max(0.0, self._handle.when() - self._loop.time())
            self._stop()

    def resume(self) -> None:
        """End a pause."""
        self._n_pauses -= 1
        if self._n_pauses == 0 and not self._is_cancelled:
            self._handle = self._loop.call_later(self._left, self._callback)

    def cancel(self) -> None:
        """Never call."""
        self._is_cancelled = True
        self._stop()

    def _stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
