"""A token bucket: so much per second, and so much at once."""

from __future__ import annotations

_ROUNDING = 1e-6


class TokenBucket:
    """Lets through `per_second` of something on average, and `capacity` of it at once after a rest.

    The algorithm is the leaky bucket as a meter (Turner, *New Directions in Communications*, 1986; ITU-T I.371, of
    which GCRA is the other form), here with a level that may fall below zero: whoever takes more than there is leaves
    a debt, which the next one waits for. Time is told, never asked.

    Args:
        per_second: how fast it fills.
        capacity: how much it holds; it begins full.
        now: the time in seconds.
    """

    def __init__(self, *, per_second: float, capacity: float, now: float) -> None:
        self.per_second = per_second
        self.capacity = capacity
        self._level = capacity
        self._level_at = now

    def level(self, now: float) -> float:
        """How much there is; below zero is a debt."""
        self._level = min(self.capacity, self._level + (now - self._level_at) * self.per_second)
        self._level_at = now
        return self._level

    def seconds_until(self, amount: float, now: float) -> float:
        """How long until an amount can be taken; of one that is larger than the bucket, until the bucket is full."""
        missing = min(amount, self.capacity) - self.level(now)
        return missing / self.per_second if missing > _ROUNDING * self.capacity else 0.0

    def take(self, amount: float, now: float) -> None:
        """Take an amount, however much there is. A negative amount gives back; what does not fit is lost."""
        self._level = min(self.capacity, self.level(now) - amount)
