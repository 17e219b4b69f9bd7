"""What every space can be asked, whichever of Mesa's classes it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesa import Agent

type Position = Hashable
"""A tuple of plain numbers, or whatever a network calls its nodes."""


class Space(ABC):
    """One of Mesa's spaces, seen through what an agent needs of it."""

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
        """The place that is meant by `position`, as `position_of` would give it; on a torus it is wrapped.

        Raises:
            ToolError: if there is no such place.
        """

    @abstractmethod
    def place(self, agent: Agent, position: Position) -> None:
        """Put the agent to a place that `resolve` gave and that has room.

        Raises:
            ToolError: if the agent cannot be moved; then nothing has changed.
        """

    automatic_layers: frozenset[str] = frozenset()
    """The property layers that Mesa makes for itself."""

    def layers(self) -> Mapping[str, Any]:
        """The property layers: arrays that are indexed by the coordinates of a cell."""
        return {}

    def room(self, agent: Agent, radius: float, *, of_all: bool) -> dict[Position, int]:
        """How many more agents the cells take that are at most `radius` away from an agent that is here.

        Args:
            agent: the agent in the middle.
            radius: as for `places`.
            of_all: of all cells that take a limited number; else of those that take more than one and have somebody.
        """
        return {}

    def obstacle(self, position: Position) -> str | None:
        """Why nobody can enter the place now, as a sentence; `None` if it has room."""
        return None
