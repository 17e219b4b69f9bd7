"""The connections that all direct clients share: one session of aiohttp for the process.

It belongs to the transport loop, is opened by the first call and closed when the interpreter exits. A forked child
opens one of its own; its parent's connections are left alone there.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import importlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from mesa_llm.concurrency import transport_loop

if TYPE_CHECKING:
    import aiohttp

_KEEP_ALIVE = 30.0  # seconds that an idle connection is kept

# Both touched on the transport loop only, so they need no lock.
_session: aiohttp.ClientSession | None = None
_opening: asyncio.Task[aiohttp.ClientSession] | None = None


async def shared_session() -> aiohttp.ClientSession:
    """The session, opened by whoever comes first. Runs on the transport loop, which goes on meanwhile."""
    global _opening  # noqa: PLW0603 - one session for the process is the point
    if _session is not None:
        return _session
    if _opening is None or (_opening.done() and (_opening.cancelled() or _opening.exception() is not None)):
        _opening = asyncio.create_task(_open())
    # Shielded: a call that is cancelled must not cancel the opening for the others.
    return await asyncio.shield(_opening)


async def _open() -> aiohttp.ClientSession:
    global _session  # noqa: PLW0603
    # In a thread: it takes some tenths of a second the first time.
    aiohttp = await asyncio.to_thread(importlib.import_module, "aiohttp")
    from mesa_llm.clients.timed_exchange import TimedRequest, TimedResponse  # noqa: PLC0415 - imports aiohttp

    # How many calls there may be at once is another layer's business, so there is no limit on connections here.
    _session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE),
        cookie_jar=aiohttp.DummyCookieJar(),
        request_class=TimedRequest,
        response_class=TimedResponse,
    )
    atexit.register(_close_at_exit, os.getpid())
    return _session


def _close_at_exit(owner: int) -> None:
    if os.getpid() == owner:  # a forked child has neither that loop nor its connections
        with suppress(Exception):
            transport_loop.submit(_close()).result(timeout=2.0)


async def _close() -> None:
    global _session, _opening
    session, _session, _opening = _session, None, None
    if session is not None:
        await session.close()


def _forget_after_fork() -> None:
    global _session, _opening
    if _session is not None:
        # Never to be freed here: it would close connections whose other owner, the parent, still uses them, down to
        # the goodbye of TLS.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(_session))
    _session, _opening = None, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
