"""One body for sync and async agents that remember: an `aadd_to_memory` of the user's own is awaited where they can."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

from mesa_llm.activation.context import current_writes, enter, leave
from mesa_llm.activation.method_pairs import own_method
from mesa_llm.memory.memory import Memory

type _Write = Callable[[], Awaitable[None]]


class AwaitedWrites:
    """While entered, writes to memories with an `aadd_to_memory` of their own are kept, in order, until `flush`."""

    def __init__(self) -> None:
        self._pending: list[_Write] = []

    def __enter__(self) -> Self:
        self._token = enter(writes=self)
        return self

    def __exit__(self, *exception: object) -> None:
        leave(self._token)

    def add(self, write: _Write) -> None:
        """Keep a write until `flush`."""
        self._pending.append(write)

    async def flush(self) -> None:
        """Make the writes that are kept, one after the other."""
        pending, self._pending = self._pending, []
        for write in pending:
            await write()


def remember(memory: Memory, type: str, content: Mapping[str, Any]) -> None:  # noqa: A002 - mesa-llm's name
    """Add to a memory: by its `aadd_to_memory` if it has one of its own and the caller can await it.

    Args:
        memory: the memory.
        type: the type of what is remembered.
        content: what happened.
    """
    writes = current_writes()
    asynchronous = getattr(memory, "aadd_to_memory", None)
    if writes is None or asynchronous is None or own_method(asynchronous, Memory.aadd_to_memory) is None:
        memory.add_to_memory(type=type, content=content)
    else:
        writes.add(lambda: memory.aadd_to_memory(type=type, content=content))


def can_remember(agent: Any) -> bool:
    """Whether an agent has something as its memory that events can be added to: a `Memory`, or an object like one."""
    return callable(getattr(getattr(agent, "memory", None), "add_to_memory", None))
