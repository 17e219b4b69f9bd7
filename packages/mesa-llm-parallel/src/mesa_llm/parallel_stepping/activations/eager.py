"""Each agent acts as soon as it has decided, one at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from mesa_llm.parallel_stepping.step import raise_all
from mesa_llm.parallel_stepping.turn import AgentTurn

if TYPE_CHECKING:
    from mesa_llm.parallel_stepping.step import ParallelStep


async def eager(step: ParallelStep) -> None:
    """A step in which what an agent sees, and when it acts, follows the model's answers.

    Agents start one after the other here too, and act one at a time, those without a decision included.
    """
    step.board.waiting = deque()
    with step.timed("decide"):
        starting = asyncio.ensure_future(step.start(step.turns, AgentTurn.start))
        starting.add_done_callback(lambda _: step.board.changed())
        try:
            await _act_as_they_decide(step, starting)
            await starting
        finally:
            starting.cancel()
        decided = [turn for turn in step.turns if not turn.failed_acting]
        for turn in decided:
            if turn.error is None:
                turn.commit()
        failed_acts = [turn for turn in step.turns if turn.failed_acting]
        step.go_on_without_failed(decided, outcome="the others have acted", failed_acts=failed_acts)
        for fallback in step.fallbacks.values():
            await step.let_act(fallback)
    in_order = [step.fallbacks.get(turn, turn) for turn in step.turns]
    acting_s = sum(end - start for turn in in_order for phase, start, end in turn.spans if phase == "act")
    step.phase_s = {"decide": step.phase_s["decide"] - acting_s, "act": acting_s, "settle": 0.0}
    raise_all([turn for turn in in_order if turn.failed_acting], "acting, and all others have acted")
    await step.consolidate()


async def _act_as_they_decide(step: ParallelStep, starting: asyncio.Future[None]) -> None:
    board, waiting = step.board, step.board.waiting
    assert waiting is not None
    while True:
        await board.until(lambda: bool(waiting) or (starting.done() and board.is_idle()))
        if not waiting:
            return
        turn = waiting.popleft()
        if turn.has_yielded:
            turn.decide_again()
        else:
            await step.let_act(turn)
