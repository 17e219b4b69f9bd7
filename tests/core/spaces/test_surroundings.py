"""What the cells around an agent are like: property layers, and room."""

import copy
import pickle

import mesa
import numpy as np
import pytest
from mesa.discrete_space import CellAgent, HexGrid, Network, OrthogonalMooreGrid, OrthogonalVonNeumannGrid

from mesa_llm.errors import ConfigurationError
from mesa_llm.spaces import neighbors_of
from mesa_llm.spaces.surroundings import Surroundings


def add_layer(grid, name, data):
    """Mesa 4 has arrays where Mesa 3 has layers."""
    if not hasattr(grid, "property_layers"):
        from mesa.discrete_space import PropertyLayer

        grid.add_property_layer(PropertyLayer.from_data(name, data))
    else:
        grid.add_property_layer(name, data)


class World(mesa.Model):
    def __init__(self, grid=OrthogonalMooreGrid, **options):
        super().__init__(rng=1)
        self.grid = grid((5, 5), torus=False, random=self.random, **options)
        self.agent = self.add((2, 2))

    def add(self, coordinate):
        agent = CellAgent(self)
        agent.cell = self.grid[coordinate]
        return agent


def with_sugar(grid=OrthogonalMooreGrid, **options):
    world = World(grid, **options)
    add_layer(world.grid, "sugar", np.arange(25).reshape(5, 5))
    return world


@pytest.mark.parametrize(("grid", "near"), [(OrthogonalMooreGrid, 9), (OrthogonalVonNeumannGrid, 5), (HexGrid, 7)])
def test_the_values_of_layers_are_those_of_the_cells_within_the_radius(grid, near):
    around = Surroundings(with_sugar(grid).agent)
    assert around.cells(0) == {(2, 2): {"sugar": 12}}
    seen = around.cells(1)
    assert len(seen) == near
    assert next(iter(seen)) == (2, 2)
    assert all(facts == {"sugar": row * 5 + column} for (row, column), facts in seen.items())
    assert all(type(facts["sugar"]) is int for facts in seen.values()), "no numpy in a prompt"


def test_a_layer_is_seen_as_it_is_now():
    world = with_sugar()
    world.agent.cell.sugar = 99
    assert Surroundings(world.agent).cells(0) == {(2, 2): {"sugar": 99}}


def test_layers_that_mesa_keeps_and_those_with_an_underscore_are_seen_by_name_only():
    world = with_sugar()
    add_layer(world.grid, "_plan", np.zeros((5, 5)))
    around = Surroundings(world.agent)
    assert around.cells(0) == {(2, 2): {"sugar": 12}}
    assert around.cells(0, ["_plan", "empty"]) == {(2, 2): {"_plan": 0.0, "empty": False}}
    assert around.cells(0, ()) == {}


def test_numbers_of_less_precision_are_written_with_no_more():
    world = World()
    add_layer(world.grid, "heat", np.full((5, 5), 0.1, dtype=np.float32))
    assert Surroundings(world.agent).cells(0) == {(2, 2): {"heat": 0.1}}


def test_objects_in_cells_are_told_as_text():
    world = World()
    if not hasattr(world.grid, "property_layers"):
        pytest.skip("the layers of this Mesa hold numbers only")
    marks = np.full((5, 5), None, dtype=object)
    marks[2, 2] = ["a"]
    add_layer(world.grid, "marks", marks)
    assert Surroundings(world.agent).cells(0) == {(2, 2): {"marks": "['a']"}}


def test_an_unknown_layer_is_named_with_those_there_are():
    around = Surroundings(with_sugar().agent)
    with pytest.raises(ConfigurationError, match=r"no property layer\(s\) \['suger'\].*'sugar'"):
        around.cells(1, ("sugar", "suger"))
    with pytest.raises(ConfigurationError, match=r"tuple of names such as \('sugar',\), got 'sugar'"):
        around.cells(1, "sugar")


def test_room_is_told_of_cells_that_take_several_and_have_somebody():
    world = World(capacity=3)
    world.add((2, 2)), world.add((2, 3)), world.add((2, 4))
    assert Surroundings(world.agent).cells(1) == {(2, 2): {"room": 1}, (2, 3): {"room": 2}}
    everywhere = Surroundings(world.agent).cells(1, ["room"])
    assert len(everywhere) == 9
    assert everywhere[1, 1] == {"room": 3}


def test_room_of_cells_for_one_is_told_when_asked_for():
    world = World(capacity=1)
    world.add((2, 3))
    assert Surroundings(world.agent).cells(1) == {}
    told = Surroundings(world.agent).cells(1, ["room"])
    assert (told[2, 2], told[2, 3], told[1, 1]) == ({"room": 0}, {"room": 0}, {"room": 1})


def test_there_is_no_room_to_tell_of_where_there_is_no_limit():
    assert Surroundings(World().agent).cells(1, ["room"]) == {}
    assert Surroundings(World(capacity=float("inf")).agent).cells(1, ["room"]) == {}


def test_a_layer_called_room_is_that_layer():
    world = World(capacity=3)
    add_layer(world.grid, "room", np.full((5, 5), 7))
    for layers in (None, ["room"]):
        assert Surroundings(world.agent).cells(0, layers) == {(2, 2): {"room": 7}}


def test_cells_of_a_network_have_room():
    import networkx as nx

    model = mesa.Model(rng=1)
    model.network = Network(nx.path_graph(5), capacity=2, random=model.random)
    agents = [CellAgent(model) for _ in range(3)]
    for agent, node in zip(agents, (2, 2, 3), strict=True):
        agent.cell = model.network[node]
    assert Surroundings(agents[0]).cells(1) == {2: {"room": 0}, 3: {"room": 1}}


def test_an_agent_that_is_nowhere_has_nothing_around_it():
    around = Surroundings(mesa.Agent(World()))
    assert around.cells(3, ["sugar"]) == {}
    assert around.neighbors(3) == []


def test_every_space_can_be_asked(kind):
    world = kind.world()
    agent = world.add(kind.here)
    assert not any("sugar" in facts for facts in Surroundings(agent).cells(1).values())
    assert Surroundings(agent).cells(1, []) == {}
    with pytest.raises(ConfigurationError, match="sugar"):
        Surroundings(agent).cells(1, ["sugar"])


def test_every_space_tells_room_where_its_cells_are_limited(limited_kind):
    world = limited_kind.world(**limited_kind.limited)
    agent = world.add(limited_kind.here)
    told = Surroundings(agent).cells(1, ["room"])
    assert told.pop(limited_kind.here) == {"room": 0}
    assert {facts["room"] for facts in told.values()} == {1}


@pytest.mark.parametrize("name", ["SingleGrid", "MultiGrid", "HexSingleGrid", "HexMultiGrid"])
def test_layers_of_the_old_grids(legacy_space, name):
    model = mesa.Model(rng=1)
    layer = legacy_space.PropertyLayer("empty", 5, 4, 0, dtype=int)
    layer.data[:] = np.arange(20).reshape(5, 4)
    model.grid = getattr(legacy_space, name)(5, 4, False, property_layers=layer)
    agent = mesa.Agent(model)
    model.grid.place_agent(agent, (3, 2))
    assert Surroundings(agent).cells(0) == {(3, 2): {"empty": 14}}, "here, a layer of that name is the user's own"
    seen = Surroundings(agent).cells(1)
    assert all(facts == {"empty": x * 4 + y} for (x, y), facts in seen.items())


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copied_world_has_layers_of_its_own(twin_of):
    world = with_sugar()
    twin = twin_of(world)
    layer = twin.grid.sugar
    (layer if isinstance(layer, np.ndarray) else layer.data)[2, 2] += 100
    assert Surroundings(twin.agent).cells(0) == {(2, 2): {"sugar": 112}}
    assert Surroundings(world.agent).cells(0) == {(2, 2): {"sugar": 12}}


def test_only_cells_within_the_radius_are_looked_at():
    looked = []

    class Layer(np.ndarray):
        def __getitem__(self, place):
            looked.append(place)
            return super().__getitem__(place)

    world = World()
    data = np.zeros((5, 5), dtype=np.float32)
    add_layer(world.grid, "sugar", data)
    around = Surroundings(world.agent)
    space = around._space
    layers = {"sugar": data.view(Layer)}
    space.layers = lambda: layers
    around.cells(1)
    assert len(looked) == 9


def test_an_agent_that_was_removed_from_the_model_is_not_seen_where_it_still_is_in_the_space(kind):
    world = kind.world()
    agent, gone, near = world.add(kind.here), world.agent(), world.agent()
    places = list(kind.steps.values())
    for other, place in zip((gone, near), places, strict=False):
        kind.put(world, other, place)
    assert neighbors_of(agent, 2) == [gone, near]
    mesa.Agent.remove(gone)  # as a class without a remove of its own does
    assert neighbors_of(agent, 2) == [near]
