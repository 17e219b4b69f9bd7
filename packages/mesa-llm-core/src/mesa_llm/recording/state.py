"""The state of a model: its digest, the first difference between two states, and the changes from step to step.

A digest is made of one digest for each attribute, so that two runs can be compared attribute by attribute. Those of
memory entries, most of a long run's state, are kept with the entries, which never change once they are made.

A state is the canonical form of all that the future of a run depends on, private attributes of agents included. Left
out are how a model is asked (clients, journals, limits, sampling, tools, identifiers of tool calls), what watches the
run (recorder, data collectors, step reports, the setting of parallel stepping), cached properties, fields of
dataclasses that do not count in comparisons, and Mesa's and this library's bookkeeping.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import UUID
from weakref import WeakKeyDictionary

from pydantic_core import to_json as to_json_bytes

from mesa_llm.activation import step_of
from mesa_llm.activation.values import (
    DEEPEST,
    MORE,
    Around,
    Canonical,
    Walk,
    attributes_of,
    is_a,
    is_canonical,
    is_space,
    is_thing,
    name_of,
    plain,
    to_json,
    without_addresses,
)

if TYPE_CHECKING:
    from mesa import Agent, Model

    from mesa_llm.memory import MemoryEntry

type State = dict[str, Any]

_AGENT_ATTRIBUTES_LEFT_OUT = frozenset({"model", "unique_id", "pos", "recorder", "_recorder"})
_MODEL_ATTRIBUTES_LEFT_OUT = frozenset(
    {"data_registry", "parallel_reports", "parallel_stepping", "random", "recorder", "rng", "step", "subscribers"}
)
_STATE_OF_OURS = frozenset({"memory", "reasoning"})
_HAVE_TEXTS = (Enum, PurePath, UUID, Fraction, BaseException)
_LONGEST = 200  # characters of a value in a difference
_as_json = json.JSONEncoder(ensure_ascii=False).encode
_TEXT = frozenset({str})
_PLAIN = frozenset({str, int, bool, type(None)})
_SHORT = 40  # characters of a value, as JSON, that stands for itself in a digest


def state_hash(model: Model[Any, Any]) -> str:
    """A digest of a model's state: equal for two runs that went the same way, in whatever process and mode.

    It covers each agent with its attributes, place, memory and held plans, the model's public attributes, its spaces
    with their property layers, and its random generators. It does not cover clients, journals, recorders, data
    collectors and step reports. Values count by their canonical form, so a tuple equals a list of the same items.
    Entries of memories are digested once: do not change their content.

    Args:
        model: the model, between two steps.

    Returns:
        64 hexadecimal digits (SHA-256).
    """
    return digest_of(model).hash


class Digest(NamedTuple):
    """The digest of a model's state.

    Attributes:
        hash: that of the state as a whole.
        parts: as JSON, `{"agents": {"Citizen 3": {attribute: value}}, "model": {attribute: value}}`; in the place of a
            long value there is its digest, `"#"` and 24 hexadecimal digits.
        opaque: the attributes with something of which only the class is known, such as a lock: `"Citizen.socket"`.
    """

    hash: str
    parts: str
    opaque: frozenset[str]


def digest_of(model: Model[Any, Any]) -> Digest:
    """The digest of a model's state, with its parts."""
    walk = _DigestWalk()
    agents = {name_of(agent): walk.agent(agent) for agent in _in_order(model)}
    parts = _as_json({"agents": agents, "model": walk.model(model)})
    return Digest(_sha256(parts), parts, frozenset(walk.opaque))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class StateDifference:
    """The first difference between the states of two models.

    Attributes:
        agent: the agent, such as `"Citizen 3"`; `None` for a difference of the model itself.
        attribute: what differs, with the path into it, such as `"internal_state.goods[2]"`.
        first: the value in the first model, as JSON of at most 200 characters; `None` where it has none.
        second: the value in the second one.
    """

    agent: str | None
    attribute: str
    first: str | None
    second: str | None

    def __str__(self) -> str:
        """The difference in one line."""
        first, second = ("nothing" if value is None else value for value in (self.first, self.second))
        return f"{self.agent or 'the model'}, {self.attribute}: {first} and {second}"


def state_difference(first: Model[Any, Any] | State, second: Model[Any, Any] | State) -> StateDifference | None:
    """The first difference between the states of two models: of the agents in the order of ids, then of the model.

    Args:
        first: a model, or its `model_state`.
        second: the model to compare it with.

    Returns:
        The `agent`, the `attribute` and the values in the `first` and the `second` model, as text in one line; `None`
        if both models are in the same state.
    """
    states = [state if isinstance(state, dict) else model_state(state) for state in (first, second)]
    for agent_id in {agent_id: None for state in states for agent_id in state["agents"]}:
        agents = [state["agents"].get(agent_id) for state in states]
        found = _difference(*agents)
        if found is not None:
            path, *values = found
            known = next(agent for agent in agents if agent is not None)
            return StateDifference(f"{known['class']} {agent_id}", path or "agent", *values)
    found = _difference(*(state["model"] for state in states))
    return None if found is None else StateDifference(None, *found)


def model_state(model: Model[Any, Any]) -> State:
    """The state that `state_hash` digests: `{"agents": {id: {attribute: value}}, "model": {attribute: value}}`."""
    state: State = json.loads(_state_json(model))
    return state


def _state_json(model: Model[Any, Any]) -> str:
    walk = _StateWalk()
    agents = {str(agent.unique_id): walk.agent(agent) for agent in _in_order(model)}
    return without_addresses(_as_json({"agents": agents, "model": walk.model(model)}))


def _in_order(model: Model[Any, Any]) -> list[Any]:
    return sorted(model.agents, key=lambda agent: (type(agent.unique_id).__name__, agent.unique_id))


def parts_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> StateDifference | None:
    """The first difference between the parts of two digests, as `Digest.parts` has them, of agents and then the model.

    In the place of long values it has their digests.
    """
    for name in {**first["agents"], **second["agents"]}:
        found = _difference(first["agents"].get(name, _ABSENT), second["agents"].get(name, _ABSENT))
        if found is not None:
            path, *values = found
            return StateDifference(name, path or "agent", *values)
    found = _difference(first["model"], second["model"])
    return None if found is None else StateDifference(None, *found)


class StateChanges:
    """Watches the place and the internal state of agents with a `recorder`. `is_new` until the first look."""

    def __init__(self) -> None:
        self.is_new = True
        self._last: dict[int, State] = {}

    def look(self, model: Model[Any, Any]) -> Iterator[tuple[int, State]]:
        """The agents that changed since the last look, or are new: `{name: {"before": …, "after": …}}`."""
        now = {
            agent.unique_id: {
                "location": plain(_position_of(agent)),
                "internal_state": plain(getattr(agent, "internal_state", None)),
            }
            for agent in model.agents
            if hasattr(agent, "recorder")
        }
        before, self._last, self.is_new = self._last, now, False
        for agent_id, state in now.items():
            known = before.get(agent_id, {})
            changes = {
                name: {"before": known.get(name), "after": value}
                for name, value in state.items()
                if known.get(name) != value
            }
            if changes:
                yield agent_id, changes


def _position_of(agent: Agent) -> Any:
    from mesa_llm.spaces import position_of  # noqa: PLC0415 - imports Mesa, which reading recordings does not need

    return position_of(agent)


class _StateWalk(Walk):
    """Canonical forms that show everything: private attributes, every row, the states of random generators.

    An object held by several others is shown where it is met first; after that as its class with a number.
    """

    most_rows = None

    def __init__(self) -> None:
        super().__init__()
        self._met: dict[int, tuple[Any, int]] = {}  # holds the object, because ids of collected objects are reused
        self._counts: Counter[str] = Counter()
        self.opaque: set[str] = set()
        """The attributes that hold something of which nothing but the class is known."""
        self._attribute = ""
        # Found once a class, for this walk alone: classes may end.
        self._kinds: dict[type, _Kind] = {}
        self._sorted: dict[tuple[Any, ...], tuple[str, ...]] = {}
        self._parts: dict[type, list[str]] = {}

    def agent(self, agent: Agent) -> State:
        return {
            "class": type(agent).__name__,
            "position": self.copy(_position_of(agent)),
            **self._attributes(agent, attributes_of(agent), _is_of_agent),
        }

    def model(self, model: Model[Any, Any]) -> State:
        named = {
            name: self._space(value) if is_space(type(value)) else value for name, value in attributes_of(model).items()
        }
        named |= {"steps": step_of(model), "time": getattr(model, "time", None)}
        return {
            "class": type(model).__name__,
            **self._attributes(model, named, _is_of_model),
            **{name: self.copy(getattr(model, name, None)) for name in ("random", "rng")},
        }

    def _attributes(self, owner: Any, held: Mapping[str, Any], counts: Callable[[str], bool]) -> dict[str, Any]:
        """The attributes of an agent or of the model, in the order of their names."""
        found, inside = {}, (id(owner),)
        for name in self._names(type(owner), held, counts):
            value = held[name]
            if type(value) in _PLAIN:
                found[name] = value
            elif self._kind_of(type(value)) != "bookkeeping":
                self._attribute = f"{type(owner).__name__}.{name}"
                found[name] = self.copy(value, inside)
        return found

    def _names(self, cls: type, held: Mapping[str, Any], counts: Callable[[str], bool]) -> tuple[str, ...]:
        """The names of attributes that count, sorted: found once for all objects of a class that hold the same."""
        key = cls, *held
        names = self._sorted.get(key)
        if names is None:
            names = self._sorted[key] = tuple(sorted(name for name in held if counts(name)))
        return names

    def entries(self, entries: Iterable[tuple[Any, Any]], inside: Around) -> dict[Any, Any]:
        return super().entries([entry for entry in entries if self._kind_of(type(entry[1])) != "bookkeeping"], inside)

    def members(self, members: AbstractSet[Any], inside: Around) -> Any:
        # Sorted first, because an object is shown where it is met first.
        if _TEXT.issuperset(map(type, members)):
            return sorted(members)
        return self.items(sorted(members, key=to_json), inside)

    def dataclass(self, value: Any, inside: Around) -> Any:
        cls = type(value)
        if cls not in self._parts:
            is_call = is_a(cls, "mesa_llm.clients", "ToolCall")
            self._parts[cls] = [
                part.name for part in fields(cls) if part.compare and not (is_call and part.name == "id")
            ]
        return {
            "class": cls.__name__,
            **self.entries([(name, getattr(value, name)) for name in self._parts[cls]], inside),
        }

    def thing(self, value: Any, inside: Around) -> Any:
        cls = type(value)
        kind = self._kind_of(cls)
        if kind == "bookkeeping":
            return MORE
        if kind == "generator":
            return {"class": cls.__name__, "state": _sha256(to_json(_generator_state(value)))}
        if kind == "llm":
            return {"system_prompt": value.system_prompt}
        held = {} if kind == "text" else attributes_of(value)
        if not held:
            shown = super().thing(value, inside)
            if shown == cls.__name__ or isinstance(value, GeneratorType):
                self.opaque.add(self._attribute)
            return shown
        if id(value) in self._met:
            return f"{cls.__name__} number {self._met[id(value)][1]}"
        self._counts[cls.__name__] += 1
        self._met[id(value)] = value, self._counts[cls.__name__]
        shown = {"class": cls.__name__}
        for name in self._names(cls, held, _is_of_object):
            item = held[name]
            if type(item) in _PLAIN:
                shown[name] = item
            elif self._kind_of(type(item)) != "bookkeeping":
                shown[name] = self.copy(item, inside)
        return shown

    def _kind_of(self, cls: type) -> _Kind:
        """What an object of a class is to a state. `text`: it has one of its own, and holds nothing more."""
        kind = self._kinds.get(cls)
        if kind is None:
            kind = self._kinds[cls] = _kinds.get(cls) or _kinds.setdefault(cls, _find_kind(cls))
        return kind

    def _space(self, space: Any) -> dict[str, Any]:
        cells = getattr(space, "_cells", None) or {}
        return {
            "class": type(space).__name__,
            "layers": _layers_of(space),
            "cells": len(cells),
            "attributes of cells": {
                cell.coordinate: own for cell in cells.values() if (own := _own_attributes(cell, space))
            },
        }


class _DigestWalk(_StateWalk):
    """Forms with a digest in the place of each memory entry, of each long part that is canonical, and of attributes."""

    def __init__(self) -> None:
        from mesa_llm.memory import MemoryEntry  # noqa: PLC0415 - imports Mesa, which reading recordings does not need

        super().__init__()
        self._entry_class = MemoryEntry
        # What memories hold of the current step besides the entries themselves. The walk ends before any of it does.
        self._contents: dict[int, Any] = {}
        self._objects: dict[type, bool] = {}

    def copy(self, value: Any, around: Around = ()) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is self._entry_class:
            return value._digest or self._entry(value, around)
        if (kind is dict or kind is list or kind is Canonical) and value:
            known = self._contents.get(id(value))
            if known is not None:
                return known
            if is_canonical(value):
                return _in_place_of(value)
        is_object = self._objects.get(kind)
        if is_object is None:
            is_object = self._objects[kind] = is_thing(kind)
        if is_object and len(around) < DEEPEST:  # one that contains itself is met again, so nothing looks for that
            try:
                return self.thing(value, (*around, id(value)))
            except Exception:  # code of the value's own class, as in `copy`
                return kind.__name__
        return super().copy(value, around)

    def items(self, items: Iterable[Any], inside: Around) -> Any:
        if type(items) is list and set(map(type, items)) == {self._entry_class}:
            return [entry._digest or self._entry(entry, inside) for entry in items]
        return super().items(items, inside)

    def _entry(self, entry: MemoryEntry, inside: Around) -> str:
        content: Any = entry.content
        is_over = entry.agent is None and is_canonical(content)
        form = _in_place_of(content if is_over else super().copy(content, (*inside, id(entry))))
        digest = _short_digest(_encoded([entry.step, entry.type, form]))
        if is_over:
            self._contents[id(content)] = form
            object.__setattr__(entry, "_digest", digest)
        return digest

    def agent(self, agent: Agent) -> State:
        return {name: _in_place_of(value) for name, value in super().agent(agent).items()}

    def model(self, model: Model[Any, Any]) -> State:
        return {name: _in_place_of(value) for name, value in super().model(model).items()}


def _in_place_of(form: Any) -> Any:
    """A short form itself, and the digest of a long one."""
    kind = type(form)
    if kind is int or kind is float or form is None or kind is bool:
        return form
    if kind is str and len(form) < _SHORT and form.isalnum():
        return form
    data = _encoded(form)
    return form if len(data) <= _SHORT and data[1:2] != b"#" and b" at 0x" not in data else _short_digest(data)


def _encoded(form: Any) -> bytes:
    """A form as JSON in UTF-8."""
    try:
        return to_json_bytes(form)  # several times as fast as `json`
    except Exception:  # half of a surrogate pair, or a number too large
        return _as_json(form).encode("utf-8", "surrogatepass")


def _short_digest(data: bytes) -> str:
    if b" at 0x" in data:
        data = without_addresses(data.decode("utf-8", "surrogatepass")).encode("utf-8", "surrogatepass")
    return f"#{hashlib.blake2b(data, digest_size=12).hexdigest()}"


def _is_of_agent(name: str) -> bool:
    return name not in _AGENT_ATTRIBUTES_LEFT_OUT and not name.startswith("_mesa_")


def _is_of_model(name: str) -> bool:
    return name not in _MODEL_ATTRIBUTES_LEFT_OUT and not name.startswith("_")


def _is_of_object(name: str) -> bool:
    return not name.startswith(("__", "_mesa_", "_abc_"))


def _layers_of(space: Any) -> dict[str, Any]:
    for name in ("_mesa_property_layers", "property_layers", "properties"):  # Mesa 3, Mesa 4, and mesa.space
        layers = getattr(space, name, None)
        if isinstance(layers, Mapping):
            return {name: layer if hasattr(layer, "tolist") else layer.data for name, layer in layers.items()}
    return {}


def _own_attributes(cell: Any, space: Any) -> dict[str, Any]:
    """The attributes of a cell that Mesa's own cells do not have."""
    cls = type(cell)
    own = {} if cell.capacity == getattr(space, "capacity", None) else {"capacity": cell.capacity}
    if not _is_mesas(cls):
        known = {slot for base in cls.__mro__ if _is_mesas(base) for slot in vars(base).get("__slots__", ())}
        own |= {name: item for name, item in sorted(attributes_of(cell).items()) if name not in known}
    return own


def _is_mesas(cls: type[Any]) -> bool:
    return all(base is object or base.__module__.partition(".")[0] == "mesa" for base in cls.__mro__)


def _is_bookkeeping(kind: type) -> bool:
    """Whether instances of a class only ask, record, limit or report, and so are not part of a model's state."""
    if is_a(kind, "mesa", "DataCollector"):
        return True
    if is_dataclass(kind) or is_a(kind, "mesa_llm.module_llm", "ModuleLLM") or is_a(kind, "mesa", "Agent", "Model"):
        return False
    if issubclass(kind, dict | list | tuple):  # such as the parts of an observation
        return False
    packages = [base.__module__.split(".") for base in kind.__mro__ if base.__module__.startswith("mesa_llm.")]
    return bool(packages) and not any(names[1] in _STATE_OF_OURS for names in packages)


def _find_kind(cls: type) -> _Kind:
    if _is_bookkeeping(cls):
        return "bookkeeping"
    if issubclass(cls, random.Random) or is_a(cls, "numpy.random", "Generator", "RandomState"):
        return "generator"
    if is_a(cls, "mesa_llm.module_llm", "ModuleLLM"):
        return "llm"
    return "text" if issubclass(cls, _HAVE_TEXTS) or cls.__module__.partition(".")[0] == "mesa" else "object"


type _Kind = Literal["bookkeeping", "generator", "llm", "text", "object"]
_kinds: WeakKeyDictionary[type, _Kind] = WeakKeyDictionary()


def _generator_state(value: Any) -> Any:
    if isinstance(value, random.Random):
        return value.getstate()
    return value.bit_generator.state if hasattr(value, "bit_generator") else value.get_state()


def _difference(first: Any, second: Any, path: str = "") -> tuple[str, str | None, str | None] | None:
    """The path to the first difference of two states, and both values there."""
    if first is _ABSENT or second is _ABSENT:
        return path, _in_short(first), _in_short(second)
    if first == second and json.dumps(first) == json.dumps(second):  # 1 == 1.0 == True
        return None
    if isinstance(first, dict) and isinstance(second, dict):
        for name in {**first, **second}:
            found = _difference(first.get(name, _ABSENT), second.get(name, _ABSENT), f"{path}.{name}" if path else name)
            if found is not None:
                return found
    if isinstance(first, list) and isinstance(second, list):
        for place, pair in enumerate(zip(first, second, strict=False)):
            found = _difference(*pair, f"{path}[{place}]")
            if found is not None:
                return found
    return path, _in_short(first), _in_short(second)


_ABSENT = object()


def _in_short(value: Any) -> str | None:
    if value is _ABSENT or value is None:
        return None
    text = to_json(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}{MORE}"
