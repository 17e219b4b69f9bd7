"""Says so when a step does not get on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from mesa_llm.concurrency import transport_loop
from mesa_llm.parallel_stepping.failures import names_of
from mesa_llm.parallel_stepping.states import State

if TYPE_CHECKING:
    from mesa_llm.parallel_stepping.parallel_step import ParallelStep

_logger = logging.getLogger(__name__)

STALL_S = 10.0
"""Seconds without progress after which a step says what it waits for."""


class Watchdog:
    """Logs a warning, once, if for some time no call to a model is in flight and no agent gets on.

    Looks at the step from the transport loop's thread, so that an agent that blocks the step's own loop is noticed too.

    Args:
        step: what it watches. Its seats are only read.
    """

    def __init__(self, step: ParallelStep) -> None:
        self._step: ParallelStep | None = step
        self._seen = step.progress
        self._stop: Callable[[], object] = transport_loop.call_later(STALL_S, self._look)

    def stop(self) -> None:
        """Watch no more."""
        self._step = None  # the loop may hold on to this object for a while, and is not to hold on to agents
        self._stop()

    def _look(self) -> None:
        step = self._step
        if step is None:
            return
        seats = step.seats
        if self._seen == step.progress and not any(seat.is_in_call for seat in seats):
            deciding = names_of(seat.agent for seat in seats if seat.state is State.DECIDING)
            acting = names_of(seat.agent for seat in seats if seat.state is State.ACTING)
            if deciding or acting:
                _logger.warning(
                    "No model is being asked, and nothing has happened in this step for %g s. Not decided: %s. Acting: "
                    "%s. If they ask a model by means of their own, do so in `with model_call():`.",
                    STALL_S,
                    deciding or "nobody",
                    acting or "nobody",
                )
                return
        self._seen = step.progress
        self._stop = transport_loop.call_later(STALL_S, self._look)
