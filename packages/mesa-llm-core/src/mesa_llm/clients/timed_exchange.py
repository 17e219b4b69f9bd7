"""aiohttp's request and response, which know when the request was sent. Imports aiohttp, which is slow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import aiohttp

if TYPE_CHECKING:
    from aiohttp.connector import Connection


class TimedResponse(aiohttp.ClientResponse):
    """A response that knows when its request was sent. What came before, such as connecting, is not the answer.

    Attributes:
        sent: when, on the clock of `time.perf_counter`, in seconds.
    """

    sent: float


class TimedRequest(aiohttp.ClientRequest):
    """A request whose response is a `TimedResponse`."""

    async def send(self, conn: Connection) -> TimedResponse:
        """Write the request. aiohttp calls this when there is a connection."""
        sent = time.perf_counter()
        response = cast("TimedResponse", await super().send(conn))
        response.sent = sent
        return response
