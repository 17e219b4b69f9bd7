"""What the turns of one parallel step share: clock and timers, the event loop, counts, and what agents have claimed."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from mesa_llm.concurrency.loop_thread import WakeUpQueue

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.parallel_stepping.config import ParallelStepping
    from mesa_llm.parallel_stepping.turn import AgentTurn


class Board:
    """The shared data of a step. Changed on the thread of the step's event loop; `call` gets there from any other.

    Args:
        config: how the agents step.
        n_agents: how many of them there are.
        method: what they do, `step` in most models.

    Attributes:
        began: when the step began, on `clock`; 0 before.
        running: how many agents are deciding or acting right now.
        progress: grows whenever anything happens.
        acted_s: seconds that acts have taken.
        acting_since: when the act in progress began, in seconds since the step did; `None` if nobody acts.
        waiting: turns that wait to act or to decide again, in the order in which they came to it; `None` where they
            do so in the order of the step.
        claims: what agents have taken since all had decided.
        slots: a thread of an agent holds one of these while it runs.
    """

    clock = staticmethod(time.perf_counter)
    """Gives the time in seconds."""

    def __init__(self, config: ParallelStepping, n_agents: int, method: str) -> None:
        self.config = config
        self.method = method
        self.began = 0.0
        self.running = 0
        self.progress = 0
        self.acted_s = 0.0
        self.acting_since: float | None = None
        self.waiting: deque[AgentTurn] | None = None
        self.claims: dict[Hashable, Agent] = {}
        self.slots = threading.Semaphore(config.max_workers or max(1, n_agents))
        self._condition: Callable[[], bool] | None = None
        self._met: asyncio.Future[None] | None = None

    def open(self) -> None:
        """The step begins, on the event loop that runs."""
        self.loop = asyncio.get_running_loop()
        self.context = contextvars.copy_context()
        self.began = self.clock()
        self._wake_up_queue = WakeUpQueue(self.loop)
        self._thread_id = threading.get_ident()

    def now(self) -> float:
        """Seconds since the step began."""
        return self.clock() - self.began

    def seconds_acted(self) -> float:
        """Seconds that acts have taken so far, the one in progress included."""
        return self.acted_s + (0.0 if self.acting_since is None else self.now() - self.acting_since)

    def call[*Ts](self, function: Callable[[*Ts], None], *args: *Ts) -> None:
        """Call something short on the thread of the step's event loop: at once if this is it."""
        if self.loop.is_closed():  # a thread that was left behind has come to its end
            return
        if threading.get_ident() == self._thread_id:
            function(*args)
        else:
            self._wake_up_queue.put(functools.partial(function, *args))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; it is looked at whenever a turn changes. One may wait at a time."""
        while not condition():
            self._condition, self._met = condition, self.loop.create_future()
            try:
                await self._met
            finally:
                self._condition = self._met = None

    def changed(self) -> None:
        """A turn has changed."""
        if self._condition is not None and self._met is not None and not self._met.done() and self._condition():
            self._met.set_result(None)

    def is_idle(self) -> bool:
        """Whether no agent is deciding or acting."""
        return not self.running


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
