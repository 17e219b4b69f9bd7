"""aiohttp's response, with the moment at which its request was sent. Imports aiohttp, which is slow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from typing import Self

    from aiohttp.connector import Connection


class TimedResponse(aiohttp.ClientResponse):
    """A response that knows when its request was sent: what came before, as making a connection, is not the answer.

    Attributes:
        sent: when, on the clock of `time.perf_counter`, in seconds.
    """

    sent: float

    async def start(self, connection: Connection) -> Self:
        """Begin to read. aiohttp calls this when it has written the request."""
        self.sent = time.perf_counter()
        await super().start(connection)
        return self
