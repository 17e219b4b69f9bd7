"""What a language model is told in each role of each example. A change shows here."""

import re

from inline_snapshot import snapshot

from mesa_llm.reasoning import read_observation
from mesa_llm.testing import ScriptedLLM
from mesa_llm_examples import negotiation, opinion, sugarscape
from mesa_llm_examples.civil_violence import CivilViolence, policy
from mesa_llm_examples.negotiation import Negotiation
from mesa_llm_examples.opinion import Opinion
from mesa_llm_examples.sugarscape import Sugarscape


def told(citizens, cops):
    """What a lone agent's model is told, but for the words that all agents of all models share."""
    llm = ScriptedLLM(policy)
    CivilViolence(citizens, cops, seed=3, client=llm, parallel_stepping=False).step()
    system, prompt = llm.requests[0].messages
    return {
        "persona": system.content.partition("# Who you are\n")[2],
        "knows": list(read_observation(llm.requests[0])["self_state"]["internal_state"]),
        "task": prompt.content.partition("# Task\n")[2],
        "tools": [f"{tool.name}: {tool.description}" for tool in llm.requests[1].tools if tool.name != "move_one_step"],
    }


def test_citizen():
    assert told(citizens=1, cops=0) == snapshot(
        {
            "persona": """\
You are a citizen under a central authority. In each step you either rebel in the open (active) or keep quiet.
Your internal state holds numbers between 0 and 1 that only you know: your hardship, your aversion to risk, and how
legitimate the authority is in your eyes. The more hardship and the less legitimacy, the greater your grievance.
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
                "_free_directions",
            ],
            "task": "Decide whether you are active or quiet. Then move to one of your free directions.",
            "tools": [
                """\
change_state: Rebel in the open, or stop doing so.
Returns: What you are from now on.\
"""
            ],
        }
    )


def test_cop():
    assert told(citizens=0, cops=1) == snapshot(
        {
            "persona": """\
You are a cop and serve the central authority. In each step you arrest one active citizen in your sight, if there is
any, and patrol. Quiet citizens and those in jail cannot be arrested.\
""",
            "knows": ["_free_directions"],
            "task": "Decide whom you arrest, if anybody. Then move to one of your free directions.",
            "tools": [
                """\
arrest_citizen: Arrest a citizen in your sight who is active. The citizen goes to jail for some steps.
Returns: For how many steps the citizen is in jail.\
"""
            ],
        }
    )


def told_by(request):
    """What one request tells a model, but for the words that all agents of all models share."""
    system, prompt = request.messages
    return {
        "persona": system.content.partition("# Who you are\n")[2],
        "knows": list(read_observation(request)["self_state"]["internal_state"]),
        "task": prompt.content.partition("# Task\n")[2],
        "tools": [f"{tool.name}: {tool.description}" for tool in request.tools if tool.name != "speak_to"],
    }


def first_requests(example, policy, **arguments):
    llm = ScriptedLLM(policy)
    example(**arguments, seed=3, client=llm, parallel_stepping=False).step()
    return llm.requests


def test_buyer():
    assert told_by(first_requests(Negotiation, negotiation.policy, buyers=1, sellers=0)[0]) == snapshot(
        {
            "persona": """\
You are a buyer.
Buyers and sellers bargain in pairs, by offers and messages, for some rounds. An offer is for one unit, in whole coins.
It binds you until it is accepted, rejected, or replaced by another offer of yours to the same agent; so make only
offers that you want to be accepted. Nobody knows the values and costs of the others, only the range in which all of
them lie. What is not traded after the last round is worth nothing.
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
            "task": """\
Accept one of the offers to you, or make an offer to one agent of the other side that is still open, or wait. Reject
offers that you will not come back to.\
""",
            "tools": [
                """\
make_offer: Offer to trade one unit with an agent of the other side. Replaces your earlier offer to it.
Returns: The offer.\
""",
                """\
accept_offer: Accept an offer that has been made to you. One unit changes hands at once.
Returns: The deal.\
""",
                """\
reject_offer: Reject an offer that has been made to you, so that it stands no more.
Returns: What you have rejected.\
""",
            ],
        }
    )


def test_seller():
    told_seller = told_by(first_requests(Negotiation, negotiation.policy, buyers=0, sellers=1)[0])
    told_buyer = told_by(first_requests(Negotiation, negotiation.policy, buyers=1, sellers=0)[0])
    assert told_seller.pop("persona") == snapshot("""\
You are a seller.
Buyers and sellers bargain in pairs, by offers and messages, for some rounds. An offer is for one unit, in whole coins.
It binds you until it is accepted, rejected, or replaced by another offer of yours to the same agent; so make only
offers that you want to be accepted. Nobody knows the values and costs of the others, only the range in which all of
them lie. What is not traded after the last round is worth nothing.
Each unit costs you your reservation price, and you gain what you are paid more than that. Your haste says how soon you
give in: below 1 you hold out until the end, above 1 you give in early.\
""")
    del told_buyer["persona"]
    assert told_seller == told_buyer


def test_trader():
    moving, trading = first_requests(Sugarscape, sugarscape.policy, traders=9, width=3, height=3)[:2]
    told = told_by(moving)
    told["task"], _, cells = told["task"].partition("\n- ")
    assert re.fullmatch(r"\[\d, \d\], 0 steps away: \d sugar, \d spice", cells)  # where it is, Mesa has drawn
    assert told == snapshot(
        {
            "persona": """\
You live on a landscape where sugar and spice grow, and need both: in each step you eat as much of each as your
metabolism says, and you die when you have none left of either. So have an eye on the one of which your store lasts for
fewer steps. You gather all that is on the cell to which you go. Two traders can exchange sugar for spice. Your marginal
rate of substitution, mrs, is how much spice a unit of sugar is worth to you: above 1 you lack sugar, below 1 spice. You
see that of the others. The farther apart the two rates, the more both of you gain by trading, and nobody ever loses by
it.\
""",
            "knows": [
                "mrs",
                "_sugar",
                "_spice",
                "_sugar_metabolism",
                "_spice_metabolism",
            ],
            "task": """\
Decide to which of the free cells in your sight you go, or stay where you are by calling no tool. What is there for you,
nearest first:\
""",
            "tools": [
                """\
move_to_cell: Go to a free cell in your sight.
Returns: Where you are.\
"""
            ],
        }
    )
    told_then = told_by(trading)
    assert told_then.pop("persona") == told_by(moving)["persona"]
    assert told_then == snapshot(
        {
            "knows": ["mrs", "_sugar", "_spice", "_sugar_metabolism", "_spice_metabolism"],
            "task": "Decide with whom of those in your sight you trade, if with anybody.",
            "tools": [
                """\
trade_with: Exchange sugar for spice with a trader in your sight, for as long as both of you gain by it.
Returns: What you got and gave.\
"""
            ],
        }
    )


def test_person():
    assert told_by(first_requests(Opinion, opinion.policy, people=3, neighbors=2)[0]) == snapshot(
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
sight what you think now: name your opinion as a number.\
""",
            "tools": [
                """\
change_opinion: Change your mind.
Returns: What you think.\
"""
            ],
        }
    )
