"""Agents that run as tasks of an event loop, or inline on its thread."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, override

from mesa_llm.activation import entered
from mesa_llm.parallel_stepping.failures import name_of
from mesa_llm.parallel_stepping.states import State
from mesa_llm.parallel_stepping.turns import Seat

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.parallel_stepping.parallel_step import ParallelStep


class TaskSeat(Seat):
    """An agent whose step is a coroutine, run as a task on the step's own event loop.

    Args:
        step: the parallel step.
        agent: whose place it is.
        coroutine_function: makes the coroutine of the agent's step.
    """

    __slots__ = ("_coroutine_function", "_task")

    def __init__(self, step: ParallelStep, agent: Agent, coroutine_function: Callable[[], Awaitable[Any]]) -> None:
        super().__init__(step, agent)
        self._coroutine_function = coroutine_function
        self._task: asyncio.Task[Any] | None = None

    @override
    def start(self) -> None:
        self.finished = False
        self._begin()
        self._enter(State.DECIDING)
        # An eager task runs at once, up to the first place where it waits: so agents start one after the other.
        try:
            task = eager_task(self._coroutine_function, self.step.loop, entered(self), self.agent)
        except BaseException as interrupt:
            self.ended(interrupt)
            raise
        if task.done():
            self.ended(outcome(task))
        else:
            self._task = task
            if not self._starts_in_thread:
                self._reached()
            task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self._task = None  # its context holds this place
        self.ended(outcome(task))

    @override
    async def wait_until_started(self) -> None:
        await asyncio.sleep(0)  # after one pass of the loop, a resumed task has run up to where it waits next
        if self._starts_in_thread:
            await self._until_past_start()
        else:
            self._reached()

    @override
    def others_start(self) -> Callable[[], None]:
        timer = self._timer
        if timer is None:
            return super().others_start()
        timer.pause()  # they keep the event loop busy, and its answer waits
        return timer.resume

    @override
    def call_off(self) -> None:
        super().call_off()
        if self._task is not None:
            self._task.cancel()


class InlineSeat(Seat):
    """A plain agent: its `step` runs in its place among the acts, in the thread of the event loop.

    Args:
        step: the parallel step.
        agent: whose place it is.
        function: the agent's step.
    """

    __slots__ = ("_function",)

    def __init__(self, step: ParallelStep, agent: Agent, function: Callable[[], Any]) -> None:
        super().__init__(step, agent)
        self._function = function
        self.state = State.AT_TURN_POINT

    @override
    def start(self) -> None:
        """It is at its turn point from the beginning."""
        self.step.at_turn_point(self)

    @override
    async def wait_until_started(self) -> None:
        """It never waits for anything."""

    @override
    def act(self) -> None:
        self._begin()
        super().act()
        try:
            entered(self, self.step.context).run(self._function)
        except BaseException as error:  # raised again by the step: here, a callback of the loop may be running
            self.ended(error)
        else:
            self.ended(None)

    @override
    def call_off(self) -> None:
        super().call_off()
        self._end()


def eager_task(
    coroutine_function: Callable[[], Awaitable[Any]],
    loop: asyncio.AbstractEventLoop,
    context: contextvars.Context,
    agent: Agent,
) -> asyncio.Task[Any]:
    """A task that has already run up to the first place where it waits."""
    if inspect.iscoroutinefunction(coroutine_function):
        coroutine = coroutine_function()
    else:
        coroutine = _awaited(coroutine_function)  # its code is to run within the task

    return asyncio.Task(coroutine, loop=loop, context=context, eager_start=True, name=name_of(agent))


async def _awaited(function: Callable[[], Awaitable[Any]]) -> Any:
    return await function()


def outcome(ended: asyncio.Future[Any] | Future[Any]) -> BaseException | None:
    """What has ended an agent's step: its exception, `None` if it returned."""
    return asyncio.CancelledError() if ended.cancelled() else ended.exception()
