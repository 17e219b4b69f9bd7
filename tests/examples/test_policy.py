"""Epstein's rule, as the offline policy applies it to nothing but a request."""

import json
import math

import pytest

from mesa_llm.clients import LLMRequest, Message, ToolSpec, tool_call
from mesa_llm.errors import DecisionError
from mesa_llm_examples.civil_violence.model import arrest_probability, policy

DIRECTIONS = ["North", "South", "East", "West"]


def thinking(offered, internal_state, others, note="", step=1):
    """The first request of an agent, as its reasoning writes it."""
    observation = {
        "step": step,
        "self_state": {"agent_unique_id": 1, "location": [0, 0], "internal_state": internal_state},
        "local_state": {name: {"position": [0, 1], "internal_state": state} for name, state in others.items()},
    }
    text = f"# Memory\n{note}\n\n# Observation\n{json.dumps(observation)}\n\n# Task\nDecide."
    tools = tuple(ToolSpec(name, "", {}) for name in (offered, "move_one_step"))
    return LLMRequest(
        model="m", messages=(Message("system", ""), Message("user", text)), tools=tools, tool_choice="none"
    )


def citizen(cops=0, actives=0, jailed=0, quiet=0, note="", step=1, **changes):
    state = {
        "state": "quiet",
        "_hardship": 0.8,
        "_risk_aversion": 0.5,
        "_legitimacy": 0.5,
        "_threshold": 0.1,
        "_arrest_constant": 2.3,
        "_free_directions": [],
    }
    others = {f"Cop {number}": {} for number in range(cops)}
    for name, count in (("active", actives), ("jailed", jailed), ("quiet", quiet)):
        others |= {f"Citizen {name} {number}": {"state": name} for number in range(count)}
    return thinking("change_state", state | changes, others, note, step)


def cop(states, free=()):
    others = {f"Citizen {number}": {"state": state} for number, state in states.items()}
    return thinking("arrest_citizen", {"_free_directions": list(free)}, others | {"Cop 99": {}})


def calls_for(decision):
    carrying_out = LLMRequest(model="m", messages=(Message("user", decision),), tool_choice="auto")
    return policy(carrying_out)


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
    ("request_", "state"),
    [
        (citizen(), "active"),  # G = 0.8 * 0.5 = 0.4, no risk
        (citizen(cops=1), "quiet"),  # 0.4 - 0.5 * 0.9 = -0.05
        (citizen(cops=1, actives=1), "active"),  # two actives to one cop: no risk
        (citizen(cops=1, jailed=3, quiet=3), "quiet"),  # those do not count as active
        (citizen(cops=1, _risk_aversion=0.2), "active"),  # 0.4 - 0.18 = 0.22
        (citizen(cops=1, _risk_aversion=0.34), "quiet"),  # 0.4 - 0.306 = 0.094
        (citizen(_hardship=0.2), "quiet"),  # 0.1 is not above 0.1
        (citizen(_hardship=0.202), "active"),  # 0.101 is
        (citizen(_legitimacy=1.0, _hardship=1.0), "quiet"),
        (citizen(cops=1, _arrest_constant=0.1), "active"),  # P = 0.095
        (citizen(_threshold=0.4), "quiet"),
    ],
)
def test_a_citizen_decides_by_the_formula(request_, state):
    decision = policy(request_)
    assert calls_for(decision) == ([tool_call("change_state", state="active")] if state == "active" else [])
    assert ("not above" in decision) == (state == "quiet")


def test_a_citizen_that_has_been_active_becomes_quiet_or_stays_so():
    assert calls_for(policy(citizen(cops=1, state="active"))) == [tool_call("change_state", state="quiet")]
    assert "I stay active" in policy(citizen(state="active"))
    assert calls_for(policy(citizen(state="active"))) == []


def test_the_decision_is_in_the_form_that_the_prompt_asks_for():
    decision = policy(citizen(cops=1, _free_directions=["East"])).splitlines()
    assert [line.partition(":")[0] for line in decision] == [
        "Thought 1",
        "Thought 2",
        "Thought 3",
        "Thought 4",
        "Action",
    ]
    assert decision[-1] == "Action: I stay quiet and move East."


def test_a_cop_arrests_an_active_citizen():
    decision = policy(cop({4: "quiet", 5: "active", 6: "jailed"}, free=["West"]))
    assert calls_for(decision) == [
        tool_call("arrest_citizen", citizen_id=5),
        tool_call("move_one_step", direction="West"),
    ]


def test_a_cop_arrests_nobody_where_nobody_is_active():
    assert calls_for(policy(cop({4: "quiet", 6: "jailed"}))) == []


def test_choices_follow_from_the_observation_and_from_no_memory():
    choices = [policy(citizen(_free_directions=DIRECTIONS, step=step)) for step in range(50)]
    moves = {call.arguments for choice in choices for call in calls_for(choice) if call.name == "move_one_step"}
    assert moves == {json.dumps({"direction": direction}) for direction in DIRECTIONS}
    reminded = [policy(citizen(_free_directions=DIRECTIONS, step=step, note=f"note {step}")) for step in range(50)]
    assert reminded == choices


def test_thoughts_are_not_carried_out():
    assert calls_for("Thought 1: I could move North and arrest citizen 3.\nAction: I stay quiet.") == []


def test_a_request_without_an_observation_is_refused():
    with pytest.raises(DecisionError, match="No observation"):
        policy(LLMRequest(model="m", messages=(Message("user", "Hello"),), tool_choice="none"))
