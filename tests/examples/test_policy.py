"""Epstein's rule, as the offline policy applies it to nothing but a request."""

import math

import pytest
from helpers.rules import answered, asked

from mesa_llm.clients import LLMRequest, Message
from mesa_llm.errors import DecisionError
from mesa_llm_examples.civil_violence.model import arrest_probability, policy

DIRECTIONS = ["North", "South", "East", "West"]


def citizen(cops=0, actives=0, jailed=0, quiet=0, **changes):
    state = {
        "state": "quiet",
        "_hardship": 0.8,
        "_risk_aversion": 0.5,
        "_legitimacy": 0.5,
        "_threshold": 0.1,
        "_arrest_constant": 2.3,
    }
    others = {f"Cop {number}": {} for number in range(cops)}
    for name, count in (("active", actives), ("jailed", jailed), ("quiet", quiet)):
        others |= {f"Citizen {name} {number}": {"state": name} for number in range(count)}
    return asked({"rebel": {}, "keep_quiet": {}}, state | changes, others)


def cop(states, **options):
    others = {f"Citizen {number}": {"state": state} for number, state in states.items()}
    actions = {"arrest_citizen": {"citizen_id": list(states)}, "wait": {}}
    return asked(actions, {}, others | {"Cop 99": {}}, **options)


def walker(**options):
    return asked({"move_one_step": {"direction": DIRECTIONS}}, {}, **options)


@pytest.mark.parametrize(
    ("cops", "actives", "expected"),
    [
        (0, 1, 0.0),
        (1, 1, 1 - math.exp(-2.3)),  # 0.8997: Epstein's k makes it 0.9
        (1, 2, 0.0),  # the floor: more actives than cops
        (3, 2, 1 - math.exp(-2.3)),  # floor(1.5) = 1
        (4, 2, 1 - math.exp(-4.6)),
    ],
)
def test_arrest_probability(cops, actives, expected):
    assert arrest_probability(cops, actives, 2.3) == pytest.approx(expected)


def test_one_cop_and_one_active_make_an_arrest_nine_tenths_likely():
    assert arrest_probability(1, 1, 2.3) == pytest.approx(0.9, abs=0.001)


@pytest.mark.parametrize(
    ("request_", "action"),
    [
        (citizen(), "rebel"),  # G = 0.8 * 0.5 = 0.4, no risk
        (citizen(cops=1), "keep_quiet"),  # 0.4 - 0.5 * 0.9 = -0.05
        (citizen(cops=1, actives=1), "rebel"),  # two actives to one cop: no risk
        (citizen(cops=1, jailed=3, quiet=3), "keep_quiet"),  # those do not count as active
        (citizen(cops=1, _risk_aversion=0.2), "rebel"),  # 0.4 - 0.18 = 0.22
        (citizen(cops=1, _risk_aversion=0.34), "keep_quiet"),  # 0.4 - 0.306 = 0.094
        (citizen(_hardship=0.2), "keep_quiet"),  # 0.1 is not above 0.1
        (citizen(_hardship=0.202), "rebel"),  # 0.101 is
        (citizen(_legitimacy=1.0, _hardship=1.0), "keep_quiet"),
        (citizen(cops=1, _arrest_constant=0.1), "rebel"),  # P = 0.095
        (citizen(_threshold=0.4), "keep_quiet"),
        (citizen(cops=1, state="active"), "keep_quiet"),
    ],
)
def test_a_citizen_decides_by_the_formula(request_, action):
    decision = policy(request_)
    assert answered(decision) == (action, {})
    assert ("is not above" in decision.content) == (action == "keep_quiet")


def test_a_cop_arrests_an_active_citizen():
    assert answered(policy(cop({4: "quiet", 5: "active", 6: "jailed"}))) == ("arrest_citizen", {"citizen_id": 5})


def test_a_cop_arrests_nobody_where_nobody_is_active():
    assert answered(policy(cop({4: "quiet", 6: "jailed"}))) == ("wait", {})


def test_choices_follow_from_the_observation_and_from_no_memory():
    moves = [answered(policy(walker(step=step)))[1]["direction"] for step in range(50)]
    assert set(moves) == set(DIRECTIONS)
    assert moves == [answered(policy(walker(step=step, note=f"{step}")))[1]["direction"] for step in range(50)]
    arrested = [answered(policy(cop({4: "active", 5: "active"}, step=step)))[1]["citizen_id"] for step in range(20)]
    assert set(arrested) == {4, 5}


def test_a_request_without_an_observation_is_refused():
    with pytest.raises(DecisionError, match="No observation"):
        policy(LLMRequest(model="m", messages=(Message("user", "Hello"),)))
