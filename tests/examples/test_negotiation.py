"""The market as a whole: what its deals obey, and what is counted."""

import pytest
from helpers.rules import as_model
from hypothesis import given, settings
from hypothesis import strategies as st

from mesa_llm.errors import ConfigurationError
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM
from mesa_llm_examples.negotiation import Buyer, Negotiation, Seller, policy


def market(buyers=6, sellers=6, **arguments):
    enable_automatic_parallel_stepping()
    return Negotiation(buyers, sellers, **{"seed": 3} | arguments)


def run_through(model):
    for _ in range(model.rounds):
        model.step()
    return model


def wealth(model):
    """Coins, and units of the goods that are left or bought."""
    agents = model.negotiators.values()
    sold = sum(agent.units for agent in agents if isinstance(agent, Seller))
    bought = sum(agent.units for agent in agents if isinstance(agent, Buyer))
    return sum(agent.money for agent in agents), sold - bought


def check_laws(model):
    """What holds at any moment, whatever has been decided."""
    agents = model.negotiators
    assert all(agent.money >= 0 and 0 <= agent.units <= model.units for agent in agents.values())
    for maker in agents.values():
        for recipient, price in model.offers.by(maker.unique_id).items():
            assert maker.is_open  # an offer that stands can be accepted
            assert agents[recipient].is_open
            assert maker.gain(price) >= 0
            assert maker.can_pay is None or price <= maker.can_pay
    for deal in model.deals:
        assert agents[deal.buyer].limit >= deal.price >= agents[deal.seller].limit  # nobody is worse off
        assert deal.surplus == agents[deal.buyer].gain(deal.price) + agents[deal.seller].gain(deal.price)
    assert 0 <= model.surplus <= model.possible_surplus


@settings(max_examples=15)
@given(seed=st.integers(0, 2**31), buyers=st.integers(0, 6), sellers=st.integers(0, 6), units=st.integers(1, 3))
def test_money_and_goods_are_conserved_and_nobody_is_worse_off(seed, buyers, sellers, units):
    model = market(buyers, sellers, units=units, seed=seed, rounds=5)
    before = wealth(model)
    for _ in range(5):
        model.step()
        assert wealth(model) == before
        check_laws(model)


def test_a_run_is_counted_in_every_step():
    model = run_through(market())
    counted = model.datacollector.model_vars
    assert list(counted) == ["offers", "deals", "price", "surplus", "efficiency"]
    assert {len(values) for values in counted.values()} == {11}
    assert counted["deals"][-1] == len(model.deals) > 2
    assert counted["deals"] == [sum(deal.step <= step for deal in model.deals) for step in range(11)]
    assert counted["price"][0] is None
    assert counted["price"][-1] == sum(deal.price for deal in model.deals) / len(model.deals)
    assert counted["surplus"][-1] == sum(deal.surplus for deal in model.deals)
    assert counted["efficiency"][-1] == counted["surplus"][-1] / model.possible_surplus
    assert counted["offers"][-1] == len(model.offers)
    assert model.result().startswith(f"{len(model.deals)} deals at a mean price of ")


def test_all_that_is_possible_where_supply_and_demand_cross():
    model = market(3, 3)
    buyers, sellers = ([agent for agent in model.agents if isinstance(agent, kind)] for kind in (Buyer, Seller))
    for buyer, limit in zip(buyers, (50, 90, 70), strict=True):
        buyer.limit = limit
    for seller, limit in zip(sellers, (60, 20, 80), strict=True):
        seller.limit = limit
    assert model.possible_surplus == 2 * ((90 - 20) + (70 - 60))


def test_a_pair_with_something_to_gain_meets_in_between():
    model = market(1, 1, units=1)
    buyer, seller = model.agents
    buyer.limit, buyer.money, seller.limit = 90, 200, 20
    run_through(model)
    [deal] = model.deals
    assert 20 < deal.price < 90
    assert (buyer.money, seller.money) == (200 - deal.price, deal.price)
    assert model.efficiency == 1


def test_a_pair_without_anything_to_gain_makes_no_deal():
    model = market(1, 1)
    buyer, seller = model.agents
    buyer.limit, seller.limit = 40, 60
    run_through(model)
    assert model.deals == []
    assert model.efficiency is None
    assert model.result() == "No deal was made."


def test_a_market_runs_until_its_last_round_and_says_so_before():
    model = market(1, 1, rounds=3)
    buyer, seller = model.agents
    buyer.limit, seller.limit = 40, 60
    said = []
    while model.running:
        model.step()
        said.append(model.result())
    assert said == ["1 of 3 rounds played; no deal yet.", "2 of 3 rounds played; no deal yet.", "No deal was made."]


def test_whoever_is_patient_gets_more():
    def price(buyer_haste, seller_haste):
        model = market(1, 1, units=1)
        buyer, seller = model.agents
        buyer.limit, buyer.money, buyer.haste = 90, 200, buyer_haste
        seller.limit, seller.haste = 20, seller_haste
        return run_through(model).deals[0].price

    assert price(0.5, 2.0) < price(1.0, 1.0) < price(2.0, 0.5)


def test_one_call_for_each_that_trades_and_none_after_the_last_round():
    llm = ScriptedLLM(as_model(policy))
    model = market(client=llm, rounds=6)
    for _ in range(6):
        trading = sum(agent.is_open for agent in model.agents)
        before = len(llm.requests)
        model.step()
        assert len(llm.requests) - before == trading
    assert len(model.deals) > 0
    before = len(llm.requests)
    model.step()
    assert len(llm.requests) == before


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_all_decide_at_once(mode):
    enable_automatic_parallel_stepping(mode)
    llm = ScriptedLLM(as_model(policy), hold_until=12)
    market_ = Negotiation(6, 6, seed=1, client=llm)
    market_.step()
    assert llm.peak_in_flight == 12


def test_an_empty_market_steps():
    model = run_through(market(0, 0))
    assert model.datacollector.model_vars["deals"] == [0] * 11
    assert model.result() == "No deal was made."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"buyers": -1}, "buyers must be a whole number >= 0, got -1"),
        ({"sellers": 1.5}, r"sellers must be a whole number >= 0, got 1\.5"),
        ({"units": 0}, "units must be a whole number >= 1, got 0"),
        ({"rounds": 0}, "rounds must be a whole number >= 1, got 0"),
        ({"lowest_price": 0}, "lowest_price must be a whole number >= 1, got 0"),
        ({"highest_price": 2.5}, r"highest_price must be a whole number >= 1, got 2\.5"),
        (
            {"lowest_price": 50, "highest_price": 40},
            "lowest_price must not be above highest_price, got 50 and 40. Swap them.",
        ),
    ],
)
def test_what_cannot_work_is_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        market(**arguments)
