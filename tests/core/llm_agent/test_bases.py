"""An `LLMAgent` that is an agent of another class too, whose constructor takes arguments of its own."""

import copy
import pickle

import mesa
import pytest
from mesa.discrete_space import CellAgent, FixedAgent, Grid2DMovingAgent, OrthogonalMooreGrid
from mesa.experimental.continuous_space import ContinuousSpace, ContinuousSpaceAgent
from mesa.experimental.meta_agents import MetaAgent

from mesa_llm.llm_agent import LLMAgent
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.testing import ScriptedLLM

SETTINGS = {"step_prompt": "What now?", "tools": [], "vision": 3, "temperature": 0.5}


class GeoLike(mesa.Agent):
    """The constructor of mesa-geo's GeoAgent."""

    def __init__(self, model, geometry, crs):
        super().__init__(model)
        self.geometry, self.crs = geometry, crs


class GeoLikeForwarding(mesa.Agent):
    """Hands on what it does not know."""

    def __init__(self, model, *, geometry, **kwargs):
        super().__init__(model, **kwargs)
        self.geometry = geometry


class World(mesa.Model):
    def __init__(self):
        super().__init__(rng=1)
        self.client = ScriptedLLM("ok")
        self.grid = OrthogonalMooreGrid((3, 3), torus=False, random=self.random)
        self.space = ContinuousSpace([[0, 9], [0, 9]], torus=False, random=self.random)


# Each class, its own arguments, and what shows that its constructor has run.
OTHERS = {
    "cell": (CellAgent, lambda world: {}, lambda agent: agent.cell is None),
    "fixed": (FixedAgent, lambda world: {}, lambda agent: agent.cell is None),
    "moving": (Grid2DMovingAgent, lambda world: {}, lambda agent: agent.DIRECTION_MAP),
    "continuous": (
        ContinuousSpaceAgent,
        lambda world: {"space": world.space},
        lambda agent: len(agent.position) == 2,
    ),
    "meta": (MetaAgent, lambda world: {"agents": {mesa.Agent(world)}, "name": "guild"}, lambda agent: len(agent) == 1),
    "geo": (GeoLike, lambda world: {"geometry": "point", "crs": 4326}, lambda agent: agent.crs == 4326),
    "forwarding": (GeoLikeForwarding, lambda world: {"geometry": "point"}, lambda agent: agent.geometry == "point"),
}


def together(bases):
    """One cooperative call of `super()`."""

    class Both(*bases):
        def __init__(self, model, **kwargs):
            super().__init__(model=model, reasoning=OneCallReasoning, **kwargs)

    return Both


def inherited(bases):
    """No constructor of its own."""

    class Both(*bases):
        pass

    return lambda model, **kwargs: Both(model=model, reasoning=OneCallReasoning, **kwargs)


def one_by_one(bases, *, llm_agent_first=False):
    """A constructor that calls those of both bases by name."""
    (other,) = [base for base in bases if base is not LLMAgent]

    class Both(*bases):
        def __init__(self, model, **kwargs):
            own = {name: kwargs.pop(name) for name in (*SETTINGS, "client")}
            if llm_agent_first:
                LLMAgent.__init__(self, model, OneCallReasoning, **own)
                other.__init__(self, model=model, **kwargs)
            else:
                other.__init__(self, model=model, **kwargs)
                LLMAgent.__init__(self, model, OneCallReasoning, **own)

    return Both


# A base that hands keywords on and comes first is given LLMAgent's too.
WAYS = [
    (name, order, make)
    for name in OTHERS
    for order in (1, -1)
    for make in (together, inherited, one_by_one)
    if (name, order, make) != ("forwarding", -1, one_by_one)
]


@pytest.mark.parametrize(("name", "order", "make"), WAYS)
def test_it_combines_with_every_agent_class_in_both_orders(name, order, make):
    other, arguments, is_made = OTHERS[name]
    world = World()
    own = arguments(world)
    n = len(world.agents)
    agent = make((LLMAgent, other)[::order])(world, client=world.client, **own, **SETTINGS)
    assert is_made(agent)
    assert (agent.vision, agent.llm.options["temperature"], agent.unique_id) == (3, 0.5, n + 1)
    assert len(world.agents) == n + 1
    agent.step()
    assert len(world.client.requests) == 1
    assert [entry.type for entry in agent.memory.entries] == ["observation", "plan"]


@pytest.mark.parametrize("name", ["continuous", "meta", "geo"])
def test_llm_agents_constructor_may_be_called_first_where_its_base_comes_last(name):
    other, arguments, is_made = OTHERS[name]
    world = World()
    own = arguments(world)
    agent = one_by_one((other, LLMAgent), llm_agent_first=True)(world, client=world.client, **own, **SETTINGS)
    assert is_made(agent)
    assert (agent.vision, agent.unique_id) == (3, len(world.agents))


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("order", [1, -1])
def test_a_keyword_that_nobody_takes_is_named_with_the_class(name, order):
    other, arguments, _ = OTHERS[name]
    world = World()
    own = arguments(world)
    n = len(world.agents)
    with pytest.raises(TypeError, match=r"^Both\(\) got an unexpected keyword argument 'visoin'"):
        inherited((LLMAgent, other)[::order])(world, client=world.client, visoin=3, **own, **SETTINGS)
    assert len(world.agents) == n


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("name", ["continuous", "geo"])
def test_an_argument_of_the_other_class_that_is_missing_is_named(name, order):
    with pytest.raises(TypeError, match=r"missing .* required positional argument") as caught:
        inherited((LLMAgent, OTHERS[name][0])[::order])(World(), **SETTINGS)
    if order == 1:
        (note,) = caught.value.__notes__
        assert f"{OTHERS[name][0].__name__}.__init__ first" in note


@pytest.mark.parametrize("order", [1, -1])
def test_a_missing_reasoning_is_named(order):
    cls = type("Both", (LLMAgent, MetaAgent)[::order], {})
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'reasoning'"):
        cls(World(), **SETTINGS)


class Tribe(MetaAgent, LLMAgent, GeoLike):
    pass


def test_a_base_on_either_side():
    world = World()
    tribe = Tribe(world, reasoning=OneCallReasoning, client=world.client, name="us", geometry="area", crs=1, **SETTINGS)
    assert (tribe.name, tribe.geometry, tribe.vision, len(world.agents)) == ("us", "area", 3, 1)


class Villager(LLMAgent):
    """Takes an argument of its own and hands the others on."""

    def __init__(self, model, mood="calm", **kwargs):
        super().__init__(model, OneCallReasoning, internal_state=[mood], client=model.client, **SETTINGS, **kwargs)


class Settler(Villager, GeoLike):
    pass


class Guild(MetaAgent, Villager):
    pass


def test_a_class_of_ones_own_between_them():
    world = World()
    settler = Settler(world, "angry", geometry="point", crs=1)
    assert (settler.geometry, settler.crs, settler.internal_state) == ("point", 1, ["angry"])
    guild = Guild(world, [settler])
    assert (list(guild.agents), guild.internal_state) == ([settler], ["calm"])
    with pytest.raises(TypeError, match=r"Guild\(\) got an unexpected keyword argument 'mood'") as caught:
        Guild(world, [settler], mood="angry")
    assert "before MetaAgent" in caught.value.__notes__[0]
    for agent in Settler.create_agents(world, 2, "glad", geometry=["a", "b"], crs=2):
        assert agent.geometry in {"a", "b"}
        agent.step()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda agent: pickle.loads(pickle.dumps(agent))])
def test_both_can_be_copied(copied):
    guild = copied(Guild(World(), []))
    guild.step()
    assert [entry.type for entry in guild.memory.entries] == ["observation", "plan"]
