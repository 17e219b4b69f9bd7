"""What an agent sees of itself, of the agents around it, and of the cells; and what a class lets others see."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import step_of
from mesa_llm.activation.values import Canonical, name_of, plain
from mesa_llm.errors import ConfigurationError
from mesa_llm.reasoning.observation import Observation
from mesa_llm.spaces.surroundings import Surroundings, position_of

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.llm_agent.llm_agent import LLMAgent

EVERYBODY = -1
VISIBLE = "visible_attributes"


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
        "internal_state": plain(_internal_state(agent)),
        **_attributes(agent, hide=False),
    }
    local_state = {name_of(other): _seen_of(other) for other in _in_sight(agent, around)}
    far = 0 if not agent.vision or agent.vision == EVERYBODY else agent.vision
    environment = around.cells(far, agent.observed_layers)
    return Observation(step_of(agent.model), Canonical(self_state), Canonical(local_state), environment)


def _in_sight(agent: LLMAgent, around: Surroundings) -> Iterable[Agent]:
    if not agent.vision:
        return []
    if agent.vision == EVERYBODY:
        return [other for other in agent.model.agents if other is not agent]
    return around.neighbors(agent.vision)


def _seen_of(other: Agent) -> dict[str, Any]:
    internal_state = plain(_internal_state(other), hide=True)
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
    return {"attributes": plain(attributes, hide=hide)} if attributes else {}


def visible_attributes(agent: Agent) -> dict[str, Any]:
    """The attributes that the agent's class and its bases declare visible, those of the bases first.

    Any class may declare them, whether it knows this library or not.

    Raises:
        ConfigurationError: if the agent does not have one of them, or it is a method.
    """
    cls = type(agent)
    if not hasattr(cls, VISIBLE):  # asked of every agent in sight, of every agent
        return {}
    return {name: _value(agent, name) for name in _declared(cls)}


def check_names(cls: type, attribute: str) -> None:
    """Check what a class itself declares: a collection of names, or `None`. A property is not looked into.

    Raises:
        ConfigurationError: if it is something else, such as a single name.
    """
    names = vars(cls).get(attribute)
    if names is None or isinstance(names, property):
        return
    if isinstance(names, str) or not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(
            f"{cls.__name__}.{attribute} must be a tuple of names such as ('wealth',), got {names!r}."
        )


def _declared(cls: type) -> dict[str, None]:
    names: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        if VISIBLE in vars(base):
            check_names(base, VISIBLE)
            declared = vars(base)[VISIBLE]
            names |= dict.fromkeys(() if declared is None else declared)
    return names


def _value(agent: Agent, name: str) -> Any:
    try:
        value = getattr(agent, name)
    except AttributeError as error:
        raise ConfigurationError(
            f"{name_of(agent)} has no attribute {name!r}, which its class names in {VISIBLE}. Set it in the "
            f"constructor, or take the name out. It has: {sorted(vars(agent))}."
        ) from error
    if inspect.ismethod(value):
        raise ConfigurationError(
            f"{name!r}, which {type(agent).__name__} names in {VISIBLE}, is a method: make it a property."
        )
    return value
