"""Asking again, or asking another model, after a failure."""

from __future__ import annotations

import asyncio
import copy
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from mesa_llm.activation.once import log_once
from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse
from mesa_llm.errors import ConfigurationError, ModelCallError
from mesa_llm.errors.checks import check_number, check_whole

_logger = logging.getLogger(__name__)

# Drawing jitter from `model.random` or the global generator would disturb seeded runs, and forks would share a state.
_random = random.SystemRandom()


def full_jitter(ceiling: float) -> float:
    """Seconds to wait, uniformly distributed from zero to a ceiling.

    "Full jitter" of Brooker, *Exponential Backoff And Jitter* (AWS Architecture Blog, 2015).
    """
    return _random.uniform(0.0, ceiling)


class RetryingClient(AsyncClient):
    """Asks another client again after a transient failure, up to a number of attempts and a total time.

    The transport says which failures are transient (`ModelCallError.is_transient`): a server that is busy, slow or
    unreachable. All others are raised at once.

    Before attempt n+1 it waits for up to `initial * 2**(n-1)` seconds (see `full_jitter`), after the pause that the
    server asks for, if it does. If that pause ends after `max_elapsed`, the error is raised at once. While it waits, a
    call holds no slot in a limit further in, and cancelling the call ends the wait. Waiting counts toward
    `decide_timeout`; if the agent's time to decide would end before the next attempt, the error is raised at once.

    The error that is raised in the end is the last one, of the same type and with the same attributes; its text adds
    the number of attempts and how long they took.

    Args:
        inner: the client that answers.
        max_attempts: the most times that a request is sent, at least 1.
        max_elapsed: seconds after the first attempt in which the request may be sent again. Time in a limit's queue
            does not count: otherwise only requests at the front of a long queue would be retried.
        initial: the longest wait before the second attempt, in seconds.
        longest: the longest wait before any attempt, in seconds.
        jitter: chooses a wait in seconds, given the longest.
        sleep: waits, given seconds.
        clock: returns the time in seconds.

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
        check_whole("max_attempts", max_attempts, hint="Use 1 to ask once.")
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
        began, waited = self._clock(), request.call.waited
        for attempt in itertools.count(1):
            try:
                response = await self.inner.complete(request)
            except ModelCallError as error:
                failure = error
            else:
                return response if attempt == 1 else replace(response, retries=response.retries + attempt - 1)
            seconds = self._clock() - began - (request.call.waited - waited)
            pause = self._pause_after(failure, attempt, left := self.max_elapsed - seconds)
            if (why := self._why_not_again(failure, attempt, left, pause, request.call.seconds_left())) is not None:
                break
            _logger.info(
                "%s: attempt %d of %d failed, the next one is in %.2f s: %s",
                request.model,
                attempt,
                self.max_attempts,
                pause,
                failure,
            )
            await self._sleep(pause)
        # Out here, so that the failure is not shown a second time, as the context of the error that is raised.
        if attempt == 1 and not why:
            raise failure
        often = "once" if attempt == 1 else f"{attempt} times within {seconds:.3g} s"
        final = with_context(failure, more=f"Tried {often}.{why}")
        final.retries += attempt - 1
        raise final

    def _pause_after(self, failure: ModelCallError, attempt: int, left: float) -> float:
        """Seconds until the next attempt."""
        ceiling = min(self.longest, self.initial * 2.0 ** min(attempt - 1, 60))
        return min((failure.retry_after or 0.0) + self._jitter(ceiling), left)

    def _why_not_again(
        self, failure: ModelCallError, attempt: int, left: float, pause: float, deadline: float
    ) -> str | None:
        """`None` if there is a next attempt; otherwise why not, or an empty text where that needs no explanation."""
        if not failure.is_transient or attempt >= self.max_attempts or left <= 0:
            return ""
        if failure.retry_after is not None and failure.retry_after > left:
            return f" The server wants to be asked again in {failure.retry_after:g} s, and {left:.1f} s are left."
        if pause >= deadline:
            return f" The next attempt would be in {pause:.3g} s, and its agent has {deadline:.3g} s left to decide."
        return None


class FallbackClient(AsyncClient):
    """Asks one model after the other until one answers.

    The next one is asked if a call to a model has failed (`ModelCallError`), so retries belong inside, around each
    model. Every other error is raised at once: an exhausted budget, an error in a program. Each call begins with the
    first model, whatever has become of others: so results stay a function of the answers. `LLMResponse.model` says who
    has answered.

    The last one may be a `RuleBasedClient`, which always answers:

        FallbackClient((RetryingClient(main), None), (RetryingClient(spare), "openai/gpt-4o-mini"), (rules, "rules/v1"))

    Args:
        *clients: each client with the model to ask it for, `provider/model`; `None` asks for the model that the request
            names.

    Raises:
        ConfigurationError: if there are fewer than two.
    """

    def __init__(self, *clients: tuple[LLMClient, str | None]) -> None:
        if len(clients) < 2:
            raise ConfigurationError(
                f"FallbackClient needs at least two clients, got {len(clients)}. Use the client itself for no fallback."
            )
        for pair in clients:
            match pair:
                case (LLMClient(), str() | None):
                    continue
            raise ConfigurationError(f"FallbackClient takes pairs of a client and a model (or None), got {pair!r}.")
        self.clients = clients

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Have the first client answer that can. Runs on the transport loop.

        Raises:
            ModelCallError: that of the last client; its text includes those of the others, and its cause holds them.
        """
        failures: list[ModelCallError] = []
        for client, model in self.clients:
            asked = request if model is None else replace(request, model=model)
            if failures:
                log_once(
                    _logger,
                    logging.WARNING,
                    f"{asked.model} is asked instead, as a call has failed: {failures[-1]}",
                    model=None if asked.call.agent is None else asked.call.agent.model,
                    kind=(asked.model, type(failures[-1]), failures[-1].status),
                )
            try:
                response = await client.complete(asked)
            except ModelCallError as error:
                failures.append(error)
            else:
                return replace(response, retries=response.retries + _sent(failures)) if failures else response
        raise _all_failed(failures)


def _sent(failures: Sequence[ModelCallError]) -> int:
    """How often a request was sent, given its failures."""
    return sum(error.retries + 1 for error in failures)


def _all_failed(failures: Sequence[ModelCallError]) -> ModelCallError:
    *earlier, last = failures
    failure = with_context(last, more=f"Before it, {len(earlier)} failed: {' | '.join(map(str, earlier))}")
    failure.retries += _sent(earlier)
    failure.__cause__ = ExceptionGroup(f"{len(failures)} models have failed", failures)
    return failure


def with_context[E: Exception](error: E, *, more: str = "") -> E:
    """A copy of an error with more text, for one of several callers: each adds notes and a traceback to its own."""
    try:
        twin = copy.copy(error)
    except TypeError:  # its class takes other arguments than it keeps
        twin = error
    if twin is not error:
        twin.__traceback__ = error.__traceback__
        twin.__cause__ = error.__cause__
        twin.__suppress_context__ = True
        twin.args = error.args  # its class may have made another text of its text
        if hasattr(error, "__notes__"):
            twin.__notes__ = list(error.__notes__)
    if more:
        twin.args = (f"{error} {more}", *error.args[1:])
    return twin
