"""What two traders exchange, what the world refuses, and the rules in the place of a language model."""

import json
import math

import pytest
from helpers.rules import answered, asked
from hypothesis import given
from hypothesis import strategies as st

from mesa_llm.clients import LLMRequest, Message, RuleBasedClient, tool_call
from mesa_llm.errors import ActionError, DecisionError, ToolError
from mesa_llm.parallel_stepping import step_agents_parallel_sync
from mesa_llm.reasoning import read_observation
from mesa_llm_examples.shared import offered
from mesa_llm_examples.sugarscape import Sugarscape, policy
from mesa_llm_examples.sugarscape.agents import Holding, exchanges, move_to_cell, trade_with


def holding(sugar=10.0, spice=10.0, sugar_metabolism=1, spice_metabolism=1):
    return Holding(sugar=sugar, spice=spice, sugar_metabolism=sugar_metabolism, spice_metabolism=spice_metabolism)


holdings = st.builds(holding, st.floats(0.5, 100), st.floats(0.5, 100), st.integers(1, 5), st.integers(1, 5))


def test_welfare_and_rate():
    trader = holding(sugar=16, spice=81, sugar_metabolism=1, spice_metabolism=3)
    assert trader.welfare == pytest.approx(2 * 27)
    assert trader.mrs == pytest.approx((81 / 3) / 16)


def test_one_exchange():
    buyer, seller = holding(sugar=10, spice=40), holding(sugar=40, spice=10)
    first = next(exchanges(buyer, seller))
    assert (first.price, first.sugar, first.spice) == (1.0, 1.0, 1.0)
    dear = next(exchanges(holding(sugar=10, spice=160), holding(sugar=10, spice=10)))
    assert (dear.price, dear.sugar, dear.spice) == (4.0, 1.0, 4.0)
    cheap = next(exchanges(holding(sugar=10, spice=10), holding(sugar=160, spice=10)))
    assert (cheap.price, cheap.sugar, cheap.spice) == (0.25, 4.0, 1.0)


@given(one=holdings, other=holdings)
def test_every_exchange_makes_both_better_off_and_their_rates_never_cross(one, other):
    buyer, seller = sorted((one, other), key=lambda trader: -trader.mrs)
    for made in exchanges(buyer, seller):
        assert made.price == pytest.approx(math.sqrt(buyer.mrs * seller.mrs))
        assert made.price == pytest.approx(made.spice / made.sugar)
        now = buyer.changed(made.sugar, -made.spice), seller.changed(-made.sugar, made.spice)
        assert now[0].welfare > buyer.welfare
        assert now[1].welfare > seller.welfare
        assert min(now[1].sugar, now[0].spice) > 0
        assert buyer.mrs > now[0].mrs >= now[1].mrs > seller.mrs
        assert now[0].sugar + now[1].sugar == pytest.approx(buyer.sugar + seller.sugar)
        assert now[0].spice + now[1].spice == pytest.approx(buyer.spice + seller.spice)
        buyer, seller = now


def test_nothing_is_exchanged_at_equal_rates_or_by_the_poor():
    assert list(exchanges(holding(), holding())) == []
    assert list(exchanges(holding(sugar=0.1, spice=0.9), holding(sugar=50, spice=1))) == []


def test_nothing_is_exchanged_by_which_one_would_lose_though_their_rates_do_not_cross():
    buyer = holding(sugar=0.5, spice=2, sugar_metabolism=1, spice_metabolism=5)
    seller = holding(sugar=100, spice=2, sugar_metabolism=2, spice_metabolism=5)
    assert list(exchanges(buyer, seller)) == []


def world(*traders, script=None, **arguments):
    """Traders on cells of their own, from (0, 0) on along the first row; everybody sees one cell far."""

    def scripted(request):
        me = read_observation(request)["self_state"]["agent_unique_id"]
        return (script or {}).get((next(iter(offered(request))), me), tool_call("wait"))

    model = Sugarscape(
        len(traders),
        **{"width": 6, "height": 6, "seed": 1, "client": RuleBasedClient(scripted), "parallel_stepping": False}
        | arguments,
    )
    agents = list(model.agents)
    for agent in agents:
        agent.cell = None
    for column, (agent, has) in enumerate(zip(agents, traders, strict=True)):
        agent.cell = model.grid[0, column]
        agent.vision, agent.holding = 1, has
    return model, *agents


def results(agent):
    return [entry.content["result"] for entry in agent.memory.entries if entry.type == "action"]


RICH_IN_SPICE, RICH_IN_SUGAR = holding(sugar=10, spice=40), holding(sugar=40, spice=10)


@pytest.mark.parametrize("asks", [0, 1])
def test_a_trade(asks):
    model, *agents = world(RICH_IN_SPICE, RICH_IN_SUGAR)
    agent, other = agents[asks], agents[1 - asks]
    before = [one.holding.welfare for one in agents]
    got = trade_with(agent, other.unique_id)
    assert all(one.holding.welfare > was for one, was in zip(agents, before, strict=True))
    assert sum(one.holding.sugar for one in agents) == pytest.approx(50)
    assert sum(one.holding.spice for one in agents) == pytest.approx(50)
    assert len(model.exchanges) > 5
    change = [agent.holding.sugar - (40 if asks else 10), agent.holding.spice - (10 if asks else 40)]
    amounts = (
        f"{abs(change[asks]):.2f} {'spice' if asks else 'sugar'}",
        f"{abs(change[1 - asks]):.2f} {'sugar' if asks else 'spice'}",
    )
    assert got.startswith(f"You got {amounts[0]} from trader {other.unique_id} for {amounts[1]}.")
    assert f"Trader {agent.unique_id} traded with you: you got {amounts[1]} for {amounts[0]}." in str(
        other.memory.entries[-1]
    )
    assert {one.internal_state["mrs"] for one in agents} == {round(one.holding.mrs, 3) for one in agents}
    with pytest.raises(ActionError, match="would not both gain: your rates are"):
        trade_with(agent, other.unique_id)


def test_nobody_trades_with_whom_it_does_not_see():
    _, near, _, far = world(RICH_IN_SPICE, holding(), RICH_IN_SUGAR)
    for unseen in (far.unique_id, near.unique_id, 99):
        with pytest.raises(ActionError, match=f"There is no trader {unseen} in your sight now"):
            trade_with(near, unseen)


def test_moves():
    model, trader, other = world(holding(), holding())
    with pytest.raises(ActionError, match=r"Cell \(3, 0\) is out of your sight"):
        move_to_cell(trader, (3, 0))
    with pytest.raises(ToolError, match="full"):
        move_to_cell(trader, other.cell.coordinate)
    with pytest.raises(ActionError, match="out of your sight"):
        move_to_cell(trader, (63, 0))  # around the torus that is the same cell
    for nowhere in ("the peak", (0.5, 0), (0, 0, 1)):
        with pytest.raises(ToolError):
            move_to_cell(trader, nowhere)
    assert trader.cell is model.grid[0, 0]
    assert move_to_cell(trader, (5, 0)) == "You are at (5, 0)."
    assert trader.cell is model.grid[5, 0]


def test_two_want_the_same_cell():
    go = tool_call("move_to_cell", cell=[0, 1])
    _, one, gone, other = world(
        holding(), holding(), holding(), trade=False, script={("move_to_cell", 1): go, ("move_to_cell", 3): go}
    )
    gone.remove()
    step_agents_parallel_sync([other, one])
    assert results(other) == ["You are at (0, 1)."]
    assert results(one)[0].startswith("Error: Cell (0, 1) is full")
    assert [report.conflicts for report in one.model.parallel_reports] == [1]


def test_two_want_to_trade_with_the_same_trader():
    trade = tool_call("trade_with", trader_id=2)
    _, one, wanted, other = world(
        RICH_IN_SPICE, RICH_IN_SUGAR, RICH_IN_SPICE, script={("trade_with", 1): trade, ("trade_with", 3): trade}
    )
    made = list(exchanges(other.holding, wanted.holding))
    sold = wanted.holding.changed(-sum(one.sugar for one in made), sum(one.spice for one in made))
    one.holding = sold  # equal rates, once the other two have traded
    assert next(exchanges(one.holding, wanted.holding))
    step_agents_parallel_sync([other, one])
    assert results(other)[0].startswith("You got ")
    assert (
        results(one)[0] == "Error: One of you has just traded, and you and trader 2 gain nothing from each other now."
    )
    assert [report.conflicts for report in one.model.parallel_reports] == [1]


def test_what_is_on_the_cell_is_gathered_and_eaten():
    model, trader = world(holding(sugar=5, spice=5, sugar_metabolism=2, spice_metabolism=3))
    model.landscape.now("sugar")[0, 0], model.landscape.now("spice")[0, 0] = 4, 1
    trader.gather_and_eat()
    assert (trader.holding.sugar, trader.holding.spice) == (7, 3)
    assert model.landscape.harvest((0, 0)) == (0, 0)


def test_who_has_nothing_left_dies():
    model, starving, _ = world(holding(spice=1, spice_metabolism=8), holding(), growth=0)
    model.landscape.now("spice")[:] = 0
    model.step()
    assert starving not in model.agents
    assert model.population == 1
    assert not any(starving in cell.agents for cell in model.grid.all_cells)


def test_others_see_the_rate_alone():
    _, trader, other = world(RICH_IN_SPICE, RICH_IN_SUGAR)
    other.generate_obs()
    assert trader.generate_obs().local_state[str(other)]["internal_state"] == {"mrs": 0.25}


def going(*cells, **has):
    stores = {"_sugar": 10, "_spice": 10, "_sugar_metabolism": 1, "_spice_metabolism": 1} | has
    environment = {cell: {"sugar": sugar, "spice": spice} for cell, sugar, spice in cells}
    free = [json.dumps(cell) for cell, _, _ in cells if cell != (0, 0)]
    actions = {"wait": {}} | ({"move_to_cell": {"cell": free}} if free else {})
    return asked(actions, stores | {"_size_of_the_landscape": [6, 6]}, environment=environment)


def trading(mrs, *others):
    return asked(
        {"trade_with": {}, "wait": {}}, {"mrs": mrs}, {f"Trader {number}": {"mrs": rate} for number, rate in others}
    )


HERE = ((0, 0), 0, 0)


@pytest.mark.parametrize(
    ("request_", "cell"),
    [
        (going(HERE, ((0, 1), 1, 0), ((0, 2), 1, 1)), [0, 2]),
        (going(HERE, ((0, 4), 2, 0), ((0, 1), 2, 0)), [0, 1]),  # the nearest of the best
        (going(HERE, ((0, 2), 2, 0), ((5, 0), 2, 0)), [5, 0]),  # around the torus
        (going(HERE, ((0, 1), 4, 0), ((1, 0), 0, 3), _spice=2), [1, 0]),  # what it lacks
        (going(HERE, ((0, 1), 0, 0)), None),
        (going(HERE), None),
    ],
)
def test_the_movement_rule(request_, cell):
    assert answered(policy(request_)) == (("move_to_cell", {"cell": cell}) if cell else ("wait", {}))


@pytest.mark.parametrize(
    ("request_", "partner"),
    [
        (trading(1.0, (4, 1.5), (5, 0.5)), 5),  # half is farther than one and a half times
        (trading(1.0, (4, 1.04)), None),
        (trading(0.0, (4, 1.0)), None),  # a rate that is shown as 0 has no logarithm
    ],
)
def test_the_trade_rule(request_, partner):
    assert answered(policy(request_)) == (("trade_with", {"trader_id": partner}) if partner else ("wait", {}))


def test_among_equals_every_one_is_chosen_sometimes():
    def chosen(sugar):
        request = going(HERE, ((0, 1), 1, 1), ((1, 0), 1, 1), ((0, 5), 1, 1), _sugar=sugar)
        return tuple(answered(policy(request))[1]["cell"])

    assert {chosen(sugar) for sugar in range(5, 40)} == {(0, 1), (1, 0), (0, 5)}


def test_a_request_without_an_observation_is_refused():
    with pytest.raises(DecisionError, match="No observation"):
        policy(LLMRequest(model="m", messages=(Message("user", "Hello"),)))
