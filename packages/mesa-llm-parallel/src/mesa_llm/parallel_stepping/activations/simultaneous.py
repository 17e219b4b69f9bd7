"""All agents decide on the same world, at once; then they act one by one, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mesa_llm.parallel_stepping.step import ParallelStep


async def simultaneous(step: ParallelStep) -> None:
    """A step in which nobody acts before everybody has decided.

    Each agent starts when the one before it waits for its model; from there on all of them wait together, up to the
    barrier at the end of their decisions. An agent that plans again while it acts yields its turn, and a second round
    of deciding and acting follows. What memories need a model for is done at the end, for all agents at once.
    """
    await step.decide()  # raises if decisions fail: nobody has acted
    await step.step_rule_based_together()
    await step.act()
    while step.is_unfinished:
        await step.decide_again()
        await step.act()
    await step.consolidate()
