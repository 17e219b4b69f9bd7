"""How an agent's step is run: as a task, on a thread, as a task of another thread's loop, or in its place."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, override

from mesa_llm.activation.context import current_turn, entered
from mesa_llm.activation.method_pairs import nearer_method
from mesa_llm.concurrency import worker_thread
from mesa_llm.concurrency.calling_loop import GRACE
from mesa_llm.concurrency.loop_thread import LoopThread, close_all
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping.failures import name_of
from mesa_llm.parallel_stepping.turn import AgentTurn

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.parallel_stepping.board import Board
    from mesa_llm.parallel_stepping.config import ParallelStepping

MAX_LOOP_THREADS = 32

type _StepFunction = Callable[[], Any]


class Runner:
    """Runs one agent's step, and says to its turn how that has ended. Its methods are called by the turn."""

    __slots__ = ()

    acts_only = False
    """Whether the agent has nothing to decide: it runs when it is given its turn."""
    is_held_up_by_starts = False
    """Whether the agent cannot go on while others start."""

    def start(self, turn: AgentTurn) -> None:
        """Run the agent's step."""
        raise NotImplementedError

    async def until_started(self, turn: AgentTurn) -> None:
        """Wait until the agent has come to where the next one may start."""
        await turn.until_past_start()

    def call_off(self) -> None:
        """End the agent's step where it waits."""

    def begin_to_wait(self) -> None:
        """The agent waits for a model, or for its turn. On the thread that waits."""

    def stop_waiting(self) -> None:
        """The agent goes on. On the thread that has waited."""


class InlineRunner(Runner):
    """A plain agent: its `step` runs in its place among the acts, in the thread of the event loop.

    Args:
        function: the agent's step.
    """

    __slots__ = ("_function",)

    acts_only = True

    def __init__(self, function: _StepFunction) -> None:
        self._function = function

    @override
    def start(self, turn: AgentTurn) -> None:
        try:
            entered(turn, turn.board.context).run(self._function)
        except BaseException as error:  # raised again by the step: here, a callback of the loop may be running
            turn.ended(error)
        else:
            turn.ended(None)

    @override
    async def until_started(self, turn: AgentTurn) -> None:
        """It never waits for anything."""


class TaskRunner(Runner):
    """An agent whose step is a coroutine, run as a task on the step's own event loop.

    Args:
        function: makes the coroutine of the agent's step.
    """

    __slots__ = ("_function", "_task")

    is_held_up_by_starts = True  # they keep the event loop busy, and its answer waits

    def __init__(self, function: _StepFunction) -> None:
        self._function = function
        self._task: asyncio.Task[Any] | None = None

    @override
    def start(self, turn: AgentTurn) -> None:
        # An eager task runs at once, up to the first place where it waits: so agents start one after the other.
        try:
            task = eager_task(self._run(turn), turn.board.loop, entered(turn), turn.agent)
        except BaseException as interrupt:
            turn.ended(interrupt)
            raise
        if task.done():
            self._ended(turn, task)
        else:
            self._task = task
            if not turn.starts_in_thread:
                turn.reached()
            task.add_done_callback(functools.partial(self._ended, turn))

    async def _run(self, turn: AgentTurn) -> None:
        await self._function()
        turn.ended(None)  # here, as the event loop would call back after one more pass

    def _ended(self, turn: AgentTurn, task: asyncio.Task[Any]) -> None:
        self._task = None  # its context holds the turn
        if (error := outcome(task)) is not None:
            turn.ended(error)

    @override
    async def until_started(self, turn: AgentTurn) -> None:
        await asyncio.sleep(0)  # after one pass of the loop, a resumed task has run up to where it waits next
        if turn.starts_in_thread:
            await turn.until_past_start()
        else:
            turn.reached()

    @override
    def call_off(self) -> None:
        if self._task is not None:
            self._task.cancel()


class ThreadRunner(Runner):
    """An agent whose `step` runs on a thread of its own.

    The thread holds one of the step's slots while it runs, and none while it waits for a model or for its turn, or
    when its time to decide is up. So the number of slots bounds the threads that run, never the agents that wait
    together, and code that blocks holds up nobody else for longer than that.

    Args:
        function: the agent's step.
        slots: of which the thread holds one while it runs.
    """

    __slots__ = ("_function", "_has_slot", "_is_over", "_is_taking", "_lock", "_n_waiting", "_slots")

    def __init__(self, function: _StepFunction, slots: threading.Semaphore) -> None:
        self._function = function
        self._slots = slots
        self._lock = threading.Condition()  # protects the four below: an agent may start threads of its own
        self._n_waiting = 0
        self._is_taking = False
        self._has_slot = False
        self._is_over = False

    @override
    def start(self, turn: AgentTurn) -> None:
        thread = worker_thread.start(self._run, context=entered(turn), name=name_of(turn.agent))
        thread.add_done_callback(lambda thread: turn.board.call(turn.ended, outcome(thread)))

    @override
    def call_off(self) -> None:
        self._end_holding()

    @override
    def begin_to_wait(self) -> None:
        with self._lock:
            self._n_waiting += 1
            self._give_slot()

    @override
    def stop_waiting(self) -> None:
        with self._lock:
            self._n_waiting -= 1
        self._take_slot()

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

    def _give_slot(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self._slots.release()

    def _wants_slot(self) -> bool:
        return self._n_waiting == 0 and not self._is_over and not self._has_slot

    def _take_slot(self) -> None:
        with self._lock:
            while self._is_taking:  # another thread of the agent, for all of them
                self._lock.wait()
            if not self._wants_slot():
                return
            self._is_taking = True
        if not self._slots.acquire(blocking=False):
            turn = current_turn()
            leave = None if turn is None else turn.queue()
            try:
                self._slots.acquire()
            finally:
                if leave is not None:
                    leave()
        with self._lock:
            self._is_taking = False
            self._lock.notify_all()
            if self._wants_slot():
                self._has_slot = True
            else:  # meanwhile it waits again, in another of its threads, or its time is up
                self._slots.release()


class LoopThreadRunner(Runner):
    """An agent whose step is a coroutine, in threading mode: a task on one of the step's loop threads.

    Args:
        function: makes the coroutine of the agent's step.
        loop_thread: where it runs.
    """

    __slots__ = ("_function", "_loop_thread", "_task")

    def __init__(self, function: _StepFunction, loop_thread: LoopThread) -> None:
        self._function = function
        self._loop_thread = loop_thread
        self._task: asyncio.Task[Any] | None = None

    @override
    def start(self, turn: AgentTurn) -> None:
        running = self._loop_thread.submit(self._run(turn))
        running.add_done_callback(lambda running: turn.board.call(turn.ended, outcome(running)))

    async def _run(self, turn: AgentTurn) -> Any:
        self._task = eager_task(_awaited(self._function), self._loop_thread.loop, entered(turn), turn.agent)
        if not self._task.done() and not turn.starts_in_thread:
            turn.reached()
        return await self._task

    @override
    def call_off(self) -> None:
        if self._task is not None:
            self._loop_thread.loop.call_soon_threadsafe(self._task.cancel)


class Runners:
    """Makes the turns of a step's agents, and keeps the threads whose event loops some of them run on.

    Args:
        board: what the turns share.
        args: passed on to each agent's method.
        kwargs: passed on to each agent's method.

    Attributes:
        deciders: the turns of agents that have something to decide, in order.
        plain_in_threads: those of agents that have not, and step on threads, all at once.
    """

    def __init__(self, board: Board, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self._board = board
        self._args = args
        self._kwargs = kwargs
        self._step_methods: dict[type, str] = {}
        self._loop_threads: list[LoopThread] = []
        self.deciders: list[AgentTurn] = []
        self.plain_in_threads: list[AgentTurn] = []

    def turns_of(self, agents: Iterable[Agent]) -> tuple[AgentTurn, ...]:
        """One turn an agent, in order."""
        return tuple([self._turn_of(agent) for agent in agents])

    def _turn_of(self, agent: Agent) -> AgentTurn:
        board, config = self._board, self._board.config
        in_threads = config.mode == "threading"
        agent_class = type(agent)
        name = self._step_methods.get(agent_class)
        if name is None:
            name = self._step_methods[agent_class] = step_method(agent_class, board.method, in_threads=in_threads)
        is_async = name != board.method or inspect.iscoroutinefunction(getattr(agent_class, name, None))
        function = getattr(agent, name)
        if self._args or self._kwargs:
            function = functools.partial(function, *self._args, **self._kwargs)
        if not is_async and is_rule_based(agent):
            if not config.runs_plain_steps_together:
                return AgentTurn(agent, board, InlineRunner(function))
            turn = AgentTurn(agent, board, ThreadRunner(function, board.slots), decides=False)
            self.plain_in_threads.append(turn)
            return turn
        runner: Runner
        if not is_async:
            runner = ThreadRunner(function, board.slots)
        elif in_threads:
            runner = LoopThreadRunner(function, self._next_loop_thread(config))
        else:
            runner = TaskRunner(function)
        turn = AgentTurn(agent, board, runner)
        self.deciders.append(turn)
        return turn

    def _next_loop_thread(self, config: ParallelStepping) -> LoopThread:
        limit = min(MAX_LOOP_THREADS, config.max_workers or MAX_LOOP_THREADS)
        if len(self._loop_threads) < limit:
            self._loop_threads.append(LoopThread("mesa-llm-agents"))
            return self._loop_threads[-1]
        return self._loop_threads[len(self.deciders) % limit]

    def close(self) -> None:
        """End the threads; one that is still blocked after a moment is left behind. The turns are forgotten."""
        close_all(self._loop_threads, timeout=GRACE)
        self.deciders.clear()
        self.plain_in_threads.clear()


def step_method(agent_class: type, method: str = "step", *, in_threads: bool) -> str:
    """`step` or `astep`: the one defined nearer to the class; where one class has both, the one for the mode.

    Any other method has a twin only if a coroutine function is called so: `abide` is not the twin of `bide`.
    """
    twin = f"a{method}"
    if method != "step" and not inspect.iscoroutinefunction(getattr(agent_class, twin, None)):
        return method
    return nearer_method(agent_class, method, twin, prefer_async=not in_threads) or method


def is_rule_based(agent: Agent) -> bool:
    """Whether the agent has a `step` and no decision: it is no `LLMAgent` and has no `reasoning`."""
    return not isinstance(agent, LLMAgent) and inspect.getattr_static(agent, "reasoning", None) is None


def has_decision(agent: Agent, *, in_threads: bool) -> bool:
    """Whether the agent can wait together with others."""
    return step_method(type(agent), in_threads=in_threads) == "astep" or not is_rule_based(agent)


def eager_task(
    coroutine: Coroutine[Any, Any, Any],
    loop: asyncio.AbstractEventLoop,
    context: contextvars.Context,
    agent: Agent,
) -> asyncio.Task[Any]:
    """A task that has already run up to the first place where it waits."""
    return asyncio.Task(coroutine, loop=loop, context=context, eager_start=True, name=name_of(agent))


async def _awaited(function: _StepFunction) -> Any:
    return await function()  # called here: a plain function that returns an awaitable runs its code within the task too


def outcome(ended: asyncio.Future[Any] | Future[Any]) -> BaseException | None:
    """What has ended an agent's step: its exception, `None` if it returned."""
    return asyncio.CancelledError() if ended.cancelled() else ended.exception()
