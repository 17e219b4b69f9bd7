"""One parallel step: all decide, then one after the other acts."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import current_turn, nearer_method
from mesa_llm.concurrency import calling_loop
from mesa_llm.concurrency.loop_thread import LoopThread
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import rearm
from mesa_llm.parallel_stepping.asyncio_runner import InlineSeat, TaskSeat
from mesa_llm.parallel_stepping.failures import ParallelStepError, add_note, name_of, told
from mesa_llm.parallel_stepping.thread_pool_runner import MAX_LOOP_THREADS, LoopThreadSeat, ThreadSeat
from mesa_llm.parallel_stepping.turns import Seat, State

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.parallel_stepping.config import ParallelStepping

_logger = logging.getLogger(__name__)

GRACE = 1.0
"""Seconds that agents of a step that was called off get to end before they are left behind."""


class ParallelStep:
    """One step of some agents, in the order given.

        decide   each agent starts its step, one after the other; each start ends where the agent waits for a model.
                 From there on all of them wait at the same time, up to their turn points
        act      one agent at a time, in order, from its turn point to the end of its step. An agent that plans again
                 gives its turn back, and a second round of decide and act follows

    Runs on the event loop of its caller. If it fails or is cancelled before anyone has acted, nothing that core wrote
    for the agents stays, and `restore` is called.

    Args:
        agents: who steps, in order.
        config: how.
        args: passed on to each agent's step.
        kwargs: passed on to each agent's step.
        restore: puts the random state back.
    """

    def __init__(
        self,
        agents: Iterable[Agent],
        config: ParallelStepping,
        *,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        restore: Callable[[], None] = lambda: None,
    ) -> None:
        self._agents = tuple(agents)
        self.config = config
        self._args = args
        self._kwargs = kwargs or {}
        self._restore = restore
        self._loop_threads: list[LoopThread] = []
        self._seats: list[Seat] = []
        self._plain_in_threads: list[Seat] = []
        self._deciders: list[Seat] = []
        self._fallbacks: list[Seat] = []
        self._idle: asyncio.Future[None] | None = None
        self._is_eager = config.activation == "eager"
        self._started: tuple[Seat, ...] = ()
        self._ready: deque[Seat] = deque()
        self._actor: Seat | None = None
        self._n_failures = 0
        self.running = 0
        """How many agents are deciding or acting right now."""
        self.slots = threading.Semaphore(config.max_workers or max(1, len(self._agents)))
        """A thread of an agent holds one of these while it runs."""

    def run_here(self) -> None:
        """Make the step from ordinary code; raises what `run` raises."""
        # Ctrl-C breaks off the code of an agent, which may take long, but not the bookkeeping between.
        calling_loop.run(self.run(), may_break_off=lambda: current_turn() is not None)

    async def run(self) -> None:
        """Make the step.

        Raises:
            ParallelStepError: if decisions failed; nobody has acted on this round's decisions.
            Exception: whatever an agent raised while it acted, with a note that says who had acted.
        """
        self.loop = asyncio.get_running_loop()
        self.thread_id = threading.get_ident()
        try:
            self._seats = [self._seat(agent) for agent in self._agents]
            self._started = tuple(self._seats)
            await (self._run_eagerly() if self._is_eager else self._run_in_rounds())
            await self._until_ended()
        except BaseException:
            for seat in self._seats:
                seat.leave_out()
            try:
                await self._until_ended()
            finally:
                if not self._anybody_has_acted():
                    self._restore()
                for model in {id(agent.model): agent.model for agent in self._agents}.values():
                    rearm.after_failure(model)
            raise
        finally:
            for loop_thread in self._loop_threads:
                loop_thread.close(timeout=GRACE)

    async def _run_in_rounds(self) -> None:
        await self._decide(self._deciders, lambda seat: seat.start())
        await self._step_plain_agents_in_threads()
        await self._act()
        while left := [seat for seat in self._seats if seat.waits]:
            await self._decide([seat for seat in left if seat.gave_turn_back], lambda seat: seat.decide_again())
            await self._act()

    async def _run_eagerly(self) -> None:
        await self._start(self._seats, lambda seat: seat.start())
        await self._until_idle()
        decided = [seat for seat in self._seats if not seat.failed_acting]
        self._go_on_without_failed(decided, outcome="the others have acted")
        for fallback in self._fallbacks:
            fallback.start()
        await self._until_idle()
        for seat in self._seats:
            seat.commit()
        failed_acts = [seat.error for seat in self._seats if seat.failed_acting and seat.error is not None]
        if len(failed_acts) == 1:
            raise failed_acts[0]
        if failed_acts:
            raise BaseExceptionGroup(f"{len(failed_acts)} agents failed while acting", failed_acts)

    def at_turn_point(self, seat: Seat) -> None:
        """Called by a seat that is ready to act."""
        if self._is_eager:
            self._ready.append(seat)
            self.loop.call_soon(self._let_the_next_act)

    def gave_turn_back(self, seat: Seat) -> None:
        """Called by a seat that begins a further decision."""
        if self._is_eager:
            seat.decide_again()

    def _let_the_next_act(self) -> None:
        while self._ready and not (self._actor is not None and self._actor.acting):
            seat = self._ready.popleft()
            if not seat.waits_as(State.AT_TURN_POINT):
                continue
            if not _is_in_model(seat.agent):
                seat.leave_out()
                continue
            self._actor = seat
            seat.act()
        self.check_idle()

    def _seat(self, agent: Agent) -> Seat:
        in_threads = self.config.mode == "threading"
        name = nearer_method(type(agent), "step", "astep", prefer_async=not in_threads) or "step"
        function = functools.partial(getattr(agent, name), *self._args, **self._kwargs)
        if name == "astep":
            seat: Seat = (
                LoopThreadSeat(self, agent, function, self._next_loop_thread())
                if in_threads
                else TaskSeat(self, agent, function)
            )
            self._deciders.append(seat)
        elif isinstance(agent, LLMAgent) or inspect.getattr_static(agent, "reasoning", None) is not None:
            seat = ThreadSeat(self, agent, function)
            self._deciders.append(seat)
        elif in_threads:
            seat = ThreadSeat(self, agent, function)
            self._plain_in_threads.append(seat)
        else:
            seat = InlineSeat(self, agent, function)
        return seat

    def _next_loop_thread(self) -> LoopThread:
        limit = min(MAX_LOOP_THREADS, self.config.max_workers or MAX_LOOP_THREADS)
        if len(self._loop_threads) < limit:
            self._loop_threads.append(LoopThread("mesa-llm-agents"))
            return self._loop_threads[-1]
        return self._loop_threads[len(self._deciders) % limit]

    async def _start(self, seats: Sequence[Seat], begin: Callable[[Seat], None]) -> None:
        for seat in seats:
            if _is_in_model(seat.agent):
                begin(seat)
                await seat.wait_until_started()
            else:
                seat.leave_out()

    async def _decide(self, seats: Sequence[Seat], begin: Callable[[Seat], None]) -> None:
        await self._start(seats, begin)
        await self._until_idle()
        acted = self._anybody_has_acted()
        self._go_on_without_failed(
            seats, outcome="nobody has acted on this round's decisions" if acted else "nobody has acted"
        )

    def _anybody_has_acted(self) -> bool:
        return any(seat.acted for seat in self._seats)

    def _go_on_without_failed(self, seats: Sequence[Seat], *, outcome: str) -> None:
        """Do as `on_error` says about those that could not decide."""
        failures: list[tuple[Agent, Exception]] = []
        for seat in seats:
            if isinstance(seat.error, Exception):
                failures.append((seat.agent, seat.error))
            elif seat.error is not None:
                raise seat.error
        self._n_failures += len(failures)
        if failures and not self.config.allows(self._n_failures, len(self._agents)):
            raise ParallelStepError.of(failures, len(self._agents), outcome=outcome)
        for seat in seats:
            if seat.error is not None:
                self._do_without(seat)

    def _do_without(self, seat: Seat) -> None:
        """Go on without an agent's decision."""
        seat.leave_out()
        if seat.error is not None:
            _logger.warning("%s could not decide: %s", name_of(seat.agent), told(seat.error))
        if callable(self.config.on_error):
            fallback = functools.partial(self.config.on_error, seat.agent, seat.error)  # type: ignore[arg-type]
            self._seats[self._seats.index(seat)] = in_its_place = InlineSeat(self, seat.agent, fallback)
            self._fallbacks.append(in_its_place)

    async def _step_plain_agents_in_threads(self) -> None:
        present = [seat for seat in self._plain_in_threads if _is_in_model(seat.agent)]
        for seat in present:
            seat.acted = True
            seat.start()
        await self._until_idle()
        for seat in present:
            if seat.error is not None:
                add_note(seat.error, f"While {name_of(seat.agent)} was acting, together with all other plain agents.")
        errors = [seat.error for seat in present if seat.error is not None]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup(f"{len(errors)} plain agents failed", errors)

    async def _act(self) -> None:
        for seat in self._seats:
            if seat.state is State.ENDED:
                seat.commit()  # it has ended without a turn: what it remembered counts from here on
            if not seat.waits_as(State.AT_TURN_POINT):
                continue
            if not _is_in_model(seat.agent):
                seat.leave_out()
                continue
            try:
                seat.act()
                await self._until_idle()
                if seat.error is not None:
                    raise seat.error
            except Exception as error:
                self._say_who_had_acted(error, seat)
                raise

    def _say_who_had_acted(self, error: Exception, failed: Seat) -> None:
        acted = [name_of(seat.agent) for seat in self._seats if seat.acted and seat is not failed]
        waiting = [name_of(seat.agent) for seat in self._seats if seat.waits and seat is not failed]
        add_note(
            error,
            f"While {name_of(failed.agent)} was acting. Had acted before: {', '.join(acted) or 'nobody'}. "
            f"Did not act any more: {', '.join(waiting) or 'nobody'}.",
        )

    async def _until_ended(self) -> None:
        """Wait for the agents that were left out to end where they wait."""
        left = [seat for seat in self._started if not seat.finished]
        try:
            async with asyncio.timeout(GRACE):
                for seat in left:
                    await seat.wait_until_ended()
        except TimeoutError:
            names = ", ".join(name_of(seat.agent) for seat in left if not seat.finished)
            warnings.warn(
                f"{names} did not end within {GRACE:g} s after the step was called off, and was left behind: its code "
                "blocks a thread or ignores cancellation.",
                RuntimeWarning,
                stacklevel=2,
            )

    async def _until_idle(self) -> None:
        while self.running or self._ready:
            self._idle = self.loop.create_future()
            await self._idle

    def check_idle(self) -> None:
        """Called by the seats whenever one of them starts or stops to run."""
        if self._ready:
            self.loop.call_soon(self._let_the_next_act)
        elif not self.running and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)


def _is_in_model(agent: Agent) -> bool:
    return agent in agent.model.agents
