"""Which class makes a step, by activation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mesa_llm.parallel_stepping.eager_step import EagerStep
from mesa_llm.parallel_stepping.parallel_step import ParallelStep

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.parallel_stepping.config import ParallelStepping

STEPS = {"simultaneous": ParallelStep, "eager": EagerStep}


def make_step(agents: Iterable[Agent], config: ParallelStepping, **details: Any) -> ParallelStep:
    """A step of these agents, as `config.activation` says; the details are those of `ParallelStep`."""
    return STEPS[config.activation](agents, config, **details)
