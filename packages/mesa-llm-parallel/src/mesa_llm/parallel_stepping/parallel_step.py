"""One parallel step: all decide, then one after the other acts."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import current_turn, log_counts, turn_in
from mesa_llm.concurrency import calling_loop
from mesa_llm.concurrency.calling_loop import GRACE
from mesa_llm.concurrency.hand_over import Mailbox
from mesa_llm.errors import MesaLLMError
from mesa_llm.errors.exceptions import ends_run
from mesa_llm.errors.tracebacks import shorten
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import collector, draws, progress, rearm
from mesa_llm.parallel_stepping.asyncio_runner import InlineSeat
from mesa_llm.parallel_stepping.failures import (
    ALWAYS_RAISED,
    ParallelStepError,
    add_note,
    alike,
    described,
    name_of,
    names_of,
)
from mesa_llm.parallel_stepping.passage import Passage
from mesa_llm.parallel_stepping.remarks import Remarks
from mesa_llm.parallel_stepping.reporting import publish, report_of
from mesa_llm.parallel_stepping.seating import Seating
from mesa_llm.parallel_stepping.settle import settle
from mesa_llm.parallel_stepping.states import State
from mesa_llm.parallel_stepping.turns import Seat
from mesa_llm.parallel_stepping.watchdog import Watchdog

if TYPE_CHECKING:
    from mesa import Agent, Model

    from mesa_llm.parallel_stepping.config import ParallelStepping

SERIAL_S = 1.0
"""Seconds after which a step whose agents ran one after the other says so."""

_logger = logging.getLogger(__name__)


class ParallelStep:
    """One step of some agents, in the order given.

        decide   each agent starts its step, one after the other; each start ends where the agent waits for a model.
                 From there on all of them wait at the same time, up to their turn points
        act      one agent at a time, in order, from its turn point to the end of its step. An agent that plans again
                 gives its turn back, and a second round of decide and act follows

        settle   what agents owe only to themselves after acting and need a model for: all ask at once again

    Runs on the event loop of its caller. If it fails or is cancelled before anyone has acted, nothing that core wrote
    for the agents stays, and `restore` is called.

    Args:
        agents: who steps, in order.
        config: how.
        args: passed on to each agent's step.
        kwargs: passed on to each agent's step.
        restore: puts the random state back.
    """

    clock = staticmethod(time.perf_counter)
    """Gives the time in seconds."""

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
        self._seating = Seating(config, args, kwargs or {})
        self._restore = restore
        self._models = tuple({id(agent.model): agent.model for agent in self._agents}.values())
        self._in_place: list[Seat] = []
        self._idle: asyncio.Future[None] | None = None
        self._ready: deque[Passage] = deque()
        self._actor: Passage | None = None
        self._is_letting = False
        self._n_failures = 0
        self._epoch = 0.0
        self.remarks = Remarks()
        self.began = 0.0
        self.seats: tuple[Seat, ...] = ()
        """One seat an agent, in order."""
        self.fallbacks: dict[Seat, Seat] = {}
        """What acts instead of agents that could not decide."""
        self.phase_s = {"decide": 0.0, "act": 0.0, "settle": 0.0}
        """Seconds in each phase."""
        self.acted_s = 0.0
        """Seconds that acts have taken."""
        self.claims: dict[Hashable, Agent] = {}
        """What agents have taken since everybody decided."""
        self.running = 0
        """How many agents are deciding or acting right now."""
        self.progress = 0
        """Grows whenever anything happens."""
        self.slots = threading.Semaphore(config.max_workers or max(1, len(self._agents)))
        """A thread of an agent holds one of these while it runs."""

    def run_here(self) -> None:
        """Make the step from ordinary code; raises what `run` raises."""
        try:
            # Ctrl-C breaks off the code of an agent, which may take long, but not the bookkeeping between.
            calling_loop.run(
                self.run(),
                may_break_off=lambda: current_turn() is not None,
                what=lambda: f"A step with {self._unfinished()}",
            )
        except BaseException as error:
            if not self.began:  # interrupted before
                self._restore()
            for model in self._models:  # it may have been interrupted after its end
                rearm.after_failure(model)
            shorten(error)
            raise

    def _unfinished(self) -> str:
        return names_of(seat.agent for seat in self.seats if not seat.finished)

    async def run(self) -> None:
        """Make the step.

        Raises:
            ParallelStepError: if decisions failed; nobody has acted on this round's decisions.
            Exception: whatever an agent raised while it acted, with a note that says who had acted.
        """
        with collector.unhurried(len(self._agents)):
            await self._run()

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.mailbox = Mailbox(self.loop)
        self._task = asyncio.current_task()
        self.context = contextvars.copy_context()
        self.thread_id = threading.get_ident()
        self.began = self.clock()
        self._epoch = time.time()
        outer = current_turn()
        if isinstance(outer, Seat):
            outer.nest(self)
        watchdog = Watchdog(self)
        failure: BaseException | None = None
        try:
            self.seats = tuple(self._seating.seat(self, agent) for agent in self._agents)
            self._in_place = list(self.seats)
            with progress.shown(self, self._models):
                await self._run_phases()
                await self._until_ended()
                await self._settle([seat for seat in self.seats if seat.state is State.ENDED])
            self.remarks.say()
        except BaseException as error:
            failure = error
            await self._after_failure(error)
            raise
        finally:
            watchdog.stop()
            if isinstance(outer, Seat):
                outer.unnest(self)
            self._seating.close()
            for model in self._models:
                log_counts(model)
            self._report(failure)
            self._let_go()

    def cancel(self) -> None:
        """Call the step off; from any thread. Its `run` raises `asyncio.CancelledError`."""
        if self._task is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._task.cancel)

    async def _after_failure(self, error: BaseException) -> None:
        for seat in self._in_place:
            seat.leave_out()
        try:
            await self._until_ended()
            if isinstance(error, Exception) and not ends_run(error):
                await self._settle([seat for seat in self.seats if seat.acted])
        finally:
            if not self._anybody_has_acted():
                self._restore()
            for model in self._models:
                rearm.after_failure(model)

    async def _run_phases(self) -> None:
        await self._decide(self._seating.deciders, lambda seat: seat.start())
        await self._step_plain_agents_in_threads()
        await self._act()
        while left := [seat for seat in self._in_place if seat.waits]:
            await self._decide([seat for seat in left if seat.gave_turn_back], lambda seat: seat.decide_again())
            await self._act()

    async def _settle(self, seats: Iterable[Seat]) -> None:
        with self._timed("settle"):
            await settle(
                seat for seat in seats if seat.error is None and not seat.called_off and is_in_model(seat.agent)
            )

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        started = self.clock()
        try:
            yield
        finally:
            self.phase_s[phase] += self.clock() - started

    def _report(self, failure: BaseException | None) -> None:
        wall_s = self.clock() - self.began
        for model in self._models:
            report = report_of(self, model, started=self._epoch, wall_s=wall_s, failure=failure)
            publish(report, model, self.config.on_report)

    def _let_go(self) -> None:
        """Forget the places, which know their step: else the garbage collector would have to find all of them."""
        self.seats = tuple([seat for seat in self.seats if not seat.finished])
        self._in_place.clear()
        self.fallbacks.clear()
        self._actor = None

    def seconds_acted(self) -> float:
        """Seconds that acts have taken so far, the one in progress included."""
        actor = self._actor
        return self.acted_s + (actor.seconds_acting if actor is not None else 0.0)

    def ended_without_turn(self, seat: Passage) -> None:
        """Called by a seat whose agent has waited for something and ended without a turn."""
        if isinstance(seat.agent, LLMAgent):
            self.remarks.no_turn(type(seat.agent))

    def _drawn(self, model: Model) -> None:
        turn = turn_in(model)
        if isinstance(turn, Seat) and turn.step is self and turn.past_start and not turn.acting:
            self.remarks.drawn(type(turn.agent))

    def _drawn_together(self, model: Model) -> None:
        turn = turn_in(model)
        if isinstance(turn, Seat) and turn.step is self and not turn.decides and not turn.acting:
            self.remarks.drawn_together(type(turn.agent))

    def at_turn_point(self, seat: Passage) -> None:
        """Called by a seat that is ready to act."""

    def gave_turn_back(self, seat: Passage) -> None:
        """Called by a seat that begins a further decision."""

    async def _start(self, seats: Sequence[Seat], begin: Callable[[Seat], None]) -> None:
        when_all_have: list[Callable[[], None]] = []
        for seat in seats:
            if is_in_model(seat.agent):
                begin(seat)
                if not seat.past_start:
                    await seat.wait_until_started()
                if self.config.decide_timeout is not None:
                    when_all_have.append(seat.others_start())
            else:
                self._has_left(seat)
        for resume in when_all_have:
            resume()

    async def _decide(self, seats: Sequence[Seat], begin: Callable[[Seat], None]) -> None:
        self.claims.clear()
        with self._timed("decide"), draws.watched(self._models if seats else (), self._drawn):
            await self._start(seats, begin)
            await self._until_idle()
        acted = self._anybody_has_acted()
        if self.phase_s["decide"] > SERIAL_S and len(seats) > 1 and all(seat.was_alone for seat in seats):
            self.remarks.serial(type(seats[0].agent), type(seats[0].agent.model))
        self._go_on_without_failed(
            seats, outcome="nobody has acted on this round's decisions" if acted else "nobody has acted"
        )

    def _anybody_has_acted(self) -> bool:
        return any(seat.acted for seat in self._in_place)

    def _go_on_without_failed(self, seats: Sequence[Seat], *, outcome: str, failed_acts: Sequence[Seat] = ()) -> None:
        """Do as `on_error` says about those that could not decide.

        Args:
            seats: those that were to decide.
            outcome: what is said of the others if this raises.
            failed_acts: those that have failed since, to be raised along.
        """
        failures: list[tuple[Agent, Exception]] = []
        for seat in seats:
            if isinstance(seat.error, Exception):
                failures.append((seat.agent, seat.error))
            elif seat.error is not None:
                raise seat.error
        self._n_failures += len(failures)
        must_raise = any(
            isinstance(error, ALWAYS_RAISED) or (self.config.on_error == "skip" and ends_run(error))
            for _, error in failures
        )
        if must_raise or (failures and not self.config.allows(self._n_failures, len(self._agents))):
            raise ParallelStepError.of(
                failures,
                len(self._agents),
                outcome=outcome,
                failed_acts=[(seat.agent, seat.error) for seat in failed_acts if isinstance(seat.error, Exception)],
            )
        for error, agents in alike(failures):
            shorten(error)
            is_expected = isinstance(error, MesaLLMError | OSError)
            _logger.warning(
                "%s could not decide: %s", names_of(agents), described(error), exc_info=None if is_expected else error
            )
        if failures and len(failures) == len(seats):
            self.remarks.nobody_decided(failures[0][1], len(failures), type(seats[0].agent.model))
        for seat in seats:
            if seat.error is not None:
                self._do_without(seat)

    def _do_without(self, seat: Seat) -> None:
        """Go on without an agent's decision."""
        seat.leave_out()
        if callable(self.config.on_error):
            fallback = functools.partial(self.config.on_error, seat.agent, seat.error)  # type: ignore[arg-type]
            in_its_place = InlineSeat(self, seat.agent, fallback)
            if seat.agent_step is not None:
                in_its_place.agent_step = seat.agent_step  # its calls are further calls of the agent
            self._in_place[self._in_place.index(seat)] = in_its_place
            self.fallbacks[seat] = in_its_place

    async def _step_plain_agents_in_threads(self) -> None:
        present = [seat for seat in self._seating.plain_in_threads if is_in_model(seat.agent)]
        with self._timed("act"), draws.watched(self._models if present else (), self._drawn_together):
            for seat in present:
                seat.acted = True
                seat.start()
            await self._until_idle()
        raise_all([seat for seat in present if seat.error is not None], "acting, together with all other plain agents")

    def _has_left(self, seat: Passage) -> None:
        seat.left = True
        seat.leave_out()

    async def _act(self) -> None:
        with self._timed("act"):
            self._ready.extend(self._in_place)
            self._let_the_next_act()
            await self._until_idle()
        if self._actor is not None and self._actor.failed_acting and self._actor.error is not None:
            if isinstance(self._actor.error, Exception):
                self._say_who_had_acted(self._actor.error, self._actor)
            raise self._actor.error

    def _let_the_next_act(self) -> None:
        """Let those who are ready act, one at a time. Called whenever one of them has ended."""
        if self._is_letting:  # by an agent that acts and ends at once: the loop below goes on with the next
            return
        self._is_letting = True
        try:
            while self._ready and not (self._actor is not None and self._actor.acting):
                self._let_act(self._ready.popleft())
        finally:
            self._is_letting = False
        self._check_idle()

    def _let_act(self, seat: Passage) -> None:
        if seat.state is State.ENDED:
            seat.commit()  # it has ended without a turn: what it remembered counts from here on
        elif seat.waits_as(State.AT_TURN_POINT):
            if is_in_model(seat.agent):
                self._actor = seat
                seat.act()
            else:
                self._has_left(seat)

    def _say_who_had_acted(self, error: Exception, failed: Passage) -> None:
        acted = names_of(seat.agent for seat in self._in_place if seat.acted and seat is not failed)
        waiting = names_of(seat.agent for seat in self._in_place if seat.waits and seat is not failed)
        add_note(
            error,
            f"While {name_of(failed.agent)} was acting. Had acted before: {acted or 'nobody'}. "
            f"Did not act any more: {waiting or 'nobody'}.",
        )

    async def _until_ended(self) -> None:
        """Wait for the agents that were left out to end where they wait."""
        left = [seat for seat in self.seats if not seat.finished]
        try:
            async with asyncio.timeout(GRACE / 2):
                for seat in left:
                    await seat.wait_until_ended()
        except TimeoutError:
            warnings.warn(
                f"{self._unfinished()} did not end within {GRACE / 2:g} s after the step was called off, and was left "
                "behind: its code blocks a thread or ignores cancellation.",
                RuntimeWarning,
                stacklevel=2,
            )

    async def _until_idle(self) -> None:
        while not self._is_idle():
            self._idle = self.loop.create_future()
            await self._idle

    def stopped_running(self, seat: Passage) -> None:
        """Called by a seat that has stopped deciding or acting."""
        if seat.failed_acting:
            self._act_failed()
        if self._ready:
            self._let_the_next_act()
        else:
            self._check_idle()

    def _act_failed(self) -> None:
        self._ready.clear()

    def _check_idle(self) -> None:
        if self._idle is not None and self._is_idle() and not self._idle.done():
            self._idle.set_result(None)

    def _is_idle(self) -> bool:
        return not self.running and not self._ready


def raise_all(seats: Sequence[Seat], what: str) -> None:
    """Raise what agents have failed with: the one error as it is, several as a group; nothing if there is none."""
    errors = [seat.error for seat in seats if seat.error is not None]
    for seat in seats:
        if seat.error is not None:
            add_note(seat.error, f"While {name_of(seat.agent)} was {what}.")
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise BaseExceptionGroup(f"{len(errors)} agents failed while {what}", errors)


def is_in_model(agent: Agent) -> bool:
    """Whether the agent has not been removed."""
    return agent in agent.model.agents
