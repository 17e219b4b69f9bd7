"""Lets identical requests that are in flight at the same time share one call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from mesa_llm.activation.call import ModelCall
from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse, Usage
from mesa_llm.clients.messages import request_key
from mesa_llm.limits.fair_queue import PerLoop
from mesa_llm.limits.retries import with_context


class SingleFlightClient(AsyncClient):
    """Lets identical requests to another client share a call while it is in flight.

    Only requests that want the same answer each time are shared: those with `temperature` 0 or a `seed`. They must be
    identical in everything (see `request_key`). Questions asked off the record (see `consistency`) are not shared. This
    is no cache: when the answer has come, the next request makes a call of its own.

    One of those who share has the answer as it came. The others have it with `source="shared"`, and without tokens,
    cost, retries and latency, so that sums over calls are right. A failure goes to all of them. A
    caller that is cancelled leaves the call to the others; when all are, it is cancelled.

    Args:
        inner: the client that answers.

    Attributes:
        shared: how many calls were answered, or failed, by another one's so far. May be read from any thread.
    """

    def __init__(self, inner: LLMClient) -> None:
        self.inner = inner
        self.shared = 0
        self._flights: PerLoop[dict[str, _Flight]] = PerLoop()

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Join the call that is in flight, or have the inner client answer. Runs on the transport loop.

        Raises:
            ConfigurationError: if the request can be shared, but holds what JSON cannot.
        """
        if request.call.off_record or not _wants_the_same_answer(request):
            return await self.inner.complete(request)
        flights = self._flights.get(dict)
        key = request_key(request)
        flight = flights.get(key)
        if flight is None or flight.is_over:
            flight = flights[key] = _Flight(self.inner, request)
        try:
            with flight.boarded(request.call):
                response = await flight.answer()
        except Exception as error:
            if flight.take_original():
                raise
            failure = with_context(error)
        else:
            if flight.take_original():
                return response
            self.shared += 1
            return replace(response, source="shared", usage=Usage(), cost=0.0, retries=0, latency_s=None)
        finally:
            if flight.is_over and flights.get(key) is flight:
                del flights[key]
        self.shared += 1
        raise failure


def _wants_the_same_answer(request: LLMRequest) -> bool:
    return request.options.get("temperature") == 0 or request.options.get("seed") is not None


class _SharedCall(ModelCall):
    """The one call of several agents: while it waits in a queue, so does the call of each of them."""

    __slots__ = ("aboard",)

    def __init__(self, first: ModelCall) -> None:
        super().__init__()
        self.agent_step, self.origin = first.agent_step, first.origin
        self.aboard: list[ModelCall] = []

    def seconds_left(self) -> float:
        return max((call.seconds_left() for call in self.aboard), default=0.0)

    def begin_waiting(self) -> None:
        super().begin_waiting()
        if self._waits == 1:
            for call in self.aboard:
                call.begin_waiting()

    def end_waiting(self) -> None:
        super().end_waiting()
        if not self._waits:
            for call in self.aboard:
                call.end_waiting()

    @contextmanager
    def boarded(self, call: ModelCall) -> Iterator[None]:
        self.aboard.append(call)
        if self._waits:
            call.begin_waiting()
        try:
            yield
        finally:
            self.aboard.remove(call)
            if self._waits:
                call.end_waiting()


class _Flight:
    """One call, and those aboard who wait for it."""

    def __init__(self, client: LLMClient, request: LLMRequest) -> None:
        self._original_is_taken = False
        self._shared = _SharedCall(request.call)
        self._call = asyncio.get_running_loop().create_task(client.complete(replace(request, call=self._shared)))

    @property
    def is_over(self) -> bool:
        """Whether nobody can board any more."""
        return self._call.done() or self._call.cancelling() > 0

    async def answer(self) -> LLMResponse:
        return await asyncio.shield(self._call)

    def take_original(self) -> bool:
        """Whether the caller, being the first one, gets the answer unchanged."""
        taken, self._original_is_taken = self._original_is_taken, True
        return not taken

    @contextmanager
    def boarded(self, call: ModelCall) -> Iterator[None]:
        """The time that one caller is aboard. The flight ends with the last of them."""
        try:
            with self._shared.boarded(call):
                yield
        finally:
            if not self._shared.aboard:
                self._call.cancel()
