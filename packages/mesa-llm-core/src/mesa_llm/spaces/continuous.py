"""Continuous spaces: what they have in common, and that of `mesa.experimental.continuous_space`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, override

from mesa_llm.errors import ToolError
from mesa_llm.spaces.coordinates import XY, as_position, numbers
from mesa_llm.spaces.space import Position, Space

if TYPE_CHECKING:
    from mesa import Agent


class ContinuousSpace(Space):
    """Base of the continuous spaces. A step goes 1 along each axis that its name has."""

    @override
    def places(self, agent: Agent, radius: float) -> None:
        return None

    @override
    def steps(self, agent: Agent) -> dict[str, Position]:
        here = self._point(agent)
        steps: dict[str, Position] = {}
        for name, offset in XY.items():
            # in one dimension there are only East and West; beyond two, the other coordinates stay as they are
            if any(offset[len(here) :]):
                continue
            moved = [value + delta for value, delta in zip(here, offset, strict=False)]
            target = self._inside((*moved, *here[len(moved) :]))
            if target is not None and target != here:
                steps[name] = target
        return steps

    @override
    def resolve(self, position: object) -> Position:
        bounds = self._bounds()
        axes = ["x", "y", "z"] if len(bounds) == 3 else ["x", "y"]
        if len(bounds) not in (2, 3):
            axes = [f"axis {number}" for number in range(1, len(bounds) + 1)]
        point = numbers(position, axes)
        target = self._inside(point)
        if target is None:
            limits = ", ".join(f"{axis} {low} to {high}" for axis, (low, high) in zip(axes, bounds, strict=True))
            raise ToolError(f"{point} is outside the space. Its bounds are: {limits}{self._bounds_note}.")
        return target

    _bounds_note = ""

    @abstractmethod
    def _point(self, agent: Agent) -> tuple[float, ...]:
        """Where the agent is."""

    @abstractmethod
    def _inside(self, point: tuple[float, ...]) -> tuple[float, ...] | None:
        """The point, wrapped if the space is a torus; `None` if it is outside."""

    @abstractmethod
    def _bounds(self) -> Sequence[tuple[float, float]]:
        """The lowest and highest coordinate on each axis."""


class ExperimentalContinuousSpace(ContinuousSpace):
    """`mesa.experimental.continuous_space.ContinuousSpace`."""

    @override
    def holds(self, agent: Agent) -> bool:
        return getattr(agent, "space", None) is self._space

    @override
    def takes(self, agent: Agent) -> bool:
        return False

    @override
    def within(self, agent: Agent, radius: float) -> Iterable[Agent]:
        agents, _distances = self._space.get_agents_in_radius(agent.position, radius=radius)
        return list(agents)

    @override
    def place(self, agent: Agent, position: Position) -> None:
        agent.position = position

    def _point(self, agent: Agent) -> tuple[float, ...]:
        return as_point(agent.position)

    def _inside(self, point: tuple[float, ...]) -> tuple[float, ...] | None:
        if self._space.in_bounds(point):
            return as_point(point)
        return as_point(self._space.torus_correct(point)) if self._space.torus else None

    def _bounds(self) -> Sequence[tuple[float, float]]:
        return [(float(low), float(high)) for low, high in self._space.dimensions]


def as_point(position: object) -> tuple[float, ...]:
    """A position of a continuous space as a tuple of Python numbers."""
    point = as_position(position)
    assert isinstance(point, tuple)
    return point
