"""An event loop whose clock jumps to the next timer instead of waiting for it: hours of waiting in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any

import pytest

from mesa_llm.concurrency import transport_loop


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self):
        super().__init__()
        self.now = 0.0

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "Everybody waits for ever."
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs one thread's coroutines in virtual time, which begins at 0.0. Who waits for ever fails the test."""

    def __init__(self):
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self):
        return self._jumping.now


def now():
    """The virtual time, in seconds."""
    return asyncio.get_running_loop().time()


def run_in_virtual_time[T](coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time, which serves as the transport loop too."""
    loop = VirtualTimeLoop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport_loop, "is_running_here", lambda: True)
        try:
            return loop.run_until_complete(coroutine)
        finally:
            loop.close()
