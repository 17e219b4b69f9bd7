"""A limit on calls in flight, fixed or adaptive, and on requests and tokens per minute."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from typing import Literal

from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse
from mesa_llm.errors import (
    ConfigurationError,
    EndpointUnreachableError,
    ModelCallError,
    ModelTimeoutError,
    RateLimitedError,
)
from mesa_llm.errors.checks import check_number, check_whole
from mesa_llm.limits.adaptive import AdaptiveConcurrency, AdaptiveLimit, Outcome
from mesa_llm.limits.budget import TokenEstimator
from mesa_llm.limits.fair_queue import FairQueue, PerLoop, loop_time

_logger = logging.getLogger(__name__)

_ROUNDING = 1e-6  # of a bucket


class LimitedClient(AsyncClient):
    """Limits the calls to another client: how many are in flight, and how many requests and tokens go per minute.

    Calls wait in order of arrival, until all limits let the first one go. The limits change when results come, not what
    they are. Time in the queue does not count toward `decide_timeout`. Retries belong further out, so that each attempt
    is a call of its own here; a client that retries further in hides refusals.

    Each rate is a token bucket (see `TokenBucket`), which is also how providers describe theirs: after a rest, what
    `burst_seconds` bring may go at once. So within one minute at most that much more goes than the rate says. Tokens
    are estimated before a request is sent, and settled when its answer reports them: the difference is given back, or
    is a debt that the next calls wait for. Without a report the estimate counts. A request that is larger than the
    whole bucket waits until that is full, and leaves a debt.

    Args:
        inner: the client that answers.
        max_concurrency: how many calls may be in flight at the same time, at least 1; `"adaptive"` finds out how many
            the endpoint takes (see `AdaptiveLimit`), and `AdaptiveConcurrency` says how; `None` for no limit.
        requests_per_minute: above 0; `None` for no limit.
        tokens_per_minute: of prompts and completions together, above 0; `None` for no limit.
        burst_seconds: how many seconds' worth may go at once after a rest. Less than a minute for a provider that
            counts over shorter times; one request may always go.

    Raises:
        ConfigurationError: if no limit is given, or a value cannot work.
    """

    def __init__(
        self,
        inner: LLMClient,
        *,
        max_concurrency: int | Literal["adaptive"] | AdaptiveConcurrency | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        burst_seconds: float = 60.0,
    ) -> None:
        if max_concurrency is None and requests_per_minute is None and tokens_per_minute is None:
            raise ConfigurationError(
                "LimitedClient needs max_concurrency, requests_per_minute or tokens_per_minute. Use the inner client "
                "itself for no limit."
            )
        if max_concurrency == "adaptive":
            max_concurrency = AdaptiveConcurrency()
        if max_concurrency is not None and not isinstance(max_concurrency, AdaptiveConcurrency):
            check_whole("max_concurrency", max_concurrency, hint='Use "adaptive" to find out, or None for no limit.')
        for name, rate in (("requests_per_minute", requests_per_minute), ("tokens_per_minute", tokens_per_minute)):
            if rate is not None:
                check_number(name, rate, hint="Use None for no limit.")
        check_number("burst_seconds", burst_seconds, unit="seconds")
        self.inner = inner
        self.max_concurrency = max_concurrency
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self.burst_seconds = burst_seconds
        self._estimator = TokenEstimator()
        self._gates: PerLoop[_Gate] = PerLoop()

    @property
    def limit(self) -> int:
        """How many calls may be in flight now. May be read from any thread."""
        gate = self._gates.latest
        return self._adaptive_limit().limit if gate is None else gate.limit.limit

    @property
    def in_flight(self) -> int:
        """How many calls are in flight now. May be read from any thread."""
        gate = self._gates.latest
        return 0 if gate is None else gate.in_flight

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Wait until the limits allow it, then have the inner client answer. Runs on the transport loop."""
        gate = self._gates.get(self._make_gate)
        sent = _Sent(self._estimator.estimate(request).total_tokens if gate.tokens is not None else 0)
        await gate.queue.enter(sent, request.call)
        outcome: Outcome = "unknown"
        retry_after, retries, tokens = None, 0, 0
        try:
            response = await self.inner.complete(request)
            retries, tokens = response.retries, response.usage.total_tokens
            outcome = "unknown" if retries else "answered"
            if gate.tokens is not None:
                self._estimator.learn(request, response.usage)
            return response
        except ModelCallError as error:
            outcome, retry_after, retries = _outcome_of(error), error.retry_after, error.retries
            raise
        finally:
            if gate.has_rates:
                gate.settle(sent, retries=retries, tokens=tokens or sent.tokens)
            gate.leave(sent, outcome, retry_after)
            gate.queue.move()

    def _make_gate(self) -> _Gate:
        requests, tokens = self._bucket(self.requests_per_minute, least=1.0), self._bucket(self.tokens_per_minute)
        return _Gate(self._adaptive_limit(), requests, tokens)

    def _adaptive_limit(self) -> AdaptiveLimit:
        """The limit on calls in flight; a fixed one, or none, is an adaptive one that cannot move."""
        settings = self.max_concurrency
        if not isinstance(settings, AdaptiveConcurrency):
            fixed = settings or sys.maxsize
            settings = AdaptiveConcurrency(start=fixed, floor=fixed, ceiling=fixed, longest_pause=0)
        return AdaptiveLimit(settings)

    def _bucket(self, per_minute: float | None, *, least: float = 0.0) -> TokenBucket | None:
        if per_minute is None:
            return None
        per_second = per_minute / 60
        return TokenBucket(per_second=per_second, capacity=max(least, per_second * self.burst_seconds), now=loop_time())


def _outcome_of(error: ModelCallError) -> Outcome:
    """What a failure says about the capacity of the endpoint."""
    if isinstance(error, RateLimitedError):
        return "refused"
    if error.is_transient or isinstance(error, EndpointUnreachableError | ModelTimeoutError):
        return "failed"
    return "unknown"


@dataclass(slots=True)
class _Sent:
    """One call: its estimated tokens, and its number in the limit."""

    tokens: int
    call: int = 0


class _Gate:
    """What the calls of one event loop have taken, and the queue of those that wait."""

    def __init__(self, limit: AdaptiveLimit, requests: TokenBucket | None, tokens: TokenBucket | None) -> None:
        self.limit = limit
        self.requests = requests
        self.tokens = tokens
        self.has_rates = requests is not None or tokens is not None
        self.in_flight = 0
        self.queue: FairQueue[_Sent] = FairQueue(self._take, self._give_back)

    def _take(self, sent: _Sent) -> float:
        now = loop_time()
        seconds = self.limit.seconds_until_free(self.in_flight, now)
        amounts = self._amounts(sent) if self.has_rates else ()
        for bucket, amount in amounts:
            seconds = max(seconds, bucket.seconds_until(amount, now))
        if seconds <= 0:
            for bucket, amount in amounts:
                bucket.take(amount, now)
            self.in_flight += 1
            sent.call = self.limit.sent(self.in_flight, now)
        return seconds

    def _give_back(self, sent: _Sent) -> None:
        for bucket, amount in self._amounts(sent):
            bucket.take(-amount, loop_time())
        self.leave(sent, "unknown")

    def settle(self, sent: _Sent, *, retries: int, tokens: int) -> None:
        """Take what the call has taken beyond the estimate; the transport may have repeated it `retries` times."""
        if self.requests is not None and retries:
            self.requests.take(retries, loop_time())
        if self.tokens is not None:
            self.tokens.take(tokens - sent.tokens, loop_time())

    def leave(self, sent: _Sent, outcome: Outcome, retry_after: float | None = None) -> None:
        before = self.limit.limit
        self.limit.ended(sent.call, outcome, in_flight=self.in_flight, now=loop_time(), retry_after=retry_after)
        self.in_flight -= 1
        if self.limit.limit != before:
            _logger.debug("max_concurrency: from %d to %d (the call was %s)", before, self.limit.limit, outcome)

    def _amounts(self, sent: _Sent) -> list[tuple[TokenBucket, int]]:
        return [(bucket, amount) for bucket, amount in ((self.requests, 1), (self.tokens, sent.tokens)) if bucket]


class TokenBucket:
    """Lets through `per_second` of something on average, and `capacity` of it at once after a rest.

    The leaky bucket as a meter (Turner, *New Directions in Communications*, 1986; ITU-T I.371, of which GCRA is the
    other form), here with a level that may fall below zero: a debt, which the next call waits for.
    """

    def __init__(self, *, per_second: float, capacity: float, now: float) -> None:
        self.per_second = per_second
        self.capacity = capacity
        self._level = capacity
        self._level_at = now

    def level(self, now: float) -> float:
        """How much there is; below zero is a debt."""
        self._level = min(self.capacity, self._level + (now - self._level_at) * self.per_second)
        self._level_at = now
        return self._level

    def seconds_until(self, amount: float, now: float) -> float:
        """How long until an amount can be taken; of one that is larger than the bucket, until the bucket is full."""
        missing = min(amount, self.capacity) - self.level(now)
        return missing / self.per_second if missing > _ROUNDING * self.capacity else 0.0

    def take(self, amount: float, now: float) -> None:
        """Take an amount, however much there is. A negative amount gives back; what does not fit is lost."""
        self._level = min(self.capacity, self.level(now) - amount)
