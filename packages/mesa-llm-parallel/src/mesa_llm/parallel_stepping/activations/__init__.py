"""The regimes: what a step does with the turns of its agents.

simultaneous   all decide on the same world, then act one by one, in order
eager          each acts as soon as it has decided
sequential     each sees what those before it have done, in plain Mesa's own loop; models are asked ahead

The first two are coroutines of a `ParallelStep`, with a turn for each agent. The third has a step of its own: its
agents have no turns, as in plain Mesa.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from mesa import Agent

from mesa_llm.parallel_stepping.activations.eager import eager
from mesa_llm.parallel_stepping.activations.simultaneous import simultaneous
from mesa_llm.parallel_stepping.step import ParallelStep

if TYPE_CHECKING:
    from mesa_llm.parallel_stepping.activations.sequential import SequentialStep
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


def make_step(
    agents: Iterable[Agent],
    config: ParallelStepping,
    *,
    restore: Callable[[], None],
    agent_set: Any = None,
    step_all: Callable[[Callable[..., object]], object] | None = None,
    **details: Any,
) -> ParallelStep | SequentialStep:
    """A step of these agents, as `config.activation` says.

    Args:
        agents: who steps, in order.
        config: how.
        restore: puts back the random state in which the step begins.
        agent_set: whose agents they are, if they are a set's.
        step_all: Mesa's own loop, which draws their order again; calls its argument with each agent.
        **details: those of `ParallelStep`.
    """
    if not config.step_members:
        agents = without_members(list(agents))
    if config.activation == "sequential":
        from mesa_llm.parallel_stepping.activations.sequential import SequentialStep  # noqa: PLC0415 - imported when needed

        if step_all is not None:
            restore()
        return SequentialStep(list(agents), config, agent_set=agent_set, step_all=step_all, **details)
    return ParallelStep(agents, config, REGIMES[config.activation], restore=restore, **details)
