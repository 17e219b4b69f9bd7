"""A client whose answers take time on a clock of its own, which moves on when an agent of a sequential step waits."""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from mesa_llm.clients import AsyncClient, LLMRequest, LLMResponse
from mesa_llm.concurrency import transport_loop
from mesa_llm.parallel_stepping.look_ahead import LookAhead
from mesa_llm.parallel_stepping.memo import Memo


class VirtualTimeClient(AsyncClient):
    """Answers as an inner client does, after a latency on the virtual clock.

    Attributes:
        now: the time on the clock; with a latency of 1, how many latencies the agents have waited for.
        asked: how many calls were sent.
    """

    def __init__(self, inner: AsyncClient, latency: Callable[[LLMRequest], float] = lambda request: 1.0) -> None:
        self.inner = inner
        self.now = 0.0
        self.asked = 0
        self._latency = latency
        self._parked: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer when the clock says so."""
        self.asked += 1
        due: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._parked, (self.now + self._latency(request), next(self._numbers), due))
        await due
        return await self.inner.complete(request)

    def advance(self, memo: Memo) -> None:
        """Move the clock to the next answer, and let all answers of that time arrive."""
        arriving = transport_loop.get().submit(self._release()).result()
        while len(memo._arrivals) < arriving:
            bell = memo.bell()
            if len(memo._arrivals) < arriving:
                bell.result(timeout=10)

    async def _release(self) -> int:
        for _ in range(5):  # what was sent gets here
            await asyncio.sleep(0)
        while self._parked and self._parked[0][2].done():  # cancelled
            heapq.heappop(self._parked)
        if not self._parked:  # what the agent waits for is something else, such as a journal's file
            return 0
        self.now = self._parked[0][0]
        released = 0
        while self._parked and self._parked[0][0] <= self.now + 1e-9:
            due = heapq.heappop(self._parked)[2]
            if not due.done():
                due.set_result(None)
                released += 1
        return released


@contextmanager
def on_virtual_time(client: VirtualTimeClient) -> Iterator[VirtualTimeClient]:
    """Let the client's clock move on whenever an agent waits."""

    def waits(memo: Memo) -> None:
        if not memo._arrivals:
            client.advance(memo)

    with patch.object(Memo, "before_wait", waits), patch.object(LookAhead, "rest_s", lambda self: 0.0):
        yield client
