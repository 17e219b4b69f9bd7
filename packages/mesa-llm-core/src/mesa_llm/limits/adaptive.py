"""A concurrency limit that finds its level by itself: settings and the algorithm, without loop or clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from mesa_llm.errors import ConfigurationError
from mesa_llm.errors.checks import check_number, check_whole

type Outcome = Literal["answered", "refused", "failed", "unknown"]

FIRST_PAUSE = 1.0
"""Seconds between calls while all are refused and the server does not say how long; doubles with each refusal."""

_ROUNDING = 1e-9  # seconds; no clock would ever get past a shorter pause


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveConcurrency:
    """How a concurrency limit finds what an endpoint can take; `AdaptiveLimit` says how.

    Attributes:
        start: the limit at first. With `start` equal to `ceiling` there is no slow start: the limit binds only once the
            endpoint has answered 429.
        floor: the limit never falls below it.
        ceiling: the limit never grows beyond it.
        decrease_factor: what one refusal leaves of the limit, above 0 and below 1.
        growth: the share by which the limit grows in one round after the first refusal; by 1 at least.
        cooldown: seconds after a refusal in which the limit does not grow.
        longest_pause: seconds that sending pauses at most. If a server asks for a longer pause (`Retry-After`), sending
            does not pause, so that calls get its error and not a long wait.

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


class AdaptiveLimit:
    """A limit on calls in flight that grows while an endpoint keeps up, and shrinks when it refuses calls (HTTP 429).

    Additive increase, multiplicative decrease, as in TCP congestion control (Jacobson, *Congestion Avoidance and
    Control*, 1988; RFC 5681), after the design that Inspect AI has published for model calls
    (https://inspect.aisi.org.uk/models-concurrency.html).

    **Growth.** A round is over when as many calls as the limit allows have been answered, counting those sent since it
    began. If the limit was reached meanwhile, it grows: it doubles until the first refusal ever (slow start), then
    grows by a few per cent. A limit that was not reached has not been tried, so it stays (RFC 7661). Other failures
    (5xx, timeout, reset) begin a new round. For `cooldown` seconds after a refusal there is no growth.

    **Refusal.** The first refusal opens an episode. Later refusals of calls that had been sent before it belong to the
    same episode: they describe the old limit. This goes by the order of sending, as in RFC 6582, not by a timer. The
    limit falls to the number of calls in flight that the episode has *not* refused, since a step sends all its calls at
    once. Two bounds: it falls at least to `decrease_factor` of what was in flight, once in `cooldown` seconds; and by
    one factor at most for each refusal, so that a lone one among few calls does not undo what was learnt with many.

    **Everything refused.** If an episode refuses every call in flight that was sent since the last one, a quota is used
    up. Limit and slow start stay, and calls go one at a time, with pauses that double, until one is answered.

    **Retry-After.** Nothing is sent for as long as the server asks, up to `longest_pause`.

    Attributes:
        limit: how many calls may be in flight.
    """

    def __init__(self, settings: AdaptiveConcurrency) -> None:
        self.settings = settings
        self.limit = settings.start
        self._is_slow_start = True
        self._n_sent = 0  # calls are known by their number
        self._round = _Round()
        self._episode = _Episode(limit=settings.start)
        self._n_young = 0  # calls in flight that were sent since the last episode began
        self._n_dry = 0  # refusals since the last answer, while everything is refused
        self._cool_from = -math.inf
        self._server_pause = -math.inf  # until when the server wants no requests
        self._own_pause = -math.inf  # until when no call is tried while everything is refused

    def seconds_until_free(self, in_flight: int, now: float) -> float:
        """How long to wait before a call is sent: 0.0 if it may go now, `math.inf` until another one has ended.

        `now` is the time in seconds, here and below, on a clock that never goes back.
        """
        if in_flight >= self.limit:
            return math.inf
        pause = max(self._server_pause, self._own_pause) - now
        return pause if pause > _ROUNDING else 0.0

    def sent(self, in_flight: int, now: float) -> int:
        """A call is sent; `in_flight` includes it. Returns its number, for `ended`."""
        self._n_sent += 1
        self._n_young += 1
        if in_flight >= self.limit:
            self._round.was_full = True
        if self._n_dry:
            self._own_pause = now + self._pause_while_dry()
        return self._n_sent

    def ended(
        self, call: int, outcome: Outcome, *, in_flight: int, now: float, retry_after: float | None = None
    ) -> None:
        """The call with a number has ended; `in_flight` still includes it.

        It was `answered`; `refused` for want of capacity (429); it `failed` in a way that can pass; or the outcome is
        `unknown` and says nothing about the endpoint (cancelled, a wrong request). `retry_after` is in seconds.
        """
        is_young = call > self._episode.last
        self._n_young -= is_young
        if outcome == "answered":
            if is_young:
                self._n_dry, self._own_pause = 0, -math.inf
            self._count_for_round(call, now)
        elif outcome == "refused":
            self._round = _Round(after=self._n_sent)
            if is_young:
                self._begin_episode(in_flight, now)
            if call > self._episode.after:
                self._refused(now, retry_after)
        elif outcome == "failed":
            self._round = _Round(after=self._n_sent)
        if retry_after is not None and retry_after <= self.settings.longest_pause:
            self._server_pause = max(self._server_pause, now + retry_after)
            self._cool_from = max(self._cool_from, self._server_pause)

    def _count_for_round(self, call: int, now: float) -> None:
        if call <= self._round.after or now < self._cool_from:
            return
        self._round.n_answered += 1
        if self._round.n_answered < self.limit:
            return
        if self._round.was_full:
            self._grow()
        self._round = _Round(after=self._n_sent)

    def _grow(self) -> None:
        self._episode.after = self._episode.last  # later refusals from this episode describe an outdated limit
        if self._is_slow_start:
            self._set(2 * self.limit)
        else:
            self._set(self.limit + max(1, int(self.settings.growth * self.limit)))

    def _begin_episode(self, in_flight: int, now: float) -> None:
        self._episode = _Episode(
            after=self._episode.last,
            last=self._n_sent,
            limit=self.limit,
            is_slow_start=self._is_slow_start,
            in_flight=in_flight,
            n_suspects=self._n_young + 1,
            leaves_margin=now >= self._cool_from,
        )
        self._n_young = 0
        self._cool_from = max(self._cool_from, now + self.settings.cooldown)

    def _refused(self, now: float, retry_after: float | None) -> None:
        episode = self._episode
        episode.n_refused += 1
        # What it has done to the limit so far is computed again at each refusal.
        self.limit, self._is_slow_start = episode.limit, episode.is_slow_start
        if self._n_dry or episode.n_refused == episode.n_suspects:
            self._all_refused(now, retry_after)
            return
        self._is_slow_start = False
        factor = self.settings.decrease_factor
        lowered = episode.in_flight - episode.n_refused
        if episode.leaves_margin:
            lowered = min(lowered, int(factor * episode.in_flight))
        self._set(min(episode.limit, max(lowered, int(episode.limit * factor**episode.n_refused))))

    def _all_refused(self, now: float, retry_after: float | None) -> None:
        if retry_after is not None and retry_after > self.settings.longest_pause:
            self._n_dry, self._own_pause = 0, -math.inf
            return
        self._n_dry += 1
        self._own_pause = now + self._pause_while_dry()

    def _pause_while_dry(self) -> float:
        return min(self.settings.longest_pause, FIRST_PAUSE * 2.0 ** min(self._n_dry - 1, 60))

    def _set(self, limit: int) -> None:
        self.limit = min(max(limit, self.settings.floor), self.settings.ceiling)


@dataclass(slots=True)
class _Round:
    """Calls sent after the one numbered `after`, and how many of them have been answered."""

    after: int = 0
    n_answered: int = 0
    was_full: bool = False


@dataclass(slots=True, kw_only=True)
class _Episode:
    """Refusals that describe one level: of calls numbered after `after`, up to `last`.

    The rest is as of its first refusal, when `n_suspects` calls were young and in flight.
    """

    after: int = 0
    last: int = 0
    limit: int
    is_slow_start: bool = True
    in_flight: int = 0
    n_suspects: int = 0
    n_refused: int = 0
    leaves_margin: bool = False
