"""How many calls may be in flight at the same time."""

from __future__ import annotations

import asyncio
import weakref

from mesa_llm.activation import queued
from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse
from mesa_llm.errors import ConfigurationError


class LimitedClient(AsyncClient):
    """Passes calls on to another client, so many at the same time at most; the others wait in order of arrival.

    It cannot change results, only when they come. Time that a call waits here does not count for `decide_timeout`.

    Args:
        inner: the client that answers. Its `agenerate` is called on the transport loop.
        max_concurrency: how many calls may be in flight at the same time, at least 1.

    Raises:
        ConfigurationError: if `max_concurrency` is no whole number above zero.
    """

    def __init__(self, inner: LLMClient, *, max_concurrency: int) -> None:
        if not isinstance(max_concurrency, int) or isinstance(max_concurrency, bool) or max_concurrency < 1:
            raise ConfigurationError(
                f"max_concurrency must be an integer >= 1, got {max_concurrency!r}. "
                "Use the inner client itself for no limit."
            )
        self.inner = inner
        self.max_concurrency = max_concurrency
        # A semaphore belongs to one loop, and a forked process has a transport loop of its own.
        self._slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            weakref.WeakKeyDictionary()
        )

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Wait for a place, then have the inner client answer. Runs on the transport loop."""
        slots = self._slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self.max_concurrency))
        with queued():
            await slots.acquire()
        try:
            return await self.inner.agenerate(request)
        finally:
            slots.release()

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_slots": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state | {"_slots": weakref.WeakKeyDictionary()})
