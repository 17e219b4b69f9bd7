"""Calls that wait for the same thing, first come, first served."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

from mesa_llm.limits.waiting import in_line


class Line[T]:
    """A line of calls on one event loop. Nobody is overtaken, and who leaves takes nothing along.

    Args:
        take: takes what a call needs, or takes nothing and gives the seconds after which to try again (`math.inf`:
            when `move` is called); 0.0 if it has taken. Only the first in line is tried. If it raises, the call does.
        give_back: gives back what a call has taken that fails or is cancelled before it goes on.
    """

    def __init__(self, take: Callable[[T], float], give_back: Callable[[T], None]) -> None:
        self._take = take
        self._give_back = give_back
        self._waiting: deque[tuple[T, asyncio.Future[None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, item: T) -> None:
        """Wait for one's place. Returns at once, without yielding to the loop, if there is one and nobody waits."""
        if not self._waiting and self._take(item) <= 0:
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, place))
        try:
            self.move()  # starts the timer
            with in_line():
                await place
        except BaseException:
            # Whatever ended the wait, a place that was granted goes back, and one that was not is wanted no longer.
            if not place.cancel() and not place.cancelled() and place.exception() is None:
                self._give_back(item)
            self.move()
            raise

    def move(self) -> None:
        """Let those go for whom there is a place now. To be called whenever something has been given back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            item, place = self._waiting[0]
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
            self._waiting.popleft()
