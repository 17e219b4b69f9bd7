"""What steps and clients leave behind: threads, tasks, open files. They may take a moment to end, so tests wait for it."""

import asyncio
import contextlib
import gc
import os
import re
import threading
import time
import weakref
from collections import Counter

from mesa_llm.concurrency import transport_loop

PATIENCE = 30.0
"""Seconds after which what has not ended is taken to stay."""

_OF_A_POOL = re.compile(r"(ThreadPoolExecutor-\d+|asyncio|litellm-logging)_\d+")
"""Threads of pools that others keep, such as the one in which litellm logs: they grow with the load, up to a bound."""


def soon(happens):
    """Whether something happens when the transport loop has let go of what has ended, and threads have ended."""
    deadline = time.monotonic() + PATIENCE
    while True:
        transport_loop.get().submit(asyncio.sleep(0)).result(PATIENCE)
        gc.collect()
        if happens():
            return True
        if time.monotonic() > deadline:
            return False


class Since:
    """What comes after this is made. What was there before may end meanwhile: other tests have left it."""

    def __init__(self):
        self._threads = set(_threads())
        self._tasks = weakref.WeakSet(_tasks())
        self._files = Counter(_open_files())

    def left_over(self):
        """What has come and is still there, by name."""
        threads = [thread.name for thread in _threads() if thread not in self._threads]
        tasks = [repr(task) for task in _tasks() if task not in self._tasks]
        return threads + tasks + sorted(Counter(_open_files()) - self._files)

    def leaves_nothing(self):
        """Whether all of it ends."""
        return soon(lambda: not self.left_over())


def _threads():
    return [thread for thread in threading.enumerate() if not _OF_A_POOL.fullmatch(thread.name)]


def _tasks():
    return [thing for thing in gc.get_objects() if isinstance(thing, asyncio.Task) and not thing.done()]


def _open_files():
    """What is open, sockets included; each socket has a name of its own."""
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # closed meanwhile, such as the folder that is listed here
            yield os.readlink(f"/proc/self/fd/{number}")
