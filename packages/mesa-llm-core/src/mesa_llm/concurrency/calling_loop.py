"""A coroutine run to its end from ordinary code.

`asyncio.run` makes a new loop each time and refuses to work where one is running. Here each thread keeps one loop
for as long as it lives, so the coroutine runs in the thread that asked for it. Where a loop is running already (in
Jupyter, or in an agent that is just acting), it runs on a helper thread while the calling thread waits.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Coroutine
from typing import Any

from mesa_llm.concurrency.loop_thread import LoopThread


class _KeptRunner:
    """An `asyncio.Runner` that closes when its thread ends."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()

    def __del__(self) -> None:
        self.runner.close()


_kept = threading.local()


def run[T](coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end and return its result, with the caller's context variables.

    Runs on the calling thread's kept loop, or on a helper thread if this thread is running a loop. An interrupt
    (Ctrl-C) cancels the coroutine and then raises `KeyboardInterrupt`.
    """
    if asyncio._get_running_loop() is not None:  # the public function raises instead of answering
        return _run_on_helper(coroutine)
    if not hasattr(_kept, "runner"):
        _kept.runner = _KeptRunner()
    runner: asyncio.Runner = _kept.runner.runner
    try:
        return runner.run(coroutine, context=contextvars.copy_context())
    finally:
        coroutine.close()  # if an interrupt came before it began


def run_unsuspended[T](coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, without any loop: so one body serves sync and async callers.

    Raises:
        RuntimeError: if the coroutine suspends.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} suspended, but was to run through without waiting.")


def _run_on_helper[T](coroutine: Coroutine[Any, Any, T]) -> T:
    helper = LoopThread("mesa-llm-nested")
    call = helper.submit(coroutine)
    try:
        return call.result()
    finally:
        call.cancel()
        helper.close()


_of_the_parent: list[threading.local] = []


def _forget_after_fork() -> None:
    global _kept  # noqa: PLW0603
    # Kept alive, not closed: the selector is shared with the parent, and closing it here would deafen it there.
    _of_the_parent.append(_kept)
    _kept = threading.local()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
