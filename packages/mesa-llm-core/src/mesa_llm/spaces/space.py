"""What every space can be asked, whichever of Mesa's classes it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesa import Agent

type Position = Hashable
"""A tuple of Python numbers, or the name that a network gives to a node."""


class Space(ABC):
    """One of Mesa's spaces, reduced to what an agent needs of it.

    Args:
        space: Mesa's space.
    """

    def __init__(self, space: Any) -> None:
        self._space = space

    @abstractmethod
    def holds(self, agent: Agent) -> bool:
        """Whether the agent is in this space."""

    @abstractmethod
    def takes(self, agent: Agent) -> bool:
        """Whether an agent that is nowhere can be placed here."""

    @abstractmethod
    def within(self, agent: Agent, radius: float) -> Iterable[Agent]:
        """The agents at most `radius` away from an agent that is here; it may be among them."""

    @abstractmethod
    def places(self, agent: Agent, radius: float) -> Iterable[Position] | None:
        """The places at most `radius` away from an agent that is here; `None` where they cannot be counted."""

    @abstractmethod
    def steps(self, agent: Agent) -> dict[str, Position]:
        """Where one step takes an agent that is here, by the name of the step; full cells included."""

    @abstractmethod
    def resolve(self, position: object) -> Position:
        """The place that `position` means, in the form that `position_of` gives; on a torus it is wrapped.

        Raises:
            ToolError: if there is no such place.
        """

    @abstractmethod
    def place(self, agent: Agent, position: Position) -> None:
        """Put the agent at a place that `resolve` gave and that has room.

        Raises:
            ToolError: if the agent cannot be moved; then nothing has changed.
        """

    automatic_layers: frozenset[str] = frozenset()
    """The property layers that Mesa makes for itself."""

    def layers(self) -> Mapping[str, Any]:
        """The property layers: arrays that are indexed by the coordinates of a cell."""
        return {}

    def room(self, agent: Agent, radius: float, *, of_all: bool) -> dict[Position, int]:
        """How many more agents fit into the cells at most `radius` away from an agent that is here.

        Args:
            agent: the agent in the middle.
            radius: as for `places`.
            of_all: include every cell with a limit; otherwise only occupied cells with room for more than one agent.
        """
        return {}

    def obstacle(self, position: Position) -> str | None:
        """Why nobody can enter the place now, as a sentence; `None` if it has room."""
        return None


def reach[Place: Hashable](start: Place, adjacent: Callable[[Place], Iterable[Place]], radius: float) -> list[Place]:
    """The places at most `radius` steps from `start`, itself included, nearest first (breadth-first search).

    Looks only at places within the radius, and keeps nothing: `Cell.get_neighborhood` of Mesa caches the neighbourhood
    of every cell that was ever asked, for the life of the process, and connections added later can be missing from it.
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
