"""Copies of what agents hold, made of plain values: what was seen does not change with the world."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
from mesa import Agent, Model
from pydantic import BaseModel

_ATOMS = frozenset({str, int, float, bool, type(None)})
_UNCHANGING = (str, int, float, Enum, Decimal, datetime.date, datetime.time, datetime.timedelta)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_CYCLE = "…"


def snapshot(value: Any, *, hide: bool = False) -> Any:
    """A deep copy in plain containers, which prints the same in every process.

    Mappings, dataclasses, named tuples and pydantic models become dicts, other sequences and numpy's arrays lists, sets
    sorted lists, and objects that are none of these their text, without the memory address that it may hold. An agent
    becomes its name as in an observation: `"Citizen 3"`. A container inside itself becomes `"…"`.

    Args:
        value: what to copy.
        hide: leave out, at every depth, entries whose name begins with an underscore: keys, fields, and texts in
            sequences and sets.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is dict and _ATOMS.issuperset(map(type, value)):
        # as most are; not needed, but many times as fast
        shown = {key: item for key, item in value.items() if not _is_hidden(key)} if hide else value.copy()
        if _ATOMS.issuperset(map(type, shown.values())):
            return shown
    if kind is list and _ATOMS.issuperset(map(type, value)):
        return [item for item in value if not _is_hidden(item)] if hide else value.copy()
    return _copied(value, hide, ())


def name_of(agent: Agent) -> str:
    """What an agent is called in observations: its class and its id."""
    return f"{type(agent).__name__} {agent.unique_id}"


def _copied(value: Any, hide: bool, around: tuple[int, ...]) -> Any:
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if isinstance(value, _UNCHANGING) or value is None:
        return value
    if id(value) in around:
        return _CYCLE
    inside = (*around, id(value))
    if (entries := _entries(value)) is not None:
        named = [(_as_key(name), item) for name, item in entries]
        return {name: _copied(item, hide, inside) for name, item in named if not (hide and _is_hidden(name))}
    if (items := _items(value)) is None:
        return _text(value)
    copies = [copy for copy in (_copied(item, hide, inside) for item in items) if not (hide and _is_hidden(copy))]
    return _in_order(copies) if isinstance(value, AbstractSet) else copies


def _entries(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """The parts of a value with what they are called; `None` if they have no names."""
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, type):
        return None
    if is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, BaseModel):
        return value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return zip(value._fields, value, strict=True)
    return None


def _items(value: Any) -> Iterable[Any] | None:
    """The parts of a value that have no names; `None` if it has no parts."""
    if isinstance(value, bytes | bytearray | memoryview | type):
        return None
    if isinstance(value, Sequence | AbstractSet):
        return value
    as_list = getattr(value, "tolist", None)  # arrays of numpy, series of pandas, tensors
    listed = as_list() if callable(as_list) else None
    return listed if isinstance(listed, list) else None


def _text(value: Any) -> str:
    if isinstance(value, Agent):
        return name_of(value)
    if isinstance(value, Model):
        return type(value).__name__
    return _ADDRESS.sub("", str(value))


def _as_key(name: Any) -> str | int | float | bool | None:
    """A key that JSON can have."""
    if type(name) in _ATOMS:
        key: str | int | float | bool | None = name
        return key
    return str(_copied(name, False, ()))


def _is_hidden(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_")


def _in_order(items: list[Any]) -> list[Any]:
    """Sets have an order of their own in every process."""
    if all(isinstance(item, int | float) for item in items):
        return sorted(items)
    return sorted(items, key=lambda item: (str(item), type(item).__name__))
