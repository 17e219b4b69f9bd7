"""Asking again after a failure that can pass."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse
from mesa_llm.errors import ModelCallError
from mesa_llm.limits.checks import check_number, check_whole
from mesa_llm.limits.failures import retold
from mesa_llm.limits.stopwatch import Stopwatch
from mesa_llm.limits.waiting import told_of_lines

if TYPE_CHECKING:
    from tenacity import RetryCallState

_logger = logging.getLogger(__name__)

# Not a generator of the model's, nor Python's global one, which models use too; and not one with a state, which forked
# processes would have in common.
_random = random.SystemRandom()


def full_jitter(ceiling: float) -> float:
    """Seconds to wait, evenly distributed from zero to a ceiling.

    "Full jitter" of Brooker, *Exponential Backoff And Jitter* (AWS Architecture Blog, 2015): of the ways to spread
    calls that have failed together, the one with the fewest calls in all.
    """
    return _random.uniform(0.0, ceiling)


class RetryingClient(AsyncClient):
    """Asks another client again after a failure that can pass: so often at most, and for so long at most.

    Which failures can pass, the transport says (`ModelCallError.is_transient`): a server that is busy, slow or not
    there. All others are raised at once.

    Before attempt n+1 it waits for up to `initial * 2**(n-1)` seconds (see `full_jitter`); if the server says when it
    wants to be asked again, that is waited for first. If it says a time after `max_elapsed`, the error is raised at
    once. Waiting holds no place in a limit that lies further in, and cancelling the call ends it. It counts for
    `decide_timeout`.

    The error that is raised in the end is the last one, of the same type and with the same attributes; its text says
    how often and for how long it was tried.

    Args:
        inner: the client that answers. Its `agenerate` is called on the transport loop.
        max_attempts: how often a request is sent at most, at least 1.
        max_elapsed: seconds after which it is not sent again, counted from the first attempt. The time in which the
            request waits in a limit does not count: else only those at the front of a long line would be retried.
        initial: seconds that are waited at most before the second attempt.
        longest: seconds that are waited at most before any attempt.
        jitter: gives the seconds to wait for a ceiling.
        sleep: waits for some seconds.
        clock: gives the time in seconds.

    Raises:
        ConfigurationError: if a number cannot work.
    """

    def __init__(
        self,
        inner: LLMClient,
        *,
        max_attempts: int = 6,
        max_elapsed: float = 120.0,
        initial: float = 0.5,
        longest: float = 30.0,
        jitter: Callable[[float], float] = full_jitter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_whole("max_attempts", max_attempts, way_out="Use 1 to ask once.")
        check_number("max_elapsed", max_elapsed, unit="seconds")
        check_number("initial", initial, unit="seconds")
        check_number("longest", longest, unit="seconds")
        self.inner = inner
        self.max_attempts = max_attempts
        self.max_elapsed = max_elapsed
        self.initial = initial
        self.longest = longest
        self._jitter = jitter
        self._sleep = sleep
        self._clock = clock

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Have the inner client answer, several times if need be. Runs on the transport loop.

        Raises:
            ModelCallError: the last one, if the last attempt has failed.
        """
        tries = _Tries(self, request.model)
        try:
            with told_of_lines(tries.stopwatch):
                try:
                    return await self.inner.agenerate(request)  # nearly always that is all
                except ModelCallError as error:
                    if not error.is_transient:
                        raise
                    response = await self._ask_again(request, error, tries)
        except ModelCallError as error:
            failure = error
        else:
            return replace(response, retries=response.retries + tries.retries) if tries.retries else response
        # Raised out here, so that the error that is told anew is not shown a second time as its context.
        raise tries.told(failure)

    async def _ask_again(self, request: LLMRequest, failure: ModelCallError, tries: _Tries) -> LLMResponse:
        """Go on after a first attempt that has failed."""
        # Not on import: most programs make no retry, and it takes its time.
        from tenacity import AsyncRetrying, retry_if_exception  # noqa: PLC0415

        first: ModelCallError | None = failure

        async def ask() -> LLMResponse:
            nonlocal first
            if first is not None:
                error, first = first, None
                raise error
            return await self.inner.agenerate(request)

        attempts = AsyncRetrying(
            sleep=self._sleep,
            retry=retry_if_exception(_can_pass),
            wait=tries.wait,
            stop=tries.must_stop,
            before_sleep=tries.log,
            reraise=True,
        )
        return await attempts(ask)


def _can_pass(error: BaseException) -> bool:
    return isinstance(error, ModelCallError) and error.is_transient


class _Tries:
    """The attempts for one request."""

    def __init__(self, client: RetryingClient, model: str) -> None:
        self.client = client
        self.model = model
        self.stopwatch = Stopwatch(client._clock)
        self.retries = 0
        self._why = ""

    def wait(self, state: RetryCallState) -> float:
        """Seconds to wait before the next attempt."""
        left = self.client.max_elapsed - self.stopwatch.seconds
        ceiling = min(self.client.longest, self.client.initial * 2.0 ** min(state.attempt_number - 1, 60))
        return min((_asked_to_wait(state) or 0.0) + self.client._jitter(ceiling), max(0.0, left))

    def must_stop(self, state: RetryCallState) -> bool:
        """Whether there is no next attempt."""
        left = self.client.max_elapsed - self.stopwatch.seconds
        asked = _asked_to_wait(state)
        if state.attempt_number >= self.client.max_attempts or left <= 0:
            return True
        if asked is not None and asked > left:
            self._why = f" The server wants to be asked again in {asked:g} s, and {left:.1f} s are left."
            return True
        return False

    def log(self, state: RetryCallState) -> None:
        """Say that there is a next attempt."""
        self.retries += 1
        _logger.info(
            "%s: attempt %d of %d failed, the next one is in %.2f s: %s",
            self.model,
            state.attempt_number,
            self.client.max_attempts,
            state.upcoming_sleep,
            _error_of(state),
        )

    def told(self, error: ModelCallError) -> ModelCallError:
        """The last error, with what was tried."""
        if not self.retries and not self._why:
            return error
        often = "once" if not self.retries else f"{self.retries + 1} times within {self.stopwatch.seconds:.3g} s"
        failure = retold(error, more=f"Tried {often}.{self._why}")
        failure.retries += self.retries
        return failure


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _asked_to_wait(state: RetryCallState) -> float | None:
    error = _error_of(state)
    return error.retry_after if isinstance(error, ModelCallError) else None
