"""Threads and event loops: which there are, and how work gets onto them.

Its modules:

    transport_loop   one event loop for the process, on a thread of its own; runs clients only
    calling_loop     a coroutine run to its end from ordinary code, on a loop kept for the calling thread
    loop_thread      an event loop on a thread of its own, and how calls reach it from other threads, many at a time
    worker_thread    a function on a thread of its own, awaited

Loops, threads, locks and connections stay with the parent of a forked child; what the child must forget of them is
registered here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any


def in_forked_child[F: Callable[[], object]](forget: F) -> F:
    """Have a function called in every forked child, before anything else runs there. Does nothing without `fork`."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forget)
    return forget


def fork_safe_lock() -> threading.Lock:
    """A lock that is free in a forked child, where the thread that held it does not exist."""
    lock: Any = threading.Lock()
    in_forked_child(lock._at_fork_reinit)  # as the standard library's own locks do
    return lock  # type: ignore[no-any-return]
