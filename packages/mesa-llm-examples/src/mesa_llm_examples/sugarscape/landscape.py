"""Where sugar and spice grow."""

from __future__ import annotations

import math

type Place = tuple[int, int]

RICHEST = 4
"""How much sugar, or spice, there is at most on a cell."""
BANDS = 8
"""Away from a peak a cell holds one unit less with every eighth of the shorter side."""


class Landscape:
    """Two peaks of sugar on a torus, in opposite quarters, and two of spice in the other quarters.

    After the mountains of sugar and of spice of Epstein and Axtell (1996), in a form that fits any size.

    Args:
        width: in cells.
        height: in cells.
        growth: by how much sugar and spice of each cell grow in a step, up to what the cell can hold.
    """

    def __init__(self, width: int, height: int, growth: int) -> None:
        self.width = width
        self.height = height
        self.growth = growth
        near, far = (0.25, 0.75)
        places = [(x, y) for x in range(width) for y in range(height)]
        self.sugar_capacity = {place: self._holds(place, ((near, near), (far, far))) for place in places}
        self.spice_capacity = {place: self._holds(place, ((near, far), (far, near))) for place in places}
        self.sugar = dict(self.sugar_capacity)
        """How much sugar there is on each cell now."""
        self.spice = dict(self.spice_capacity)
        """How much spice there is on each cell now."""

    def grow(self) -> None:
        """Grow by one step: the growback rule G."""
        for now, capacity in ((self.sugar, self.sugar_capacity), (self.spice, self.spice_capacity)):
            for place, most in capacity.items():
                now[place] = min(now[place] + self.growth, most)

    def harvest(self, place: Place) -> tuple[int, int]:
        """Take all sugar and all spice from a cell.

        Args:
            place: the cell.

        Returns:
            How much sugar, and how much spice.
        """
        taken = self.sugar[place], self.spice[place]
        self.sugar[place] = self.spice[place] = 0
        return taken

    def steps_between(self, one: Place, other: Place) -> int:
        """How many steps apart two cells are, around the torus; there are no diagonal steps.

        Args:
            one: a cell.
            other: another one.
        """
        (x, y), (other_x, other_y) = one, other
        return round(_around(x - other_x, self.width) + _around(y - other_y, self.height))

    def _holds(self, place: Place, peaks: tuple[tuple[float, float], ...]) -> int:
        x, y = place
        distance = min(
            math.hypot(_around(x - across * self.width, self.width), _around(y - down * self.height, self.height))
            for across, down in peaks
        )
        return max(0, RICHEST - int(distance * BANDS / min(self.width, self.height)))


def _around(difference: float, size: int) -> float:
    difference %= size
    return min(difference, size - difference)
