"""Imports litellm at the first call that needs it: silent, with masked logs, timed, and without redirections."""

from __future__ import annotations

import asyncio
import atexit
import functools
import importlib
import logging
import math
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Self

from mesa_llm.clients.masking import Secrets
from mesa_llm.concurrency import in_forked_child, transport_loop, worker_thread

# Loggers of litellm and of the libraries that it sends requests with; those below them count too.
_LOGGERS = ("LiteLLM", "litellm", "openai", "anthropic", "httpx", "httpcore")

_LONGEST_HEADER = 64 * 1024  # bytes

_importing: asyncio.Task[Any] | None = None  # touched on the transport loop only, so it needs no lock


async def load_litellm(secrets: Secrets) -> Any:
    """Import litellm once and prepare it; that takes 4 to 6 seconds. Runs on the transport loop without blocking it."""
    _log_filter.secrets |= secrets
    global _importing  # noqa: PLW0603 - one import for the process is the point
    if _importing is None or (_importing.done() and (_importing.cancelled() or _importing.exception() is not None)):
        _importing = asyncio.create_task(_prepare())
    # Shielded: a call that is cancelled must not cancel the import for the others.
    return await asyncio.shield(_importing)


async def _prepare() -> Any:
    """Import litellm in a thread, and complete one request without a network, within which litellm sets itself up."""
    litellm = await asyncio.wrap_future(worker_thread.start(_import, name="mesa-llm-import-litellm"))
    httpx: Any = importlib.import_module("httpx")
    openai: Any = importlib.import_module("openai")
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "."}}
    answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "none", "choices": [choice]}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    with suppress(Exception):  # a real call will say what is wrong
        async with httpx.AsyncClient(transport=transport) as http_client:
            client = openai.AsyncOpenAI(api_key="none", http_client=http_client)
            await litellm.acompletion("openai/none", [{"role": "user", "content": "."}], client=client)
    return litellm


def _import() -> Any:
    # Without this the import downloads a price list, with retries.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    # Without this the import loads the nearest .env file. Undone afterwards, since it means other things as well.
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
    importlib.import_module("httpcore")  # makes its loggers; httpx imports it with the first connection
    # A logger's filters do not see the records of loggers below it.
    for name in (*_LOGGERS, *logging.root.manager.loggerDict):
        if name.startswith(_LOGGERS):
            logging.getLogger(name).addFilter(_log_filter)
    _patch_clients()
    _time_exchanges()
    atexit.register(_settle_at_exit, os.getpid())
    return litellm


class _LogFilter(logging.Filter):
    """Masks secrets in log records, tracebacks included."""

    secrets = Secrets()  # replaced, never changed: any thread may log

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


def _patch_clients() -> None:
    """Make litellm treat a redirection as an error, as the direct client does, and show what the server has answered.

    Its httpx would follow one to another host with the headers in which some providers want their key (`api-key`,
    `x-api-key`). And litellm loses some of an answer, such as an error in a completion, or fails on it.
    """
    handlers: Any = importlib.import_module("litellm.llms.custom_httpx.http_handler")
    httpx: Any = importlib.import_module("httpx")
    of_openai: Any = importlib.import_module("litellm.llms.openai.common_utils").BaseOpenAILLM

    def patched(make: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(make)
        def made(*args: Any, **kwargs: Any) -> Any:
            client = make(*args, **kwargs)
            if client is not None:
                client.follow_redirects = False
                if isinstance(client, httpx.AsyncClient):
                    client.event_hooks["response"].append(_note_response)
            return client

        return made

    for handler in (handlers.AsyncHTTPHandler, handlers.HTTPHandler):
        handler.create_client = patched(handler.create_client)
    for name in ("_get_async_http_client", "_get_sync_http_client"):
        setattr(of_openai, name, staticmethod(patched(getattr(of_openai, name))))


async def _note_response(response: Any) -> None:
    """Keep the answer where an exchange is watched. Runs in the task of the call."""
    if (exchange := _exchange.get()) is not None:
        exchange.response = response
        await response.aread()


class WatchedExchange:
    """Times the exchange with a server in the one call of litellm inside its `with` block, and keeps its answer.

    Where the exchange is not seen, it is the whole block, with litellm's own work before and after.
    """

    sent: float
    answered: float | None
    response: Any = None
    """The last answer of the server, of httpx; `None` if there was none, or it was not seen."""

    @property
    def seconds(self) -> float:
        """The time from the request being written to the answer beginning to arrive."""
        return (self.answered or math.nan) - self.sent

    def __enter__(self) -> Self:
        self._token = _exchange.set(self)
        self.sent, self.answered, self.response = time.perf_counter(), None, None
        return self

    def body(self) -> bytes | None:
        """The body of the answer; `None` if it did not come, or cannot be unpacked."""
        try:
            return None if self.response is None else bytes(self.response.content)
        except RuntimeError:  # it was not read to its end
            return None

    def __exit__(self, *_: object) -> None:
        _exchange.reset(self._token)
        self.answered = self.answered or time.perf_counter()


_exchange: ContextVar[WatchedExchange | None] = ContextVar("mesa_llm_litellm_exchange", default=None)


def _time_exchanges() -> None:
    """Time the exchanges that litellm makes with aiohttp, as it does with most providers."""
    transport: Any = importlib.import_module("litellm.llms.custom_httpx.aiohttp_transport").LiteLLMAiohttpTransport
    trace: Any = importlib.import_module("aiohttp").TraceConfig()

    def note(event: str) -> Callable[..., Awaitable[None]]:
        async def noted(*_: object) -> None:
            if (exchange := _exchange.get()) is not None:
                setattr(exchange, event, time.perf_counter())

        return noted

    trace.on_request_headers_sent.append(note("sent"))
    trace.on_request_end.append(note("answered"))
    trace.freeze()
    open_session = transport._rebuild_session

    @functools.wraps(open_session)
    def opened(self: Any) -> Any:
        session = open_session(self)
        session.trace_configs.append(trace)
        for bound in ("_max_line_size", "_max_field_size"):  # for headers that are longer than 8 KB
            if hasattr(session, bound):
                setattr(session, bound, _LONGEST_HEADER)
        return session

    transport._rebuild_session = opened


def _settle_at_exit(owner: int) -> None:
    """Finish litellm's background work on the loop that it runs on, before litellm's own exit handlers.

    Those would finish it on another loop, while ours still runs it, and write the resulting errors to stderr.
    """
    if os.getpid() == owner:  # a forked child has neither that loop nor its connections
        with suppress(Exception):
            transport_loop.get().submit(_settle()).result(timeout=2.0)


async def _settle() -> None:
    logging_worker: Any = importlib.import_module("litellm.litellm_core_utils.logging_worker")
    cleanup: Any = importlib.import_module("litellm.llms.custom_httpx.async_client_cleanup")
    await logging_worker.GLOBAL_LOGGING_WORKER.flush()
    await cleanup.close_litellm_async_clients()


@in_forked_child
def _forget_after_fork() -> None:
    global _importing  # noqa: PLW0603
    if _importing is not None and not _importing.done():
        _importing = None  # its thread is not in the child
