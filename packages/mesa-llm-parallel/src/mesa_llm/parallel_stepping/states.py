"""Where an agent is in its step, and what waits there."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Generator
from concurrent.futures import Future

from mesa_llm.parallel_stepping.report import Phase


class State(enum.Enum):
    """Where an agent is in its step.

    Attributes:
        phase: what a report calls it.
        is_running: whether the agent does something, and the others wait for it.
    """

    NOT_STARTED = enum.auto(), None, False
    DECIDING = enum.auto(), "decide", True
    AT_TURN_POINT = enum.auto(), "wait", False
    ACTING = enum.auto(), "act", True
    GAVE_TURN_BACK = enum.auto(), "wait", False
    ENDED = enum.auto(), None, False

    def __init__(self, number: int, phase: Phase | None, is_running: bool) -> None:
        self.phase = phase
        self.is_running = is_running


type Waiter = Future[None] | asyncio.Future[None]
"""What waits for the turn: a thread, or a task."""


class AtOnce:
    """Awaited, it does not wait."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


AT_ONCE = AtOnce()


def wake(waiter: Waiter, error: BaseException | None = None) -> None:
    """Let what waits go on, or end."""
    if waiter.done():  # cancelled
        return
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)
