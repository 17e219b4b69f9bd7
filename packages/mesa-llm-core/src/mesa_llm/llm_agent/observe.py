"""What an agent sees of itself, of the agents around it, and of the cells; and what a class lets others see."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Collection, Iterable, Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, cast

from mesa_llm.activation import step_of
from mesa_llm.activation.context import current_answers
from mesa_llm.activation.values import Canonical, name_of, plain
from mesa_llm.errors import ConfigurationError
from mesa_llm.reasoning import Observation
from mesa_llm.spaces.surroundings import Surroundings, position_of

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.llm_agent.llm_agent import LLMAgent

_EVERYBODY = -1
_VISIBLE = "visible_attributes"


def observe(agent: LLMAgent) -> Observation:
    """The agent's view of the world as it is now.

    Raises:
        ConfigurationError: if a class names an attribute or a property layer that does not exist, or its
            `internal_state` cannot be evaluated, or its `vision` is not a distance.
    """
    around = Surroundings(agent)
    vision = check_vision(agent.vision, of=name_of(agent))
    far = 0 if not vision or vision == _EVERYBODY else vision
    if far and around.cannot_be_found:
        warnings.warn(
            f"{name_of(agent)} is in a cell, but sees nobody around it: the space of that cell is not an attribute of "
            f"{type(agent.model).__name__}. Set it there, as in self.grid = OrthogonalMooreGrid(…), or use vision=0.",
            UserWarning,
            stacklevel=2,
        )
    self_state = {
        "agent_unique_id": agent.unique_id,
        "location": position_of(agent),
        "internal_state": plain(_internal_state(agent, hide=False)),
        **_attributes(agent, hide=False),
    }
    in_sight = _in_sight(agent, vision, around)
    answers = current_answers()
    if answers is not None:
        in_sight = list(in_sight)
        answers.sees(agent, in_sight)
    local_state = {name_of(other): _seen_of(other) for other in in_sight}
    environment = around.cells(far, agent.observed_layers)
    return Observation(step_of(agent.model), Canonical(self_state), Canonical(local_state), environment)


def check_vision(vision: Any, *, of: str) -> float | None:
    """How far an agent sees; a `ConfigurationError` about the agent or class `of` if it is not a distance."""
    if vision is None:
        return None
    if isinstance(vision, Real) and not isinstance(vision, bool):
        number = cast("float", vision)
        if number >= 0 or number == _EVERYBODY:
            return number
    raise ConfigurationError(
        f"The vision of {of} must be a number >= 0 (cells, edges or distance), got {vision!r}. Use 0 or None for "
        "nobody, -1 for everybody."
    )


def _in_sight(agent: LLMAgent, vision: float | None, around: Surroundings) -> Iterable[Agent]:
    if not vision:
        return []
    if vision == _EVERYBODY:
        return [other for other in agent.model.agents if other is not agent]
    return around.neighbors(vision)


def _seen_of(other: Agent) -> dict[str, Any]:
    internal_state = plain(_internal_state(other, hide=True), hide=True)
    if isinstance(internal_state, str) and internal_state.startswith("_"):
        internal_state = []
    return {"position": position_of(other), "internal_state": internal_state, **_attributes(other, hide=True)}


def _internal_state(agent: Agent, *, hide: bool) -> Any:
    """What an agent says about itself, now; nothing if it has no `internal_state`.

    A mapping of the user's own may compute its values. It is not asked for private ones if others observe the agent.
    """
    try:
        value = agent.internal_state
        if not isinstance(value, dict | list) and isinstance(value, Mapping):
            value = {name: value[name] for name in value if not (hide and isinstance(name, str) and name[:1] == "_")}
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
    """The attributes that the agent's class and its bases declare visible, those of the bases first, if there are any.

    Any class may declare them, whether it knows this library or not. Private ones are not evaluated for others.
    """
    cls = type(agent)
    if not hasattr(cls, _VISIBLE):  # checked first: this runs for every pair of agents that see each other
        return {}
    names = _declared(cls)
    values = {name: _value(agent, name) for name in names if not (hide and name.startswith("_"))}
    return {"attributes": plain(values, hide=hide)} if names else {}


def check_names(cls: type, attribute: str) -> None:
    """Check what a class itself declares: a collection of names, or `None`. A property is not evaluated.

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
        if _VISIBLE in vars(base):
            check_names(base, _VISIBLE)
            names |= dict.fromkeys(vars(base)[_VISIBLE] or ())
    return names


def _value(agent: Agent, name: str) -> Any:
    try:
        value = getattr(agent, name)
    except AttributeError as error:
        raise ConfigurationError(
            f"{name_of(agent)} has no attribute {name!r}, which its class names in {_VISIBLE}. Set it in the "
            f"constructor, or take the name out. It has: {sorted(vars(agent))}."
        ) from error
    if inspect.ismethod(value):
        raise ConfigurationError(
            f"{name!r}, which {type(agent).__name__} names in {_VISIBLE}, is a method: make it a property."
        )
    return value
