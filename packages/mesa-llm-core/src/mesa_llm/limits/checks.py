"""Checks of settings that are numbers."""

from __future__ import annotations

from mesa_llm.errors import ConfigurationError


def check_whole(name: str, value: object, *, least: int = 1, way_out: str = "") -> None:
    """Refuse what is no whole number.

    Args:
        name: the setting.
        value: its value.
        least: the smallest value that it may have.
        way_out: a sentence that says what to do instead.

    Raises:
        ConfigurationError: names the setting, the value, and the way out.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigurationError(f"{name} must be an integer >= {least}, got {value!r}. {way_out}".rstrip())


def check_number(name: str, value: object, *, unit: str = "", zero: bool = False, way_out: str = "") -> None:
    """Refuse what is no number above zero.

    Args:
        name: the setting.
        value: its value; infinity is a number.
        unit: what the number counts.
        zero: whether zero is allowed too.
        way_out: a sentence that says what to do instead.

    Raises:
        ConfigurationError: names the setting, the value, and the way out.
    """
    fits = isinstance(value, int | float) and not isinstance(value, bool) and (value > 0 or (zero and value == 0))
    if not fits:
        wanted = " ".join(part for part in (">=" if zero else ">", "0", unit) if part)
        raise ConfigurationError(f"{name} must be {wanted}, got {value!r}. {way_out}".rstrip())
