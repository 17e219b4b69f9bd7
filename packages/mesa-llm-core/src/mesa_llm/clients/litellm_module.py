"""The module litellm, imported when the first call needs it."""

from __future__ import annotations

import asyncio
import atexit
import functools
import importlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from mesa_llm.clients.masking import Secrets
from mesa_llm.concurrency import transport_loop, worker_thread

_LOGGERS = ("LiteLLM", "litellm", "openai", "anthropic", "httpx", "httpcore")
"""Loggers of litellm and of what it sends requests with; those below them count too."""

_importing: Future[Any] | None = None  # touched on the transport loop only, so it needs no lock


async def load_litellm(secrets: Secrets) -> Any:
    """Import litellm in a thread, once, and silence it. Runs on the transport loop, which goes on meanwhile.

    It takes 4 to 6 seconds the first time.

    Args:
        secrets: those of the client that is about to call litellm. They are masked in its logs from now on.
    """
    _log_filter.secrets |= secrets
    global _importing  # noqa: PLW0603 - one import for the process is the point
    if _importing is None or (_importing.done() and _importing.exception() is not None):
        _importing = worker_thread.start(_import, name="mesa-llm-import-litellm")
    # Shielded: a call that is cancelled must not cancel the import for the others.
    return await asyncio.shield(asyncio.wrap_future(_importing))


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
    _mask_logs()
    _follow_no_redirects()
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
