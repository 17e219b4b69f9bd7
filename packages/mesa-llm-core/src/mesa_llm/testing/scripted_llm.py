"""A client for tests: answers by a script, keeps the requests, and can prove that calls overlap."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from mesa_llm.clients import AsyncClient, LLMRequest, LLMResponse
from mesa_llm.clients.chat_completion import Answer, to_response
from mesa_llm.clients.rule_based import Latency, check_latency, pause
from mesa_llm.errors.checks import check_whole

type Script[Q, A] = Callable[[Q], A | Exception | Awaitable[A | Exception]] | Sequence[A | Exception] | A | Exception


class ScriptedLLM(AsyncClient):
    """Answers by a script.

    Args:
        script: a function of the request, plain or async; a list or tuple of answers, given in order of arrival (so
            several tool calls in one answer are a list in that list); or one answer for all requests. An answer is one
            as for `RuleBasedClient`, or an exception, which is raised.
        latency: seconds until the answer, or a function that gives them for a request.
        hold_until: holds all answers until this many calls are in flight at once, then gives them; then the next
            batch. Passes only if the calls really overlap, on a fast or a slow machine.
        patience: seconds after which an incomplete batch fails with an `AssertionError`.

    Attributes:
        requests: the requests, in order of arrival.
        in_flight: calls that have arrived and are not answered yet.
        peak_in_flight: the most calls that were in flight at once.

    Raises:
        ConfigurationError: if `latency` is below zero or `hold_until` below one.
    """

    def __init__(
        self,
        script: Script[LLMRequest, Answer],
        *,
        latency: Latency[LLMRequest] = 0.0,
        hold_until: int | None = None,
        patience: float = 10.0,
    ) -> None:
        self.requests: list[LLMRequest] = []
        self.in_flight = 0
        self.peak_in_flight = 0
        self._script: ScriptReader[LLMRequest, Answer] = ScriptReader(script, latency, hold_until, patience)

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer a request. Runs on the transport loop."""
        self.requests.append(request)
        place = self._script.take_place()
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        try:
            answer, seconds = await self._script.answer(request, place)
            return to_response(answer, model=request.model, latency_s=seconds)
        finally:
            self.in_flight -= 1


class ScriptReader[Q, A]:
    """Gives one answer of a script for each request, when its batch is complete and its latency is over."""

    def __init__(self, script: Script[Q, A], latency: Latency[Q], hold_until: int | None, patience: float) -> None:
        self._script = script
        self._latency = check_latency(latency)
        self._gate = Gate(hold_until, patience)
        self._arrived = 0

    def take_place(self) -> int:
        """Count a request on its arrival, by which its answer is chosen."""
        self._arrived += 1
        return self._arrived

    async def answer(self, request: Q, place: int) -> tuple[A, float]:
        """The answer to a request with a number from `take_place`, and the seconds of latency before it."""
        await self._gate.wait()
        seconds = await pause(self._latency, request)
        answer = self._look_up(request, place)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        return cast("A", answer), seconds

    def _look_up(self, request: Q, place: int) -> object:
        if callable(self._script):
            return self._script(request)
        if not isinstance(self._script, list | tuple):
            return self._script
        if place > len(self._script):
            raise AssertionError(
                f"The script has {len(self._script)} answers, and this is call {place}. Add answers, or give a "
                "function or a single answer, which do not run out."
            )
        return self._script[place - 1]


class Gate:
    """Holds calls on one event loop until `size` of them wait at once, then the next `size`; `None` holds none.

    `patience` seconds after its first arrival, an incomplete batch fails as a whole.
    """

    def __init__(self, size: int | None, patience: float) -> None:
        if size is not None:
            check_whole("hold_until", size, hint="Use None to hold nothing.")
        self.size = size
        self.patience = patience
        self._held: list[asyncio.Future[str | None]] = []  # each resolves to the complaint of a failed batch, or None
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self) -> None:
        """Wait for the batch to be complete, or raise an `AssertionError`. A cancelled waiter no longer counts."""
        if self.size is None:
            return
        loop = asyncio.get_running_loop()
        place: asyncio.Future[str | None] = loop.create_future()
        self._held.append(place)
        if len(self._held) == self.size:
            self._release(None)
        elif self._timer is None:
            self._timer = loop.call_later(self.patience, self._give_up)
        try:
            complaint = await place
        except asyncio.CancelledError:
            self._leave(place)
            raise
        if complaint is not None:
            raise AssertionError(complaint)

    def _give_up(self) -> None:
        self._release(
            f"hold_until={self.size}: after {self.patience:g} s only {len(self._held)} calls were in flight at once. "
            "Either fewer are made, or they are made one after another."
        )

    def _release(self, complaint: str | None) -> None:
        batch, self._held = self._held, []
        self._stop_timer()
        for place in batch:
            if not place.done():
                place.set_result(complaint)

    def _leave(self, place: asyncio.Future[str | None]) -> None:
        if place in self._held:
            self._held.remove(place)
        if not self._held:
            self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
