"""A limit on calls in flight, fixed or adaptive."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse
from mesa_llm.errors import EndpointUnreachableError, ModelCallError, ModelTimeoutError, RateLimitedError
from mesa_llm.errors.checks import check_whole
from mesa_llm.limits.adaptive import AdaptiveConcurrency, AdaptiveLimit, Outcome
from mesa_llm.limits.fair_queue import FairQueue, PerLoop, loop_time

_logger = logging.getLogger(__name__)


class LimitedClient(AsyncClient):
    """Limits how many calls to another client are in flight; the others wait in order of arrival.

    It changes when results come, not what they are. Time in the queue does not count toward `decide_timeout`.

    An adaptive limit finds its level by itself: see `AdaptiveLimit`. Retries belong further out, so that each attempt
    is a call of its own here; a client that retries further in hides refusals.

    Args:
        inner: the client that answers.
        max_concurrency: how many calls may be in flight at the same time, at least 1; `"adaptive"` finds out how many
            the endpoint takes, and `AdaptiveConcurrency` says how.

    Raises:
        ConfigurationError: if `max_concurrency` is none of these.
    """

    def __init__(self, inner: LLMClient, *, max_concurrency: int | Literal["adaptive"] | AdaptiveConcurrency) -> None:
        if max_concurrency == "adaptive":
            max_concurrency = AdaptiveConcurrency()
        if not isinstance(max_concurrency, AdaptiveConcurrency):
            check_whole(
                "max_concurrency",
                max_concurrency,
                hint='Use "adaptive" to find out, or the inner client itself for no limit.',
            )
        self.inner = inner
        self.max_concurrency = max_concurrency
        self._places: PerLoop[_Places] = PerLoop()

    @property
    def limit(self) -> int:
        """How many calls may be in flight now. May be read from any thread."""
        return self._current().limit.limit

    @property
    def in_flight(self) -> int:
        """How many calls are in flight now. May be read from any thread."""
        return self._current().in_flight

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Wait for a place, then have the inner client answer. Runs on the transport loop."""
        places = self._places.get(self._make_places)
        place = _Place()
        await places.queue.enter(place, request.call)
        outcome: Outcome = "unknown"
        retry_after = None
        try:
            response = await self.inner.complete(request)
            outcome = "unknown" if response.retries else "answered"
            return response
        except ModelCallError as error:
            outcome, retry_after = _outcome_of(error), error.retry_after
            raise
        finally:
            places.leave(place, outcome, retry_after)

    def _make_places(self) -> _Places:
        settings = self.max_concurrency
        if not isinstance(settings, AdaptiveConcurrency):
            settings = AdaptiveConcurrency(start=settings, floor=settings, ceiling=settings, longest_pause=0)
        return _Places(AdaptiveLimit(settings))

    def _current(self) -> _Places:
        return self._places.latest or self._make_places()


def _outcome_of(error: ModelCallError) -> Outcome:
    """What a failure says about the capacity of the endpoint."""
    if isinstance(error, RateLimitedError):
        return "refused"
    if error.is_transient or isinstance(error, EndpointUnreachableError | ModelTimeoutError):
        return "failed"
    return "unknown"


@dataclass(slots=True)
class _Place:
    """One call's place among those in flight."""

    call: int = 0


class _Places:
    """The places of one event loop, and the queue for them."""

    def __init__(self, limit: AdaptiveLimit) -> None:
        self.limit = limit
        self.in_flight = 0
        self.queue: FairQueue[_Place] = FairQueue(self._take, self._give_back)

    def _take(self, place: _Place) -> float:
        now = loop_time()
        seconds = self.limit.seconds_until_free(self.in_flight, now)
        if seconds <= 0:
            self.in_flight += 1
            place.call = self.limit.sent(self.in_flight, now)
        return seconds

    def leave(self, place: _Place, outcome: Outcome, retry_after: float | None) -> None:
        before = self.limit.limit
        self.limit.ended(place.call, outcome, in_flight=self.in_flight, now=loop_time(), retry_after=retry_after)
        self.in_flight -= 1
        if self.limit.limit != before:
            _logger.debug("max_concurrency: from %d to %d (the call was %s)", before, self.limit.limit, outcome)
        self.queue.move()

    def _give_back(self, place: _Place) -> None:
        self.limit.ended(place.call, "unknown", in_flight=self.in_flight, now=loop_time())
        self.in_flight -= 1
