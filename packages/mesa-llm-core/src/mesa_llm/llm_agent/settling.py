"""What an agent owes only to itself after it has acted, and needs a model for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mesa_llm.activation.context import turn_in
from mesa_llm.activation.repeats import log_once
from mesa_llm.concurrency import calling_loop
from mesa_llm.errors.exceptions import ends_run
from mesa_llm.errors.tracebacks import place_of, shorten
from mesa_llm.memory import Memory

if TYPE_CHECKING:
    from mesa_llm.llm_agent.llm_agent import LLMAgent

_logger = logging.getLogger(__name__)


def may_owe(agent: LLMAgent) -> bool:
    """Whether the agent's memory is of a kind that ever owes anything."""
    return getattr(type(agent.memory), "asettle", Memory.asettle) is not Memory.asettle


def settle_alone(agent: LLMAgent) -> None:
    """Settle an agent that nobody runs in parallel; in a parallel step, whoever runs it does so for all at once."""
    if may_owe(agent) and turn_in(agent.model) is None:
        calling_loop.run(_settle(agent))


async def asettle_alone(agent: LLMAgent) -> None:
    """Like `settle_alone`."""
    if may_owe(agent) and turn_in(agent.model) is None:
        await _settle(agent)


async def _settle(agent: LLMAgent) -> None:
    try:
        commit = await agent.memory.asettle()
        if commit is not None:
            commit()
    except Exception as error:
        if ends_run(error):
            raise
        shorten(error)
        log_once(
            _logger,
            logging.ERROR,
            f"{agent} could not settle, and will try again after its next step.",
            model=agent.model,
            kind=(type(error), place_of(error)),
            exc_info=error,
        )
