"""A first-in, first-out queue of calls, and state that belongs to one event loop."""

from __future__ import annotations

import asyncio
import math
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from mesa_llm.activation.call import ModelCall


class FairQueue[T]:
    """A queue of calls on one event loop, in order of arrival; those of a lower `ModelCall.lane` go first.

    Args:
        take: takes what a call needs, and returns 0.0; or takes nothing, and returns the seconds after which to try
            again (`math.inf`: when `move` is called). Only the first call in the queue is tried, and gets what it
            raises.
        give_back: gives back what a call has taken that fails or is cancelled before it goes on.
    """

    def __init__(self, take: Callable[[T], float], give_back: Callable[[T], None]) -> None:
        self._take = take
        self._give_back = give_back
        self._waiting: deque[tuple[T, asyncio.Future[None], ModelCall]] = deque()
        self._has_lanes = False
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, item: T, call: ModelCall) -> None:
        """Wait for a place. Returns at once, without yielding to the loop, if there is one and no call waits."""
        if not self._waiting and self._take(item) <= 0:
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, place, call))
        self._has_lanes |= call.lane > 0
        try:
            self.move()  # starts the timer
            with call.queued():
                await place
        except BaseException:
            # Whatever ended the wait, a place that was granted goes back, and one that was not is wanted no longer.
            if not place.cancel() and not place.cancelled() and place.exception() is None:
                self._give_back(item)
            self.move()
            raise

    def move(self) -> None:
        """Let those calls go for which there is a place now. Call it whenever something has been given back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            # Looked up each time: a call asked ahead changes its lane when its agent waits for it.
            lanes = [call.lane for *_, call in self._waiting] if self._has_lanes else [0]
            first = lanes.index(min(lanes))
            item, place, _ = self._waiting[first]
            if not place.done():  # else it was cancelled
                try:
                    seconds = self._take(item)
                except Exception as error:
                    place.set_exception(error)
                else:
                    if seconds > 0:
                        if seconds < math.inf:
                            self._timer = asyncio.get_running_loop().call_later(seconds, self.move)
                        return
                    place.set_result(None)
            del self._waiting[first]
        self._has_lanes = False


def loop_time() -> float:
    """The running loop's time in seconds."""
    return asyncio.get_running_loop().time()


class PerLoop[T]:
    """One value for each event loop: of a forked child's own, none of the parent's calls are in flight.

    A copy starts without values.
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
