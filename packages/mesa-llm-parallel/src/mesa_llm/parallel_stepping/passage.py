"""An agent's way through a parallel step: from state to state, and what takes it there."""

from __future__ import annotations

import asyncio
import functools
import threading
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, override

from mesa_llm.activation import AgentStep, ModelCall, Turn, begin_agent_step
from mesa_llm.errors import DecisionTimeoutError, MesaLLMError, StepAborted
from mesa_llm.parallel_stepping.failures import name_of
from mesa_llm.parallel_stepping.pausable_timer import PausableTimer
from mesa_llm.parallel_stepping.report import Phase, Span
from mesa_llm.parallel_stepping.states import State, Waiter, wake

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.parallel_stepping.parallel_step import ParallelStep


class Passage(Turn):
    """One agent's way through a parallel step, as the step sees it; `Seat` adds what the agent sees.

    Its state changes only on the thread of the step's event loop; what other threads call is handed over to it.

    Args:
        step: the parallel step.
        agent: whose place it is.
    """

    decides = True
    """Whether the agent has something to decide, or else does nothing but act."""

    # Ten thousand of them are made in a step of as many agents, and die with it.
    __slots__ = (
        "__weakref__",
        "_agent_step",
        "_end_awaited",
        "_gave_back",
        "_nested",
        "_open_calls",
        "_open_decisions",
        "_since",
        "_staged",
        "_start_awaited",
        "_starts_in_thread",
        "_timer",
        "_waiters",
        "acted",
        "agent",
        "called_off",
        "calls",
        "conflicts",
        "error",
        "failed_acting",
        "finished",
        "left",
        "past_start",
        "settle_error",
        "spans",
        "state",
        "step",
        "was_alone",
    )

    def __init__(self, step: ParallelStep, agent: Agent) -> None:
        self.agent = agent
        self._agent_step: AgentStep | None = None
        self.step = step
        self.state = State.NOT_STARTED
        self.error: BaseException | None = None
        self.acted = False
        self.failed_acting = False
        self.called_off = False
        self.left = False
        """Whether the agent had left the model before it could act."""
        self.past_start = False
        """Whether the agent has come to where it waits for a model or for its turn, so that the next one may start."""
        self.was_alone = False
        """Whether the agent's step has ended before the next one could start: it has waited for nothing."""
        self.spans: tuple[Span, ...] = ()
        self.calls: list[tuple[Phase, float, ModelCall]] = []
        """The agent's model calls that have ended: in which phase they began, when they ended, and what they were."""
        self.conflicts: tuple[str, ...] = ()
        self.settle_error: BaseException | None = None
        self.finished = True
        """Whether nothing of the agent's step runs: it has not begun, or has come to its end."""
        self._open_decisions = 0
        self._starts_in_thread = False
        self._start_awaited: asyncio.Future[None] | None = None
        self._end_awaited: asyncio.Future[None] | None = None
        self._timer: PausableTimer | None = None
        # Most of these stay empty, and ten thousand empty lists are work for the garbage collector.
        self._waiters: tuple[Waiter, ...] = ()  # for the turn
        self._gave_back: tuple[Waiter, ...] = ()  # for the next round
        self._nested: tuple[ParallelStep, ...] = ()
        self._open_calls: dict[ModelCall, Phase] = {}
        self._since = 0.0
        self._staged: tuple[tuple[Callable[[], None], Callable[[], None]], ...] = ()

    @property
    @override
    def agent_step(self) -> AgentStep | None:
        return self._agent_step

    @agent_step.setter
    def agent_step(self, agent_step: AgentStep) -> None:
        self._agent_step = agent_step

    def _begin(self) -> None:
        """The agent's step begins."""
        if self._agent_step is None:  # else it goes on with one that failed
            self._agent_step = begin_agent_step(self.agent)

    def _on_loop[*Ts](self, transition: Callable[[*Ts], None], *args: *Ts) -> None:
        if self.step.loop.is_closed():  # a thread that was left behind has come to its end
            return
        if threading.get_ident() == self.step.thread_id:
            transition(*args)
        else:
            self.step.mailbox.put(functools.partial(transition, *args))

    # Transitions, on the step's event loop.

    def _decision_begins(self) -> None:
        self._open_decisions += 1
        if self.state is State.AT_TURN_POINT:  # decisions made side by side: one is ready, another begins
            self._enter(State.DECIDING)

    def _decision_ends(self) -> None:
        self._open_decisions -= 1
        self._wait_if_all_decided()

    def _at_turn_point(self, waiter: Waiter) -> None:
        if self._refuse(waiter):
            return
        if self.acting:  # granted meanwhile to a decision made side by side
            wake(waiter)
            return
        self._waiters += (waiter,)
        self._wait_if_all_decided()

    def _wait_if_all_decided(self) -> None:
        if self._waiters and self._open_decisions == 0 and self.state is State.DECIDING:
            self._enter(State.AT_TURN_POINT)
            self._reached()
            self.step.at_turn_point(self)

    def _give_back(self, waiter: Waiter) -> None:
        if not self._refuse(waiter):
            self._gave_back += (waiter,)
            self._enter(State.GAVE_TURN_BACK)
            self.step.gave_turn_back(self)

    def _refuse(self, waiter: Waiter) -> bool:
        if self.called_off or self.state is State.ENDED:
            wake(waiter, StepAborted())
            return True
        return False

    def _enter(self, state: State) -> None:
        step = self.step
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if state is State.DECIDING and self.decides and step.config.decide_timeout is not None:
            self._timer = PausableTimer(
                step.loop, step.config.decide_timeout, self._time_is_up, uncounted=step.seconds_acted
            )
        now = step.clock() - step.began
        if self.state is State.ACTING:
            step.acted_s += now - self._since
        if (phase := self.state.phase) is not None:
            self.spans += (Span(phase, self._since, now),)
        self._since = now
        step.progress += 1
        step.running += state.is_running - self.state.is_running
        stopped = self.state.is_running and not state.is_running
        self.state = state
        if stopped:
            step.stopped_running(self)

    def _time_is_up(self) -> None:
        self.error = error = DecisionTimeoutError(
            f"{name_of(self.agent)} has not decided within {self.step.config.decide_timeout:g} s (decide_timeout)."
        )
        if self._agent_step is not None:
            self._agent_step.time_is_up(error)
        self.call_off()
        self._end()

    def _abort_waiting(self) -> None:
        waiting, self._waiters, self._gave_back = self._waiters + self._gave_back, (), ()
        for waiter in waiting:
            wake(waiter, StepAborted())

    def _reached(self) -> None:
        """The agent waits for a model, is at its turn point or has ended: the next one may start."""
        if not self.past_start:
            self.past_start = True
            if self._start_awaited is not None:
                self._on_loop(self._started)

    def _started(self) -> None:
        if self._start_awaited is not None and not self._start_awaited.done():
            self._start_awaited.set_result(None)

    async def _until_past_start(self) -> None:
        self._start_awaited = self.step.loop.create_future()
        if self.past_start:  # meanwhile, on another thread
            return
        await self._start_awaited

    def _has_answer(self) -> None:
        """A call to a model has ended, on the thread of the agent."""

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
            if error is None and self.past_start and self.state is State.DECIDING and not self.acted:
                self.step.ended_without_turn(self)
        self._end()

    def _end(self) -> None:
        self._enter(State.ENDED)
        self._abort_waiting()
        self._reached()

    # What the step calls.

    @abstractmethod
    def start(self) -> None:
        """Start the agent's step."""

    @abstractmethod
    async def wait_until_started(self) -> None:
        """Wait until the agent waits for a model, is at its turn point, or has ended."""

    def others_start(self) -> Callable[[], None]:
        """Called when the agent has started and others are to: what that takes is not its time to decide.

        Returns:
            What is to be called when all have started.
        """
        return nothing

    @property
    def seconds_acting(self) -> float:
        """How long the agent has been acting; 0 if it is not."""
        return self.step.clock() - self.step.began - self._since if self.acting else 0.0

    @property
    def is_in_call(self) -> bool:
        """Whether the agent waits for a model right now."""
        return bool(self._open_calls)

    def waits_as(self, state: State) -> bool:
        """Whether the agent waits in this state, to be let go on."""
        return self.state is state and not self.called_off

    @property
    def waits(self) -> bool:
        """Whether the agent waits to be let go on, be it to act or to decide again."""
        return self.state in (State.AT_TURN_POINT, State.GAVE_TURN_BACK) and not self.called_off

    @property
    def gave_turn_back(self) -> bool:
        """Whether the agent waits to decide again."""
        return self.waits_as(State.GAVE_TURN_BACK)

    def act(self) -> None:
        """Give the agent its turn."""
        self.commit()
        self.acted = True
        self._enter(State.ACTING)
        granted, self._waiters = self._waiters, ()
        for waiter in granted:
            wake(waiter)

    def decide_again(self) -> None:
        """Let an agent that gave its turn back make its next decision."""
        self.past_start = self._starts_in_thread = False
        self._enter(State.DECIDING)
        resumed, self._gave_back = self._gave_back, ()
        for waiter in resumed:
            wake(waiter)
        if (
            self._waiters
        ):  # something of the agent waits for the turn already; two passes, so that decisions begin first
            self.step.loop.call_soon(self.step.loop.call_soon, self._wait_if_all_decided)

    async def wait_until_ended(self) -> None:
        """Wait until nothing of the agent's step runs any more."""
        if not self.finished:
            self._end_awaited = self.step.loop.create_future()
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

    def nest(self, step: ParallelStep) -> None:
        """The agent has begun a step of others; it is called off with the agent."""
        self._nested += (step,)
        if self.called_off:  # meanwhile
            step.cancel()

    def unnest(self, step: ParallelStep) -> None:
        """That step has ended."""
        self._nested = tuple(nested for nested in self._nested if nested is not step)


def nothing() -> None:
    """Nothing is to be done."""
