"""What the turns of one parallel step share: the clock, the event loop, counts, and what agents have claimed."""

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
