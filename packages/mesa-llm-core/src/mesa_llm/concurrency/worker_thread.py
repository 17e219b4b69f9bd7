"""A function on a thread of its own."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future


def start[T](
    function: Callable[[], T], *, context: contextvars.Context | None = None, name: str = "mesa-llm-worker"
) -> Future[T]:
    """Run a function on a new daemon thread, by default in a copy of the caller's context.

    One thread per call, not a pool: a pool of bounded size would decide which agents may wait at the same time. The
    thread ends with the function; as a daemon it never keeps the interpreter from exiting.

    Returns:
        A future with the function's result or exception, `BaseException`s included.
    """
    future: Future[T] = Future()
    context = context if context is not None else contextvars.copy_context()

    def work() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = context.run(function)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    _Worker(target=work, name=name, daemon=True).start()
    return future


def is_running_here() -> bool:
    """Whether the calling thread was started by `start`, and ends with its function."""
    return isinstance(threading.current_thread(), _Worker)


class _Worker(threading.Thread):
    """A thread for one call."""
