"""How many calls were made, how many at once, and what their answers took."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from mesa_llm.clients.client import AsyncClient, LLMClient
from mesa_llm.clients.messages import LLMRequest, LLMResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCounts:
    """What a `MeteredClient` has counted up to one moment.

    Attributes:
        calls: calls started, those that were asked ahead included.
        failures: calls that raised or were cancelled, but for those that were asked ahead and not needed any more.
        in_flight: calls that have started and not ended, without those that wait in a queue of a limit.
        peak_in_flight: the most calls that were in flight at once.
        prompt_tokens: tokens read, in all calls.
        completion_tokens: tokens written, in all calls.
        cost: the price of all calls whose price is known, in US dollars.
        measured_calls: calls whose answer has a latency: those that failed, were replayed or shared have none.
        waited_seconds: the latencies of these answers, added up (see `LLMResponse.latency_s`). Answers that were on
            their way at the same time count in full, each for itself.
    """

    calls: int = 0
    failures: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    measured_calls: int = 0
    waited_seconds: float = 0.0


class MeteredClient(AsyncClient):
    """Counts the calls that go through it to another client.

    Args:
        inner: the client that answers.
    """

    def __init__(self, inner: LLMClient) -> None:
        self.inner = inner
        # Replaced as a whole, and only on the transport loop: so any thread may read it without a lock.
        self._counts = CallCounts()

    def counts(self) -> CallCounts:
        """The counts at this moment. May be called from any thread."""
        return self._counts

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Have the inner client answer, and count. Runs on the transport loop."""
        if request.call.known is not None:  # it was counted when it was asked ahead; now a journal records it
            return await self.inner.complete(request)
        self._counts = replace(self._counts, calls=self._counts.calls + 1)
        self._goes_on()
        response, not_needed = None, False
        try:
            with request.call.watched(lambda waits: self._waits() if waits else self._goes_on()):
                response = await self.inner.complete(request)
            return response
        except asyncio.CancelledError:
            not_needed = request.call.asked_ahead
            raise
        finally:
            self._call_ended(response, failed=response is None and not not_needed)

    def _goes_on(self) -> None:
        self._counts = replace(self._counts, in_flight=self._counts.in_flight + 1)

    def _waits(self) -> None:
        self._counts = replace(self._counts, in_flight=self._counts.in_flight - 1)

    def _call_ended(self, response: LLMResponse | None, *, failed: bool) -> None:
        counts = self._counts
        latency_s = response.latency_s if response else None
        self._counts = replace(
            counts,
            failures=counts.failures + failed,
            in_flight=counts.in_flight - 1,
            peak_in_flight=max(counts.peak_in_flight, counts.in_flight),  # they only become fewer when one ends
            prompt_tokens=counts.prompt_tokens + (response.usage.prompt_tokens if response else 0),
            completion_tokens=counts.completion_tokens + (response.usage.completion_tokens if response else 0),
            cost=counts.cost + ((response.cost or 0.0) if response else 0.0),
            measured_calls=counts.measured_calls + (latency_s is not None),
            waited_seconds=counts.waited_seconds + (latency_s or 0.0),
        )
