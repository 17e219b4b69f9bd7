"""A cell that has no room: refused before anything has changed."""

import pytest
from mesa.discrete_space import FixedAgent, OrthogonalMooreGrid

from mesa_llm.errors import ToolError
from mesa_llm.spaces import directions_from, move_to, neighbors_of, position_of


def test_nobody_is_lost(limited_kind):
    world = limited_kind.world(**limited_kind.limited)
    target = next(iter(limited_kind.steps.values()))
    occupant, agent = world.add(target), world.add(limited_kind.here)
    with pytest.raises(ToolError, match=r"full|occupied") as refusal:
        move_to(agent, target)
    assert repr(target) in str(refusal.value)
    assert position_of(agent) == limited_kind.here
    assert sorted(world.space.agents, key=lambda each: each.unique_id) == [occupant, agent]
    assert neighbors_of(occupant, 1) == [agent]


def test_free_steps_are_told(limited_kind):
    world = limited_kind.world(**limited_kind.limited)
    (taken, target), *free = limited_kind.steps.items()
    world.add(target)
    agent = world.add(limited_kind.here)
    assert directions_from(agent) == limited_kind.steps
    assert directions_from(agent, free_only=True) == dict(free)
    with pytest.raises(ToolError) as refusal:
        move_to(agent, target)
    _, _, told = str(refusal.value).partition("Free directions from")
    assert all(name in told for name, _ in free)
    assert f" {taken}," not in told


def test_nothing_is_free(limited_kind):
    world = limited_kind.world(**limited_kind.limited)
    for position in limited_kind.steps.values():
        world.add(position)
    agent = world.add(limited_kind.here)
    assert directions_from(agent, free_only=True) == {}
    with pytest.raises(ToolError, match="Choose another place"):
        move_to(agent, next(iter(limited_kind.steps.values())))


def test_a_fixed_agent_stays():
    from mesa import Model

    model = Model(rng=1)
    model.grid = OrthogonalMooreGrid((3, 3), random=model.random)
    agent = FixedAgent(model)
    assert move_to(agent, (1, 1)) == (1, 1)
    assert directions_from(agent) == {}
    with pytest.raises(ToolError, match="fixed to its cell"):
        move_to(agent, (0, 0))
    assert position_of(agent) == (1, 1)
    assert model.grid[(0, 0)].agents == []
