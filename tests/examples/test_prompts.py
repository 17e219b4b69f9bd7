"""What a language model is told in each role of each example. A change shows here."""

import json

import pytest
from helpers.rules import as_model
from inline_snapshot import snapshot

from mesa_llm.reasoning import read_observation
from mesa_llm.testing import ScriptedLLM
from mesa_llm_examples import civil_violence, negotiation, opinion, sugarscape
from mesa_llm_examples.civil_violence import CivilViolence
from mesa_llm_examples.negotiation import Negotiation
from mesa_llm_examples.opinion import Opinion
from mesa_llm_examples.sugarscape import Sugarscape


def told_by(request):
    """What one request tells a model, but for the words that all agents of all models share."""
    system, actions, *_, prompt = request.messages
    offered = [json.loads(line) for line in actions.content.splitlines()[1:]]
    return {
        "persona": system.content.partition("# Who you are\n")[2],
        "knows": list(read_observation(request)["self_state"]["internal_state"]),
        "task": prompt.content.partition("# Task\n")[2],
        "actions": {action["name"]: action["description"] for action in offered},
    }


def requests(example, policy, **arguments):
    llm = ScriptedLLM(as_model(policy))
    example(**arguments, seed=3, client=llm, parallel_stepping=False).step()
    return llm.requests


def test_citizen():
    walking, deciding = map(told_by, requests(CivilViolence, civil_violence.policy, citizens=1, cops=0))
    assert deciding == snapshot(
        {
            "persona": """\
You are a citizen under a central authority. In each step you walk about, and then either rebel in the open (active) or
keep quiet. Your internal state holds numbers between 0 and 1 that only you know: your hardship, your aversion to risk,
and how legitimate the authority is in your eyes. The more hardship and the less legitimacy, the greater your grievance.
A cop who has you in sight may arrest you while you are active, and then you are in jail for some steps. The more cops
you see for each active citizen, the likelier that is. You rebel if your grievance outweighs your risk by more than the
threshold.\
""",
            "knows": [
                "state",
                "_hardship",
                "_risk_aversion",
                "_legitimacy",
                "_threshold",
                "_arrest_constant",
            ],
            "task": "Decide whether you rebel or keep quiet.",
            "actions": {"rebel": "Rebel in the open: be active.", "keep_quiet": "Keep quiet."},
        }
    )
    assert walking == deciding | {
        "task": "Choose the direction in which you go one step.",
        "actions": {"move_one_step": "Move one step in a direction from where you are."},
    }


def test_cop():
    walking, deciding = map(told_by, requests(CivilViolence, civil_violence.policy, citizens=0, cops=1))
    assert deciding == snapshot(
        {
            "persona": """\
You are a cop and serve the central authority. In each step you patrol, and then arrest one active citizen in your
sight, if there is any. Quiet citizens and those in jail cannot be arrested.\
""",
            "knows": [],
            "task": "Decide whom you arrest, or wait if nobody in your sight is active.",
            "actions": {"wait": "Do nothing in this step."},
        }
    )
    assert walking["task"] == "Choose the direction in which you go one step."


def test_buyer_and_seller():
    told = {
        request.observation.self_state["internal_state"]["_side"]: told_by(request)
        for request in requests(Negotiation, negotiation.policy, buyers=1, sellers=1)
    }
    assert told["buyer"] == snapshot(
        {
            "persona": """\
You are a buyer.
Buyers and sellers bargain in pairs, by offers and messages, for some rounds. An offer is for one unit, in whole coins.
It binds you until it is accepted, or replaced by another offer of yours to the same agent; so make only offers that
you want to be accepted. Nobody knows the values and costs of the others, only the range in which all of them lie. What
is not traded after the last round is worth nothing.
Each unit is worth your reservation price to you, and you gain what you pay less than that. You cannot pay more than the
money you have. Your haste says how soon you give in: below 1 you hold out until the end, above 1 you give in early.\
""",
            "knows": [
                "open",
                "_side",
                "_round",
                "_rounds",
                "_price_range",
                "_reservation_price",
                "_haste",
                "_money",
                "_units_left",
                "_offers_to_you",
                "_your_offers",
            ],
            "task": "Accept one of the offers to you, or make an offer to one agent of the other side that is still open, or wait.",
            "actions": {
                "make_offer": "Offer to trade one unit with an agent of the other side. Replaces your earlier offer to it.",
                "accept_offer": "Accept an offer that has been made to you. One unit changes hands at once.",
                "wait": "Do nothing in this step.",
            },
        }
    )
    assert told["seller"] == told["buyer"] | {
        "persona": snapshot("""\
You are a seller.
Buyers and sellers bargain in pairs, by offers and messages, for some rounds. An offer is for one unit, in whole coins.
It binds you until it is accepted, or replaced by another offer of yours to the same agent; so make only offers that
you want to be accepted. Nobody knows the values and costs of the others, only the range in which all of them lie. What
is not traded after the last round is worth nothing.
Each unit costs you your reservation price, and you gain what you are paid more than that. Your haste says how soon you
give in: below 1 you hold out until the end, above 1 you give in early.\
""")
    }


def test_trader():
    trading, moving = map(told_by, requests(Sugarscape, sugarscape.policy, traders=8, width=3, height=3)[:2])
    assert trading == snapshot(
        {
            "persona": """\
You live on a landscape where sugar and spice grow, and need both: in each step you eat as much of each as your
metabolism says, and you die when you have none left of either. So have an eye on the one of which your store lasts for
fewer steps. You gather all that is on the cell to which you go. The landscape has no edges: who leaves it on one side
comes in on the other. Two traders can exchange sugar for spice. Your marginal rate of substitution, mrs, is how much
spice a unit of sugar is worth to you: above 1 you lack sugar, below 1 spice. You see that of the others. The farther
apart the two rates, the more both of you gain by trading, and nobody ever loses by it.\
""",
            "knows": [
                "mrs",
                "_sugar",
                "_spice",
                "_sugar_metabolism",
                "_spice_metabolism",
                "_size_of_the_landscape",
            ],
            "task": "Decide with whom of those in your sight you trade, or wait.",
            "actions": {
                "trade_with": "Exchange sugar for spice with a trader in your sight, for as long as both of you gain by it.",
                "wait": "Do nothing in this step.",
            },
        }
    )
    assert moving == trading | {
        "task": "Decide to which of the free cells in your sight you go, or wait: then you stay where you are.",
        "actions": {"move_to_cell": "Go to a free cell in your sight.", "wait": "Do nothing in this step."},
    }


def test_person():
    request = requests(Opinion, opinion.policy, people=3, neighbors=2)[0]
    assert told_by(request) == snapshot(
        {
            "persona": """\
You discuss with the people whom you know: whether the centre of our town should be closed to cars.
Your opinion is a number from 0, fully against it, to 1, fully for it. You listen to those whose opinion differs from
yours by less than your confidence, and move towards them, by the share of the way that is your convergence. What others
say that is farther from what you think leaves you unmoved.\
""",
            "knows": ["_confidence", "_convergence", "_opinion", "_heard"],
            "task": """\
Consider what you have just heard, and change your opinion if it has moved you. Then tell one of the people in your
sight what you think now.\
""",
            "actions": {"tell": "Tell one of the people in your sight what you think from now on."},
        }
    )


@pytest.mark.parametrize("tool_mode", ["auto", "native"])
def test_positions_are_explained(tool_mode):
    llm = ScriptedLLM(
        lambda request: civil_violence.policy(request) if request.tools else as_model(civil_violence.policy)(request)
    )
    model = CivilViolence(1, 0, seed=3, client=llm, parallel_stepping=False)
    for agent in model.agents:
        agent.llm.tool_mode = tool_mode
    model.step()
    assert len(llm.requests) == 2
    assert all("Positions are [row, column]: North is row - 1" in asked.messages[0].content for asked in llm.requests)
