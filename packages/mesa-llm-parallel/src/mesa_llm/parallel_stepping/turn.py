"""One agent's turn in a parallel step: from state to state, what the agent meets there, and what it has written."""

from __future__ import annotations

import asyncio
import enum
import math
from collections.abc import Awaitable, Callable, Generator, Hashable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol, override

from mesa_llm.activation import ModelCall, Turn
from mesa_llm.activation.call import AgentStep, begin_agent_step, last_agent_step
from mesa_llm.errors import DecisionTimeoutError, MesaLLMError, StepAborted, TurnError
from mesa_llm.parallel_stepping.board import PausableTimer
from mesa_llm.parallel_stepping.failures import name_of
from mesa_llm.parallel_stepping.report import CallSpan, Phase, Span

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.parallel_stepping.board import Board
    from mesa_llm.parallel_stepping.runners import Runner


class State(enum.Enum):
    """Where an agent is in its step.

    Attributes:
        phase: what a report calls it.
        is_running: whether the agent does something, and the others wait for it.
    """

    NOT_STARTED = enum.auto(), None, False
    DECIDING = enum.auto(), "decide", True
    AT_BARRIER = enum.auto(), "wait", False
    ACTING = enum.auto(), "act", True
    YIELDED_TURN = enum.auto(), "wait", False
    ENDED = enum.auto(), None, False

    def __init__(self, number: int, phase: Phase | None, is_running: bool) -> None:
        self.phase = phase
        self.is_running = is_running


class Cancellable(Protocol):
    """What an agent may have begun within its step, such as a step of others."""

    def cancel(self) -> None:
        """Call it off; from any thread."""


type Waiter = Future[None] | asyncio.Future[None]
"""What waits for the turn: a thread, or a task."""


class AgentTurn(Turn):
    """One agent's turn in one parallel step.

    The agent's side may be called from any thread. The state changes only on the thread of the step's event loop;
    what other threads call is handed over to it.

    Args:
        agent: whose turn it is.
        board: what it shares with the others of its step.
        runner: runs the agent's step.
        decides: whether the agent has something to decide, or else does nothing but act.

    Attributes:
        acted: whether it has had its turn.
        failed_acting: whether `error` came while it acted.
        left: whether the agent had left the model before it could act.
        past_start: whether the agent has come to where it waits for a model or for its turn, so that the next one may
            start.
        starts_in_thread: whether a thread carries the agent's decision on, see `goes_on_in_thread`.
        was_alone: whether the agent's step has ended before the next one could start: it has waited for nothing.
        waited_without_turn: whether the agent has waited for something and ended without a turn.
        spans: what it was doing when.
        calls: its model calls that have ended.
        conflicts: what it was refused since another agent had been first.
        settle_error: what its memory's upkeep has failed with.
        finished: whether nothing of the agent's step runs: it has not begun, or has come to its end.
    """

    acting: bool
    # Ten thousand of them are made in a step of as many agents, and die with it.
    __slots__ = (
        "__weakref__",
        "_end_awaited",
        "_nested",
        "_open_calls",
        "_open_decisions",
        "_since",
        "_staged",
        "_start_awaited",
        "_timer",
        "_waiters",
        "_yielded",
        "acted",
        "acting",
        "agent",
        "agent_step",
        "board",
        "called_off",
        "calls",
        "conflicts",
        "decides",
        "error",
        "failed_acting",
        "finished",
        "left",
        "past_start",
        "runner",
        "settle_error",
        "spans",
        "starts_in_thread",
        "state",
        "waited_without_turn",
        "was_alone",
    )

    def __init__(self, agent: Agent, board: Board, runner: Runner, *, decides: bool = True) -> None:
        self.agent = agent
        self.board = board
        self.runner = runner
        self.decides = decides
        self.state = State.AT_BARRIER if runner.acts_only else State.NOT_STARTED
        self.error: BaseException | None = None
        self.acted = False
        self.acting = False
        self.failed_acting = False
        self.called_off = False
        self.left = False
        self.past_start = False
        self.was_alone = False
        self.waited_without_turn = False
        self.spans: tuple[Span, ...] = ()
        self.calls: list[CallSpan] = []
        self.conflicts: tuple[str, ...] = ()
        self.settle_error: BaseException | None = None
        self.finished = True
        self.agent_step: AgentStep | None = None
        self._open_decisions = 0
        self.starts_in_thread = False
        self._start_awaited: asyncio.Future[None] | None = None
        self._end_awaited: asyncio.Future[None] | None = None
        self._timer: PausableTimer | None = None
        # Most of these stay empty, and ten thousand empty lists are work for the garbage collector.
        self._waiters: tuple[Waiter, ...] = ()  # for the turn
        self._yielded: tuple[Waiter, ...] = ()  # for the next round
        self._nested: tuple[Cancellable, ...] = ()
        self._open_calls: dict[ModelCall, Phase] = {}
        self._since = 0.0
        self._staged: tuple[tuple[Callable[[], None], Callable[[], None]], ...] = ()

    # The agent's side, on any thread.

    @override
    async def abegin_decision(self) -> None:
        self._check_open()
        if self._had_turn:
            await self._wait(self._yield_turn)
        self.board.call(self._decision_begins)

    @override
    def begin_decision(self) -> None:
        self._check_may_block("A decision by plan() or act()", "await aplan() or await aact()")
        self._check_open()
        if self._had_turn:
            self._block(self._yield_turn)
        self.board.call(self._decision_begins)

    @override
    def end_decision(self) -> None:
        self.board.call(self._decision_ends)

    @override
    def atake(self) -> Awaitable[None]:
        self._check_open()
        return AT_ONCE if self.acting else self._wait(self._at_barrier)

    @override
    def take(self) -> None:
        self._check_open()
        if not self.acting:
            self._check_may_block("Acting", "await my_turn() first")
            self._block(self._at_barrier)

    @override
    def goes_on_in_thread(self) -> None:
        self.starts_in_thread = True

    @override
    def call_started(self, call: ModelCall) -> None:
        self._open_calls[call] = "settle" if self.state is State.ENDED else "act" if self.acting else "decide"
        self.board.progress += 1
        if self.called_off:
            raise StepAborted
        self.reached()
        self.runner.begin_to_wait()

    @override
    def call_ended(self, call: ModelCall) -> None:
        phase, board = self._open_calls.pop(call), self.board
        self.calls.append(CallSpan.of(call, phase, start=call.started - board.began, end=board.now()))
        self.board.progress += 1
        self.runner.stop_waiting()
        if self.called_off:
            raise StepAborted

    @override
    def queue(self) -> Callable[[], None]:
        timer = self._timer
        if timer is None:
            return nothing
        self.board.call(timer.pause)
        return lambda: self.board.call(timer.resume)

    @override
    def seconds_left(self) -> float:
        return math.inf if (timer := self._timer) is None else timer.seconds_left

    @override
    def stage(self, commit: Callable[[], None], drop: Callable[[], None]) -> None:
        if self.called_off or self.state is State.ENDED:
            drop()
        else:
            self._staged += ((commit, drop),)

    @override
    def claim(self, place: Hashable) -> None:
        self.board.claims[place] = self.agent

    @override
    def is_claimed(self, place: Hashable) -> bool:
        return self.board.claims.get(place, self.agent) is not self.agent

    @override
    def conflicted(self, refusal: str) -> None:
        self.conflicts += (refusal,)

    def nest(self, step: Cancellable) -> None:
        """The agent begins a step of others; it is called off with the agent."""
        self._nested += (step,)
        if self.called_off:  # meanwhile
            step.cancel()

    def unnest(self, step: Cancellable) -> None:
        """That step has ended."""
        self._nested = tuple(nested for nested in self._nested if nested is not step)

    @property
    def _had_turn(self) -> bool:
        return self.state is State.ACTING or self.state is State.YIELDED_TURN

    async def _wait(self, arrive: Callable[[Waiter], None]) -> None:
        self.runner.begin_to_wait()
        try:
            loop = asyncio.get_running_loop()
            if loop is self.board.loop:
                granted = loop.create_future()
                arrive(granted)
                await granted
            else:
                turn: Future[None] = Future()
                self.board.call(arrive, turn)
                await asyncio.wrap_future(turn)
        finally:
            self.runner.stop_waiting()

    def _block(self, arrive: Callable[[Waiter], None]) -> None:
        self.runner.begin_to_wait()
        try:
            turn: Future[None] = Future()
            self.board.call(arrive, turn)
            turn.result()
        finally:
            self.runner.stop_waiting()

    def _check_open(self) -> None:
        if self.called_off:
            raise StepAborted
        if self.state is State.ENDED:
            raise TurnError(
                f"The step of {name_of(self.agent)} has ended, and with it its turn. Await what you start in a step "
                "before the step returns."
            )

    def _check_may_block(self, what: str, instead: str) -> None:
        if asyncio._get_running_loop() is not None:  # the public function raises instead of answering
            raise TurnError(
                f"{what} would block the event loop that runs {name_of(self.agent)} and other agents: use {instead}."
            )

    # From state to state, on the step's event loop.

    def _decision_begins(self) -> None:
        self._open_decisions += 1
        if self.state is State.AT_BARRIER:  # decisions made side by side: one is ready, another begins
            self._enter(State.DECIDING)

    def _decision_ends(self) -> None:
        self._open_decisions -= 1
        self._stop_if_all_decided()

    def _at_barrier(self, waiter: Waiter) -> None:
        if self._refuse(waiter):
            return
        if self.acting:  # granted meanwhile to a decision made side by side
            wake(waiter)
            return
        self._waiters += (waiter,)
        self._stop_if_all_decided()

    def _stop_if_all_decided(self) -> None:
        if self._waiters and self._open_decisions == 0 and self.state is State.DECIDING:
            self.reached()
            self._enter(State.AT_BARRIER)

    def _yield_turn(self, waiter: Waiter) -> None:
        if not self._refuse(waiter):
            self._yielded += (waiter,)
            self._enter(State.YIELDED_TURN)

    def _refuse(self, waiter: Waiter) -> bool:
        if self.called_off or self.state is State.ENDED:
            wake(waiter, StepAborted())
            return True
        return False

    def _enter(self, state: State) -> None:
        board = self.board
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if state is State.DECIDING and self.decides and board.config.decide_timeout is not None:
            self._timer = PausableTimer(
                board.loop, board.config.decide_timeout, self._time_is_up, uncounted=board.seconds_acted
            )
        now = board.now()
        if self.state is State.ACTING:
            board.acted_s += now - self._since
            board.acting_since = None
        if (phase := self.state.phase) is not None:
            self.spans += (Span(phase, self._since, now),)
        self._since = now
        if state is State.ACTING:
            board.acting_since = now
        board.progress += 1
        board.running += state.is_running - self.state.is_running
        self.state = state
        self.acting = state is State.ACTING
        if state.phase == "wait":
            self._waits()
        elif not state.is_running:
            board.changed()

    def _waits(self) -> None:
        if self.board.waiting is not None:
            self.board.waiting.append(self)
        self.board.changed()

    def _time_is_up(self) -> None:
        self.error = error = DecisionTimeoutError(
            f"{name_of(self.agent)} has not decided within {self.board.config.decide_timeout:g} s (decide_timeout)."
        )
        if self.agent_step is not None:
            self.agent_step.time_is_up(error)
        self.call_off()
        self._end()

    def _abort_waiting(self) -> None:
        waiting, self._waiters, self._yielded = self._waiters + self._yielded, (), ()
        for waiter in waiting:
            wake(waiter, StepAborted())

    def reached(self) -> None:
        """The agent waits for a model, is at the barrier or has ended: the next one may start. From any thread."""
        if not self.past_start:
            self.past_start = True
            if self._start_awaited is not None:
                self.board.call(self._started)

    def _started(self) -> None:
        if self._start_awaited is not None and not self._start_awaited.done():
            self._start_awaited.set_result(None)

    def ended(self, error: BaseException | None) -> None:
        """The agent's step has returned or raised."""
        self.finished = True
        if self._end_awaited is not None and not self._end_awaited.done():
            self._end_awaited.set_result(None)
        if self.state is State.ENDED:  # its time was up before
            return
        if isinstance(error, asyncio.CancelledError):
            error = MesaLLMError(f"{name_of(self.agent)} was cancelled from within its own step.")
        self.was_alone = not self.past_start
        if not self.called_off:
            self.error = error
            self.failed_acting = error is not None and (self.acting or not self.decides)
            self.waited_without_turn = (
                error is None and self.past_start and self.state is State.DECIDING and not self.acted
            )
        self._end()

    def _end(self) -> None:
        self._abort_waiting()
        self.reached()
        self._enter(State.ENDED)

    # The step's side, on its event loop.

    def begins(self, agent_step: AgentStep | None = None) -> None:
        """The agent's step begins; called by its runner.

        Args:
            agent_step: which of the agent's own steps it goes on with, if it does.
        """
        if self.agent_step is not None:
            return
        if agent_step is None and self.board.method == "step":
            agent_step = begin_agent_step(self.agent)
        self.agent_step = agent_step or last_agent_step(self.agent, alone=False)

    def start(self) -> None:
        """Start the agent's step; an agent that only acts is at the barrier."""
        if self.runner.acts_only:
            self._waits()
        else:
            self.finished = False
            self.begins()
            self._enter(State.DECIDING)
            self.runner.start(self)

    async def until_started(self) -> None:
        """Wait until the agent waits for a model, is at the barrier, or has ended."""
        if not self.past_start:
            await self.runner.until_started(self)

    async def until_past_start(self) -> None:
        """Wait for `reached`, which another thread may call."""
        self._start_awaited = self.board.loop.create_future()
        if not self.past_start:  # else meanwhile, on another thread
            await self._start_awaited

    def others_start(self) -> Callable[[], None]:
        """The agent has started and others are to: what that takes is not its time to decide.

        Returns:
            What is to be called when all have started.
        """
        timer = self._timer
        if timer is None or not self.runner.is_held_up_by_starts:
            return nothing
        timer.pause()
        return timer.resume

    def has_decided(self) -> bool:
        """Whether the agent is not deciding."""
        return self.state is not State.DECIDING

    def has_acted(self) -> bool:
        """Whether the agent is not acting."""
        return self.state is not State.ACTING

    @property
    def is_in_call(self) -> bool:
        """Whether the agent waits for a model right now."""
        return bool(self._open_calls)

    @property
    def is_waiting(self) -> bool:
        """Whether the agent waits to act, or to decide again."""
        return self.state in (State.AT_BARRIER, State.YIELDED_TURN) and not self.called_off

    @property
    def is_ready(self) -> bool:
        """Whether the agent waits at the barrier, to act."""
        return self.state is State.AT_BARRIER and not self.called_off

    @property
    def has_yielded(self) -> bool:
        """Whether the agent waits to decide again."""
        return self.state is State.YIELDED_TURN and not self.called_off

    def act(self) -> None:
        """Give the agent its turn."""
        self.commit()
        self.acted = True
        self._enter(State.ACTING)
        granted, self._waiters = self._waiters, ()
        for waiter in granted:
            wake(waiter)
        if self.runner.acts_only:
            self.begins()
            self.runner.start(self)

    def decide_again(self) -> None:
        """Let an agent that has yielded its turn make its next decision."""
        self.past_start = self.starts_in_thread = False
        self._enter(State.DECIDING)
        resumed, self._yielded = self._yielded, ()
        for waiter in resumed:
            wake(waiter)
        if self._waiters:  # something of the agent waits for the turn already
            # Two passes, so that decisions begin first.
            self.board.loop.call_soon(self.board.loop.call_soon, self._stop_if_all_decided)

    async def until_finished(self) -> None:
        """Wait until nothing of the agent's step runs any more."""
        if not self.finished:
            self._end_awaited = self.board.loop.create_future()
            await self._end_awaited

    def commit(self) -> None:
        """Keep what the agent wrote before its turn."""
        staged, self._staged = self._staged, ()
        for commit, _ in staged:
            commit()

    def leave_out(self) -> None:
        """End the agent's step where it waits, if it has not ended yet, and forget what it wrote before its turn."""
        if self.state not in (State.NOT_STARTED, State.ENDED):
            self.call_off()
        staged, self._staged = self._staged, ()
        for _, drop in staged:
            drop()

    def call_off(self) -> None:
        """End the agent's step where it waits."""
        self.called_off = True
        self._abort_waiting()
        for call in tuple(self._open_calls):
            call.cancel()
        for step in self._nested:
            step.cancel()
        self.runner.call_off()
        if self.runner.acts_only and self.state is State.AT_BARRIER:
            self._end()

    def add_span(self, phase: Phase, start: float) -> None:
        """Note what the agent has been doing until now.

        Args:
            phase: what.
            start: since when, in seconds since the step began.
        """
        self.spans += (Span(phase, start, self.board.now()),)


def nothing() -> None:
    """Nothing is to be done."""


class _AtOnce:
    """Awaited, it does not wait."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


AT_ONCE = _AtOnce()


def wake(waiter: Waiter, error: BaseException | None = None) -> None:
    """Let what waits go on, or end."""
    if waiter.done():  # cancelled
        return
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)
