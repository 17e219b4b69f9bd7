"""What steps and clients leave behind: threads, tasks, open files. Others take a moment to end, so tests wait for it."""

import asyncio
import gc
import os
import re
import threading
import time

from mesa_llm.concurrency import transport_loop

PATIENCE = 30.0
"""Seconds after which what has not ended is taken to stay."""

_OF_A_POOL = re.compile(r"ThreadPoolExecutor-\d+_\d+|asyncio_\d+")
"""Threads of pools that others keep, such as the one in which litellm logs: they grow with the load, up to a bound."""


def soon(happens):
    """Whether something happens when the transport loop has let go of what has ended, and threads have ended."""
    deadline = time.monotonic() + PATIENCE
    while True:
        transport_loop.submit(asyncio.sleep(0)).result(PATIENCE)
        gc.collect()
        if happens():
            return True
        if time.monotonic() > deadline:
            return False


def left_over():
    """The names of the threads, how many tasks have not ended, and how many files are open, sockets included."""
    threads = sorted(thread.name for thread in threading.enumerate() if not _OF_A_POOL.fullmatch(thread.name))
    tasks = sum(isinstance(thing, asyncio.Task) and not thing.done() for thing in gc.get_objects())
    return threads, tasks, len(os.listdir("/proc/self/fd"))


def until_steady():
    """What is left over as soon as two looks at it in a row are the same."""
    seen = [None]

    def is_steady():
        seen.append(left_over())
        return seen[-1] == seen[-2]

    assert soon(is_steady)
    return seen[-1]
