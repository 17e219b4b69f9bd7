"""What an agent sees of itself, of the agents around it, and of the cells."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import step_of
from mesa_llm.errors import ConfigurationError
from mesa_llm.llm_agent.snapshot import name_of, snapshot
from mesa_llm.llm_agent.visible_attributes import visible_attributes
from mesa_llm.reasoning.observation import Observation
from mesa_llm.spaces.surroundings import Surroundings, position_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mesa import Agent

    from mesa_llm.llm_agent.llm_agent import LLMAgent

EVERYBODY = -1


def observe(agent: LLMAgent) -> Observation:
    """The agent's view of the world as it is now.

    Raises:
        ConfigurationError: if a class names an attribute or a property layer that is not there, or the `internal_state`
            that it defines cannot be evaluated.
    """
    around = Surroundings(agent)
    if agent.vision and agent.vision != EVERYBODY and around.cannot_be_found:
        warnings.warn(
            f"{name_of(agent)} is in a cell, but sees nobody around it: the space of that cell is no attribute of "
            f"{type(agent.model).__name__}. Set it there, as in self.grid = OrthogonalMooreGrid(…), or use vision=0.",
            UserWarning,
            stacklevel=2,
        )
    self_state = {
        "agent_unique_id": agent.unique_id,
        "location": position_of(agent),
        "internal_state": snapshot(_internal_state(agent)),
        **_attributes(agent, hide=False),
    }
    local_state = {name_of(other): _seen_of(other) for other in _in_sight(agent, around)}
    far = 0 if not agent.vision or agent.vision == EVERYBODY else agent.vision
    environment = around.cells(far, agent.observed_layers)
    return Observation(step_of(agent.model), self_state, local_state, environment)


def _in_sight(agent: LLMAgent, around: Surroundings) -> Iterable[Agent]:
    if not agent.vision:
        return []
    if agent.vision == EVERYBODY:
        return [other for other in agent.model.agents if other is not agent]
    return around.neighbors(agent.vision)


def _seen_of(other: Agent) -> dict[str, Any]:
    internal_state = snapshot(_internal_state(other), hide=True)
    if isinstance(internal_state, str) and internal_state.startswith("_"):
        internal_state = []
    return {"position": position_of(other), "internal_state": internal_state, **_attributes(other, hide=True)}


def _internal_state(agent: Agent) -> Any:
    """What an agent tells about itself, now; nothing if it has no `internal_state`."""
    try:
        value = agent.internal_state
    except Exception as error:
        if isinstance(error, AttributeError) and not hasattr(type(agent), "internal_state"):
            return []
        raise ConfigurationError(
            f"{type(agent).__name__}.internal_state cannot be evaluated for {name_of(agent)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if inspect.ismethod(value):
        raise ConfigurationError(f"{type(agent).__name__}.internal_state is a method: make it a property.")
    return value


def _attributes(agent: Agent, *, hide: bool) -> dict[str, Any]:
    """What the agent's class declares visible, if it does, under a name of its own."""
    attributes = visible_attributes(agent)
    return {"attributes": snapshot(attributes, hide=hide)} if attributes else {}
