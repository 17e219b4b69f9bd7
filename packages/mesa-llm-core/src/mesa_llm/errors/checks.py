"""Checks of settings. The error names the setting, its value, and the way out."""

from __future__ import annotations

from mesa_llm.errors import ConfigurationError


def check_whole(name: str, value: object, *, hint: str = "") -> None:
    """Raise a `ConfigurationError` unless the value is an integer of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{name} must be an integer >= 1, got {value!r}. {hint}".rstrip())


def check_number(name: str, value: object, *, unit: str = "", zero: bool = False, hint: str = "") -> None:
    """Raise a `ConfigurationError` unless the value is a number above zero, or zero if that works too."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and (value > 0 or (zero and value == 0))
    if not fits:
        wanted = " ".join(part for part in (">=" if zero else ">", "0", unit) if part)
        raise ConfigurationError(f"{name} must be {wanted}, got {value!r}. {hint}".rstrip())


def check_word[T](name: str, value: T, words: tuple[T, ...], *, hint: str = "") -> T:
    """The value; raises a `ConfigurationError` unless it is one of the words."""
    if value not in words:
        *most, last = map(repr, words)
        raise ConfigurationError(f"{name} must be {', '.join(most)} or {last}, got {value!r}. {hint}".rstrip())
    return value
