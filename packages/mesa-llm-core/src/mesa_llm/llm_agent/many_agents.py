"""Arguments for many agents at once: which lists Mesa deals out to them, and which each agent gets whole."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

WHOLE = frozenset({"tools", "actions", "stop"})
"""The arguments of `LLMAgent` whose value is a list itself."""


def dealt(cls: type, n: int, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments for `mesa.Agent.create_agents`, which deals every list of length `n` out to the agents.

    A list of tools, actions or stop texts becomes a list of `n` such lists, whatever its length is. What can be read
    once only becomes a list, so that not the first agent alone gets it.
    """
    names = list(inspect.signature(cls).parameters)[1:]  # after the model
    names += [""] * (len(args) - len(names))
    return (
        [_for_each(name, value, n) for name, value in zip(names, args, strict=False)],
        {name: _for_each(name, value, n) for name, value in kwargs.items()},
    )


def is_whole(name: str, value: Any) -> bool:
    """Whether an argument is one list for each agent, and not a list of such lists, one an agent."""
    if name not in WHOLE or not isinstance(value, list | tuple):
        return False
    return not value or not all(item is None or isinstance(item, list | tuple) for item in value)


def _for_each(name: str, value: Any, n: int) -> Any:
    if isinstance(value, Iterator):
        return [list(value)] * n
    return [value] * n if is_whole(name, value) else value
