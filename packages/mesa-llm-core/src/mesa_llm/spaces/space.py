"""The common interface of Mesa's spaces, and the forms in which Mesa and language models write positions."""

from __future__ import annotations

import ast
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from mesa_llm.errors import ToolError
from mesa_llm.errors.shown_text import short_repr

if TYPE_CHECKING:
    from mesa import Agent

type Position = Hashable
"""A tuple of Python numbers, or the name that a network gives to a node."""

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

_LONGEST_LITERAL = 200
_LISTED = 12
_ORDER = {name: index for index, name in enumerate(XY)}
_NUMBERS = frozenset({int, float})


class Space(ABC):
    """One of Mesa's spaces, reduced to what an agent needs of it."""

    automatic_layers: frozenset[str] = frozenset()
    """The property layers that Mesa makes for itself."""

    def __init__(self, space: Any) -> None:
        self._space = space

    @abstractmethod
    def holds(self, agent: Agent) -> bool:
        """Whether the agent is in this space."""

    @abstractmethod
    def takes(self, agent: Agent) -> bool:
        """Whether an agent without a place can be placed here."""

    @abstractmethod
    def within(self, agent: Agent, radius: float) -> Iterable[Agent]:
        """The agents at most `radius` away from an agent that is here; it may be among them."""

    @abstractmethod
    def places(self, agent: Agent, radius: float) -> Iterable[Position] | None:
        """The places at most `radius` away from an agent that is here; `None` on continuous spaces."""

    @abstractmethod
    def steps(self, agent: Agent) -> dict[str, Position]:
        """Where one step takes an agent that is here, by the name of the step; full cells included."""

    @abstractmethod
    def resolve(self, position: object) -> Position:
        """The place that `position` means, wrapped on a torus. `ToolError` if it does not exist."""

    @abstractmethod
    def place(self, agent: Agent, position: Position) -> None:
        """Put the agent at a resolved place that has room. `ToolError` if the agent is fixed; then nothing changes."""

    def legend(self) -> str | None:
        """What the numbers of a position are, and what each direction does to them, in words; `None` if it has none."""
        return None

    def layers(self) -> Mapping[str, Any]:
        """The property layers: arrays that are indexed by the coordinates of a cell."""
        return {}

    def room(self, agent: Agent, radius: float, *, of_all: bool) -> dict[Position, int]:
        """How many more agents the cells around an agent take.

        `of_all` includes every cell with a limit, otherwise only occupied cells for more than one agent.
        """
        return {}

    def obstacle(self, position: Position) -> str | None:
        """Why no agent can enter the place now, as a sentence; `None` if it has room."""
        return None


def compass_legend(axes: Sequence[str], compass: Compass, *, diagonals: bool) -> str:
    """The legend of a space in which a step adds the same offset everywhere: the one in `compass`."""
    steps = [
        f"{name} is {axis} {'+' if change > 0 else '-'} 1"
        for name in ("North", "South", "East", "West")
        for axis, change in zip(axes, compass[name], strict=False)
        if change
    ]
    both = " Diagonal directions change both." if diagonals and len(axes) > 1 else ""
    return f"Positions are [{', '.join(axes)}]: {', '.join(steps)}.{both}"


def reach[Place: Hashable](start: Place, adjacent: Callable[[Place], Iterable[Place]], radius: float) -> list[Place]:
    """The places at most `radius` steps from `start`, itself included, nearest first (breadth-first search).

    Mesa's `Cell.get_neighborhood` caches the neighbourhood of every cell for the life of the process, and can miss
    connections that are added later.
    """
    if not radius >= 0:
        return []
    reached = {start: None}
    frontier = [start]
    steps = 1
    while frontier and steps <= radius:
        following = []
        for place in frontier:
            for other in adjacent(place):
                if other not in reached:
                    reached[other] = None
                    following.append(other)
        frontier = following
        steps += 1
    return list(reached)


def as_position(position: object) -> Position:
    """A position without numpy: arrays and sequences of coordinates become tuples of Python numbers."""
    if type(position) is tuple and _NUMBERS.issuperset(map(type, position)):  # most are
        return position
    if isinstance(position, np.ndarray | list | tuple):
        return tuple(item.item() if isinstance(item, np.generic) else item for item in position)
    assert isinstance(position, Hashable)
    return position


def numbers(position: object, axes: Sequence[str]) -> tuple[float, ...]:
    """A position, or text such as "[3, 4]", as one finite number for each of the named axes. Else a `ToolError`."""
    value = literal(position) if isinstance(position, str) else position
    if isinstance(value, np.ndarray | list | tuple) and len(value) == len(axes) and all(map(_is_finite, value)):
        return tuple(item.item() if isinstance(item, np.generic) else item for item in value)
    raise ToolError(f"{short_repr(position)} is not a position here. Give {len(axes)} numbers: [{', '.join(axes)}].")


def inside_grid(position: object, axes: Sequence[str], dimensions: Sequence[int], *, torus: bool) -> tuple[int, ...]:
    """The cell of a grid that `position` means; 3.0 counts as 3. `ToolError` with the bounds if it is outside."""
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
        values.append(literal(name))
    if isinstance(name, list | tuple) and len(name) == 1:
        values.append(name[0])
    for value in values:
        if isinstance(value, float) and value.is_integer():
            yield int(value)
        spelling = tuple(value) if isinstance(value, list | tuple) else value
        try:
            hash(spelling)
        except TypeError:
            continue
        yield spelling
    yield str(name)


def listed(names: Iterable[object]) -> str:
    """The first of the names, separated by commas."""
    names = iter(names)
    shown = ", ".join(str(name) for name in islice(names, _LISTED))
    return shown if next(names, None) is None else f"{shown}, ..."


def ids_listed(ids: Sequence[int]) -> str:
    """Ids of agents: all of them if they are few, or else the first ones and how many there are."""
    return f"[{listed(ids)}]" + (f" ({len(ids)} agents)" if len(ids) > _LISTED else "")


def in_order(name: str) -> int:
    """Sort key that puts compass names into the order of `XY`, before all others."""
    return _ORDER.get(name, len(_ORDER))


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def literal(text: str) -> object:
    """The value that a text holds in Python's notation, such as "[3, 4]" or "(3, 4)"; the text if it holds none."""
    if len(text) > _LONGEST_LITERAL:
        return text
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text
