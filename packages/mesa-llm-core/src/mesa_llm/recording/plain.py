"""Anything into what JSON can hold."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

_DEEPEST = 50


def plain(value: Any, depth: int = 0) -> Any:
    """A copy of a value that JSON can hold; raises for no value at all.

    Mappings get text keys, sets are sorted, numbers and arrays of NumPy become Python's, numbers that are not finite
    become text, agents `Class id`; any other object becomes its `str`.

    Args:
        value: the value.
        depth: how deep in another value it lies; what lies deeper than 50, as in a list that holds itself, becomes
            text.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    try:
        return _plain_object(value, depth)
    except Exception:  # an object's own code, which may do anything
        return object.__repr__(value)


def _plain_object(value: Any, depth: int) -> Any:
    if depth >= _DEEPEST:
        return f"{type(value).__name__} …"
    if isinstance(value, Mapping):
        return {_key(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, set | frozenset):
        return [plain(item, depth + 1) for item in sorted(value, key=lambda item: (type(item).__name__, str(item)))]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: plain(getattr(value, part.name), depth + 1) for part in dataclasses.fields(value)}
    if hasattr(value, "unique_id"):
        return f"{type(value).__name__} {value.unique_id}"
    if type(value).__module__ == "numpy":
        return plain(value.tolist(), depth + 1)
    return str(value)


def _key(key: Any) -> str:
    return str(plain(key))
