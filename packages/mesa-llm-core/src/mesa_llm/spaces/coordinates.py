"""Positions, as Mesa keeps them and as a language model writes them; compass names for the steps between them."""

from __future__ import annotations

import ast
import math
import reprlib
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import islice
from numbers import Real
from typing import TypeGuard

import numpy as np

from mesa_llm.errors import ToolError
from mesa_llm.spaces.space import Position

LONGEST_LITERAL = 200
LISTED = 12

_PLAIN = frozenset({int, float})

_repr = reprlib.Repr(maxstring=100, maxlong=40, maxother=100, maxlevel=4)


def as_position(position: object) -> Position:
    """A position without numpy: arrays and sequences of coordinates become tuples of Python numbers."""
    if type(position) is tuple and _PLAIN.issuperset(map(type, position)):  # as most are
        return position
    if isinstance(position, np.ndarray | list | tuple):
        return tuple(item.item() if isinstance(item, np.generic) else item for item in position)
    assert isinstance(position, Hashable)
    return position


def numbers(position: object, axes: Sequence[str]) -> tuple[float, ...]:
    """The position as one finite number for each axis.

    Args:
        position: a sequence of numbers, or text that looks like one: "[3, 4]".
        axes: the names of the axes, for the error.

    Raises:
        ToolError: if it is something else.
    """
    value = _literal(position) if isinstance(position, str) else position
    if isinstance(value, np.ndarray | list | tuple) and len(value) == len(axes) and all(map(_is_finite, value)):
        return tuple(item.item() if isinstance(item, np.generic) else item for item in value)
    raise ToolError(f"{short_repr(position)} is not a position here. Give {len(axes)} numbers: [{', '.join(axes)}].")


def inside_grid(position: object, axes: Sequence[str], dimensions: Sequence[int], *, torus: bool) -> tuple[int, ...]:
    """The cell of a grid that is meant by `position`; 3.0 counts as 3, and on a torus the cell is wrapped.

    Raises:
        ToolError: if it is not a cell of the grid; the text has the bounds.
    """
    given = numbers(position, axes)
    if not all(value == int(value) for value in given):
        raise ToolError(f"{short_repr(position)} is not a cell of the grid. Give whole numbers: [{', '.join(axes)}].")
    values = tuple(int(value) for value in given)
    if torus:
        return tuple(value % size for value, size in zip(values, dimensions, strict=True))
    if not all(0 <= value < size for value, size in zip(values, dimensions, strict=True)):
        bounds = ", ".join(f"{axis} 0 to {size - 1}" for axis, size in zip(axes, dimensions, strict=True))
        raise ToolError(f"{values} is outside the grid. Its bounds are: {bounds}.")
    return values


def spellings(name: object) -> Iterator[Hashable]:
    """The names of a node that a language model may mean by `name`: it writes 7 as "7", 7.0 or [7]."""
    values = [name]
    if isinstance(name, str):
        values.append(_literal(name))
    if isinstance(name, list | tuple) and len(name) == 1:
        values.append(name[0])
    for value in values:
        if isinstance(value, float) and value.is_integer():
            yield int(value)
        spelling = tuple(value) if isinstance(value, list | tuple) else value
        if _is_hashable(spelling):
            yield spelling
    yield str(name)


def listed(names: Iterable[object]) -> str:
    """The first of the names, separated by commas."""
    names = iter(names)
    shown = ", ".join(str(name) for name in islice(names, LISTED))
    return shown if next(names, None) is None else f"{shown}, ..."


def short_repr(value: object) -> str:
    """The `repr` of something that a language model wrote, cut to a length that does no harm in a prompt."""
    return _repr.repr(value)


type Compass = dict[str, tuple[int, int]]

XY: Compass = {
    "North": (0, 1),
    "South": (0, -1),
    "East": (1, 0),
    "West": (-1, 0),
    "NorthEast": (1, 1),
    "NorthWest": (-1, 1),
    "SouthEast": (1, -1),
    "SouthWest": (-1, -1),
}
"""Steps as (dx, dy): y grows to the North."""

ROW_COLUMN: Compass = {name: (-dy, dx) for name, (dx, dy) in XY.items()}
"""Steps as (row, column): rows grow to the South, as in `mesa.discrete_space.Grid2DMovingAgent`."""


def hex_rows(row: int) -> Compass:
    """The six steps on `mesa.discrete_space.HexGrid` as (column, row).

    The hexagons stand on a corner, and those of even rows lie half a hexagon further East. Mesa connects and draws
    them like that; `cell.position`, which Mesa 3.5 added, shifts the odd rows instead.
    """
    west = -(row % 2)
    return {
        "East": (1, 0),
        "West": (-1, 0),
        "NorthEast": (west + 1, 1),
        "NorthWest": (west, 1),
        "SouthEast": (west + 1, -1),
        "SouthWest": (west, -1),
    }


def hex_columns(column: int) -> Compass:
    """The six steps on the hexagonal grids of `mesa.space` as (dx, dy).

    The hexagons lie on a side, and those of even columns lie half a hexagon further North.
    """
    south = -(column % 2)
    return {
        "North": (0, 1),
        "South": (0, -1),
        "NorthEast": (1, south + 1),
        "NorthWest": (-1, south + 1),
        "SouthEast": (1, south),
        "SouthWest": (-1, south),
    }


def in_order(name: str) -> int:
    """Sort key that puts compass names into the order of `XY`, before all others."""
    return _ORDER.get(name, len(_ORDER))


_ORDER = {name: index for index, name in enumerate(XY)}


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def _is_hashable(value: object) -> TypeGuard[Hashable]:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _literal(text: str) -> object:
    if len(text) > LONGEST_LITERAL:
        return text
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text
