"""`@tool`, which makes a function a tool; the tables of tools that it fills, and what one call selects from them."""

from __future__ import annotations

import sys
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, MutableMapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, overload, override

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


class ToolTable(MutableMapping[str, Callable[..., Any]]):
    """A mapping from names to functions: the global tools, if they are part of it, and the manager's own.

    Global tools are looked up, not copied, so later ones are there too. They come first; an own tool replaces a global
    one of the same name. Deleting a global tool hides it here only.
    """

    __slots__ = ("_hidden", "_own", "_with_global")

    def __init__(self, *, with_global: bool) -> None:
        self._own: dict[str, Callable[..., Any]] = {}
        self._hidden: frozenset[str] = frozenset()
        self._with_global = with_global

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return self._own[name] if name in self._own else self._all()[name]

    def __setitem__(self, name: str, function: Callable[..., Any]) -> None:
        self._own[name] = function

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._own.pop(name, None)
        self._hidden |= {name}

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    @override
    def items(self) -> ItemsView[str, Callable[..., Any]]:
        return self._all().items()  # without a look at both tables for each name

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)})"

    def _all(self) -> dict[str, Callable[..., Any]]:
        # Copied, since another thread may be defining a tool.
        shared = _GLOBAL_TOOL_REGISTRY.copy() if self._with_global else {}
        for name in self._hidden:
            if name not in self._own:
                shared.pop(name, None)
        shared.update(self._own)
        return shared


class Inherit(Enum):
    """The default of an argument that selects some of an agent's tools or actions: all of them."""

    INHERIT = "inherit"

    def __repr__(self) -> str:
        return self.name


INHERIT: Final = Inherit.INHERIT

type ToolRef = Callable[..., Any] | str
type ToolSelection = Iterable[ToolRef] | ToolRef | Inherit | None
"""All of an agent's tools by default, one, several in that order, or none (`None`, `[]`)."""


def several(tools: Iterable[ToolRef] | ToolRef) -> list[ToolRef]:
    """Functions and names as a list; a single one need not be in a list. A `ConfigurationError` if it is neither."""
    if isinstance(tools, str) or callable(tools):
        return [tools]
    if not isinstance(tools, Iterable):
        raise ConfigurationError(f"Tools are functions or their names, got {tools!r}.")
    return list(tools)


def names_of(
    known: Mapping[str, Callable[..., Any]], tools: ToolSelection, selected_tools: ToolSelection = None
) -> list[str] | None:
    """The names of the tools on offer, among those that an agent has; `None` for all of them.

    `selected_tools` is the older name of `tools`: there, `None` means all.
    """
    older = INHERIT if selected_tools is None else selected_tools
    if not isinstance(tools, Inherit) and not isinstance(older, Inherit):
        raise ConfigurationError(
            f"tools and selected_tools mean the same, got {tools!r} and {selected_tools!r}. Give tools alone."
        )
    chosen = older if isinstance(tools, Inherit) else tools
    if isinstance(chosen, Inherit):
        return None
    return [] if chosen is None else [_name_of(tool, known) for tool in several(chosen)]


def _name_of(tool: ToolRef, known: Mapping[str, Callable[..., Any]]) -> str:
    if isinstance(tool, str):
        return tool
    for name, function in known.items():
        if function == tool:  # not `is`: each access makes a new bound method
            return name
    raise ConfigurationError(
        f"{tool!r} is none of the agent's tools: {', '.join(known) or 'it has none'}. A selection narrows what was "
        "given to LLMAgent(tools=[…])."
    )
