"""Scripted waiting: how long an offline client takes to answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mesa_llm.errors import ConfigurationError

type Latency[Q] = float | Callable[[Q], float]


def check_latency[Q](latency: Latency[Q]) -> Latency[Q]:
    """Return `latency` if it can work.

    Raises:
        ConfigurationError: if it is a number of seconds below zero.
    """
    if not callable(latency):
        _check_seconds(latency)
    return latency


async def pause[Q](latency: Latency[Q], request: Q) -> float:
    """Sleep for as many seconds as `latency` gives for a request; with zero, do not even yield to the loop.

    Raises:
        ConfigurationError: if that is below zero.
    """
    seconds = latency(request) if callable(latency) else latency
    _check_seconds(seconds)
    if seconds:
        await asyncio.sleep(seconds)
    return seconds


def _check_seconds(seconds: float) -> None:
    if not seconds >= 0:  # also refuses NaN
        raise ConfigurationError(f"latency must be >= 0 seconds, got {seconds!r}. Use 0 to answer at once.")
