"""The module litellm, imported when the first call needs it."""

from __future__ import annotations

import asyncio
import atexit
import functools
import importlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from mesa_llm.clients.masking import Secrets
from mesa_llm.concurrency import transport_loop, worker_thread

_LOGGERS = ("LiteLLM", "litellm", "openai", "anthropic", "httpx", "httpcore")
"""Loggers of litellm and of what it sends requests with; those below them count too."""

_importing: asyncio.Task[Any] | None = None  # touched on the transport loop only, so it needs no lock


async def load_litellm(secrets: Secrets) -> Any:
    """Import litellm in a thread, once, silence it and warm it up. Runs on the transport loop, which goes on meanwhile.

    It takes 4 to 6 seconds the first time.

    Args:
        secrets: those of the client that is about to call litellm. They are masked in its logs from now on.
    """
    _log_filter.secrets |= secrets
    global _importing  # noqa: PLW0603 - one import for the process is the point
    if _importing is None or (_importing.done() and (_importing.cancelled() or _importing.exception() is not None)):
        _importing = asyncio.create_task(_prepare())
    # Shielded: a call that is cancelled must not cancel the import for the others.
    return await asyncio.shield(_importing)


async def _prepare() -> Any:
    litellm = await asyncio.wrap_future(worker_thread.start(_import, name="mesa-llm-import-litellm"))
    with suppress(Exception):  # a real call says what is wrong
        await _warm_up(litellm)
    return litellm


async def _warm_up(litellm: Any) -> None:
    """Complete one request without a network, so that litellm makes now what it would make in the first real one.

    The first real requests run together on this loop, where each one's setup would delay the answers to the others,
    and so count as their latency.
    """
    httpx: Any = importlib.import_module("httpx")
    openai: Any = importlib.import_module("openai")
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "."}}
    answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "none", "choices": [choice]}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    async with httpx.AsyncClient(transport=transport) as http_client:
        client = openai.AsyncOpenAI(api_key="none", http_client=http_client)
        await litellm.acompletion("openai/none", [{"role": "user", "content": "."}], client=client)


def _import() -> Any:
    # Without this it downloads a price list, with retries, while it is imported.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    # Without this it loads the nearest .env file while it is imported. Undone after, it means other things as well.
    mode = os.environ.get("LITELLM_MODE")
    os.environ["LITELLM_MODE"] = mode or "PRODUCTION"
    try:
        litellm: Any = importlib.import_module("litellm")
    finally:
        if mode is None:
            del os.environ["LITELLM_MODE"]
    litellm.telemetry = False
    litellm.suppress_debug_info = True  # it prints advice to stdout on every failure
    importlib.import_module("openai.resources")  # the first request would import it, on the event loop
    _mask_logs()
    _follow_no_redirects()
    _time_exchanges()
    atexit.register(_settle_at_exit, os.getpid())
    return litellm


class _LogFilter(logging.Filter):
    """Masks secrets in log records, tracebacks included."""

    secrets = Secrets()  # replaced as a whole, so any thread may log

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except Exception:  # its arguments do not fit; a handler would print them
            message, record.args = str(record.msg), None
        if (shown := self.secrets.masked(message)) != message:
            record.msg, record.args = shown, None
        if record.exc_info:
            traceback = record.exc_text or logging.Formatter().formatException(record.exc_info)
            if (shown := self.secrets.masked(traceback)) != traceback:
                record.exc_text, record.exc_info = shown, None
        return True


_log_filter = _LogFilter()


def _mask_logs() -> None:
    importlib.import_module("httpcore")  # makes its loggers; httpx imports it with the first connection
    # A logger's filters do not see the records of loggers below it.
    for name in (*_LOGGERS, *logging.root.manager.loggerDict):
        if name.startswith(_LOGGERS):
            logging.getLogger(name).addFilter(_log_filter)


def _follow_no_redirects() -> None:
    """Have litellm treat a redirection as an error, as the direct client does.

    httpx, which it sends requests with, would follow it to another host without `Authorization`, but with the headers
    in which other providers want their key: `api-key`, `x-api-key`, `x-goog-api-key`.
    """
    handlers: Any = importlib.import_module("litellm.llms.custom_httpx.http_handler")
    of_openai: Any = importlib.import_module("litellm.llms.openai.common_utils").BaseOpenAILLM
    for handler in (handlers.AsyncHTTPHandler, handlers.HTTPHandler):
        handler.create_client = _without_redirects(handler.create_client)
    for name in ("_get_async_http_client", "_get_sync_http_client"):
        setattr(of_openai, name, staticmethod(_without_redirects(getattr(of_openai, name))))


def _without_redirects(make: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(make)
    def made(*args: Any, **kwargs: Any) -> Any:
        client = make(*args, **kwargs)
        if client is not None:
            client.follow_redirects = False
        return client

    return made


@dataclass(slots=True)
class Exchange:
    """The exchange with a server that a call of litellm makes.

    Attributes:
        began: when the call was made, on the clock of `time.perf_counter`, in seconds.
        sent: when the request was written; `None` if that was not seen.
        answered: when the answer began to arrive; `None` if that was not seen.
        ended: when the call ended.
    """

    began: float
    sent: float | None = None
    answered: float | None = None
    ended: float = math.nan

    @property
    def seconds(self) -> float:
        """How long the server took, as far as it was seen: without what litellm does before and after."""
        if self.sent is not None and self.answered is not None:
            return self.answered - self.sent
        return self.ended - self.began


_exchange: ContextVar[Exchange | None] = ContextVar("mesa_llm_litellm_exchange", default=None)


@contextmanager
def timed_exchange() -> Iterator[Exchange]:
    """Time the one call of litellm that is made herein."""
    exchange = Exchange(time.perf_counter())
    token = _exchange.set(exchange)
    try:
        yield exchange
    finally:
        _exchange.reset(token)
        exchange.ended = time.perf_counter()


def _time_exchanges() -> None:
    """Have the exchanges timed that litellm makes with aiohttp, which it does with most providers."""
    transport: Any = importlib.import_module("litellm.llms.custom_httpx.aiohttp_transport").LiteLLMAiohttpTransport
    trace: Any = importlib.import_module("aiohttp").TraceConfig()

    async def sent(*_: object) -> None:
        if (exchange := _exchange.get()) is not None:
            exchange.sent = time.perf_counter()

    async def answered(*_: object) -> None:
        if (exchange := _exchange.get()) is not None:
            exchange.answered = time.perf_counter()

    trace.on_request_headers_sent.append(sent)
    trace.on_request_end.append(answered)
    open_session = transport._rebuild_session

    @functools.wraps(open_session)
    def opened(self: Any) -> Any:
        session = open_session(self)
        trace.freeze()
        session.trace_configs.append(trace)
        return session

    transport._rebuild_session = opened


def _settle_at_exit(owner: int) -> None:
    """Finish litellm's business on the loop that it belongs to.

    Runs before litellm's own exit handlers, since it is registered after them. Those would finish it on another loop,
    while ours still runs it, and write the resulting errors to stderr.
    """
    if os.getpid() == owner:  # a forked child has neither that loop nor its connections
        with suppress(Exception):
            transport_loop.submit(_settle()).result(timeout=2.0)


async def _settle() -> None:
    logging_worker: Any = importlib.import_module("litellm.litellm_core_utils.logging_worker")
    cleanup: Any = importlib.import_module("litellm.llms.custom_httpx.async_client_cleanup")
    await logging_worker.GLOBAL_LOGGING_WORKER.flush()
    await cleanup.close_litellm_async_clients()


def _forget_after_fork() -> None:
    global _importing  # noqa: PLW0603
    if _importing is not None and not _importing.done():
        _importing = None  # its thread is not in the child


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
