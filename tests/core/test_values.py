"""The canonical form of values: plain, deep, the same in every process, and without what is hidden."""

import datetime
import functools
import json
import math
import os
import subprocess
import sys
import threading
import weakref
from array import array
from collections import OrderedDict, UserDict, deque, namedtuple
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from pathlib import PurePosixPath
from types import SimpleNamespace
from uuid import UUID

import mesa
import numpy as np
import pandas as pd
import pytest
from mesa.datacollection import DataCollector
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid
from pydantic import BaseModel

from mesa_llm.activation.values import plain, to_json, to_text
from mesa_llm.reasoning import Observation


class Mood(Enum):
    CALM = 1


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


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


class Citizen(CellAgent):
    pass


class Bag:
    def __init__(self, coins, note=None):
        self.coins = coins
        self.note = note
        self._secret = 7


class Slotted:
    __slots__ = ("_kept", "coins")

    def __init__(self):
        self.coins, self._kept = 2, 3


class Team:
    """Its text names its members, whose texts hold addresses."""

    def __init__(self, *members):
        self.members = members

    def __repr__(self):
        return f"Team({self.members})"


class Rude:
    def __str__(self):
        raise RuntimeError("no")


def generator():
    yield


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (3, 3),
        (2.5, 2.5),
        (None, None),
        (True, True),
        ("text", "text"),
        (float("nan"), "nan"),
        ([float("inf"), 1.0, -math.inf], ["inf", 1.0, "-inf"]),
        ({"a": math.nan, "b": 1.0}, {"a": "nan", "b": 1.0}),
        ({"a": 1}, {"a": 1}),
        ({}, {}),
        (("a", [1, (2,)]), ["a", [1, [2]]]),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({10, 9, 2.5}), [2.5, 9, 10]),
        ({(2, 1), "x"}, [[2, 1], "x"]),
        ({"b": 1, "a": 2}.keys(), ["b", "a"]),
        ({"b": 1, "a": 2}.values(), [1, 2]),
        ({"b": 1}.items(), [["b", 1]]),
        (deque([1, 2]), [1, 2]),
        (range(3), [0, 1, 2]),
        (array("i", [1, 2]), [1, 2]),
        (OrderedDict(a={"b": (1,)}), {"a": {"b": [1]}}),
        (UserDict(a=1), {"a": 1}),
        (SimpleNamespace(a=1, _b={2}), {"a": 1, "_b": [2]}),
        (Purse(3, {"bo": Purse(1)}), {"coins": 3, "debts": {"bo": {"coins": 1, "debts": {}, "_hidden": 7}}, "_hidden": 7}),
        ([Trait("bold")], [{"name": "bold", "_weight": 0.5}]),
        (Account(owner="ann", balances={"bo": 2}), {"owner": "ann", "balances": {"bo": 2}}),
        (Point(1, 2), {"x": 1, "y": 2}),
        (np.int64(3), 3),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), "nan"),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.datetime64("2026-01-02T00:00", "ns"), "2026-01-02T00:00:00.000000000"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([0.5, np.nan]), [0.5, "nan"]),
        (np.array(5), 5),
        (np.array([Purse, {"b", "a"}], dtype=object), ["Purse", ["a", "b"]]),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Index(["a", "b"]), ["a", "b"]),
        (pd.Series(range(101)), [*range(100), "… (101 in all)"]),
        (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), {"a": [1, 2], "b": ["x", "y"]}),
        ({"n": np.arange(2)}, {"n": [0, 1]}),
        (Mood.CALM, "Mood.CALM"),
        (Colour.RED, "red"),
        (Level.LOW, 1),
        ({"mood": Mood.CALM, "colour": Colour.RED}, {"mood": "Mood.CALM", "colour": "red"}),
        (Decimal("1.10"), "1.10"),
        (Fraction(1, 3), "1/3"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.timedelta(hours=1), "1:00:00"),
        (PurePosixPath("a/b"), "a/b"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (ValueError("no"), "no"),
        (Printable("a thing"), "a thing"),
        ([Printable("a thing")], ["a thing"]),
        (b"raw", "b'raw'"),
        (memoryview(b"raw"), "b'raw'"),
        ({(1, 2): "here", Mood.CALM: 1, np.int64(4): 2, 5: 3}, {"[1, 2]": "here", "Mood.CALM": 1, "4": 2, "5": 3}),
        ({1: "number", "1": "text"}, {"1": "number", "1 (str)": "text"}),
        (int, "int"),
        (Purse, "Purse"),
        (print, "print"),
        (generator, "generator"),
        (generator(), "generator"),
        (lambda: 0, "<lambda>"),
        (Printable("a").__str__, "__str__"),
        (datetime, "datetime"),
        (threading.Lock(), "lock"),
        (functools.partial(generator), "partial"),
        (weakref.ref(Unprintable), "ReferenceType"),
        (Unprintable(), "Unprintable"),
        (Bag(3, {"b", "a"}), "Bag(coins=3, note=['a', 'b'])"),
        (Bag(3, Bag(4)), "Bag(coins=3, note='Bag')"),
        (Slotted(), "Slotted(coins=2)"),
        (Team(Unprintable()), "Team(members=('Unprintable',))"),
        (Rude(), "Rude"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_any_kind_of_value(value, form):
    taken = plain(value)
    assert taken == form
    assert type(taken) is type(form)
    assert list(map(type, taken)) == list(map(type, form)) if isinstance(form, list) else True
    assert json.loads(to_json(value)) == form
    observed = Observation(
        1, {"internal_state": plain(value)}, {"Citizen 2": {"internal_state": plain(value, hide=True)}}
    )
    assert json.loads(observed.as_json())["self_state"]["internal_state"] == form


def test_what_belongs_to_mesa_is_named():
    model = mesa.Model(rng=1)
    grid = OrthogonalMooreGrid((3, 3), random=model.random)
    citizens = [Citizen(model), Citizen(model)]
    citizens[0].cell = grid[(1, 2)]
    values = [
        citizens,
        citizens[0].cell,
        grid,
        model,
        model.agents,
        DataCollector(),
        Citizen.remove,
        model.agents.select,
    ]
    assert plain(values) == [
        ["Citizen 1", "Citizen 2"], [1, 2], "OrthogonalMooreGrid", "Model", ["Citizen 1", "Citizen 2"],
        "DataCollector", "remove", "select",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a text", "a text"),
        (3, "3"),
        (math.nan, "nan"),
        ((1, 2), "(1, 2)"),
        ({"at": (1, 2), "to": [(3, 4)], 5: None}, "{'at': (1, 2), 'to': [(3, 4)], 5: None}"),
        ({"b", "a"}, "['a', 'b']"),
        ({"at": (1, 2), "wealth": np.int64(3), (1, 2): "here", 5: {1}}, "{'at': (1, 2), 'wealth': 3, (1, 2): 'here', 5: [1]}"),
        ({"mood": Mood.CALM}, "{'mood': 'Mood.CALM'}"),
        ([Unprintable()], "['Unprintable']"),
        (f"I see {Unprintable()!r}", f"I see <{Unprintable.__module__}.Unprintable object>"),
        ([f"{Unprintable()!r}"], f"['<{Unprintable.__module__}.Unprintable object>']"),
        (np.random.default_rng(1), "Generator(PCG64)"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_the_text_of_a_value(value, text):
    assert to_text(value) == text


def test_text_of_a_list_in_itself_ends():
    loop = [1]
    loop.append(loop)
    assert to_text(loop) == "[1, '…']"


def test_a_deep_value_ends():
    deep = []
    for _ in range(3000):
        deep = [deep]
    assert to_json(deep).count("[") == 50
    assert Observation(1, {"internal_state": deep}, {}).as_json().endswith("}")


def test_no_memory_address_gets_into_a_prompt():
    model = mesa.Model(rng=1)
    things = [Unprintable(), print, lambda: 0, Citizen(model), model, Citizen.remove, pd.DataFrame, f"{Unprintable()}"]
    written = Observation(1, {"internal_state": plain(things)}, {}).as_json()
    assert "0x" not in written
    assert "Unprintable" in written


PROGRAM = """
import sys
from mesa_llm.activation.values import plain, to_json, to_text
class Thing: pass
class Bag:
    def __init__(self): self.names = {"ann", "bob", "cid", "dora", "eve"}; self.thing = Thing()
class Loud:
    def __repr__(self): return f"Loud({vars(self)}, {object.__repr__(self)})"
names = {"ann", "bob", "cid", "dora", "eve"}
value = {"names": names, "bags": {Bag(), Bag(), Thing()}, "all": {frozenset(names), ("x", frozenset(names))},
         "loud": Loud(), "keys": {frozenset(names): 1}, "text": f"{Thing()} {(lambda: 0)}", "types": {int, str, Bag}}
print(to_json(value), to_text(value), to_json(plain(value, hide=True)))
"""


def test_every_process_writes_the_same():
    def written(seed):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, check=True, capture_output=True, text=True
        )
        return run.stdout

    assert "0x" not in written(0)
    assert len({written(seed) for seed in range(4)}) == 1


def test_agents_are_called_as_in_observations():
    assert plain({"friends": {Citizen(mesa.Model(rng=1))}}) == {"friends": ["Citizen 1"]}


def test_sets_have_the_same_order_in_every_process():
    assert plain({f"n{number}" for number in range(50)}) == sorted(f"n{number}" for number in range(50))
    assert plain({1, "1", 2.0}) == [1, "1", 2.0]


def test_a_container_inside_itself_ends():
    state = {"name": "loop", "_own": "secret"}
    state["self"] = [state]
    assert plain(state) == {"name": "loop", "_own": "secret", "self": ["…"]}
    assert plain(state, hide=True) == {"name": "loop", "self": ["…"]}


def test_the_same_container_twice_is_no_cycle():
    shared = [1]
    assert plain({"a": shared, "b": shared}) == {"a": [1], "b": [1]}


def test_later_changes_do_not_show():
    state = {
        "list": [1],
        "dict": {"a": {"b": 1}},
        "purse": Purse(1),
        "array": np.zeros(2),
        "set": {1},
        "thing": Printable("old"),
    }
    taken = plain(state)
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
    assert plain(state, hide=True) == shown
