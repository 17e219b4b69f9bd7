"""Agents that run on threads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, override

from mesa_llm.activation import entered
from mesa_llm.concurrency import worker_thread
from mesa_llm.concurrency.loop_thread import LoopThread
from mesa_llm.errors import StepAborted
from mesa_llm.parallel_stepping.asyncio_runner import eager_task, outcome
from mesa_llm.parallel_stepping.failures import name_of
from mesa_llm.parallel_stepping.turns import Seat, State, Waiter

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.parallel_stepping.parallel_step import ParallelStep

MAX_LOOP_THREADS = 32


class OffLoopSeat(Seat):
    """An agent that runs on another thread than the step's event loop, and says when the next one may start."""

    def __init__(self, step: ParallelStep, agent: Agent) -> None:
        super().__init__(step, agent)
        self._has_started = False
        self._start_awaited: asyncio.Future[None] | None = None

    @override
    def _reached(self) -> None:
        if not self._has_started:
            self._on_loop(self._started)

    def _started(self) -> None:
        self._has_started = True
        if self._start_awaited is not None and not self._start_awaited.done():
            self._start_awaited.set_result(None)

    @override
    async def wait_until_started(self) -> None:
        if not self._has_started:
            self._start_awaited = self.step.loop.create_future()
            await self._start_awaited

    @override
    def decide_again(self) -> None:
        self._has_started = False
        super().decide_again()


class ThreadSeat(OffLoopSeat):
    """An agent whose `step` runs on a thread of its own.

    The thread holds one of the step's slots while it runs, and none while it waits for a model or for its turn. So
    the number of slots bounds the threads that run, never the agents that wait together.

    Args:
        step: the parallel step.
        agent: whose place it is.
        function: the agent's step.
    """

    def __init__(self, step: ParallelStep, agent: Agent, function: Callable[[], Any]) -> None:
        super().__init__(step, agent)
        self._function = function
        self._has_slot = False
        self._cancel_call: Callable[[], object] = lambda: None

    @override
    def start(self) -> None:
        self.finished = False
        self._enter(State.DECIDING)
        thread = worker_thread.start(self._run, context=entered(self), name=name_of(self.agent))
        thread.add_done_callback(lambda thread: self._on_loop(self.ended, thread.exception()))

    def _run(self) -> None:
        self._take_slot()
        try:
            self._function()
        finally:
            self._give_slot()

    def _take_slot(self) -> None:
        if not self._has_slot:
            self.step.slots.acquire()
            self._has_slot = True

    def _give_slot(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self.step.slots.release()

    @override
    def _block(self, arrive: Callable[[Waiter], None]) -> None:
        self._give_slot()
        try:
            super()._block(arrive)
        finally:
            self._take_slot()

    @override
    def call_started(self, cancel: Callable[[], object]) -> None:
        super().call_started(cancel)
        self._cancel_call = cancel
        self._give_slot()

    @override
    def call_ended(self) -> None:
        self._take_slot()
        if self.called_off:
            raise StepAborted

    @override
    def call_off(self) -> None:
        super().call_off()
        self._cancel_call()


class LoopThreadSeat(OffLoopSeat):
    """An agent whose step is a coroutine, in threading mode: a task on one of the step's loop threads.

    Args:
        step: the parallel step.
        agent: whose place it is.
        coroutine_function: makes the coroutine of the agent's step.
        loop_thread: where it runs.
    """

    def __init__(
        self,
        step: ParallelStep,
        agent: Agent,
        coroutine_function: Callable[[], Awaitable[Any]],
        loop_thread: LoopThread,
    ) -> None:
        super().__init__(step, agent)
        self._coroutine_function = coroutine_function
        self._loop_thread = loop_thread
        self._running: Future[Any] | None = None

    @override
    def start(self) -> None:
        self.finished = False
        self._enter(State.DECIDING)
        self._running = self._loop_thread.submit(self._run())
        self._running.add_done_callback(lambda running: self._on_loop(lambda: self.ended(outcome(running, self.agent))))

    async def _run(self) -> Any:
        task = eager_task(self._coroutine_function, self._loop_thread.loop, entered(self), self.agent)
        self._reached()
        return await task

    @override
    def call_off(self) -> None:
        super().call_off()
        if self._running is not None:
            self._running.cancel()
