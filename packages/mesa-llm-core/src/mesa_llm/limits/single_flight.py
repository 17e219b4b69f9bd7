"""Lets identical requests that are in flight at the same time share one call."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from mesa_llm.activation.call import ModelCall
from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse, Usage
from mesa_llm.clients.messages import request_key
from mesa_llm.limits.fair_queue import PerLoop
from mesa_llm.limits.retries import with_context


class SingleFlightClient(AsyncClient):
    """Lets identical requests to another client share a call while it is in flight.

    Only requests that want the same answer each time are shared: those with `temperature` 0 or a `seed`, identical in
    everything (see `request_key`). Questions asked off the record (see `consistency`) are not shared. This is not a
    cache: when the answer has come, the next request makes a call of its own.

    One caller gets the answer as it came. The others get it with `source="shared"`, and without tokens, cost, retries
    and latency, so that sums over calls are right. All get a failure. A caller that is cancelled leaves the call to the
    others; when all are, it is cancelled.

    Args:
        inner: the client that answers.

    Attributes:
        shared: how many calls were answered, or failed, by another one's so far. May be read from any thread.
    """

    def __init__(self, inner: LLMClient) -> None:
        self.inner = inner
        self.shared = 0
        self._flights: PerLoop[dict[str, _SharedCall]] = PerLoop()

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Join the call that is in flight, or have the inner client answer. Runs on the transport loop."""
        wants_the_same_answer = request.options.get("temperature") == 0 or request.options.get("seed") is not None
        if request.call.off_record or not wants_the_same_answer:
            return await self.inner.complete(request)
        flights = self._flights.get(dict)
        key = request_key(request)
        flight = flights.get(key)
        if flight is None or flight.is_over:
            flight = flights[key] = _SharedCall(self.inner, request)
        try:
            response = await flight.answer(request.call)
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


class _SharedCall(ModelCall):
    """The one call of several agents: while it waits in a queue, so does the call of each of them."""

    __slots__ = ("_aboard", "_original_is_taken", "_task")

    def __init__(self, client: LLMClient, request: LLMRequest) -> None:
        super().__init__()
        self.agent_step, self.origin = request.call.agent_step, request.call.origin
        self._aboard: list[ModelCall] = []
        self._original_is_taken = False
        self._task = asyncio.get_running_loop().create_task(client.complete(replace(request, call=self)))

    def seconds_left(self) -> float:
        return max((call.seconds_left() for call in self._aboard), default=0.0)

    def begin_waiting(self) -> None:
        super().begin_waiting()
        if self._waits == 1:
            for call in self._aboard:
                call.begin_waiting()

    def end_waiting(self) -> None:
        super().end_waiting()
        if not self._waits:
            for call in self._aboard:
                call.end_waiting()

    @property
    def is_over(self) -> bool:
        """Whether it can no longer be joined."""
        return self._task.done() or self._task.cancelling() > 0

    async def answer(self, call: ModelCall) -> LLMResponse:
        """The answer, for one of the calls that share it. When all of them are cancelled, so is this one."""
        self._aboard.append(call)
        if self._waits:
            call.begin_waiting()
        try:
            return await asyncio.shield(self._task)
        finally:
            self._aboard.remove(call)
            if self._waits:
                call.end_waiting()
            if not self._aboard:
                self._task.cancel()

    def take_original(self) -> bool:
        """Whether the caller, being the first one, gets the answer unchanged."""
        taken, self._original_is_taken = self._original_is_taken, True
        return not taken
