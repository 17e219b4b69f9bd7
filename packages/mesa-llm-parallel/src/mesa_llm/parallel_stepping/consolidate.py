"""Memory maintenance after the acts; all model calls run concurrently."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mesa_llm.activation import entered
from mesa_llm.activation.mesa_model import is_in_model
from mesa_llm.errors import ends_run
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.llm_agent.step_hooks import may_consolidate
from mesa_llm.parallel_stepping.failures import alike, described, names_of
from mesa_llm.parallel_stepping.turn import AgentTurn

if TYPE_CHECKING:
    from mesa import Agent

_logger = logging.getLogger(__name__)


async def consolidate(turns: Iterable[AgentTurn]) -> None:
    """Let the agents' memories settle: their calls overlap, their results are kept in the order of the agents.

    A failure undoes nothing. It is kept at its turn, and the memory tries again after its agent's next step. Runs on
    the event loop of the caller; cancelling it cancels the calls, and keeps nothing.

    Args:
        turns: whose agents may have something to consolidate, if they are still in their model.

    Raises:
        Exception: what would come again, or make another run, see `ends_run`; after the others have settled.
    """
    owing = [
        turn
        for turn in turns
        if isinstance(turn.agent, LLMAgent) and may_consolidate(turn.agent) and is_in_model(turn.agent)
    ]
    if not owing:
        return
    results = await asyncio.gather(*(_ask(turn) for turn in owing), return_exceptions=True)
    failures: list[tuple[Agent, Exception]] = []
    for turn, result in zip(owing, results, strict=True):
        try:
            _keep(result)
        except Exception as error:
            turn.settle_error = error
            failures.append((turn.agent, error))
    for failure, agents in alike(failures):
        if ends_run(failure):
            raise failure
        _logger.warning(
            "%s could not settle, and will try again after the next step: %s", names_of(agents), described(failure)
        )


async def _ask(turn: AgentTurn) -> Callable[[], None] | None:
    started = turn.board.now()
    nothing_pending = False
    try:
        asking = asyncio.get_running_loop().create_task(turn.agent.memory.asettle(), context=entered(turn))
        commit: Callable[[], None] | None = await asking
        nothing_pending = commit is None
        return commit
    finally:
        if not nothing_pending:
            turn.add_span("settle", started)


def _keep(result: Callable[[], None] | BaseException | None) -> None:
    if isinstance(result, BaseException):
        raise result
    if result is not None:
        result()
