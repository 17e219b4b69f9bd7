"""State that belongs to one event loop."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Any


class PerLoop[T]:
    """One value for each event loop that asks for it.

    Futures belong to one loop, and so does what is in flight. A process has one transport loop, and a forked child one
    of its own, where nothing of the parent's is in flight. A copy starts without values.
    """

    def __init__(self) -> None:
        self._values: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, T] = weakref.WeakKeyDictionary()
        self._latest: T | None = None

    def get(self, make: Callable[[], T]) -> T:
        """The value of the running loop, made when it is first asked for."""
        loop = asyncio.get_running_loop()
        value = self._values.get(loop)
        if value is None:
            value = self._values[loop] = self._latest = make()
        return value

    @property
    def latest(self) -> T | None:
        """The value that was made last, `None` before the first. May be read from any thread."""
        return self._latest

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()
