"""The regimes: what a parallel step does with the turns of its agents. Each is one coroutine.

simultaneous   all decide on the same world, then act one by one, in order
eager          each acts as soon as it has decided
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mesa_llm.parallel_stepping.activations.eager import eager
from mesa_llm.parallel_stepping.activations.simultaneous import simultaneous
from mesa_llm.parallel_stepping.step import ParallelStep

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.parallel_stepping.config import ParallelStepping

REGIMES = {"simultaneous": simultaneous, "eager": eager}


def make_step(agents: Iterable[Agent], config: ParallelStepping, **details: Any) -> ParallelStep:
    """A step of these agents, as `config.activation` says; the details are those of `ParallelStep`."""
    return ParallelStep(agents, config, REGIMES[config.activation], **details)
