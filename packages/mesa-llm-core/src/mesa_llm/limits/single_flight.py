"""One call for identical requests that are in flight at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from mesa_llm.activation import Turn, current_turn
from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse, Usage
from mesa_llm.clients.messages import request_key
from mesa_llm.limits.failures import retold
from mesa_llm.limits.per_loop import PerLoop
from mesa_llm.limits.waiting import told_of_lines


class SingleFlightClient(AsyncClient):
    """Passes calls on to another client, and lets identical ones share a call while it is in flight.

    Only requests that want the same answer each time are shared: those with `temperature` 0 or a `seed`. They must be
    identical in everything (see `request_key`). This is no cache: when the answer has come, the next request makes a
    call of its own.

    One of those who share has the answer as it came. The others have it with `source="shared"`, and without tokens,
    cost, retries and latency, for theirs took none: so sums over calls stay right. A failure goes to all of them. A
    caller that is cancelled leaves the call to the others; when all are, it is cancelled.

    Args:
        inner: the client that answers. Its `agenerate` is called on the transport loop.

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
        if not _wants_the_same_answer(request):
            return await self.inner.agenerate(request)
        flights = self._flights.get(dict)
        key = request_key(request)
        flight = flights.get(key)
        if flight is None or flight.is_over:
            flight = flights[key] = _Flight(self.inner, request)
        try:
            with flight.boarded():
                response = await flight.answer()
        except Exception as error:
            if flight.take_original():
                raise
            failure = retold(error)
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


class _Flight:
    """One call, and those aboard who wait for it."""

    def __init__(self, client: LLMClient, request: LLMRequest) -> None:
        self._aboard: list[_Passenger] = []
        self._n_lines = 0  # in which the call waits
        self._original_is_taken = False
        self._call = asyncio.get_running_loop().create_task(self._fly(client, request))

    @property
    def is_over(self) -> bool:
        """Whether nobody can board any more."""
        return self._call.done() or self._call.cancelling() > 0

    async def _fly(self, client: LLMClient, request: LLMRequest) -> LLMResponse:
        with told_of_lines(self):
            return await client.agenerate(request)

    async def answer(self) -> LLMResponse:
        return await asyncio.shield(self._call)

    def take_original(self) -> bool:
        """Whether the answer as it came is the caller's: the first one who asks."""
        taken, self._original_is_taken = self._original_is_taken, True
        return not taken

    @contextmanager
    def boarded(self) -> Iterator[None]:
        """The time that one caller is aboard. The call ends with the last of them."""
        passenger = _Passenger(current_turn())
        self._aboard.append(passenger)
        if self._n_lines:
            passenger.pause()
        try:
            yield
        finally:
            passenger.go_on()
            self._aboard.remove(passenger)
            if not self._aboard:
                self._call.cancel()

    def line_entered(self) -> None:
        self._n_lines += 1
        if self._n_lines == 1:
            for passenger in self._aboard:
                passenger.pause()

    def line_left(self) -> None:
        self._n_lines -= 1
        if self._n_lines == 0:
            for passenger in self._aboard:
                passenger.go_on()


class _Passenger:
    """Somebody aboard, whose time to decide stands still while the call waits in a line.

    The call runs in the context of whoever made it, so for the others this must be said apart.
    """

    def __init__(self, turn: Turn | None) -> None:
        self._turn = turn
        self._leave: Callable[[], None] | None = None

    def pause(self) -> None:
        if self._turn is not None:
            self._leave = self._turn.queue()

    def go_on(self) -> None:
        if self._leave is not None:
            self._leave()
            self._leave = None
