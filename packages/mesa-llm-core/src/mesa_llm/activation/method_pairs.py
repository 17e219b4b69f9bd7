"""Finds the methods that a user's class defines itself: `step` or `astep`, and overrides of a base's methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_INSTALLED = "__mesa_llm_installed__"


def mark_installed[F](function: F) -> F:
    """Mark a method that core has put on a user's class; it says nothing about what the user has defined."""
    setattr(function, _INSTALLED, True)
    return function


def nearer_method(cls: type, sync_name: str, async_name: str, *, prefer_async: bool) -> str | None:
    """The one of two twin methods that is defined nearer to a class in its method resolution order.

    Returns:
        `sync_name`, `async_name`, or `None` if the class has neither.
    """
    for base in cls.__mro__:
        has_sync, has_async = _defines(base, sync_name), _defines(base, async_name)
        if has_sync and has_async:
            return async_name if prefer_async else sync_name
        if has_sync or has_async:
            return async_name if has_async else sync_name
    return None


def _defines(cls: type, name: str) -> bool:
    method: Any = vars(cls).get(name)
    return method is not None and not hasattr(method, _INSTALLED) and not is_placeholder(method)


def is_placeholder(method: Any) -> bool:
    """Whether a method is one of the empty ones that Mesa's own agent classes have (`Agent.step`, `MetaAgent.step`)."""
    module = getattr(method, "__module__", None) or ""
    return module.startswith("mesa.") and not module.startswith("mesa.examples.")


def own_method[F: Callable[..., Any]](method: F, base: Callable[..., Any]) -> F | None:
    """A bound method if it is not the one of the base: a subclass overrides it, or the instance has its own."""
    return None if getattr(method, "__func__", None) is base else method
