"""Breadth-first search: what can be reached in a number of steps."""

from collections.abc import Callable, Hashable, Iterable


def reach[Place: Hashable](start: Place, adjacent: Callable[[Place], Iterable[Place]], radius: float) -> list[Place]:
    """The places at most `radius` steps from `start`, itself included, nearest first.

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
