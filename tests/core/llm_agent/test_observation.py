"""What an agent sees: attributes that classes declare, and the environment."""

import json
from collections.abc import Mapping

import mesa
import numpy as np
import pytest
from helpers.speakers import OneCall
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid

from mesa_llm.errors import ConfigurationError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.reasoning import Observation
from mesa_llm.testing import ScriptedLLM


class World(mesa.Model):
    def __init__(self, capacity=None):
        super().__init__(rng=1)
        self.grid = OrthogonalMooreGrid((6, 6), torus=False, capacity=capacity, random=self.random)
        self.grid.create_property_layer("sugar", default_value=1, dtype=int)


class Person(LLMAgent, CellAgent):
    visible_attributes = ("wealth",)

    def __init__(self, model, cell=(2, 2), **kwargs):
        super().__init__(model, OneCall, client=ScriptedLLM("hm"), step_prompt="?", tools=[], **kwargs)
        self.cell = model.grid[cell]
        self.wealth = {"gold": [1, 2], "_debt": 5}


class Merchant(Person):
    visible_attributes = ("mood", "_plan")

    def __init__(self, model, cell=(2, 3), **kwargs):
        super().__init__(model, cell, **kwargs)
        self._plan = "sell"

    @property
    def mood(self):
        return "calm"


class Sheep(CellAgent):
    """Knows nothing of language models."""

    visible_attributes = frozenset({"energy"})

    def __init__(self, model, cell):
        super().__init__(model)
        self.cell = model.grid[cell]
        self.energy = np.int64(4)


def test_attributes_that_a_class_declares_are_seen_by_itself_and_by_others():
    world = World()
    person = Person(world, vision=1)
    Merchant(world), Sheep(world, (1, 1))
    observation = person.generate_obs()
    assert observation.self_state["attributes"] == {"wealth": {"gold": [1, 2], "_debt": 5}}
    assert observation.local_state == {
        "Merchant 2": {
            "position": (2, 3),
            "internal_state": [],
            "attributes": {"wealth": {"gold": [1, 2]}, "mood": "calm"},
        },
        "Sheep 3": {"position": (1, 1), "internal_state": [], "attributes": {"energy": 4}},
    }


def test_what_begins_with_an_underscore_only_the_agent_itself_sees():
    merchant = Merchant(World())
    seen = merchant.generate_obs().self_state["attributes"]
    assert list(seen) == ["wealth", "mood", "_plan"], "those of the bases first"
    assert seen["_plan"] == "sell"


class Counting(Mapping):
    """Facts that count how often each is evaluated."""

    def __init__(self, evaluated):
        self.evaluated = evaluated

    def __getitem__(self, name):
        self.evaluated.append(name)
        return 1

    def __iter__(self):
        return iter(["mood", "_plan"])

    def __len__(self):
        return 2


class Secretive(Person):
    visible_attributes = ("_secret",)

    def __init__(self, model, evaluated):
        super().__init__(model, vision=1)
        self.evaluated = evaluated

    @property
    def internal_state(self):
        return Counting(self.evaluated)

    @property
    def _secret(self):
        self.evaluated.append("_secret")
        return 2


def test_private_facts_are_evaluated_only_when_the_agent_itself_observes():
    world, evaluated = World(), []
    secretive = Secretive(world, evaluated)
    observers = [Person(world, vision=1) for _ in range(3)]
    for observer in observers:
        seen = observer.generate_obs().local_state["Secretive 1"]
        assert (seen["internal_state"], seen["attributes"].keys()) == ({"mood": 1}, {"wealth"})
    assert evaluated == ["mood"] * 3
    assert secretive.generate_obs().self_state["internal_state"] == {"mood": 1, "_plan": 1}
    assert sorted(evaluated) == ["_plan", "_secret", *["mood"] * 4]


class Cautious(CellAgent):
    visible_attributes = ("_fear",)
    _fear = 1


def test_others_see_an_empty_dict_where_all_declared_attributes_are_private():
    world = World()
    person = Person(world, vision=1)
    Cautious(world).cell = world.grid[1, 1]
    assert person.generate_obs().local_state["Cautious 2"]["attributes"] == {}


def test_a_class_that_declares_nothing_shows_nothing_more():
    class Plain(Person):
        visible_attributes = None

    class Undeclared(LLMAgent, CellAgent):
        pass

    world = World()
    assert Plain(world).generate_obs().self_state["attributes"] == {"wealth": {"gold": [1, 2], "_debt": 5}}
    agent = Undeclared(world, OneCall, client=ScriptedLLM("hm"))
    agent.cell = world.grid[0, 0]
    assert set(agent.generate_obs().self_state) == {"agent_unique_id", "location", "internal_state"}


def test_an_attribute_that_is_not_there_is_named():
    class Poor(Person):
        visible_attributes = ("welth",)

    with pytest.raises(ConfigurationError, match=r"Poor 1 has no attribute 'welth'.*visible_attributes.*'wealth'"):
        Poor(World()).generate_obs()


def test_a_method_is_no_attribute():
    class Busy(Person):
        visible_attributes = ("mood",)

        def mood(self):
            return "calm"

    with pytest.raises(ConfigurationError, match=r"'mood'.*is a method: make it a property"):
        Busy(World()).generate_obs()


@pytest.mark.parametrize("attribute", ["visible_attributes", "observed_layers"])
@pytest.mark.parametrize("wrong", ["wealth", 3, (1,)], ids=repr)
def test_a_wrong_declaration_shows_when_the_class_is_made(attribute, wrong):
    with pytest.raises(ConfigurationError, match=rf"Wrong\.{attribute} must be a tuple of names"):
        type("Wrong", (LLMAgent,), {attribute: wrong})


def test_a_wrong_declaration_of_another_class_shows_when_it_is_seen():
    class Goat(Sheep):
        visible_attributes = "energy"

    world = World()
    Goat(world, (2, 2))
    with pytest.raises(ConfigurationError, match=r"Goat\.visible_attributes must be a tuple of names"):
        Person(world, vision=1).generate_obs()


@pytest.mark.parametrize(("vision", "cells"), [(None, 1), (0, 1), (1, 9), (2, 25), (-1, 1)])
def test_it_sees_layers_as_far_as_its_vision_and_of_its_own_cell_always(vision, cells):
    environment = Person(World(), vision=vision).generate_obs().environment
    assert len(environment) == cells
    assert next(iter(environment.items())) == ((2, 2), {"sugar": 1})


def test_a_class_chooses_the_layers_that_it_sees():
    class Surveyor(Person):
        observed_layers = ("empty", "room")

    class Blind(Person):
        observed_layers = ()

    class Moody(Person):
        @property
        def observed_layers(self):
            return ("sugar",) if self.wealth else ()

    world = World(capacity=4)
    assert Surveyor(world).generate_obs().environment == {(2, 2): {"empty": False, "room": 3}}
    assert Blind(world).generate_obs().environment == {}
    assert Moody(world).generate_obs().environment == {(2, 2): {"sugar": 1}}
    person = Person(world)
    person.observed_layers = ["suger"]
    with pytest.raises(ConfigurationError, match="suger"):
        person.generate_obs()


def test_the_environment_is_the_last_part_of_the_prompt_and_left_out_when_empty():
    person = Person(World(capacity=2), vision=0)
    written = json.loads(person.generate_obs().as_json())
    assert list(written) == ["step", "self_state", "local_state", "environment"]
    assert written["environment"] == {"[2, 2]": {"sugar": 1, "room": 1}}
    assert json.loads(Observation(1, {}, {}).as_json()) == {"step": 1, "self_state": {}, "local_state": {}}
    assert json.loads(Observation(1, {}, {}, {"node": {"room": 1}, 3: {"room": 2}}).as_json())["environment"] == {
        "node": {"room": 1},
        "3": {"room": 2},
    }


def test_the_environment_is_not_remembered():
    person = Person(World())
    person.generate_obs()
    assert [set(entry.content) for entry in person.memory.entries] == [{"self_state", "local_state"}]


def test_an_observation_does_not_change_with_the_world():
    world = World(capacity=3)
    person, other = Person(world, vision=1, internal_state={"plans": ["a"]}), Merchant(world)
    observation = person.generate_obs()
    before = observation.as_json()
    person.internal_state["plans"].append("b")
    other.wealth["gold"].append(9)
    person.cell.sugar = 5
    Sheep(world, (2, 2))
    other.cell = world.grid[5, 5]
    assert observation.as_json() == before
    assert person.generate_obs().as_json() != before


def test_a_state_that_is_one_text_is_hidden_as_a_whole():
    world = World()
    person, other = Person(world, vision=1), Merchant(world)
    other.internal_state = "_a secret"
    assert person.generate_obs().local_state["Merchant 2"]["internal_state"] == []
    assert other.generate_obs().self_state["internal_state"] == "_a secret"


def test_a_grid_that_the_model_does_not_have_is_warned_about():
    world = World()
    hidden, world.grid = world.grid, None
    world.hideout = {"grid": hidden}
    lost = LLMAgent(world, OneCall, client=ScriptedLLM("hm"), step_prompt="?", tools=[], vision=2)
    lost.generate_obs()  # nowhere: nothing to warn about
    lost.cell = hidden[2, 2]
    with pytest.warns(UserWarning, match=r"LLMAgent 1 is in a cell, .* not an attribute of World\. Set it there"):
        assert lost.generate_obs().local_state == {}
    lost.vision = 0
    lost.generate_obs()
    lost.vision = -1
    lost.generate_obs()
