"""The turn: what an agent's place in a parallel step offers to core, and where in an agent's step core uses it.

Runners implement `Turn`. Without a runner there is no turn, and the functions here act at once. An `OffRecordTurn`
never comes: its agent decides, and nothing of it stays.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, NoReturn, override

from mesa_llm.activation.context import current_turn, enter, is_deciding, leave, turn_in, within
from mesa_llm.activation.mesa_model import stepping_on
from mesa_llm.concurrency import worker_thread
from mesa_llm.errors import TurnError

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.activation.call import AgentStep, ModelCall


class Turn(ABC):
    """One agent's turn in one parallel step.

    The methods come in pairs: those that begin with `a` wait on the event loop that runs the agent, the others block
    the agent's thread. All of them raise `StepAborted` when the step has been called off, and `TurnError` after the
    agent's step has ended.

    Attributes:
        agent: whose turn it is.
        error: what its decision has failed with, so far.
        called_off: whether the agent's step has been ended from outside: the whole step was, or its time was up.
        off_record: whether nothing may come of the decision: no act, no memory, no entry in a journal.
    """

    __slots__ = ()

    agent: Agent
    error: BaseException | None = None
    called_off: bool = False
    off_record: bool = False

    @property
    def agent_step(self) -> AgentStep | None:
        """Which of the agent's own steps this is; `None` leaves its calls without an identity."""
        return None

    @property
    @abstractmethod
    def acting(self) -> bool:
        """Whether the agent holds its turn: it alone may change the world now."""

    @abstractmethod
    async def abegin_decision(self) -> None:
        """Begin to decide. An agent that holds its turn gives it back, and waits until the others have acted."""

    @abstractmethod
    def begin_decision(self) -> None:
        """Blocking form of `abegin_decision`.

        Raises:
            TurnError: on a thread whose event loop runs agents: waiting there would stop all of them.
        """

    @abstractmethod
    def end_decision(self) -> None:
        """The decision is made, or has failed."""

    @abstractmethod
    def atake(self) -> Awaitable[None]:
        """Wait at the turn point until it is the agent's turn. Returns at once if it holds the turn."""

    @abstractmethod
    def take(self) -> None:
        """Blocking form of `atake`.

        Raises:
            TurnError: on a thread whose event loop runs agents, unless the agent holds the turn already.
        """

    def goes_on_in_thread(self) -> None:
        """The agent, whose step is a coroutine, now waits for a thread that carries its decision on.

        So waiting is not the end of its start yet: the next agent starts when the thread waits for a model, or has
        come to its turn point or its end.
        """

    @abstractmethod
    def call_started(self, call: ModelCall) -> None:
        """The agent waits for a model: the next agent may start, and a thread's slot is free."""

    @abstractmethod
    def call_ended(self, call: ModelCall) -> None:
        """The call has ended, with its `response` or its `error`; a thread waits here for its slot."""

    @abstractmethod
    def queue(self) -> Callable[[], None]:
        """The agent is queued for a request slot or a worker thread. This time does not count toward `decide_timeout`.

        Returns:
            A function to call when the agent leaves the queue.
        """

    def seconds_left(self) -> float:
        """Seconds left of the agent's time to decide; infinite without a limit. May be called from any thread."""
        return math.inf

    @abstractmethod
    def stage(self, commit: Callable[[], None], drop: Callable[[], None]) -> None:
        """Register what the agent has written before its turn.

        Args:
            commit: called once, when the agent acts, or in its place among the acts if it ends without one.
            drop: called once instead, if the step is called off before that.
        """

    @abstractmethod
    def claim(self, place: Hashable) -> None:
        """The agent has taken something hashable of which there is not enough for all, such as a cell."""

    @abstractmethod
    def is_claimed(self, place: Hashable) -> bool:
        """Whether another agent has taken the place in this step, after everybody had decided."""

    @abstractmethod
    def conflicted(self, refusal: str) -> None:
        """The agent was refused something because another one had been first; `refusal` is what the agent reads."""


def claim(agent: Agent, place: Hashable) -> None:
    """Say that the agent has taken something that only one agent, or a limited number of them, can have.

    For tools, which can then refuse an agent that wants it later in the same parallel step. Does nothing if nobody runs
    agents in parallel.

    Args:
        agent: who has taken it.
        place: what; anything that can be a key, such as `("cell", (3, 7))`.
    """
    turn = turn_in(agent.model)
    if turn is not None:
        turn.claim(place)


def is_claimed(agent: Agent, place: Hashable) -> bool:
    """Whether another agent has taken it in this step, after everybody had decided: a reason for a `ConflictError`.

    Args:
        agent: who asks.
        place: the place, as it was claimed.
    """
    turn = turn_in(agent.model)
    return turn is not None and turn.is_claimed(place)


def stage(agent: Agent, commit: Callable[[], None]) -> None:
    """Do a write of core's own when the agent acts; at once if it does so now, or nobody runs it in parallel."""
    turn = current_turn()
    if turn is None or turn.acting or turn.agent is not agent:
        commit()
    else:
        turn.stage(commit, lambda: None)


def is_off_record() -> bool:
    """Whether the running code decides off the record."""
    turn = current_turn()
    return turn is not None and turn.off_record


async def adecide[**P, T](agent: Agent, decision: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a decision, then wait at the turn point. It changes nothing that others can see, so it can be made again.

    A decision made as part of another one (a reasoning that calls its parent's `aplan`) belongs to it and does not
    wait. Neither does one that an agent asks of another.
    """
    turn = current_turn()
    if turn is None:
        with stepping_on((agent,)):
            return await decision(*args, **kwargs)
    if turn.agent is not agent or is_deciding(turn):
        return await decision(*args, **kwargs)
    await turn.abegin_decision()
    deciding = enter(deciding=turn)
    try:
        decided = await decision(*args, **kwargs)
    finally:
        leave(deciding)
        turn.end_decision()
    await turn.atake()
    return decided


def decide[**P, T](agent: Agent, decision: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Blocking form of `adecide`.

    Raises:
        TurnError: on a thread whose event loop runs agents.
    """
    turn = current_turn()
    if turn is None:
        with stepping_on((agent,)):
            return decision(*args, **kwargs)
    if turn.agent is not agent or is_deciding(turn):
        return decision(*args, **kwargs)
    turn.begin_decision()
    deciding = enter(deciding=turn)
    try:
        decided = decision(*args, **kwargs)
    finally:
        leave(deciding)
        turn.end_decision()
    turn.take()
    return decided


async def in_thread[T](function: Callable[[], T]) -> T:
    """Carry an agent's step or decision on in a thread of its own, with the caller's context variables."""
    turn = current_turn()
    if turn is not None:
        turn.goes_on_in_thread()
    return await asyncio.wrap_future(worker_thread.start(function))


async def my_turn() -> None:
    """Wait until everybody has decided and it is the calling agent's turn to act.

    For agents that decide by other means than a `Reasoning`. Returns at once outside a parallel step.

    Raises:
        TurnError: if the agent's step has ended.
    """
    turn = current_turn()
    if turn is not None:
        await turn.atake()


def wait_my_turn() -> None:
    """Blocking form of `my_turn`, for a `step` that runs in a thread.

    Raises:
        TurnError: if the agent's step has ended, or on a thread whose event loop runs agents.
    """
    turn = current_turn()
    if turn is not None:
        turn.take()


class OffRecordTurn(Turn):
    """One decision of an agent off the record.

    What core writes for the agent is staged, so that the decision can read it, and dropped by `drop`. Its model calls
    have no identity, so no step counts them. Acting raises.
    """

    __slots__ = ("_drops", "agent")

    off_record = True

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._drops: list[Callable[[], None]] = []

    def deciding(self) -> within:
        """The time in which the agent decides, as a `with` block. A decision made in it does not wait for a turn."""
        return within(turn=self, deciding=self, agent_step=None, stepping=None, call=None)

    def drop(self) -> None:
        """Forget what was staged."""
        drops, self._drops = self._drops, []
        for drop in drops:
            drop()

    @property
    @override
    def acting(self) -> bool:
        return False

    @override
    async def abegin_decision(self) -> None:
        pass

    @override
    def begin_decision(self) -> None:
        pass

    @override
    def end_decision(self) -> None:
        pass

    @override
    async def atake(self) -> None:
        self._refuse()

    @override
    def take(self) -> None:
        self._refuse()

    @override
    def call_started(self, call: ModelCall) -> None:
        pass

    @override
    def call_ended(self, call: ModelCall) -> None:
        pass

    @override
    def queue(self) -> Callable[[], None]:
        return lambda: None

    @override
    def stage(self, commit: Callable[[], None], drop: Callable[[], None]) -> None:
        self._drops.append(drop)

    @override
    def claim(self, place: Hashable) -> None:
        self._refuse()

    @override
    def is_claimed(self, place: Hashable) -> bool:
        return False

    @override
    def conflicted(self, refusal: str) -> None:
        pass

    def _refuse(self) -> NoReturn:
        raise TurnError(
            f"{type(self.agent).__name__} {self.agent.unique_id} is asked off the record, so it cannot act. A "
            "reasoning only decides: act in step(), after plan() has returned."
        )
