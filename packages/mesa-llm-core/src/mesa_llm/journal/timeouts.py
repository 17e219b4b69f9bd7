"""Notices agents whose time to decide is up after the answer to their last call has been recorded."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

from mesa_llm.activation.call import AgentStep, ModelCall
from mesa_llm.concurrency import transport_loop
from mesa_llm.errors import DecisionTimeoutError
from mesa_llm.journal.places import Place


@dataclass(slots=True)
class _Calls:
    """An agent's calls in one step: how many are in flight, and where the last answer was recorded."""

    in_flight: int = 0
    answered: Place | None = None


class LateTimeouts:
    """Keeps an eye on agents after their calls have been answered.

    Most timeouts find an agent waiting for its model, and its call is cancelled. One that comes a moment later finds
    an answer that is recorded and has not reached the agent, or an agent that is at work between two calls. Then that
    answer is called a timeout after all: otherwise a replay would let the agent decide.

    Used on the transport loop alone.

    Args:
        record: records a timeout in place of the answer at a place.
    """

    def __init__(self, record: Callable[[Place, DecisionTimeoutError], None]) -> None:
        self._record = record
        self._calls: weakref.WeakKeyDictionary[AgentStep, _Calls] = weakref.WeakKeyDictionary()

    def begins(self, call: ModelCall) -> None:
        """A call begins.

        Args:
            call: the call.
        """
        agent_step = call.agent_step
        if agent_step is None:
            return
        if agent_step not in self._calls:
            calls = self._calls[agent_step] = _Calls()
            agent_step.on_timeout(lambda error: transport_loop.submit(self._time_is_up(calls, error)))
        self._calls[agent_step].in_flight += 1

    def ends(self, call: ModelCall, answered: Place | None) -> None:
        """A call has ended.

        Args:
            call: the call.
            answered: its place if its answer has been recorded.
        """
        agent_step = call.agent_step
        if agent_step is not None:
            calls = self._calls[agent_step]
            calls.in_flight -= 1
            calls.answered = answered

    async def _time_is_up(self, calls: _Calls, error: DecisionTimeoutError) -> None:
        # A call that is in flight is cancelled, and that is recorded where it is made.
        if calls.answered is not None and not calls.in_flight:
            self._record(calls.answered, error)
