"""Which of an agent's tools are on offer in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Final

from mesa_llm.errors import ConfigurationError


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

    Raises:
        ConfigurationError: if both are given, or a function is none of the agent's tools.
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
