"""Observations as text: everything can be read back, and everything kept can be rebuilt from what has changed."""

import math
from types import SimpleNamespace

import pytest
from helpers.memories import ALL, Someone
from helpers.notation import read, value_of
from hypothesis import example, given
from hypothesis import strategies as st

from mesa_llm.memory import ShortTermMemory
from mesa_llm.memory.observation import Observation, written

TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["quiet", "South West", "none", "yes", "no state", "not here", "at 5", "3", "-1.5e3", "a; b", "a: b", "a, b"]
    ),
    st.sampled_from(['"', "[x]", "(1, 2)", "{a: 1}", " x", "x ", "", "a\nb", "nowhere", "you", "out of sight: Cop 1"]),
)
ATOMS = st.one_of(TEXTS, st.integers(-5, 5), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none())
VALUES = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
SENTENCES = st.one_of(
    st.builds("{} {}".format, st.sampled_from(["risk", "no risk", "from 0 to 1, risk", "it is … or"]), ATOMS),
    st.builds("{} of {}".format, st.integers(-3, 3), st.sampled_from([0.5, 1e-9, "2", "…"])),
)
STATES = st.one_of(st.dictionaries(TEXTS, VALUES, max_size=3), st.lists(VALUES, max_size=3), TEXTS)
PLACES = st.one_of(st.none(), st.tuples(st.integers(-3, 9), st.integers(0, 9)), st.integers(0, 9), TEXTS)
NAMES = st.one_of(
    st.builds("{} {}".format, st.sampled_from(["Citizen", "Cop", "Bürger"]), st.integers(1, 6)), TEXTS.filter(bool)
)


@st.composite
def observations(draw, step=1):
    def state(place):
        found = {place: draw(PLACES), "internal_state": draw(STATES)}
        return found | draw(st.sampled_from([{}, {"attributes": draw(st.dictionaries(TEXTS, VALUES, max_size=2))}]))

    names = draw(st.lists(NAMES, max_size=6, unique=True))
    return Observation(
        step, {"agent_unique_id": 7, **state("location")}, {name: state("position") for name in names if name != "you"}
    )


def is_empty(value):
    return isinstance(value, str | list | dict) and not value


def expected(obs):
    """What an observation holds, in the form of `read`."""

    def of(state, place_name):
        facts = {}
        for section in ("internal_state", "attributes"):
            value = state.get(section, [])
            if isinstance(value, dict):
                for name, item in value.items():
                    if not is_empty(item):
                        known = facts.get(("named", name), item)
                        key = name if written(known, inside=False) == written(item, inside=False) else None
                        key = key if key is not None else f"{section}.{written(name)}"
                        facts["named", key] = item
            else:
                for item in value if isinstance(value, list) else [value]:
                    if not is_empty(item):
                        facts["bare", repr(item)] = item
        return facts | ({} if state[place_name] is None else {"place": state[place_name]})

    states = {"you": (obs.self_state, "location")} | {
        name: (state, "position") for name, state in obs.local_state.items()
    }
    return {name: of(*state) for name, state in states.items()}


def without_empty_me(seen):
    return {name: facts for name, facts in seen.items() if name != "you" or facts}


@given(value=VALUES)
def test_a_value_is_read_back(value):
    assert value_of(written(value)) == value
    assert value_of(written(value, inside=False)) == value


@st.composite
def crowds(draw, step=1):
    """What an agent sees that has many of a class in sight; their states are sentences, as in mesa-llm 0.3."""
    states = st.lists(st.one_of(SENTENCES, TEXTS), max_size=4) | st.just(["risk 1", "it is … or 5"])
    others = {
        f"Citizen {n}": {"position": draw(PLACES), "internal_state": draw(states)}
        for n in range(draw(st.integers(3, 5)))
    }
    return Observation(step, {"agent_unique_id": 7, "location": None, "internal_state": []}, others)


@given(obs=st.one_of(observations(), crowds()))
@example(obs=Observation(1, {"location": None, "internal_state": []}, {}))
def test_an_observation_is_read_back(obs):
    assert without_empty_me(read(obs.as_text())) == without_empty_me(expected(obs))


@given(first=st.one_of(observations(), crowds()), second=st.one_of(observations(step=2), crowds(step=2)))
def test_an_observation_is_rebuilt_from_the_one_before_and_what_has_changed(first, second):
    assert without_empty_me(read(second.as_text(first), read(first.as_text()))) == without_empty_me(expected(second))
    assert second.as_text(second) == ""


@given(seen=st.lists(observations(), min_size=1, max_size=12), n=st.integers(1, 3))
def test_all_that_a_memory_keeps_is_rebuilt_from_its_first_observation(seen, n):
    agent = Someone()
    memory = ShortTermMemory(agent, n=n, max_tokens=None)
    for step, obs in enumerate(seen, 1):
        agent.model.steps = step
        memory.add_to_memory("observation", {"self_state": obs.self_state, "local_state": obs.local_state})
        memory.add_to_memory("note", {"w": "on"})
        kept = seen[min(entry.step for entry in memory.entries) - 1 : step]
        known, rebuilt = None, []
        for part in memory.get_prompt_ready().split("## Step ")[1:]:
            text = part.partition("\n")[2].rpartition("note: w: on")[0].removesuffix("\n")
            if text == "Nothing changed.":
                text = ""
            is_whole = text.startswith("Saw: ")
            assert is_whole == (not rebuilt)
            text = text.removeprefix("Saw: ").removeprefix("Changed: ")
            known = read("" if text == "nothing" else text, None if is_whole else known)
            rebuilt.append(without_empty_me(known))
        assert rebuilt == [without_empty_me(expected(obs)) for obs in kept]


def test_the_text_of_an_observation():
    people = {f"Citizen {n}": {"position": (n, 0), "internal_state": {"state": "quiet", "age": 5}} for n in (1, 2, 4)}
    people["Citizen 3"] = {"position": (3, 0), "internal_state": {"state": "active", "age": 5}}
    others = people | {
        "Cop 9": {"position": None, "internal_state": []},
        "Node 5": {"position": "Ulm", "internal_state": 1},
    }
    mine = {"agent_unique_id": 7, "location": (8, 8), "internal_state": {"_free": ["North", "South"], "heard": []}}
    cells = {(3, 4): {"sugar": 2, "room": 1}, (3, 5): {"sugar": 2, "room": 1}, (0, 0): {"room": 0}}
    obs = Observation(6, mine | {"attributes": {"wealth": math.pi}}, others, cells)
    assert obs.as_text().split("\n") == [
        "you (8, 8): _free: [North, South]; wealth: 3.141592653589793",
        "Citizen, each: age: 5",
        "Citizen 1 (1, 0), 2 (2, 0), 4 (4, 0): state: quiet",
        "Citizen 3 (3, 0): state: active",
        "Cop 9",
        "Node 5 at Ulm: 1",
        "cells (3, 4), (3, 5): sugar: 2; room: 1",
        "cells (0, 0): room: 0",
    ]
    later = {**others, "Citizen 3": people["Citizen 1"] | {"position": (3, 0)}, "Node 5": {"position": None}}
    del later["Citizen 1"], later["Cop 9"]
    news = Observation(7, {"location": (8, 9), "internal_state": {"_free": ["North", "South"]}}, later)
    assert news.as_text(obs).split("\n") == [
        "you (8, 9): no wealth",
        "Citizen 3: state: quiet",
        "Node 5: not 1; nowhere",
        "out of sight: Citizen 1; Cop 9",
    ]


def test_sentences_that_differ_in_their_numbers_are_said_once():
    def seen(*states):
        return Observation(
            1, {}, {f"Citizen {n}": {"position": None, "internal_state": state} for n, state in enumerate(states, 1)}
        )

    def poor(*numbers):
        return ["From 0 to 1, I am {} poor".format(*numbers), "I am {} or {}".format(*numbers[1:]), "I wait"]

    before = seen(poor(0.25, 31, 40), [*poor(0.5, 31, 41), "I am ill"], poor(0.25, 31, 40), poor(-1, 31, 7))
    assert before.as_text().split("\n") == [
        'Citizen, each: I wait; "From 0 to 1, I am … poor"; I am 31 or …',
        "Citizen 1, 3: 0.25; 40",
        "Citizen 2: 0.5; 41; I am ill",
        "Citizen 4: -1; 7",
    ]
    now = seen(poor(0.25, 31, 41), [*poor(0.5, 31, 42), "I am ill"], poor(0.25, 31, 42), poor(-1, 31, 7))
    assert now.as_text(before).split("\n") == [
        "Citizen, each: I am 31 or … (was …)",
        "Citizen 1: 41; 40",
        "Citizen 2: 42; 41",
        "Citizen 3: 42; 40",
    ]
    assert seen(poor(0.5, 30, 7)).as_text(seen(poor(0.25, 31, 7))).split("\n") == [
        'Citizen 1: "From 0 to 1, I am 0.5 poor" (was 0.25); I am 30 or 7; not I am 31 or 7'
    ]


EVENTS = st.one_of(
    st.just(("prompt", None)),
    st.just(("next step", None)),
    st.builds(
        lambda obs: ("observation", {"self_state": obs.self_state, "local_state": obs.local_state}), observations()
    ),
    st.builds(lambda name: ("plan", {"content": f"{name}()"}), st.sampled_from("ab")),
    st.builds(lambda name: ("action", {"tool": name, "arguments": {}, "result": "ok"}), st.sampled_from("ab")),
    st.builds(lambda text: ("message", {"message": text, "sender": 2}), TEXTS),
)


@pytest.mark.parametrize("memory_class", ALL)
@given(events=st.lists(EVENTS, max_size=25))
def test_a_prompt_does_not_depend_on_the_prompts_before(memory_class, events):
    asked, not_asked = memory_class(Someone(), max_tokens=200), memory_class(Someone(), max_tokens=200)
    for type_, content in events:
        if type_ == "prompt":
            asked.get_prompt_ready()
        for memory in (asked, not_asked):
            if type_ == "next step":
                memory.agent.model = SimpleNamespace(steps=memory.agent.model.steps + 1)
            elif content is not None:
                memory.add_to_memory(type_, content)
    assert asked.get_prompt_ready() == not_asked.get_prompt_ready()
