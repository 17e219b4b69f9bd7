"""What holds on every space of the installed Mesa."""

import json

import pytest

from mesa_llm.errors import ToolError
from mesa_llm.spaces import directions_from, move_to, neighbors_of, position_of


def test_every_space_of_mesa_is_tried(kind):
    assert type(kind.world().space).__name__ == kind.name.removeprefix("experimental.")


def test_position(kind):
    world = kind.world()
    agent = world.add(kind.here)
    assert position_of(agent) == kind.here
    values = position_of(agent) if isinstance(kind.here, tuple) else [position_of(agent)]
    assert {type(value) for value in values} <= {int, float}
    json.dumps(position_of(agent))


def test_an_agent_that_was_removed_is_nowhere(kind):
    world = kind.world()
    agent = world.add(kind.here)
    if hasattr(world.space, "remove_agent"):
        world.space.remove_agent(agent)
    else:
        agent.remove()
    assert position_of(agent) is None
    assert neighbors_of(agent, 5) == []
    assert directions_from(agent) == {}


def test_neighbors_by_distance(kind):
    world = kind.world()
    far = [] if kind.beyond is None else [world.add(kind.beyond)]
    near = [world.add(position) for position in reversed(kind.steps.values()) if _distance(kind, position) <= 1]
    agent = world.add(kind.here)
    assert neighbors_of(agent, 1) == near
    assert neighbors_of(agent, 2) == far + near
    assert neighbors_of(agent, float("inf")) == far + near
    assert neighbors_of(agent, -1) == []


def test_others_in_the_same_place_are_neighbors(kind):
    if kind.limited == {}:
        pytest.skip("one agent a cell")
    world = kind.world()
    world.add(next(iter(kind.steps.values())))
    companion, agent = world.add(kind.here), world.add(kind.here)
    assert neighbors_of(agent, 0) == [companion]
    assert neighbors_of(agent, 0.5) == [companion]


def test_directions(kind):
    agent = kind.world().add(kind.here)
    assert directions_from(agent) == kind.steps
    assert directions_from(agent, free_only=True) == kind.steps


def test_directions_come_in_one_order(kind):
    directions = list(directions_from(kind.world().add(kind.here)))
    compass = ["North", "South", "East", "West", "NorthEast", "NorthWest", "SouthEast", "SouthWest"]
    if set(directions) <= set(compass):
        assert directions == [name for name in compass if name in directions]


def test_every_step_leads_where_it_says(kind):
    for target in kind.steps.values():
        world = kind.world()
        agent = world.add(kind.here)
        witness = world.add(kind.beyond or kind.here)
        assert move_to(agent, target) == position_of(agent) == target
        assert agent in neighbors_of(witness, 5), "the space itself knows"
        assert list(world.space.agents).count(agent) == 1


def test_a_position_may_come_as_a_language_model_writes_it(kind):
    target = next(iter(kind.steps.values()))
    for spelling in (list(target) if isinstance(target, tuple) else [target], str(target), json.dumps(target)):
        assert move_to(kind.world().add(kind.here), spelling) == target


def test_moving_to_where_one_is_changes_nothing(kind):
    agent = kind.world(**(kind.limited or {})).add(kind.here)
    assert move_to(agent, kind.here) == kind.here
    assert position_of(agent) == kind.here


@pytest.mark.parametrize("position", [None, {}, "home", [], [1, 2, 3], ["a", "b"], [[1], [2]], [float("nan"), 1]])
def test_what_is_no_position_is_refused(kind, position):
    world = kind.world()
    agent = world.add(kind.here)
    with pytest.raises(ToolError) as refusal:
        move_to(agent, position)
    assert repr(position) in str(refusal.value)
    assert position_of(agent) == kind.here


def test_a_place_that_does_not_exist_is_refused(kind):
    world = kind.world()
    agent = world.add(kind.here)
    with pytest.raises(ToolError, match=r"bounds are|There are: ") as refusal:
        move_to(agent, kind.outside)
    assert str(kind.outside) in str(refusal.value)
    assert position_of(agent) == kind.here
    assert list(world.space.agents) == [agent]


def test_an_agent_that_is_nowhere_can_be_placed(kind):
    if kind.name.startswith("experimental"):
        pytest.skip("its agents are always somewhere")
    world = kind.world()
    agent, witness = world.agent(), world.add(next(iter(kind.steps.values())))
    assert position_of(agent) is None
    assert move_to(agent, kind.here) == kind.here
    assert neighbors_of(witness, 1) == [agent]


def _distance(kind, position):
    if "Continuous" not in kind.name:
        return 1
    return sum((a - b) ** 2 for a, b in zip(position, kind.here, strict=True)) ** 0.5
