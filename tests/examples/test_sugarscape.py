"""The world of traders as a whole: what it obeys, and what is counted."""

import math

import pytest
from helpers.rules import as_model
from hypothesis import given, settings
from hypothesis import strategies as st

from mesa_llm.errors import ConfigurationError
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM
from mesa_llm_examples.shared import offered
from mesa_llm_examples.sugarscape import Sugarscape, policy
from mesa_llm_examples.sugarscape.agents import Exchange, steps_between
from mesa_llm_examples.sugarscape.model import gini


def world(traders=15, **arguments):
    enable_automatic_parallel_stepping()
    return Sugarscape(traders, **{"width": 8, "height": 8, "seed": 5} | arguments)


def after(steps, model):
    for _ in range(steps):
        model.step()
    return model


def total(model):
    return [
        sum(getattr(agent.holding, good) for agent in model.agents) + model.landscape.now(good).sum()
        for good in ("sugar", "spice")
    ]


@settings(max_examples=10)
@given(seed=st.integers(0, 2**31), trade=st.booleans())
def test_nothing_is_lost_but_what_is_eaten_and_nothing_comes_but_what_grows(seed, trade):
    model = world(seed=seed, trade=trade, growth=0)
    for _ in range(4):
        before = total(model)
        eaten = [
            sum(getattr(agent.holding, f"{good}_metabolism") for agent in model.agents) for good in ("sugar", "spice")
        ]
        model.step()
        assert model.population == 15  # the dead would take what they had with them
        assert total(model) == pytest.approx([amount - gone for amount, gone in zip(before, eaten, strict=True)])


def test_nobody_shares_a_cell_and_nobody_alive_has_nothing():
    model = world(30, max_metabolism=6)
    for _ in range(15):
        model.step()
        assert len({agent.cell for agent in model.agents}) == model.population
        assert all(agent.holding.sugar > 0 and agent.holding.spice > 0 for agent in model.agents)
        assert all(agent.internal_state["mrs"] == round(agent.holding.mrs, 3) for agent in model.agents)
    assert 0 < model.population < 30


def test_nobody_moves_farther_than_it_sees():
    model = world()
    for _ in range(5):
        before = {agent.unique_id: agent.cell.coordinate for agent in model.agents}
        model.step()
        for agent in model.agents:
            assert steps_between(before[agent.unique_id], agent.cell.coordinate, model.size) <= agent.vision


def test_a_run_is_counted_in_every_step():
    model = after(6, world())
    counted = model.datacollector.model_vars
    assert list(counted) == ["population", "exchanges", "price", "gini"]
    assert {len(values) for values in counted.values()} == {7}
    assert counted["population"][0] == 15
    assert counted["population"][-1] == len(model.agents)
    assert counted["price"][0] is None
    assert counted["exchanges"][-1] == len(model.exchanges)
    assert sum(counted["exchanges"]) > 20
    assert counted["gini"][-1] == gini([agent.holding.sugar + agent.holding.spice for agent in model.agents])
    assert f"{model.population} of 15 traders are alive; {sum(counted['exchanges'])} exchanges" in model.result()


def test_the_mean_price_is_geometric():
    model = world(0)
    model.exchanges = [Exchange(sugar=1, spice=4, price=4), Exchange(sugar=4, spice=1, price=0.25)]
    assert model.mean_price == pytest.approx(1)
    model.exchanges = []
    assert model.mean_price is None


def test_prices_converge_as_rates_do():
    """Epstein and Axtell, chapter IV: by trading, the rates of substitution come closer together."""

    def spread(trade):
        rates = [math.log(agent.holding.mrs) for agent in after(10, world(seed=2, trade=trade)).agents]
        return max(rates) - min(rates)

    assert spread(trade=True) < spread(trade=False) / 2


def test_trade_feeds_more():
    """Epstein and Axtell, chapter IV: with trade the landscape carries more agents."""

    def alive(trade):
        worlds = [world(20, width=10, height=10, max_vision=2, seed=seed, trade=trade) for seed in (1, 3)]
        return sum(after(30, model).population for model in worlds)

    assert alive(trade=True) > alive(trade=False)


def test_without_trade_nobody_is_asked_about_it():
    llm = ScriptedLLM(as_model(policy))
    model = world(client=llm, trade=False)
    model.step()
    assert len(llm.requests) == 15
    assert {name for request in llm.requests for name in offered(request)} == {"move_to_cell", "wait"}
    assert model.exchanges == []
    assert model.result().startswith("15 of 15 traders are alive; no exchange")


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_all_decide_with_whom_to_trade_and_when_all_have_traded_where_to_go(mode):
    llm = ScriptedLLM(as_model(policy), hold_until=4)
    model = world(4, width=3, height=3, max_vision=1, client=llm, parallel_stepping=ParallelStepping(mode=mode))
    for agent in model.agents:
        agent.vision = 2  # everybody sees everybody, wherever they go
    model.step()
    assert [next(iter(offered(request))) for request in llm.requests] == ["trade_with"] * 4 + ["move_to_cell"] * 4
    assert llm.peak_in_flight == 4


def test_who_has_nobody_in_sight_is_not_asked_with_whom_to_trade():
    llm = ScriptedLLM(as_model(policy))
    world(1, client=llm).step()
    assert [list(offered(request)) for request in llm.requests] == [["move_to_cell", "wait"]]


def test_a_landscape_of_four_peaks():
    capacity = world(0, width=20, height=20).landscape.capacity
    assert {capacity["sugar"][place] for place in ((5, 5), (15, 15))} == {4}
    assert {capacity["spice"][place] for place in ((5, 15), (15, 5))} == {4}
    assert capacity["sugar"][5, 15] == capacity["spice"][5, 5] == 0
    assert set(capacity["sugar"].flat) == {0, 1, 2, 3, 4}


def test_what_was_harvested_grows_again_up_to_what_the_cell_holds():
    model = world(0, width=20, height=20, growth=3)
    land = model.landscape
    assert land.harvest((5, 5)) == (4, 0)
    assert land.harvest((5, 5)) == (0, 0)
    model.step()
    assert land.now("sugar")[5, 5] == 3
    model.step()
    assert land.now("sugar")[5, 5] == 4
    assert (land.now("spice") <= land.capacity["spice"]).all()


@pytest.mark.parametrize(
    ("one", "other", "steps"), [((0, 0), (0, 0), 0), ((0, 0), (2, 1), 3), ((0, 0), (7, 9), 2), ((1, 8), (6, 2), 7)]
)
def test_steps_around_the_torus(one, other, steps):
    assert steps_between(one, other, (8, 10)) == steps


@pytest.mark.parametrize(
    ("wealth", "expected"), [([], None), ([0, 0], None), ([3, 3, 3], 0), ([0, 0, 0, 1], 0.75), ([1, 3], 0.25)]
)
def test_gini(wealth, expected):
    assert gini(wealth) == pytest.approx(expected)


def test_a_world_of_nobody_steps():
    model = after(2, world(0))
    assert model.datacollector.model_vars["gini"] == [None] * 3
    assert model.result() == "0 of 0 traders are alive; no exchange."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"traders": -1}, "traders must be a whole number >= 0, got -1"),
        ({"width": 2}, "width must be a whole number >= 3, got 2"),
        ({"height": 2.5}, r"height must be a whole number >= 3, got 2\.5"),
        ({"max_metabolism": 0}, "max_metabolism must be a whole number >= 1, got 0"),
        ({"max_vision": 0}, "max_vision must be a whole number >= 1, got 0. Use 1 for traders"),
        ({"growth": -1}, "growth must be a whole number >= 0, got -1"),
        ({"traders": 65}, "65 traders do not fit on 8 x 8 = 64 cells, one trader a cell. Use a larger"),
    ],
)
def test_what_cannot_work_is_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        world(**arguments)
