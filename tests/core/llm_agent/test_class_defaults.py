"""What a class of agents defines about itself, as an attribute or a property, in the place of an argument."""

import json
import re
from collections import defaultdict

import numpy as np
import pytest
from mesa import Agent, Model

from mesa_llm.errors import ConfigurationError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.testing import ScriptedLLM

VALUES = {"vision": -1, "internal_state": ["3 coins"], "step_prompt": "Buy or sell?", "system_prompt": "You are Ann."}


def agent_of(bases=(LLMAgent,), model=None, client=None, given=None, **defined):
    cls = type("Trader", bases, defined)
    settings = {"step_prompt": "What now?"} if "step_prompt" not in defined else {}
    return cls(
        model or Model(rng=1),
        OneCallReasoning,
        client=client or ScriptedLLM("ok"),
        tools=[],
        **settings | (given or {}),
    )


@pytest.mark.parametrize("define", [lambda value: value, lambda value: property(lambda agent: value)])
@pytest.mark.parametrize("name", VALUES)
def test_what_a_class_defines_counts_where_no_argument_is_given(name, define):
    llm = ScriptedLLM("ok")
    model = Model(rng=1)
    agent = agent_of(model=model, client=llm, **{name: define(VALUES[name])})
    agent_of(model=model)
    assert getattr(agent, name) == VALUES[name]
    agent.step()
    prompt = "\n".join(message.content for message in llm.requests[0].messages)
    expected = {"vision": "Trader 2", "internal_state": "you: 3 coins"}.get(name, VALUES[name])
    assert expected in prompt


@pytest.mark.parametrize("define", [lambda value: value, lambda value: property(lambda agent: value)])
def test_a_system_prompt_of_the_class_is_in_requests_of_ones_own(define):
    llm = ScriptedLLM("ok")
    agent = agent_of(client=llm, system_prompt=define("You are Ann."))
    agent.llm.generate("Who are you?")
    agent.llm.for_model(agent.llm.llm_model).generate("Who are you?")
    assert [request.messages[0].content for request in llm.requests] == ["You are Ann.", ""]


@pytest.mark.parametrize("name", ["llm", "memory", "tool_manager", "reasoning"])
def test_what_every_agent_has_of_its_own_is_no_property_without_a_setter(name):
    model = Model(rng=1)
    with pytest.raises(ConfigurationError, match=f"^Trader defines {name} as a property without a setter"):
        agent_of(model=model, **{name: property(lambda agent: None)})
    assert len(model.agents) == 0


@pytest.mark.parametrize(
    ("name", "given"), [("vision", 0), ("internal_state", ["rich"]), ("step_prompt", "Wait."), ("system_prompt", "B.")]
)
def test_an_argument_takes_precedence_over_an_attribute_and_contradicts_a_property(name, given):
    assert getattr(agent_of(given={name: given}, **{name: VALUES[name]}), name) == given
    with pytest.raises(
        ConfigurationError, match=rf"^Trader defines {name} as a property.* got {given!r}".replace("[", r"\[")
    ):
        agent_of(given={name: given}, **{name: property(lambda agent: VALUES[name])})


def test_a_property_with_a_setter_takes_the_argument():
    def set_vision(agent, value):
        agent.eyes = value

    assert agent_of(given={"vision": 3}, vision=property(lambda agent: agent.eyes, set_vision)).eyes == 3


def test_a_property_is_evaluated_whenever_somebody_observes():
    model = Model(rng=1)
    bases = (LLMAgent,)
    state = property(lambda agent: {"coins": agent.coins, "_plan": f"keep {agent.coins}"})
    one, other = (agent_of(bases, model, given={"vision": -1}, coins=3, internal_state=state) for _ in range(2))
    for coins in (3, 5):
        other.coins = coins
        assert one.generate_obs().local_state["Trader 2"]["internal_state"] == {"coins": coins}
        own = other.generate_obs().self_state["internal_state"]
        assert own == {"coins": coins, "_plan": f"keep {coins}"}
        own["coins"] = 0  # a copy
    assert "internal_state" not in vars(other)


@pytest.mark.parametrize(
    ("defined", "error"),
    [
        (property(lambda agent: agent.purse), "AttributeError: 'Trader' object has no attribute 'purse'"),
        (property(lambda agent: {}["coins"]), "KeyError: 'coins'"),
    ],
)
@pytest.mark.parametrize("base", [Agent, LLMAgent])
def test_a_property_that_cannot_be_evaluated_is_an_error_that_names_the_class(base, defined, error):
    model = Model(rng=1)
    watcher = agent_of(model=model, given={"vision": -1})
    broken = agent_of(model=model, internal_state=defined) if base is LLMAgent else None
    if broken is None:
        broken = type("Trader", (Agent,), {"internal_state": defined})(model)
    said = f"Trader.internal_state cannot be evaluated for Trader {broken.unique_id}: {error}"
    for observer in (watcher, broken) if base is LLMAgent else (watcher,):
        with pytest.raises(ConfigurationError) as raised:
            observer.generate_obs()
        assert str(raised.value) == said


def test_a_method_is_an_error():
    with pytest.raises(ConfigurationError, match=r"Trader\.internal_state is a method: make it a property"):
        agent_of(internal_state=lambda agent: {}).generate_obs()


def test_agents_without_an_internal_state_show_none():
    model = Model(rng=1)
    watcher = agent_of(model=model, given={"vision": -1})
    Agent(model)
    assert watcher.generate_obs().local_state["Agent 2"]["internal_state"] == []


@pytest.mark.parametrize(
    ("state", "change"),
    [
        (["villager"], lambda state: state.append("rich")),
        ({"coins": 3}, lambda state: state.update(coins=9)),
        ({"villager"}, lambda state: state.add("rich")),
    ],
)
@pytest.mark.parametrize("is_given", [True, False])
def test_agents_do_not_share_what_one_of_them_changes(state, change, is_given):
    before = json.dumps(sorted(state))
    model = Model(rng=1)
    how = {"given": {"internal_state": state}} if is_given else {"internal_state": state}
    agents = [agent_of(model=model, **how) for _ in range(2)]
    first = agents[0].internal_state
    change(first)
    assert agents[0].internal_state is first != state == agents[1].internal_state
    assert json.dumps(sorted(state)) == before


@pytest.mark.parametrize(
    ("state", "change"),
    [
        ({"bag": ["rope"]}, lambda state: state["bag"].append("knife")),
        ([{"seen": {1}}], lambda state: state[0]["seen"].add(2)),
        (({"hp": [3]},), lambda state: state[0]["hp"].append(4)),
        (defaultdict(list, bag=["rope"]), lambda state: state["bag"].append("knife")),
    ],
)
def test_what_is_in_it_is_not_shared_either(state, change):
    before = repr(state)
    model = Model(rng=1)
    agents = [agent_of(model=model, given={"internal_state": state}) for _ in range(2)]
    change(agents[0].internal_state)
    assert repr(agents[1].internal_state) == repr(state) == before != repr(agents[0].internal_state)
    assert type(agents[0].internal_state) is type(state)


def test_agents_in_it_stay_the_same_ones_and_it_may_contain_itself():
    friend = agent_of()
    state = [{"friend": friend}]
    state.append(state)
    agent = agent_of(given={"internal_state": state})
    assert agent.internal_state[0]["friend"] is friend
    assert agent.internal_state[1] is agent.internal_state is not state


# Vision.

NO_DISTANCE = ["1", "far", float("nan"), -2, -0.5, True, False, [1], np.bool_(True)]


@pytest.mark.parametrize("vision", NO_DISTANCE, ids=repr)
def test_a_vision_that_is_no_distance_is_refused_wherever_it_comes_from(vision):
    said = rf"^The vision of Trader( 1)? must be a number >= 0 .* got {re.escape(repr(vision))}\. Use 0 or None .* -1"
    model = Model(rng=1)
    with pytest.raises(ConfigurationError, match=said):
        agent_of(model=model, given={"vision": vision})
    assert len(model.agents) == 0
    with pytest.raises(ConfigurationError, match=said):
        agent_of(vision=vision)
    with pytest.raises(ConfigurationError, match=said):
        agent_of(vision=property(lambda agent: vision)).generate_obs()
    agent = agent_of()
    agent.vision = vision
    with pytest.raises(ConfigurationError, match=said):
        agent.step()


@pytest.mark.parametrize("vision", [None, 0, 1, -1, 1.5, np.int64(2), np.float32(0.5), float("inf"), -1.0], ids=repr)
def test_any_number_from_0_on_is_a_vision(vision):
    agent_of(given={"vision": vision}).step()


def test_an_iterator_is_read_once():
    agent = agent_of(given={"internal_state": (fact for fact in ("tired", "cold"))})
    for _ in range(2):
        assert agent.generate_obs().self_state["internal_state"] == ["tired", "cold"]
