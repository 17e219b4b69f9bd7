"""The names of the steps on grids and planes, and where each leads."""

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
