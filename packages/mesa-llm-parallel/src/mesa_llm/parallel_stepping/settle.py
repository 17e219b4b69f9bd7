"""What agents owe only to themselves after acting, and need a model for: all of them ask at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mesa_llm.activation import entered
from mesa_llm.errors.exceptions import ends_run
from mesa_llm.llm_agent import LLMAgent, settling
from mesa_llm.parallel_stepping.failures import alike, described, names_of
from mesa_llm.parallel_stepping.report import Span
from mesa_llm.parallel_stepping.turns import Seat

if TYPE_CHECKING:
    from mesa import Agent

_logger = logging.getLogger(__name__)


async def settle(seats: Iterable[Seat]) -> None:
    """Let the agents' memories settle: their calls overlap, their results are kept in the order of the agents.

    A failure undoes nothing. It is kept at its seat, and the memory tries again after its agent's next step. Runs on
    the event loop of the caller; cancelling it cancels the calls, and keeps nothing.

    Args:
        seats: whose agents may owe something.

    Raises:
        Exception: what would come again, or make another run, see `ends_run`; after the others have settled.
    """
    owing = [seat for seat in seats if isinstance(seat.agent, LLMAgent) and settling.may_owe(seat.agent)]
    if not owing:
        return
    results = await asyncio.gather(*(_ask(seat) for seat in owing), return_exceptions=True)
    failures: list[tuple[Agent, Exception]] = []
    for seat, result in zip(owing, results, strict=True):
        try:
            _keep(result)
        except Exception as error:
            seat.settle_error = error
            failures.append((seat.agent, error))
    for failure, agents in alike(failures):
        if ends_run(failure):
            raise failure
        _logger.warning(
            "%s could not settle, and will try again after the next step: %s", names_of(agents), described(failure)
        )


async def _ask(seat: Seat) -> Callable[[], None] | None:
    step = seat.step
    started = step.clock() - step.began
    try:
        asking = asyncio.get_running_loop().create_task(seat.agent.memory.asettle(), context=entered(seat))
        commit: Callable[[], None] | None = await asking
        return commit
    finally:
        seat.spans += (Span("settle", started, step.clock() - step.began),)


def _keep(result: Callable[[], None] | BaseException | None) -> None:
    if isinstance(result, BaseException):
        raise result
    if result is not None:
        result()
