"""What the models share: checks of their arguments, and the choices of their rules."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mesa_llm.errors import ConfigurationError

if TYPE_CHECKING:
    from mesa_llm.clients import LLMRequest


def at_least(name: str, value: int, lowest: int, hint: str = "") -> None:
    """Check that an argument is a whole number with a lower bound.

    Raises:
        ConfigurationError: if it is not; the hint is the last sentence of the error.
    """
    if not isinstance(value, int) or value < lowest:
        raise ConfigurationError(f"{name} must be a whole number >= {lowest}, got {value!r}. {hint}".strip())


def in_range(name: str, value: float, lowest: float, highest: float, hint: str = "") -> None:
    """Check that an argument is a number between two bounds, which are allowed values.

    Raises:
        ConfigurationError: if it is not; the hint is the last sentence of the error.
    """
    if not isinstance(value, int | float) or math.isnan(value) or not lowest <= value <= highest:
        raise ConfigurationError(f"{name} must be from {lowest:g} to {highest:g}, got {value!r}. {hint}".strip())


def choose[T](options: Sequence[T], request: LLMRequest, purpose: str) -> T:
    """One of the options, all equally likely; the same one for the same request and purpose in any process.

    Args:
        options: the options, at least one.
        request: the request, whose messages are hashed.
        purpose: what is chosen; choices for different purposes are independent.
    """
    text = "\n".join([purpose, *(message.content for message in request.messages)])
    return options[int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % len(options)]
