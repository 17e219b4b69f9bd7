"""What buyers and sellers can do, what the market refuses, and the tactic in the place of a language model."""

import pytest
from helpers.rules import answered, asked

from mesa_llm.clients import LLMRequest, Message, RuleBasedClient, tool_call
from mesa_llm.errors import ActionError, DecisionError
from mesa_llm.parallel_stepping import step_agents_parallel_sync
from mesa_llm.reasoning import read_observation
from mesa_llm_examples.negotiation import Buyer, Negotiation, policy
from mesa_llm_examples.negotiation.agents import accept_offer, make_offer
from mesa_llm_examples.negotiation.model import OfferBook, aspiration


def market(buyers=1, sellers=1, *, script=None, **arguments):
    """Every unit is worth 80 and costs 20; buyers have 100 coins. `script` says what each agent's id decides."""

    def scripted(request):
        me = read_observation(request)["self_state"]
        return (script or {}).get(me["agent_unique_id"], tool_call("wait"))

    client = RuleBasedClient(scripted)
    model = Negotiation(
        buyers, sellers, **{"units": 1, "seed": 1, "client": client, "parallel_stepping": False} | arguments
    )
    agents = list(model.agents)
    for agent in agents:
        agent.limit, agent.money = (80, 100) if isinstance(agent, Buyer) else (20, 0)
    return model, *agents


def heard(agent):
    return [entry.content["message"] for entry in agent.memory.entries if entry.type == "message"]


def results(agent):
    return [entry.content["result"] for entry in agent.memory.entries if entry.type == "action"]


def test_an_offer_reaches_the_other_side():
    model, buyer, seller = market()
    assert make_offer(buyer, seller.unique_id, 40, "Take it.") == f"You offered 40 coins to {seller}."
    assert heard(seller) == ["I offer you 40 coins for a unit. Take it."]
    assert seller.generate_obs().self_state["internal_state"]["_offers_to_you"] == {str(buyer): 40}
    assert buyer.generate_obs().self_state["internal_state"]["_your_offers"] == {str(seller): 40}
    make_offer(buyer, seller.unique_id, 45)
    assert model.offers.to(seller.unique_id) == {buyer.unique_id: 45}


def test_a_deal():
    model, buyer, seller = market()
    make_offer(buyer, seller.unique_id, 40)
    make_offer(seller, buyer.unique_id, 70)
    assert accept_offer(seller, buyer.unique_id, 40) == f"You and {buyer} made a deal at 40 coins; you gained 20."
    assert (buyer.money, seller.money) == (60, 40)
    assert (buyer.units, seller.units) == (1, 1)
    assert len(model.offers) == 0
    assert heard(buyer)[-1] == "I accept your offer of 40 coins."
    [deal] = model.deals
    assert (deal.buyer, deal.seller, deal.price, deal.surplus) == (buyer.unique_id, seller.unique_id, 40, 60)
    assert not buyer.internal_state["open"]
    with pytest.raises(ActionError, match="You trade no more"):
        make_offer(buyer, seller.unique_id, 30)


def test_a_better_offer_than_was_accepted_is_taken_as_it_is():
    model, buyer, seller = market()
    make_offer(seller, buyer.unique_id, 50)
    accept_offer(buyer, seller.unique_id, 60)
    assert [deal.price for deal in model.deals] == [50]


def test_what_the_market_refuses():
    model, buyer, other_buyer, seller = market(2, 1)
    make_offer(seller, buyer.unique_id, 70)
    for call, message in [
        (lambda: make_offer(buyer, other_buyer.unique_id, 50), "buyers trade with sellers"),
        (lambda: make_offer(buyer, buyer.unique_id, 50), "buyers trade with sellers"),
        (lambda: make_offer(buyer, 99, 50), "Agent 99 is nobody with whom you can trade"),
        (lambda: make_offer(buyer, seller.unique_id, 81), "A deal at 81 coins is a loss to you"),
        (lambda: make_offer(seller, buyer.unique_id, 19), "A deal at 19 coins is a loss to you"),
        (lambda: make_offer(buyer, seller.unique_id, 0), "A price is at least 1 coin, not 0"),
        (lambda: accept_offer(other_buyer, seller.unique_id, 70), f"There is no offer of {seller} to you"),
        (lambda: accept_offer(buyer, seller.unique_id, 60), f"The offer of {seller} is 70 coins, not 60"),
    ]:
        with pytest.raises(ActionError, match=message):
            call()
    buyer.money = 60
    with pytest.raises(ActionError, match="You have 60 coins and cannot pay 70"):
        accept_offer(buyer, seller.unique_id, 70)
    assert model.deals == []


def test_what_a_buyer_can_pay_no_more_is_offered_no_more():
    model, buyer, seller, other_seller = market(1, 2, units=2)
    for partner, price in ((seller, 60), (other_seller, 50)):
        make_offer(buyer, partner.unique_id, price)
    accept_offer(seller, buyer.unique_id, 60)
    assert buyer.is_open
    assert len(model.offers) == 0  # 40 coins are left


def test_after_the_last_round_the_market_is_closed():
    model, buyer, seller = market(rounds=1)
    model.step()
    assert not model.is_closed
    model.step()
    with pytest.raises(ActionError, match="The market is closed"):
        make_offer(buyer, seller.unique_id, 40)


def test_two_want_the_last_unit_of_one_seller():
    accept = tool_call("accept_offer", partner_id=3, price=40)
    _, buyer, other_buyer, seller = market(2, 1, script={1: accept, 2: accept})
    for one in (buyer, other_buyer):
        make_offer(seller, one.unique_id, 40)
    step_agents_parallel_sync([other_buyer, buyer])
    assert results(other_buyer) == [f"You and {seller} made a deal at 40 coins; you gained 40."]
    assert results(buyer) == [f"Error: {seller} trades no more, after a deal that somebody else has just closed."]
    assert [report.conflicts for report in seller.model.parallel_reports] == [1]


def test_both_accept_the_offer_of_the_other():
    script = {
        1: tool_call("accept_offer", partner_id=2, price=50),
        2: tool_call("accept_offer", partner_id=1, price=40),
    }
    model, buyer, seller = market(units=2, script=script)
    make_offer(buyer, seller.unique_id, 40)
    make_offer(seller, buyer.unique_id, 50)
    step_agents_parallel_sync([buyer, seller])
    assert [deal.price for deal in model.deals] == [50]
    assert len(model.offers) == 0
    assert results(seller) == [f"Error: {buyer} has just made a deal, and its offer to you stands no more."]


def test_an_offer_that_is_made_worse_before_it_is_accepted():
    script = {1: tool_call("accept_offer", partner_id=2, price=40), 2: tool_call("make_offer", partner_id=1, price=60)}
    model, buyer, seller = market(script=script)
    make_offer(seller, buyer.unique_id, 40)
    step_agents_parallel_sync([seller, buyer])
    assert model.deals == []
    assert results(buyer) == [f"Error: The offer of {seller} is 60 coins, not 40. It has just been changed."]
    assert [report.conflicts for report in model.parallel_reports] == [1]


def test_nobody_sees_more_of_others_than_whether_they_trade():
    _, buyer, seller = market()
    seller.generate_obs()
    assert buyer.generate_obs().local_state[str(seller)]["internal_state"] == {"open": True}


def test_offers():
    book = OfferBook()
    for maker, recipient, price in ((1, 5, 10), (1, 6, 20), (2, 5, 30), (5, 1, 40)):
        book.put(maker, recipient, price)
    assert (book.to(5), book.by(1), len(book)) == ({1: 10, 2: 30}, {5: 10, 6: 20}, 4)
    book.drop_above(1, 15)
    assert book.by(1) == {5: 10}
    book.drop(7, 8)
    book.drop_all(1)
    assert (book.to(5), book.price(2, 5), book.price(1, 5), len(book)) == ({2: 30}, 30, None, 1)


def asking(kind, *, offers=(), made=(), partners=("7", "8"), **changes):
    """A request of a buyer or a seller; a buyer's own price in the middle of the market is 45, a seller's 65."""
    other = "Seller" if kind == "buyer" else "Buyer"
    state = {
        "_side": kind,
        "_round": 6,
        "_rounds": 11,
        "_price_range": [10, 100],
        "_reservation_price": 80 if kind == "buyer" else 30,
        "_haste": 1.0,
        "_money": 200,
        "_offers_to_you": {f"{other} {number}": price for number, price in offers},
        "_your_offers": {f"{other} {number}": price for number, price in made},
    }
    others = {f"{other} {number}": {"open": True} for number in partners}
    others |= {f"{other} 9": {"open": False}, f"{kind.title()} 1": {"open": True}}
    return asked({"make_offer": {}, "accept_offer": {}, "wait": {}}, state | changes, others)


def accepted(partner, price):
    return "accept_offer", {"partner_id": partner, "price": price}


def offer(partner, price):
    return "make_offer", {"partner_id": partner, "price": price}


@pytest.mark.parametrize(
    ("elapsed", "haste", "price"),
    [(0, 1, 10), (1, 1, 80), (0.5, 1, 45), (0.5, 2, 59), (0.5, 0.5, 28), (0, 0.5, 10), (1, 2, 80)],
)
def test_aspirations(elapsed, haste, price):
    assert aspiration(10, 80, elapsed=elapsed, haste=haste) == price


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (asking("buyer", offers=[(7, 45)]), accepted(7, 45)),
        (asking("buyer", offers=[(7, 40), (8, 30)]), accepted(8, 30)),
        (asking("buyer", offers=[(7, 46)]), offer(7, 45)),
        (asking("buyer", offers=[(7, 46)], made=[(7, 45)]), ("wait", {})),
        (asking("buyer", offers=[(7, 81)], partners=["8"]), offer(8, 45)),  # that offer would be a loss
        (asking("buyer", _money=50, partners=["7"]), offer(7, 30)),
        (asking("buyer", _rounds=1, _round=1, partners=["7"]), offer(7, 80)),
        (asking("buyer", partners=[]), ("wait", {})),
        (asking("seller", offers=[(7, 64), (8, 65)]), accepted(8, 65)),
        (asking("seller", offers=[(7, 64)]), offer(7, 65)),
    ],
)
def test_the_tactic(request_, expected):
    assert answered(policy(request_)) == expected


def test_with_nothing_to_choose_by_every_partner_is_chosen_sometimes():
    chosen = {
        answered(policy(asking("buyer", partners="3456", _money=money)))[1]["partner_id"] for money in range(100, 150)
    }
    assert chosen == {3, 4, 5, 6}


def test_a_request_without_an_observation_is_refused():
    with pytest.raises(DecisionError, match="No observation"):
        policy(LLMRequest(model="m", messages=(Message("user", "Hello"),)))
