"""Copies of what agents hold: plain, deep, the same in every process, and without what is hidden."""

import datetime
import json
from collections import OrderedDict, UserDict, deque, namedtuple
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, StrEnum

import mesa
import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from mesa_llm.llm_agent.snapshot import snapshot
from mesa_llm.reasoning import Observation


class Mood(Enum):
    CALM = 1


class Colour(StrEnum):
    RED = "red"


@dataclass
class Purse:
    coins: int
    debts: dict = field(default_factory=dict)
    _hidden: int = 7


@dataclass(slots=True, frozen=True)
class Trait:
    name: str
    _weight: float = 0.5


class Account(BaseModel):
    owner: str
    balances: dict[str, int] = {}


Point = namedtuple("Point", "x y")


class Printable:
    def __init__(self, text):
        self.text = text

    def __str__(self):
        return self.text


class Unprintable:
    pass


class Citizen(mesa.Agent):
    pass


@pytest.mark.parametrize(
    ("state", "copied"),
    [
        (3, 3),
        (2.5, 2.5),
        (None, None),
        ("text", "text"),
        ({"a": 1}, {"a": 1}),
        ({}, {}),
        (("a", [1, (2,)]), ["a", [1, [2]]]),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({10, 9, 2.5}), [2.5, 9, 10]),
        ({(2, 1), "x"}, [[2, 1], "x"]),
        (deque([1, 2]), [1, 2]),
        (range(3), [0, 1, 2]),
        (OrderedDict(a={"b": (1,)}), {"a": {"b": [1]}}),
        (UserDict(a=1), {"a": 1}),
        (Purse(3, {"bo": Purse(1)}), {"coins": 3, "debts": {"bo": {"coins": 1, "debts": {}, "_hidden": 7}}, "_hidden": 7}),
        ([Trait("bold")], [{"name": "bold", "_weight": 0.5}]),
        (Account(owner="ann", balances={"bo": 2}), {"owner": "ann", "balances": {"bo": 2}}),
        (Point(1, 2), {"x": 1, "y": 2}),
        (np.int64(3), 3),
        (np.float64(0.5), 0.5),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(5), 5),
        (np.array([Purse, "a"], dtype=object)[1:], ["a"]),
        (pd.Series([1, 2]), [1, 2]),
        ({"n": np.arange(2)}, {"n": [0, 1]}),
        (Mood.CALM, Mood.CALM),
        ({"mood": Mood.CALM, "colour": Colour.RED}, {"mood": Mood.CALM, "colour": Colour.RED}),
        (Decimal("1.10"), Decimal("1.10")),
        (datetime.date(2026, 1, 2), datetime.date(2026, 1, 2)),
        (Printable("a thing"), "a thing"),
        ([Printable("a thing")], ["a thing"]),
        (b"raw", "b'raw'"),
        ({(1, 2): "here", Mood.CALM: 1, np.int64(4): 2, 5: 3}, {"[1, 2]": "here", "Mood.CALM": 1, "4": 2, 5: 3}),
        (int, "<class 'int'>"),
        (Purse, f"<class '{Purse.__module__}.Purse'>"),
    ],
)  # fmt: skip
def test_any_printable_kind(state, copied):
    taken = snapshot(state)
    assert taken == copied
    assert type(taken) is type(copied)
    observed = Observation(1, {"internal_state": taken}, {"Citizen 2": {"internal_state": snapshot(state, hide=True)}})
    json.loads(observed.as_json())


def test_no_memory_address_gets_into_a_prompt():
    model = mesa.Model(rng=1)
    things = [Unprintable(), print, lambda: 0, Citizen(model), model, Citizen.remove, pd.DataFrame]
    written = json.dumps(snapshot({"things": things}))
    assert "0x" not in written
    assert "Unprintable" in written


def test_agents_are_called_as_in_observations():
    assert snapshot({"friends": {Citizen(mesa.Model(rng=1))}}) == {"friends": ["Citizen 1"]}


def test_sets_have_the_same_order_in_every_process():
    assert snapshot({f"n{number}" for number in range(50)}) == sorted(f"n{number}" for number in range(50))
    assert snapshot({1, "1", 2.0}) == [1, "1", 2.0]


def test_a_container_inside_itself_ends():
    state = {"name": "loop", "_own": "secret"}
    state["self"] = [state]
    assert snapshot(state) == {"name": "loop", "_own": "secret", "self": ["…"]}
    assert snapshot(state, hide=True) == {"name": "loop", "self": ["…"]}


def test_the_same_container_twice_is_no_cycle():
    shared = [1]
    assert snapshot({"a": shared, "b": shared}) == {"a": [1], "b": [1]}


def test_later_changes_do_not_show():
    state = {
        "list": [1],
        "dict": {"a": {"b": 1}},
        "purse": Purse(1),
        "array": np.zeros(2),
        "set": {1},
        "thing": Printable("old"),
    }
    taken = snapshot(state)
    before = json.dumps(taken)
    state["list"].append(2)
    state["dict"]["a"]["b"] = 2
    state["purse"].coins = 2
    state["array"][0] = 1
    state["set"].add(2)
    state["thing"].text = "new"
    assert json.dumps(taken) == before


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ({"a": 1, "_b": 2}, {"a": 1}),
        ({"a": {"b": 1, "_c": 2}}, {"a": {"b": 1}}),
        ({"a": [{"_c": 2}, "_secret", "open", ["_deep", 1]]}, {"a": [{}, "open", [1]]}),
        (["awake", "_plots"], ["awake"]),
        (("awake", "_plots"), ["awake"]),
        ({"awake", "_plots"}, ["awake"]),
        ([Printable("_thing"), Printable("thing")], ["thing"]),
        (Purse(3, {"_to": 1, "to": {"_x": 1}}), {"coins": 3, "debts": {"to": {}}}),
        ([Trait("bold")], [{"name": "bold"}]),
        (np.array(["_a", "b"]), ["b"]),
        (Account(owner="_ann"), {"owner": "_ann", "balances": {}}),
        ({Printable("_x"): 1, "y": 2}, {"y": 2}),
    ],
)
def test_what_is_hidden_stays_hidden(state, shown):
    assert snapshot(state, hide=True) == shown
