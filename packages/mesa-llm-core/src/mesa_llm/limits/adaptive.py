"""Settings of a concurrency limit that finds its level by itself, and what it says about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mesa_llm.errors import ConfigurationError
from mesa_llm.limits.checks import check_number, check_whole

type ChangeReason = Literal["slow start", "growth", "rate limit", "all refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveConcurrency:
    """How a concurrency limit finds what an endpoint can take; how it does that is told in `AdaptiveLimit`.

    Attributes:
        start: the limit at first. With `start` equal to `ceiling` there is no slow start: the limit binds only once the
            endpoint has answered 429.
        floor: the limit never falls below it.
        ceiling: the limit never grows beyond it.
        decrease_factor: what one refusal leaves of the limit, above 0 and below 1.
        growth: the share by which the limit grows in one round after the first refusal; by 1 at least.
        cooldown: seconds after a refusal in which the limit does not grow.
        longest_pause: seconds that sending pauses at most. A server that asks for a longer pause (`Retry-After`) gets
            none: the calls are better off with its error.

    Raises:
        ConfigurationError: if a value cannot work.
    """

    start: int = 20
    floor: int = 1
    ceiling: int = 1000
    decrease_factor: float = 0.9
    growth: float = 0.05
    cooldown: float = 15.0
    longest_pause: float = 60.0

    def __post_init__(self) -> None:
        for name in ("start", "floor", "ceiling"):
            check_whole(name, getattr(self, name))
        if not self.floor <= self.start <= self.ceiling:
            raise ConfigurationError(
                f"floor <= start <= ceiling must hold, got floor={self.floor}, start={self.start}, "
                f"ceiling={self.ceiling}. For a fixed limit use max_concurrency={self.start}."
            )
        for name in ("decrease_factor", "growth"):
            check_number(name, getattr(self, name), zero=name == "growth")
        if not self.decrease_factor < 1:
            raise ConfigurationError(f"decrease_factor must be below 1, got {self.decrease_factor!r}.")
        for name in ("cooldown", "longest_pause"):
            check_number(name, getattr(self, name), unit="seconds", zero=True)


@dataclass(frozen=True, slots=True)
class LimitChange:
    """One change of a concurrency limit.

    Attributes:
        time: when, in seconds on the clock of the event loop, `time.monotonic`.
        before: the limit before.
        after: the limit after.
        reason: `slow start` and `growth` raise it, `rate limit` lowers it; at `all refused` it stays, and
            calls go one at a time.
    """

    time: float
    before: int
    after: int
    reason: ChangeReason
