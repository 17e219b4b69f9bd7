"""Checks of what models are made with: each error gives the value and what would work."""

from __future__ import annotations

import math

from mesa_llm.errors import ConfigurationError


def at_least(name: str, value: int, lowest: int, way_out: str = "") -> None:
    """Check a count.

    Args:
        name: what it is called.
        value: what was given.
        lowest: the least that works.
        way_out: a further sentence for the error.

    Raises:
        ConfigurationError: if it is no whole number, or less.
    """
    if not isinstance(value, int) or value < lowest:
        raise ConfigurationError(f"{name} must be a whole number >= {lowest}, got {value!r}. {way_out}".strip())


def in_range(name: str, value: float, lowest: float, highest: float, way_out: str = "") -> None:
    """Check a number that has bounds, which are possible values themselves.

    Args:
        name: what it is called.
        value: what was given.
        lowest: the least that works.
        highest: the most that works.
        way_out: a further sentence for the error.

    Raises:
        ConfigurationError: if it lies outside, or is no number.
    """
    if not isinstance(value, int | float) or math.isnan(value) or not lowest <= value <= highest:
        raise ConfigurationError(f"{name} must be from {lowest:g} to {highest:g}, got {value!r}. {way_out}".strip())


def ordered(low_name: str, low: float, high_name: str, high: float) -> None:
    """Check that two bounds are not the wrong way round.

    Raises:
        ConfigurationError: if they are.
    """
    if low > high:
        raise ConfigurationError(f"{low_name} must not be above {high_name}, got {low!r} and {high!r}. Swap them.")
