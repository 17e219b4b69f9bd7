"""Finding the space that an agent is in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mesa.discrete_space import DiscreteSpace, Grid, HexGrid, VoronoiGrid
from mesa.experimental import continuous_space

from mesa_llm.spaces.cells import Cells, GridCells, HexCells, VoronoiCells
from mesa_llm.spaces.continuous import ExperimentalContinuousSpace, LegacyContinuousSpace
from mesa_llm.spaces.legacy import LegacyGrid, LegacyHexGrid, LegacyNetwork
from mesa_llm.spaces.space import Space

if TYPE_CHECKING:
    from mesa import Agent

type Adapter = Callable[[Any], Space]

# the first class that fits counts
_CURRENT: list[tuple[type, Adapter]] = [
    (HexGrid, HexCells),
    (Grid, GridCells),
    (VoronoiGrid, VoronoiCells),
    (DiscreteSpace, Cells),
    (continuous_space.ContinuousSpace, ExperimentalContinuousSpace),
]
_LEGACY: list[tuple[str, Adapter]] = [
    ("HexSingleGrid", LegacyHexGrid),
    ("HexMultiGrid", LegacyHexGrid),
    ("SingleGrid", LegacyGrid),
    ("MultiGrid", LegacyGrid),
    ("NetworkGrid", LegacyNetwork),
    ("ContinuousSpace", LegacyContinuousSpace),
]


def space_of(agent: Agent) -> Space | None:
    """The space that the agent is in; `None` if it is in none that can be found."""
    return next((space for space in _spaces_around(agent) if space.holds(agent)), None)


def space_for(agent: Agent) -> Space | None:
    """The space that the agent is in, or else the first that could take it."""
    return space_of(agent) or next((space for space in _spaces_around(agent) if space.takes(agent)), None)


def is_continuous(space: object) -> bool:
    """Whether it is Mesa's experimental continuous space, whose agents keep no position themselves."""
    return isinstance(space, continuous_space.ContinuousSpace)


def _spaces_around(agent: Agent) -> Iterator[Space]:
    model = agent.model
    usual = (getattr(agent, "space", None), getattr(model, "grid", None), getattr(model, "space", None))
    # no import: where nobody has imported mesa.space, nothing is an instance of its classes
    legacy = sys.modules.get("mesa.space")
    for candidate in chain(usual, vars(model).values()):
        adapter = _adapter_for(type(candidate), legacy)  # type: ignore[arg-type] # hashable it is
        if adapter is not None:
            yield adapter(candidate)


@lru_cache
def _adapter_for(kind: type, legacy: ModuleType | None) -> Adapter | None:
    """What makes a space of instances of a class; `None` if they are none. Asked for each attribute of a model."""
    old = [] if legacy is None else [(getattr(legacy, name), adapter) for name, adapter in _LEGACY]
    return next((adapter for mesa_class, adapter in [*_CURRENT, *old] if issubclass(kind, mesa_class)), None)
