"""Attributes that a class of agents declares visible."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any

from mesa import Agent

from mesa_llm.errors import ConfigurationError
from mesa_llm.llm_agent.snapshot import name_of

VISIBLE = "visible_attributes"


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
