"""Which of an agent's tools are on offer in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Final

from mesa_llm.errors import ConfigurationError


class Inherit(Enum):
    """The default of an argument that narrows what an agent has: all of it."""

    INHERIT = "inherit"

    def __repr__(self) -> str:
        return self.name


INHERIT: Final = Inherit.INHERIT

type ToolRef = Callable[..., Any] | str
type ToolSelection = Iterable[ToolRef] | ToolRef | Inherit | None
"""All of an agent's tools by default, one, several in that order, or none (`None`, `[]`)."""


def several(tools: Iterable[ToolRef] | ToolRef) -> list[ToolRef]:
    """Functions and names as a list; a single one need not be in a list.

    Args:
        tools: functions, names, or one of them.

    Raises:
        ConfigurationError: if it is neither.
    """
    if isinstance(tools, str) or callable(tools):
        return [tools]
    if not isinstance(tools, Iterable):
        raise ConfigurationError(f"Tools are functions or their names, got {tools!r}.")
    return list(tools)


def names_of(tools: ToolSelection, selected_tools: ToolSelection = None) -> list[str] | None:
    """The names of the tools on offer; `None` for all that the agent has.

    Args:
        tools: which tools, as functions or names; none with `None` or `[]`.
        selected_tools: the same by its older name, where `None` means all.

    Raises:
        ConfigurationError: if both are given, or something is neither a function nor a name.
    """
    chosen: ToolSelection
    if isinstance(tools, Inherit):
        if selected_tools is None or isinstance(selected_tools, Inherit):
            return None
        chosen = selected_tools
    elif selected_tools is None or isinstance(selected_tools, Inherit):
        chosen = tools
    else:
        raise ConfigurationError(
            f"tools and selected_tools mean the same, got {tools!r} and {selected_tools!r}. Give tools alone."
        )
    return [] if chosen is None else [_name_of(tool) for tool in several(chosen)]


def _name_of(tool: ToolRef) -> str:
    name = tool if isinstance(tool, str) else getattr(tool, "__name__", None)
    if not isinstance(name, str):
        raise ConfigurationError(f"Tools are functions or their names, got {tool!r}.")
    return name
