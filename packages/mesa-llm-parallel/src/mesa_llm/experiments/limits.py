"""What all runs of a study together may send and take; how their calls stop; seeds that arms have in common."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from threading import Event
from typing import Literal

from mesa_llm.activation.values import to_json
from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse
from mesa_llm.concurrency import transport_loop
from mesa_llm.errors import BudgetExhaustedError
from mesa_llm.limits import AdaptiveConcurrency, Budget
from mesa_llm.module_llm import connect
from mesa_llm.module_llm.connect import UNTIL_REFUSED, Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits that all runs of a study share, as in `connect`.

    Attributes:
        max_concurrency: how many calls may be in flight at once; by default as many as there are, until the endpoint
            refuses one.
        requests_per_minute: how many requests may be sent in a minute.
        tokens_per_minute: how many tokens they may take in a minute.
        budget: what the study may take: also what it has taken in earlier sessions counts.
        max_attempts: how often a request is sent at most.
    """

    max_concurrency: int | Literal["adaptive"] | AdaptiveConcurrency | None = UNTIL_REFUSED
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    budget: Budget | None = None
    max_attempts: int = 6

    def client(
        self, transport: Transport | LLMClient = "auto", *, api_base: str | None = None, api_key: str | None = None
    ) -> LLMClient:
        """A client with these limits.

        Args:
            transport: as for `connect`.
            api_base: the base URL of the server; `None` for the provider's own.
            api_key: the key; `None` for the provider's environment variable.

        Raises:
            ConfigurationError: if a value cannot work.
        """
        return connect(
            transport=transport,
            api_base=api_base,
            api_key=api_key,
            max_concurrency=self.max_concurrency,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            budget=self.budget,
            max_attempts=self.max_attempts,
        )


class StoppedError(BaseException):
    """The study is being stopped: nothing more is asked. No error of a model, so journals do not record it.

    A `BaseException`, so that a model that catches errors does not step on without answers.
    """


class StoppableClient(AsyncClient):
    """Asks another client until it is stopped; then calls in flight are cancelled, and others refused.

    A spent budget stops the run as well, and is kept in `exhausted`.
    """

    def __init__(self, inner: LLMClient, stop: Event) -> None:
        self.inner = inner
        self._stop = stop
        self._asking: set[asyncio.Task[LLMResponse]] = set()
        self.exhausted: BudgetExhaustedError | None = None

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Have the other client answer. Runs on the transport loop."""
        if self._stop.is_set():
            raise StoppedError("The study is being stopped.")
        task = asyncio.ensure_future(self.inner.complete(request))
        self._asking.add(task)
        try:
            return await task
        except BudgetExhaustedError as error:
            self.exhausted = error
            raise StoppedError("The budget is spent.") from error
        except asyncio.CancelledError:
            if self._stop.is_set():
                raise StoppedError("The study is being stopped.") from None
            raise
        finally:
            self._asking.discard(task)

    def cancel(self) -> None:
        """Cancel the calls in flight; from any thread."""

        async def cancel() -> None:
            for task in self._asking:
                task.cancel()

        transport_loop.get().submit(cancel()).result()


class SeededClient(AsyncClient):
    """Sends a seed with each call, made of the study's seed, the run's, and whose call it is: not of what is asked.

    So the arms of a study have random numbers in common, and differ only in what is varied. Providers that take a seed
    answer equal requests alike.
    """

    def __init__(self, inner: LLMClient, *of: object) -> None:
        self.inner = inner
        self._of = of

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Have the other client answer. Runs on the transport loop."""
        origin = request.call.origin
        if origin is not None and "seed" not in request.options:
            identity = to_json([*self._of, origin.agent_id, origin.step, origin.call])
            seed = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4]) >> 1
            request = replace(request, options={**request.options, "seed": seed})
        return await self.inner.complete(request)
