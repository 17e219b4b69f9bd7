"""One request and its whole answer, which may not be larger than agreed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import aiohttp

    from mesa_llm.clients.timed_exchange import TimedResponse

_MOST_OF_AN_ERROR = 64 * 1024  # bytes that are read of an answer that is an error


class BodyTooLargeError(Exception):
    """An answer is larger than agreed."""


@dataclass(frozen=True, slots=True)
class HTTPAnswer:
    """An answer.

    Attributes:
        status: the HTTP status.
        reason: the words beside it.
        headers: the headers; names in any case.
        body: the body; of an error perhaps only the beginning.
        seconds: from the request being sent to the body being read.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    seconds: float


async def post(session: aiohttp.ClientSession, url: Any, max_bytes: int, **arguments: Any) -> HTTPAnswer:
    """Send a request by POST. Cancelling it drops the connection.

    Args:
        session: sends it; its responses are `TimedResponse`s.
        url: where to.
        max_bytes: how large the body of the answer may be, after decompression.
        **arguments: those of `aiohttp.ClientSession.post`.

    Raises:
        BodyTooLargeError: if it is larger.
        aiohttp.ClientError: or one of its children, or another `OSError`, if there is no whole answer.
        TimeoutError: if there is none in time.
    """
    answer = cast("TimedResponse", await session.post(url, allow_redirects=False, **arguments))
    try:
        if answer.status == 200:
            body, is_whole = await _read(answer, max_bytes)
            if not is_whole:
                raise BodyTooLargeError(f"sent an answer of more than {max_bytes:,} bytes")
        else:
            body, is_whole = await _read(answer, min(max_bytes, _MOST_OF_AN_ERROR))
    except BaseException:
        answer.close()
        raise
    if not is_whole:
        answer.close()  # the connection, since the rest is still to come
    seconds = time.perf_counter() - answer.sent
    return HTTPAnswer(answer.status, answer.reason or "", answer.headers, body, seconds)


async def _read(answer: aiohttp.ClientResponse, max_bytes: int) -> tuple[bytes, bool]:
    """The body, or its beginning; and whether it is the whole."""
    length = answer.content_length
    if length is not None and length <= max_bytes and "Content-Encoding" not in answer.headers:
        return await answer.read(), True
    pieces, size = [], 0
    async for piece in answer.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            return b"".join(pieces)[:max_bytes], False
    return b"".join(pieces), True
