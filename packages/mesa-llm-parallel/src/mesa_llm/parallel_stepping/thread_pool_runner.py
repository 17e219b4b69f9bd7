"""Agents that run on threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, override

from mesa_llm.activation import ModelCall, entered, queued
from mesa_llm.concurrency import worker_thread
from mesa_llm.concurrency.loop_thread import LoopThread
from mesa_llm.parallel_stepping.asyncio_runner import eager_task, outcome
from mesa_llm.parallel_stepping.failures import name_of
from mesa_llm.parallel_stepping.states import State, Waiter
from mesa_llm.parallel_stepping.turns import Seat

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.parallel_stepping.parallel_step import ParallelStep

MAX_LOOP_THREADS = 32


class ThreadSeat(Seat):
    """An agent whose `step` runs on a thread of its own.

    The thread holds one of the step's slots while it runs, and none while it waits for a model or for its turn, or
    when its time to decide is up. So the number of slots bounds the threads that run, never the agents that wait
    together, and code that blocks holds up nobody else for longer than that.

    Args:
        step: the parallel step.
        agent: whose place it is.
        function: the agent's step.
        plain: whether the agent has nothing to decide: its step is an act, beside those of all other plain agents.
    """

    __slots__ = ("_function", "_has_slot", "_is_over", "_is_taking", "_lock", "_n_waiting", "decides")

    def __init__(self, step: ParallelStep, agent: Agent, function: Callable[[], Any], *, plain: bool = False) -> None:
        super().__init__(step, agent)
        self.decides = not plain
        self._function = function
        self._lock = threading.Condition()  # protects the four below: an agent may start threads of its own
        self._n_waiting = 0
        self._is_taking = False
        self._has_slot = False
        self._is_over = False

    @override
    def start(self) -> None:
        self.finished = False
        self._begin()
        self._enter(State.DECIDING)
        thread = worker_thread.start(self._run, context=entered(self), name=name_of(self.agent))
        thread.add_done_callback(lambda thread: self._on_loop(self.ended, outcome(thread)))

    @override
    async def wait_until_started(self) -> None:
        await self._until_past_start()

    @override
    def call_off(self) -> None:
        super().call_off()
        self._end_holding()

    def _run(self) -> None:
        self._take_slot()
        try:
            self._function()
        finally:
            self._end_holding()

    def _end_holding(self) -> None:
        with self._lock:
            self._is_over = True
            self._give_slot()

    def _begin_to_wait(self) -> None:
        with self._lock:
            self._n_waiting += 1
            self._give_slot()

    def _stop_waiting(self) -> None:
        with self._lock:
            self._n_waiting -= 1
        self._take_slot()

    def _give_slot(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self.step.slots.release()

    def _wants_slot(self) -> bool:
        return self._n_waiting == 0 and not self._is_over and not self._has_slot

    def _take_slot(self) -> None:
        with self._lock:
            while self._is_taking:  # another thread of the agent, for all of them
                self._lock.wait()
            if not self._wants_slot():
                return
            self._is_taking = True
        if not self.step.slots.acquire(blocking=False):
            with queued():
                self.step.slots.acquire()
        with self._lock:
            self._is_taking = False
            self._lock.notify_all()
            if self._wants_slot():
                self._has_slot = True
            else:  # meanwhile it waits again, in another of its threads, or its time is up
                self.step.slots.release()

    @override
    def _block(self, arrive: Callable[[Waiter], None]) -> None:
        self._begin_to_wait()
        try:
            super()._block(arrive)
        finally:
            self._stop_waiting()

    @override
    async def _await(self, arrive: Callable[[Waiter], None]) -> None:
        self._begin_to_wait()
        try:
            await super()._await(arrive)
        finally:
            self._stop_waiting()

    @override
    def call_started(self, call: ModelCall) -> None:
        super().call_started(call)
        self._begin_to_wait()

    @override
    def _has_answer(self) -> None:
        self._stop_waiting()


class LoopThreadSeat(Seat):
    """An agent whose step is a coroutine, in threading mode: a task on one of the step's loop threads.

    Args:
        step: the parallel step.
        agent: whose place it is.
        coroutine_function: makes the coroutine of the agent's step.
        loop_thread: where it runs.
    """

    __slots__ = ("_coroutine_function", "_loop_thread", "_task")

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
        self._task: asyncio.Task[Any] | None = None

    @override
    def start(self) -> None:
        self.finished = False
        self._begin()
        self._enter(State.DECIDING)
        running = self._loop_thread.submit(self._run())
        running.add_done_callback(lambda running: self._on_loop(self.ended, outcome(running)))

    @override
    async def wait_until_started(self) -> None:
        await self._until_past_start()

    async def _run(self) -> Any:
        self._task = eager_task(self._coroutine_function, self._loop_thread.loop, entered(self), self.agent)
        if not self._task.done() and not self._starts_in_thread:
            self._reached()
        return await self._task

    @override
    def call_off(self) -> None:
        super().call_off()
        if self._task is not None:
            self._loop_thread.loop.call_soon_threadsafe(self._task.cancel)
