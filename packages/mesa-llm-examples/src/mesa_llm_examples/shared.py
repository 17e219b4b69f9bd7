"""What the examples share: checks of the arguments of models, and choices of offline policies."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mesa_llm.errors import ConfigurationError

if TYPE_CHECKING:
    from mesa_llm.clients import LLMRequest


def at_least(name: str, value: int, lowest: int, hint: str = "") -> None:
    """Check a count.

    Args:
        name: what it is called.
        value: what was given.
        lowest: the least that works.
        hint: a further sentence for the error.

    Raises:
        ConfigurationError: if it is no whole number, or less.
    """
    if not isinstance(value, int) or value < lowest:
        raise ConfigurationError(f"{name} must be a whole number >= {lowest}, got {value!r}. {hint}".strip())


def in_range(name: str, value: float, lowest: float, highest: float, hint: str = "") -> None:
    """Check a number that has bounds, which are possible values themselves.

    Args:
        name: what it is called.
        value: what was given.
        lowest: the least that works.
        highest: the most that works.
        hint: a further sentence for the error.

    Raises:
        ConfigurationError: if it lies outside, or is no number.
    """
    if not isinstance(value, int | float) or math.isnan(value) or not lowest <= value <= highest:
        raise ConfigurationError(f"{name} must be from {lowest:g} to {highest:g}, got {value!r}. {hint}".strip())


def ordered(low_name: str, low: float, high_name: str, high: float) -> None:
    """Check that two bounds are not the wrong way round.

    Raises:
        ConfigurationError: if they are.
    """
    if low > high:
        raise ConfigurationError(f"{low_name} must not be above {high_name}, got {low!r} and {high!r}. Swap them.")


def choose[T](options: Sequence[T], request: LLMRequest, purpose: str) -> T:
    """One of the options, each as likely, the same for the same request in any process.

    Args:
        options: what there is, at least one.
        request: where the chance comes from.
        purpose: what is chosen; another purpose has a chance of its own.
    """
    text = "\n".join([purpose, *(message.content for message in request.messages)])
    return options[int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % len(options)]
