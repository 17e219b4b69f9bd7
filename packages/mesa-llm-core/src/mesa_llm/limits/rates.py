"""A limit on requests and tokens per minute."""

from __future__ import annotations

from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse
from mesa_llm.errors import ConfigurationError, ModelCallError
from mesa_llm.errors.checks import check_number
from mesa_llm.limits.fair_queue import FairQueue, PerLoop, loop_time
from mesa_llm.limits.token_estimate import TokenEstimator

_ROUNDING = 1e-6  # of a bucket


class RateLimitedClient(AsyncClient):
    """Limits requests and tokens per minute to another client, on average; calls wait in order of arrival.

    Each rate is a token bucket (see `TokenBucket`), which is also how providers describe theirs: after a rest, what
    `burst_seconds` bring may go at once. So within one minute at most that much more goes than the rate says.

    Tokens are estimated before a request is sent, and settled when its answer reports them: the difference is given
    back, or is a debt that the next calls wait for. Without a report the estimate counts. A request that is larger than
    the whole bucket waits until that is full, and leaves a debt.

    It changes when results come, not what they are. Time in the queue does not count toward `decide_timeout`.

    Args:
        inner: the client that answers.
        requests_per_minute: above 0; `None` for no limit.
        tokens_per_minute: of prompts and completions together, above 0; `None` for no limit.
        burst_seconds: how many seconds' worth may go at once after a rest. Less than a minute for a provider that
            counts over shorter times; one request may always go.

    Raises:
        ConfigurationError: if neither rate is given, or a number is not above 0.
    """

    def __init__(
        self,
        inner: LLMClient,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        burst_seconds: float = 60.0,
    ) -> None:
        if requests_per_minute is None and tokens_per_minute is None:
            raise ConfigurationError(
                "RateLimitedClient needs requests_per_minute, tokens_per_minute or both. "
                "Use the inner client itself for no limit."
            )
        for name, rate in (("requests_per_minute", requests_per_minute), ("tokens_per_minute", tokens_per_minute)):
            if rate is not None:
                check_number(name, rate, hint="Use None for no limit.")
        check_number("burst_seconds", burst_seconds, unit="seconds")
        self.inner = inner
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self.burst_seconds = burst_seconds
        self._estimator = TokenEstimator()
        self._meters: PerLoop[_Meters] = PerLoop()

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Wait until the rates allow it, then have the inner client answer. Runs on the transport loop."""
        meters = self._meters.get(self._make_meters)
        tokens = self._estimator.estimate(request).total_tokens if meters.tokens else 0
        await meters.queue.enter(tokens, request.call)
        try:
            response = await self.inner.complete(request)
        except ModelCallError as error:
            meters.sent_again(error.retries)
            raise
        meters.sent_again(response.retries)
        if response.usage.total_tokens:
            self._estimator.learn(request, response.usage)
            meters.settle(tokens, response.usage.total_tokens)
        return response

    def _make_meters(self) -> _Meters:
        return _Meters(self._bucket(self.requests_per_minute, least=1.0), self._bucket(self.tokens_per_minute))

    def _bucket(self, per_minute: float | None, *, least: float = 0.0) -> TokenBucket | None:
        if per_minute is None:
            return None
        per_second = per_minute / 60
        return TokenBucket(per_second=per_second, capacity=max(least, per_second * self.burst_seconds), now=loop_time())


class _Meters:
    """The buckets of one event loop, and the queue for them, of calls with their tokens."""

    def __init__(self, requests: TokenBucket | None, tokens: TokenBucket | None) -> None:
        self.requests = requests
        self.tokens = tokens
        self.queue: FairQueue[int] = FairQueue(self._take, self._give_back)

    def _take(self, tokens: int) -> float:
        now = loop_time()
        seconds = max(bucket.seconds_until(amount, now) for bucket, amount in self._amounts(tokens))
        if seconds <= 0:
            for bucket, amount in self._amounts(tokens):
                bucket.take(amount, now)
        return seconds

    def _give_back(self, tokens: int) -> None:
        for bucket, amount in self._amounts(tokens):
            bucket.take(-amount, loop_time())

    def sent_again(self, times: int) -> None:
        """Count the requests that the transport has repeated, without a field that the server refused."""
        if self.requests is not None and times:
            self.requests.take(times, loop_time())

    def settle(self, tokens: int, used: int) -> None:
        if self.tokens is not None:
            self.tokens.take(used - tokens, loop_time())
            self.queue.move()

    def _amounts(self, tokens: int) -> list[tuple[TokenBucket, int]]:
        amounts = ((self.requests, 1), (self.tokens, tokens))
        return [(bucket, amount) for bucket, amount in amounts if bucket is not None]


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
