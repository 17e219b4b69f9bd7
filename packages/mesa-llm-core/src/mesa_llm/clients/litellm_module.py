"""The module litellm, imported when the first call needs it."""

from __future__ import annotations

import asyncio
import atexit
import importlib
import os
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from mesa_llm.concurrency import transport_loop, worker_thread

_importing: Future[Any] | None = None  # touched on the transport loop only, so it needs no lock


async def load_litellm() -> Any:
    """Import litellm in a thread, once, and silence it. Runs on the transport loop, which goes on meanwhile.

    It takes 4 to 6 seconds the first time.
    """
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
    atexit.register(_settle_at_exit, os.getpid())
    return litellm


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
