"""Edges: where the world ends, and where it goes on at the other side."""

import pytest
from mesa import Model
from mesa.discrete_space import CellAgent, HexGrid, OrthogonalMooreGrid
from mesa.experimental.continuous_space import ContinuousSpace, ContinuousSpaceAgent

from mesa_llm.errors import ToolError
from mesa_llm.spaces import directions_from, move_to, neighbors_of, position_of


def test_directions_at_the_edge(torus_kind):
    assert all(
        0 <= value < 5 or "experimental" in torus_kind.name
        for target in directions_from(torus_kind.world().add((0, 0))).values()
        for value in target
    )
    bounded = directions_from(torus_kind.world().add((0, 0)))
    wrapped = directions_from(torus_kind.world(torus=True).add((0, 0)))
    assert len(wrapped) == len(torus_kind.steps)
    assert len(bounded) < len(wrapped)
    assert bounded.items() <= wrapped.items()
    assert {value for target in wrapped.values() for value in target} == {0, 1, 4}


def test_neighbors_across_the_edge(torus_kind):
    bounded, wrapped = torus_kind.world(), torus_kind.world(torus=True)
    for world in (bounded, wrapped):
        world.add((0, 4))
    assert neighbors_of(bounded.add((0, 0)), 1) == []
    assert [position_of(other) for other in neighbors_of(wrapped.add((0, 0)), 1)] == [(0, 4)]


def test_a_radius_beyond_the_world_counts_everybody_once(torus_kind):
    world = torus_kind.world(torus=True)
    others = [world.add(position) for position in [(0, 4), (2, 2), (4, 0), (4, 4)]]
    assert neighbors_of(world.add((0, 0)), 40) == others


def test_positions_outside_are_wrapped(torus_kind):
    agent = torus_kind.world(torus=True).add((0, 0))
    assert move_to(agent, [-1, 7]) == position_of(agent) == (4, 2)


def test_bounds_are_told(torus_kind):
    agent = torus_kind.world().add((0, 0))
    with pytest.raises(ToolError, match=r"\(-1, 2\) is outside the .*bounds are: \w+ 0(.0)? to [45]"):
        move_to(agent, (-1, 2))


def test_hex_grids_wrap():
    model = Model(rng=1)
    model.grid = HexGrid((4, 4), torus=True, random=model.random)
    agent = CellAgent(model)
    agent.cell = model.grid[(0, 1)]
    assert directions_from(agent) == {
        "East": (1, 1), "West": (3, 1), "NorthEast": (0, 2), "NorthWest": (3, 2), "SouthEast": (0, 0),
        "SouthWest": (3, 0),
    }  # fmt: skip


def test_hexagons_of_odd_columns(legacy_space):
    model = Model(rng=1)
    model.grid = legacy_space.HexSingleGrid(4, 4, True)
    from mesa import Agent

    agent = Agent(model)
    model.grid.place_agent(agent, (3, 0))
    steps = directions_from(agent)
    assert steps == {
        "North": (3, 1), "South": (3, 3), "NorthEast": (0, 0), "NorthWest": (2, 0), "SouthEast": (0, 3),
        "SouthWest": (2, 3),
    }  # fmt: skip
    assert set(steps.values()) == set(model.grid.get_neighborhood((3, 0)))


def test_whole_coordinates_may_be_floats_fractions_not():
    model = Model(rng=1)
    model.grid = OrthogonalMooreGrid((3, 3), random=model.random)
    agent = CellAgent(model)
    assert move_to(agent, [1.0, 2.0]) == (1, 2)
    with pytest.raises(ToolError, match=r"whole numbers: \[row, column\]"):
        move_to(agent, [1.5, 2])
    assert position_of(agent) == (1, 2)


def test_steps_in_three_dimensions():
    model = Model(rng=1)
    model.grid = OrthogonalMooreGrid((3, 3, 3), random=model.random)
    agent = CellAgent(model)
    assert move_to(agent, [0, 0, 0]) == (0, 0, 0)
    assert directions_from(agent)["(1, 1, 1)"] == (1, 1, 1)
    assert len(directions_from(agent)) == 7
    with pytest.raises(ToolError, match="axis 1 0 to 2, axis 2 0 to 2, axis 3 0 to 2"):
        move_to(agent, [0, 0, 3])

    model.space = ContinuousSpace([[0, 9], [0, 9], [0, 9]], random=model.random)
    flier = ContinuousSpaceAgent(model.space, model)
    flier.position = (1, 2, 3)
    assert directions_from(flier)["NorthEast"] == (2, 3, 3)
    with pytest.raises(ToolError, match=r"z 0\.0 to 9\.0"):
        move_to(flier, [1, 1, 10])
