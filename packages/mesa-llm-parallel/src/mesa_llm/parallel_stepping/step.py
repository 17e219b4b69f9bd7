"""One parallel step: its turns, what a regime does with them, and what becomes of failures."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import current_turn, step_of
from mesa_llm.activation.context import turn_in
from mesa_llm.activation.mesa_model import is_in_model, step_on_after_failure
from mesa_llm.activation.once import log_counts
from mesa_llm.concurrency import calling_loop
from mesa_llm.concurrency.calling_loop import GRACE
from mesa_llm.errors import MesaLLMError, ends_run
from mesa_llm.errors.tracebacks import shorten
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import progress, relaxed_gc
from mesa_llm.parallel_stepping.board import Board
from mesa_llm.parallel_stepping.consolidate import consolidate
from mesa_llm.parallel_stepping.diagnostics import Diagnostics, Watchdog, rng_watched
from mesa_llm.parallel_stepping.failures import (
    ALWAYS_RAISED,
    ParallelStepError,
    add_note,
    alike,
    described,
    name_of,
    names_of,
)
from mesa_llm.parallel_stepping.reporting import publish, report_of
from mesa_llm.parallel_stepping.runners import InlineRunner, Runners
from mesa_llm.parallel_stepping.turn import AgentTurn, State

if TYPE_CHECKING:
    from mesa import Agent, Model

    from mesa_llm.parallel_stepping.config import ParallelStepping

type Regime = Callable[[ParallelStep], Awaitable[None]]
"""What a step does with its turns, see `mesa_llm.parallel_stepping.activations`."""

SERIAL_S = 1.0
"""Seconds after which a step whose agents ran one after the other says so."""

_NOT_DECIDED = (State.NOT_STARTED, State.DECIDING)

_logger = logging.getLogger(__name__)


class ParallelStep:
    """One step of some agents, in the order given. What it does with them says its regime.

    Runs on the event loop of its caller. If it fails or is cancelled before anyone has acted, nothing that core wrote
    for the agents stays, and `restore` is called.

    Args:
        agents: who steps, in order.
        config: how.
        regime: lets the turns decide and act.
        method: what each agent does; its steps are those of a model that steps.
        args: passed on to each agent's method.
        kwargs: passed on to each agent's method.
        restore: puts the random state back.

    Attributes:
        turns: one turn an agent, in order.
        fallbacks: what acts instead of agents that could not decide.
        phase_s: seconds in each phase.
    """

    def __init__(
        self,
        agents: Iterable[Agent],
        config: ParallelStepping,
        regime: Regime,
        *,
        method: str = "step",
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        restore: Callable[[], None] = lambda: None,
    ) -> None:
        self._agents = tuple(agents)
        self._models = tuple({id(agent.model): agent.model for agent in self._agents}.values())
        self._regime = regime
        self._restore = restore
        self.config = config
        self.board = Board(config, len(self._agents), method)
        self._runners = Runners(self.board, args, kwargs or {})
        self._diagnostics = Diagnostics()
        self._task: asyncio.Task[Any] | None = None
        self._epoch = 0.0
        self._n_failures = 0
        self.turns: tuple[AgentTurn, ...] = ()
        self._order: list[AgentTurn] = []
        self.fallbacks: dict[AgentTurn, AgentTurn] = {}
        self.phase_s = {"decide": 0.0, "act": 0.0, "settle": 0.0}

    # Made as a whole.

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
            if not self.board.began:  # interrupted before
                self._restore()
            for model in self._models:  # it may have been interrupted after its end
                step_on_after_failure(model)
            shorten(error)
            raise

    async def run(self) -> None:
        """Make the step.

        Raises:
            ParallelStepError: if decisions failed; nobody has acted on this round's decisions.
            Exception: whatever an agent raised while it acted, with a note that says who had acted.
        """
        with relaxed_gc.relaxed(len(self._agents)):
            await self._run()

    def cancel(self) -> None:
        """Call the step off; from any thread. Its `run` raises `asyncio.CancelledError`."""
        if self._task is not None and not self.board.loop.is_closed():
            self.board.loop.call_soon_threadsafe(self._task.cancel)

    async def _run(self) -> None:
        self._task = asyncio.current_task()
        self.board.open()
        self._epoch = time.time()
        outer = current_turn()
        if isinstance(outer, AgentTurn):
            outer.nest(self)
        watchdog = Watchdog(self.board, lambda: self.turns)
        failure: BaseException | None = None
        try:
            self.turns = self._runners.turns_of(self._agents)
            self._order = list(self.turns)
            with progress.shown(self._progress, self._models):
                await self._regime(self)
            self._diagnostics.warn()
        except BaseException as error:
            failure = error
            await self._after_failure(error)
            raise
        finally:
            watchdog.stop()
            if isinstance(outer, AgentTurn):
                outer.unnest(self)
            self._runners.close()
            for model in self._models:
                log_counts(model)
            self._report(failure)
            self._let_go()

    async def _after_failure(self, error: BaseException) -> None:
        for turn in self._order:
            turn.leave_out()
        try:
            await self._until_finished()
            if isinstance(error, Exception) and not ends_run(error):
                await self._consolidate([turn for turn in self.turns if turn.acted])
        finally:
            if not self._anybody_has_acted():
                self._restore()
            for model in self._models:
                step_on_after_failure(model)

    def _progress(self, model: Any) -> progress.StepProgress:
        turns = [turn for turn in self.turns if turn.agent.model is model]
        return progress.StepProgress(
            step=step_of(model),
            agents=len(turns),
            decided=sum(turn.state not in _NOT_DECIDED and turn.error is None and not turn.left for turn in turns),
            acted=sum(turn.acted for turn in turns),
            failed=sum(turn.error is not None for turn in turns),
            seconds=self.board.now(),
        )

    def _report(self, failure: BaseException | None) -> None:
        wall_s = self.board.now()
        for model in self._models:
            report = report_of(self, model, started=self._epoch, wall_s=wall_s, failure=failure)
            publish(report, model, self.config.on_report)

    def _let_go(self) -> None:
        """Forget the turns, which know what they share: else the garbage collector would have to find all of them."""
        self.turns = tuple([turn for turn in self.turns if not turn.finished])
        self._order.clear()
        self.fallbacks.clear()
        self.board.waiting = None

    # What a regime does.

    async def decide(self) -> None:
        """Let all agents that have something to decide do so: each starts when the one before waits for its model.

        Raises:
            ParallelStepError: if decisions failed, and `on_error` does not let the others go on.
        """
        await self._decide(self._runners.deciders, AgentTurn.start)

    async def step_rule_based_together(self) -> None:
        """Step agents that have nothing to decide on threads, all at once, where `plain_steps` says so.

        Raises:
            Exception: what one of them raised; several as a group.
        """
        present = [turn for turn in self._runners.plain_in_threads if is_in_model(turn.agent)]
        with self.timed("act"), rng_watched(self._models if present else (), self._drawn_together):
            for turn in present:
                turn.acted = True
                turn.start()
            await self.board.until(self.board.is_idle)
        raise_all([turn for turn in present if turn.error is not None], "acting, together with all other plain agents")

    async def act(self) -> None:
        """Let those that have decided act, one at a time, in order.

        Raises:
            Exception: what an agent raised, with a note that says who had acted.
        """
        with self.timed("act"):
            for turn in self._order:
                await self.board.until(turn.has_decided)  # an agent may decide more while others act
                await self.let_act(turn)
                if turn.failed_acting and turn.error is not None:
                    if isinstance(turn.error, Exception):
                        self._note_who_had_acted(turn.error, turn)
                    raise turn.error

    async def let_act(self, turn: AgentTurn) -> None:
        """Let one agent act, to its end or to its next decision."""
        if turn.state is State.ENDED:
            turn.commit()  # it has ended without a turn: what it remembered counts from here on
        elif turn.is_ready:
            if not is_in_model(turn.agent):
                self._has_left(turn)
                return
            turn.act()
            await self.board.until(turn.has_acted)

    @property
    def is_unfinished(self) -> bool:
        """Whether agents wait to act, or to decide again."""
        return any(turn.is_waiting for turn in self._order)

    async def decide_again(self) -> None:
        """Let those that have yielded their turn make their next decisions, all at once.

        Raises:
            ParallelStepError: as `decide` does.
        """
        await self._decide([turn for turn in self._order if turn.has_yielded], AgentTurn.decide_again)

    async def consolidate(self) -> None:
        """Let the memories of those that have ended do what needs a model, all at once.

        Raises:
            Exception: what ends a run, see `ends_run`.
        """
        await self._until_finished()
        await self._consolidate([turn for turn in self.turns if turn.state is State.ENDED])

    # Parts of it.

    async def _decide(self, turns: Sequence[AgentTurn], begin: Callable[[AgentTurn], None]) -> None:
        self.board.claims.clear()
        with self.timed("decide"), rng_watched(self._models if turns else (), self._drawn):
            await self.start(turns, begin)
            await self.board.until(self.board.is_idle)
        if self.phase_s["decide"] > SERIAL_S and len(turns) > 1 and all(turn.was_alone for turn in turns):
            self._diagnostics.ran_serially(type(turns[0].agent), type(turns[0].agent.model))
        acted = self._anybody_has_acted()
        self.go_on_without_failed(
            turns, outcome="nobody has acted on this round's decisions" if acted else "nobody has acted"
        )

    async def start(self, turns: Sequence[AgentTurn], begin: Callable[[AgentTurn], None]) -> None:
        """Start agents one after the other, each when the one before has come to where it waits.

        Args:
            turns: their turns.
            begin: lets one of them begin.
        """
        when_all_have: list[Callable[[], None]] = []
        for turn in turns:
            if is_in_model(turn.agent):
                begin(turn)
                await turn.until_started()
                if self.config.decide_timeout is not None:
                    when_all_have.append(turn.others_start())
            else:
                self._has_left(turn)
        for resume in when_all_have:
            resume()

    def go_on_without_failed(
        self, turns: Sequence[AgentTurn], *, outcome: str, failed_acts: Sequence[AgentTurn] = ()
    ) -> None:
        """Do as `on_error` says about those that could not decide.

        Args:
            turns: those that were to decide.
            outcome: what is said of the others if this raises.
            failed_acts: those that have failed since, to be raised along.

        Raises:
            ParallelStepError: if it does not let the others go on.
        """
        failures: list[tuple[Agent, Exception]] = []
        for turn in turns:
            if turn.waited_without_turn and isinstance(turn.agent, LLMAgent):
                self._diagnostics.waited_without_turn(type(turn.agent))
            if isinstance(turn.error, Exception):
                failures.append((turn.agent, turn.error))
            elif turn.error is not None:
                raise turn.error
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
                failed_acts=[(turn.agent, turn.error) for turn in failed_acts if isinstance(turn.error, Exception)],
            )
        for error, agents in alike(failures):
            shorten(error)
            is_expected = isinstance(error, MesaLLMError | OSError)
            _logger.warning(
                "%s could not decide: %s", names_of(agents), described(error), exc_info=None if is_expected else error
            )
        if failures and len(failures) == len(turns):
            self._diagnostics.nobody_decided(failures[0][1], len(failures), type(turns[0].agent.model))
        for turn in turns:
            if turn.error is not None:
                self._do_without(turn)

    def _do_without(self, turn: AgentTurn) -> None:
        """Go on without an agent's decision."""
        turn.leave_out()
        if callable(self.config.on_error):
            fallback = functools.partial(self.config.on_error, turn.agent, turn.error)  # type: ignore[arg-type]
            in_its_place = AgentTurn(turn.agent, self.board, InlineRunner(fallback))
            in_its_place.begins(turn.agent_step)  # its calls are further calls of the agent
            self._order[self._order.index(turn)] = in_its_place
            self.fallbacks[turn] = in_its_place

    def _has_left(self, turn: AgentTurn) -> None:
        turn.left = True
        turn.leave_out()

    def _anybody_has_acted(self) -> bool:
        return any(turn.acted for turn in self._order)

    def _note_who_had_acted(self, error: Exception, failed: AgentTurn) -> None:
        acted = names_of(turn.agent for turn in self._order if turn.acted and turn is not failed)
        waiting = names_of(turn.agent for turn in self._order if turn.is_waiting and turn is not failed)
        add_note(
            error,
            f"While {name_of(failed.agent)} was acting. Had acted before: {acted or 'nobody'}. "
            f"Did not act any more: {waiting or 'nobody'}.",
        )

    async def _consolidate(self, turns: Iterable[AgentTurn]) -> None:
        if self.board.method != "step":
            return  # as where nobody runs the agents in parallel
        with self.timed("settle"):
            await consolidate(turn for turn in turns if turn.error is None and not turn.called_off)

    async def _until_finished(self) -> None:
        """Wait for the agents that were left out to end where they wait."""
        left = [turn for turn in self.turns if not turn.finished]
        try:
            async with asyncio.timeout(GRACE / 2):
                for turn in left:
                    await turn.until_finished()
        except TimeoutError:
            warnings.warn(
                f"{self._unfinished()} did not end within {GRACE / 2:g} s after the step was called off, and was left "
                "behind: its code blocks a thread or ignores cancellation.",
                RuntimeWarning,
                stacklevel=2,
            )

    def _unfinished(self) -> str:
        return names_of(turn.agent for turn in self.turns if not turn.finished)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Count the time in here for a phase."""
        started = self.board.clock()
        try:
            yield
        finally:
            self.phase_s[phase] += self.board.clock() - started

    def _drawn(self, model: Model) -> None:
        turn = turn_in(model)
        if isinstance(turn, AgentTurn) and turn.board is self.board and turn.past_start and not turn.acting:
            self._diagnostics.drew_while_waiting(type(turn.agent))

    def _drawn_together(self, model: Model) -> None:
        turn = turn_in(model)
        if isinstance(turn, AgentTurn) and turn.board is self.board and not turn.decides and not turn.acting:
            self._diagnostics.drew_together(type(turn.agent))


def raise_all(turns: Sequence[AgentTurn], what: str) -> None:
    """Raise what agents have failed with: the one error as it is, several as a group; does nothing without errors."""
    errors = [turn.error for turn in turns if turn.error is not None]
    for turn in turns:
        if turn.error is not None:
            add_note(turn.error, f"While {name_of(turn.agent)} was {what}.")
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise BaseExceptionGroup(f"{len(errors)} agents failed while {what}", errors)
