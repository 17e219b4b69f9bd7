"""Holds calls until enough of them are there at once: shows concurrency without a clock."""

from __future__ import annotations

import asyncio

from mesa_llm.errors import ConfigurationError


class Gate:
    """Holds whoever waits at it until `size` are waiting, then lets them all go; then the next `size`, and so on.

    Belongs to the one event loop that it is used on.

    Args:
        size: how many must wait at once; `None` holds nobody.
        patience: seconds from a batch's first arrival after which the whole batch fails.

    Raises:
        ConfigurationError: if `size` is below one.
    """

    def __init__(self, size: int | None, patience: float) -> None:
        if size is not None and size < 1:
            raise ConfigurationError(f"hold_until must be >= 1 calls, got {size!r}. Use None to hold nothing.")
        self.size = size
        self.patience = patience
        self._held: list[asyncio.Future[str | None]] = []  # each resolves to the complaint of a failed batch, or None
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self) -> None:
        """Wait for the batch to be complete. A cancelled waiter no longer counts.

        Raises:
            AssertionError: if it is not complete after `patience` seconds.
        """
        if self.size is None:
            return
        loop = asyncio.get_running_loop()
        place: asyncio.Future[str | None] = loop.create_future()
        self._held.append(place)
        if len(self._held) == self.size:
            self._release(None)
        elif self._timer is None:
            self._timer = loop.call_later(self.patience, self._give_up)
        try:
            complaint = await place
        except asyncio.CancelledError:
            self._leave(place)
            raise
        if complaint is not None:
            raise AssertionError(complaint)

    def _give_up(self) -> None:
        self._release(
            f"hold_until={self.size}: after {self.patience:g} s only {len(self._held)} calls were in flight at once. "
            "Either fewer are made, or they are made one after another."
        )

    def _release(self, complaint: str | None) -> None:
        batch, self._held = self._held, []
        self._stop_timer()
        for place in batch:
            if not place.done():
                place.set_result(complaint)

    def _leave(self, place: asyncio.Future[str | None]) -> None:
        if place in self._held:
            self._held.remove(place)
        if not self._held:
            self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
