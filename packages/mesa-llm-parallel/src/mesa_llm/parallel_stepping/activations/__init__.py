"""The regimes: what a parallel step does with the turns of its agents. Each is one coroutine.

simultaneous   all decide on the same world, then act one by one, in order
eager          each acts as soon as it has decided
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from mesa import Agent

from mesa_llm.parallel_stepping.activations.eager import eager
from mesa_llm.parallel_stepping.activations.simultaneous import simultaneous
from mesa_llm.parallel_stepping.step import ParallelStep

if TYPE_CHECKING:
    from mesa_llm.parallel_stepping.config import ParallelStepping

REGIMES = {"simultaneous": simultaneous, "eager": eager}


def without_members(agents: Collection[Agent]) -> list[Agent]:
    """The agents but for those that are members of a `MetaAgent` among them, at any depth."""
    present = set(agents)
    return [agent for agent in agents if present.isdisjoint(_groups_of(agent))]


def _groups_of(agent: Agent) -> list[Agent]:
    """The agent's groups. Mesa keeps them at the member, but Mesa 3.4 only the latest one."""
    several = getattr(agent, "meta_agents", None)
    groups = [*(several if isinstance(several, Collection) else ()), getattr(agent, "meta_agent", None)]
    return [group for group in groups if isinstance(group, Agent)]


def make_step(agents: Iterable[Agent], config: ParallelStepping, **details: Any) -> ParallelStep:
    """A step of these agents, as `config.activation` says; the details are those of `ParallelStep`."""
    if not config.step_members:
        agents = without_members(list(agents))
    return ParallelStep(agents, config, REGIMES[config.activation], **details)
