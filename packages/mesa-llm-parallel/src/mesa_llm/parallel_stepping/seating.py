"""Which kind of place an agent gets in a parallel step."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mesa_llm.concurrency.calling_loop import GRACE
from mesa_llm.concurrency.loop_thread import LoopThread, close_all
from mesa_llm.parallel_stepping.agent_kinds import is_plain, step_method
from mesa_llm.parallel_stepping.asyncio_runner import InlineSeat, TaskSeat
from mesa_llm.parallel_stepping.thread_pool_runner import MAX_LOOP_THREADS, LoopThreadSeat, ThreadSeat
from mesa_llm.parallel_stepping.turns import Seat

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.parallel_stepping.config import ParallelStepping
    from mesa_llm.parallel_stepping.parallel_step import ParallelStep


class Seating:
    """Gives agents their places, and has the threads whose event loops some of them run on.

    Args:
        config: how the agents step.
        args: passed on to each agent's step.
        kwargs: passed on to each agent's step.

    Attributes:
        deciders: the places of agents that have something to decide, in order.
        plain_in_threads: those of agents that have not, and step on threads, all at once.
    """

    def __init__(self, config: ParallelStepping, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self._config = config
        self._args = args
        self._kwargs = kwargs
        self._step_methods: dict[type, str] = {}
        self._loop_threads: list[LoopThread] = []
        self.deciders: list[Seat] = []
        self.plain_in_threads: list[Seat] = []

    def seat(self, step: ParallelStep, agent: Agent) -> Seat:
        """The place of one more agent in a step."""
        in_threads = self._config.mode == "threading"
        agent_class = type(agent)
        name = self._step_methods.get(agent_class)
        if name is None:
            name = self._step_methods[agent_class] = step_method(agent_class, in_threads=in_threads)
        function = getattr(agent, name)
        if self._args or self._kwargs:
            function = functools.partial(function, *self._args, **self._kwargs)
        if name == "astep":
            seat: Seat = (
                LoopThreadSeat(step, agent, function, self._next_loop_thread())
                if in_threads
                else TaskSeat(step, agent, function)
            )
            self.deciders.append(seat)
        elif not is_plain(agent):
            seat = ThreadSeat(step, agent, function)
            self.deciders.append(seat)
        elif self._config.runs_plain_steps_together:
            seat = ThreadSeat(step, agent, function, plain=True)
            self.plain_in_threads.append(seat)
        else:
            seat = InlineSeat(step, agent, function)
        return seat

    def _next_loop_thread(self) -> LoopThread:
        limit = min(MAX_LOOP_THREADS, self._config.max_workers or MAX_LOOP_THREADS)
        if len(self._loop_threads) < limit:
            self._loop_threads.append(LoopThread("mesa-llm-agents"))
            return self._loop_threads[-1]
        return self._loop_threads[len(self.deciders) % limit]

    def close(self) -> None:
        """End the threads; one that is still blocked after a moment is left behind. The places are forgotten."""
        close_all(self._loop_threads, timeout=GRACE)
        self.deciders.clear()
        self.plain_in_threads.clear()
