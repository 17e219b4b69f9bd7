"""Where an agent is, who is near it, and where it can go, on every space that Mesa has.

Positions, and the steps that lead from one to the next:

    mesa.discrete_space
        OrthogonalMooreGrid         (row, column)   the eight compass names; South is the next row
        OrthogonalVonNeumannGrid    (row, column)   North, South, East, West
        HexGrid                     (column, row)   East, West and the four diagonals; North is the next row
        Network, VoronoiGrid        node, cell      the names of the adjacent nodes or cells
    mesa.experimental.continuous_space
        ContinuousSpace             (x, y)          the eight compass names, each 1 along x, y or both
    mesa.space (Mesa 3)
        SingleGrid, MultiGrid       (x, y)          the eight compass names; North is y + 1
        HexSingleGrid, HexMultiGrid (x, y)          North, South and the four diagonals
        ContinuousSpace             (x, y)          the eight compass names, each 1 along x, y or both
        NetworkGrid                 node            the names of the adjacent nodes

A grid of one or three dimensions has no compass: its steps are named by the coordinates they lead to.
The space is looked for in `agent.space`, `model.grid`, `model.space` and then in the model's other attributes.
"""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.spaces.surroundings import directions_from as directions_from
from mesa_llm.spaces.surroundings import free_places_around as free_places_around
from mesa_llm.spaces.surroundings import legend_for as legend_for
from mesa_llm.spaces.surroundings import move_to as move_to
from mesa_llm.spaces.surroundings import neighbors_of as neighbors_of
from mesa_llm.spaces.surroundings import position_of as position_of
