"""`@tool`, which makes a function a tool, and the table of global tools that it fills."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

from mesa_llm.errors import ConfigurationError
from mesa_llm.tools.signatures import Condition
from mesa_llm.tools.tool_definition import define

if TYPE_CHECKING:
    from mesa_llm.tools.tool_manager import ToolManager

_GLOBAL_TOOL_REGISTRY: dict[str, Callable[..., Any]] = {}
"""The tools that every `ToolManager` offers, by name, in the order of their definition."""

_callbacks: list[Callable[[Callable[..., Any]], object]] = []


class DocstringParsingError(ConfigurationError):
    """For `except` clauses of models written for mesa-llm 0.3; here, gaps in a docstring are warnings."""


def add_tool_callback(callback: Callable[[Callable[..., Any]], object]) -> None:
    """Have a function called with each function that a plain `@tool` makes a global tool from now on."""
    _callbacks.append(callback)


@overload
def tool[F: Callable[..., Any]](
    fn: F, *, tool_manager: ToolManager | None = None, ignore_agent: bool = True, available: Condition | None = None
) -> F: ...


@overload
def tool[F: Callable[..., Any]](
    fn: None = None,
    *,
    tool_manager: ToolManager | None = None,
    ignore_agent: bool = True,
    available: Condition | None = None,
) -> Callable[[F], F]: ...


def tool(
    fn: Callable[..., Any] | None = None,
    *,
    tool_manager: ToolManager | None = None,
    ignore_agent: bool = True,
    available: Condition | None = None,
) -> Any:
    """Make a function a tool: `@tool`, or `@tool(tool_manager=manager)`.

    The model sees the function's name, the description in its docstring, and of each parameter the type, the default
    and the description under Args. Parameters with a default are optional. The function may be async. It is returned
    unchanged, with the schema in the form of the OpenAI API as `__tool_schema__`.

    Args:
        fn: the function.
        tool_manager: the only manager that offers the tool; by default all do, also existing ones.
        ignore_agent: whether a parameter `agent` is hidden from the model and filled in with the agent that calls.
            Otherwise it is a parameter like any other.
        available: a condition, `available(agent)`: the tool is on offer to an agent only while it is true. It is
            evaluated when the agent decides, and again when the tool is called. What it raises ends the step.

    Returns:
        The function itself; the decorator if only options are given.

    Raises:
        ConfigurationError: if the function cannot be a tool, for instance because it takes `*args` or has a `yield`.
    """
    if fn is not None:
        return _declare(fn, tool_manager, ignore_agent, available, sys._getframe(1).f_locals)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        return _declare(function, tool_manager, ignore_agent, available, sys._getframe(1).f_locals)

    return decorate


def built_in[F: Callable[..., Any]](function: F) -> F:
    """Make a function of this package a global tool. Its definition, which takes time, is made on the first use."""
    _GLOBAL_TOOL_REGISTRY[function.__name__] = function
    return function


def _declare(
    function: Callable[..., Any],
    tool_manager: ToolManager | None,
    ignore_agent: bool,
    available: Condition | None,
    names_at_definition: dict[str, Any],
) -> Callable[..., Any]:
    definition = define(function, ignore_agent=ignore_agent, available=available, local_names=names_at_definition)
    setattr(function, "__tool_schema__", definition.spec.as_dict())  # noqa: B010 - unknown to the type checker
    if tool_manager is None:
        _GLOBAL_TOOL_REGISTRY[definition.spec.name] = function
        for callback in _callbacks:
            callback(function)
    else:
        tool_manager.register(function)
    return function
