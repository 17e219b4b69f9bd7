"""The tools of one manager, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from mesa_llm.tools.tool_decorator import _GLOBAL_TOOL_REGISTRY


class ToolTable(MutableMapping[str, Callable[..., Any]]):
    """A live mapping from names to functions: the global tools, and above them the manager's own.

    Global tools are looked up, not copied: one that is defined later is there too, and a thousand tables cost no more
    than their own tools. The global ones come first, in the order of their definition; an own tool of the same name
    takes the place of the global one. Deleting a global tool hides it here only; setting it brings it back.

    Args:
        with_global: whether the global tools are part of it.
    """

    __slots__ = ("_hidden", "_own", "_with_global")

    def __init__(self, *, with_global: bool) -> None:
        self._own: dict[str, Callable[..., Any]] = {}
        self._hidden: frozenset[str] = frozenset()
        self._with_global = with_global

    def __getitem__(self, name: str) -> Callable[..., Any]:
        if name in self._own:
            return self._own[name]
        if self._shows(name):
            return _GLOBAL_TOOL_REGISTRY[name]
        raise KeyError(name)

    def __setitem__(self, name: str, function: Callable[..., Any]) -> None:
        self._own[name] = function

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._own.pop(name, None)
        self._hidden |= {name}

    def __iter__(self) -> Iterator[str]:
        shared: list[str] = []
        if self._with_global:
            # Copied, since another thread may be defining a tool.
            shared = [name for name in list(_GLOBAL_TOOL_REGISTRY) if name in self._own or self._shows(name)]
        yield from shared
        yield from [name for name in self._own if name not in shared]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)})"

    def _shows(self, name: str) -> bool:
        return self._with_global and name in _GLOBAL_TOOL_REGISTRY and name not in self._hidden
