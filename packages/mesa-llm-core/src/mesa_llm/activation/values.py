"""The canonical form of a value: what prompts, memories, recordings and hashes are made of.

Equal values have equal forms in every process: a form holds no memory address, and the order of a set is not in it.
Addresses in texts, as in `f"{agents}"` of objects without a text of their own, are taken out where a form becomes the
text of a prompt, a file or a hash.

| value | form |
|---|---|
| text, whole number, truth value, `None` | itself; a subclass, such as an enum that is also a text, its plain value |
| number | Python's; `"nan"`, `"inf"` and `"-inf"` where it is not finite |
| mapping, dataclass, named tuple, pydantic model, `SimpleNamespace` | dict with texts as keys, in the order given |
| sequence, numpy array, pandas series | list |
| set | list, sorted; a Mesa agent set keeps its order |
| pandas data frame | dict of columns |
| agent | `"Citizen 3"`, its class and its id |
| model, space | the name of its class |
| cell | its coordinate |
| class, function, method, module, generator, lock | its name |
| enum, date, path, exception, other object | the text that its class defines, if that holds no address |
| object without a text of its own | its class and its public attributes: `"Purse(coins=3)"` |
| what contains itself, or lies deeper than 50 | `"…"` |
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, ItemsView, Iterable, KeysView, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from functools import cached_property
from itertools import chain
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

MOST_ROWS = 100
"""How many rows of a pandas object are shown."""

MORE = "…"

DEEPEST = 50
"""How deep values may lie in others."""
_LONGEST_OBJECT = 1000  # characters
_TEXT = frozenset({str})
_EXACT = frozenset({str, int, bool, type(None)})
_ATOMS = _EXACT | {float}
_LITERALS = _ATOMS | {dict, list, tuple}
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{4,}")

type Around = tuple[int, ...]
"""The ids of the containers in which a value lies."""


class Canonical(dict[str, Any]):
    """A dict that is canonical as a whole when it is made: `to_text` looks only at the kinds of its items again."""

    __slots__ = ()


def plain(value: Any, *, hide: bool = False) -> Any:
    """The canonical form of a value, as a deep copy that JSON can hold. Never raises because of the value.

    Args:
        value: the value.
        hide: leave out, at every depth, entries whose name begins with an underscore: keys, fields, and texts in
            sequences and sets.
    """
    return (_HIDING if hide else _SHOWING).copy(value)


def to_json(value: Any) -> str:
    """The canonical form of a value as one line of JSON."""
    return without_addresses(json.dumps(plain(value), ensure_ascii=False, allow_nan=False))


def to_text(value: Any) -> str:
    """A value as text for a prompt: a text as it is, anything else in Python's notation of its canonical form.

    Tuples stay tuples here, and numbers stay numbers as keys.
    """
    if type(value) is not str:
        value = str(value if _is_literal(value) else _LITERAL.copy(value))
    return without_addresses(value) if " at 0x" in value else value


def without_addresses(text: str) -> str:
    """A text without the memory addresses that default representations of objects have brought into it."""
    return _ADDRESS.sub("", text) if " at 0x" in text else text


def name_of(agent: Any) -> str:
    """The name of an agent in observations: its class and its id."""
    return f"{type(agent).__name__} {agent.unique_id}"


class Walk:
    """Makes canonical forms. A subclass may show more of objects.

    Args:
        hide: as for `plain`.
        literal: keep tuples, and numbers as keys.
        opens: show the attributes of objects whose class defines no text.
    """

    most_rows: int | None = MOST_ROWS

    def __init__(self, *, hide: bool = False, literal: bool = False, opens: bool = True) -> None:
        self._hide = hide
        self._literal = literal
        self._opens = opens

    def copy(self, value: Any, around: Around = ()) -> Any:
        """The canonical form of a value."""
        kind = type(value)
        if kind in _EXACT:
            return value
        # Most values are such dicts and lists; what follows gives the same and takes many times as long.
        if kind is dict and _TEXT.issuperset(map(type, value)) and _are_atoms(value.values()):
            if self._hide:
                return {name: item for name, item in value.items() if not name.startswith("_")}
            return value.copy()
        if kind is list and _are_atoms(value):
            return [item for item in value if not _is_hidden(item)] if self._hide else value.copy()
        if isinstance(value, str | int | float):
            return _exact(value)
        if id(value) in around or len(around) >= DEEPEST:
            return MORE
        inside = (*around, id(value))
        try:
            if kind is dict:
                return self.entries(value.items(), inside)
            if kind is list or kind is tuple:
                return self.items(value, inside)
            return _form_of(kind)(self, value, inside)
        except Exception:  # code of the value's own class, which may do anything
            return kind.__name__

    def entries(self, entries: Iterable[tuple[Any, Any]], inside: Around) -> dict[Any, Any]:
        """Named parts as a dict."""
        copied: dict[Any, Any] = {}
        for name, item in entries:
            key = name if type(name) is str else self._key(name, inside)
            if self._hide and _is_hidden(key):
                continue
            while key in copied:  # 1 and "1" are two keys
                key = f"{key} ({type(name).__name__})"
            copied[key] = self.copy(item, inside)
        return copied

    def items(self, items: Iterable[Any], inside: Around) -> Any:
        """Parts without names as a list."""
        copies = [self.copy(item, inside) for item in items]
        if self._hide:
            copies = [copy for copy in copies if not _is_hidden(copy)]
        return tuple(copies) if self._literal and type(items) is tuple else copies

    def members(self, members: AbstractSet[Any], inside: Around) -> Any:
        """The members of a set, sorted: numbers by size, everything else by its text."""
        copies = self.items(members, inside)
        if all(isinstance(copy, int | float) for copy in copies):
            return sorted(copies)
        return sorted(copies, key=lambda copy: (without_addresses(str(copy)), type(copy).__name__))

    def dataclass(self, value: Any, inside: Around) -> Any:
        """The fields of a dataclass as a dict."""
        return self.entries([(part.name, getattr(value, part.name)) for part in fields(value)], inside)

    def framework(self, value: Any, inside: Around) -> Any:
        """A model or a space."""
        return type(value).__name__

    def thing(self, value: Any, inside: Around) -> Any:
        """An object that is nothing else."""
        name = getattr(value, "__name__", None)
        if isinstance(name, str):
            return name
        cls = type(value)
        if any(not vars(base).keys().isdisjoint({"__str__", "__repr__"}) for base in cls.__mro__[:-1]):
            text = str(value)
            if not _ADDRESS.search(text):
                return text
        if not self._opens or cls.__module__.partition(".")[0] in _FRAMEWORKS:
            return cls.__name__
        attributes = Walk(hide=self._hide, literal=True, opens=False).entries(
            [(name, item) for name, item in attributes_of(value).items() if not name.startswith("_")], inside
        )
        shown = ", ".join(f"{name}={item!r}" for name, item in attributes.items())
        if len(shown) > _LONGEST_OBJECT:
            shown = f"{shown[:_LONGEST_OBJECT]}{MORE}"
        return f"{cls.__name__}({shown})" if shown else cls.__name__

    def _key(self, name: Any, inside: Around) -> Any:
        copy = self.copy(name, inside)
        if self._literal and (type(copy) in _ATOMS or (type(copy) is tuple and _are_atoms(copy))):
            return copy
        return str(copy)


_FRAMEWORKS = frozenset({"mesa", "mesa_llm"})
_SHOWING, _HIDING, _LITERAL = Walk(), Walk(hide=True), Walk(literal=True)

type _Form = Callable[[Walk, Any, Around], Any]

_forms: WeakKeyDictionary[type, _Form] = WeakKeyDictionary()


def attributes_of(value: Any) -> dict[str, Any]:
    """What an object holds, by the names of its attributes; neither properties nor what they have cached."""
    cls = type(value)
    slots, caches = _slots_of.get(cls) or _slots_of.setdefault(cls, _find_slots(cls))
    held = dict(getattr(value, "__dict__", ()))
    for name in slots:
        if hasattr(value, name):
            held[name] = getattr(value, name)
    for name in caches:
        held.pop(name, None)
    return held


_slots_of: WeakKeyDictionary[type, tuple[tuple[str, ...], tuple[str, ...]]] = WeakKeyDictionary()


def _find_slots(cls: type) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The slots of a class, and the names of its cached properties."""
    slots: list[str] = []
    for base in cls.__mro__:
        own = vars(base).get("__slots__", ())
        slots += (own,) if isinstance(own, str) else own
    caches = [name for base in cls.__mro__ for name, item in vars(base).items() if isinstance(item, cached_property)]
    found = [name for name in caches if isinstance(getattr(cls, name), cached_property)]
    return tuple(name for name in slots if name not in {"__dict__", "__weakref__"}), tuple(found)


def is_canonical(value: Any) -> bool:
    """Whether a value is its own canonical form, but for tuples: texts and finite numbers, in dicts and lists."""
    kind = type(value)
    if kind in _EXACT or kind is Canonical:
        return True
    if kind is float:
        return math.isfinite(value)
    if kind is dict:
        return _TEXT.issuperset(map(type, value)) and all(map(is_canonical, value.values()))
    return kind in (list, tuple) and all(map(is_canonical, value))


def is_a(kind: type, module: str, *names: str) -> bool:
    """Whether a class is, or derives from, one of a module, which need not have been imported."""
    found = sys.modules.get(module)
    classes = [getattr(found, name, None) for name in names]
    return any(isinstance(cls, type) and issubclass(kind, cls) for cls in classes)


def _form_of(kind: type) -> _Form:
    """How values of a class are copied."""
    form = _forms.get(kind)
    if form is None:
        form = _forms[kind] = _find_form(kind)
    return form


def _find_form(kind: type) -> _Form:
    if is_a(kind, "mesa", "Agent"):
        return lambda walk, agent, inside: name_of(agent)
    if is_a(kind, "mesa", "Model") or is_space(kind):
        return lambda walk, value, inside: walk.framework(value, inside)
    if is_a(kind, "mesa.discrete_space", "Cell"):
        return lambda walk, cell, inside: walk.copy(cell.coordinate, inside)
    if is_a(kind, "mesa.agent", "AgentSet") or is_a(kind, "mesa.agentset", "AbstractAgentSet"):
        return lambda walk, agents, inside: walk.items(list(agents), inside)
    return _named_parts(kind) or _nameless_parts(kind) or _array(kind) or _as_thing


def _as_thing(walk: Walk, value: Any, inside: Around) -> Any:
    return walk.thing(value, inside)


def is_thing(kind: type) -> bool:
    """Whether `Walk.thing` makes the forms of values of a class: they are objects, and nothing else."""
    return kind not in _LITERALS and not issubclass(kind, str | int | float) and _form_of(kind) is _as_thing


def _named_parts(kind: type) -> _Form | None:
    if issubclass(kind, type):
        return lambda walk, cls, inside: cls.__name__
    if issubclass(kind, Mapping):
        return lambda walk, value, inside: walk.entries(value.items(), inside)
    if is_dataclass(kind):
        return lambda walk, value, inside: walk.dataclass(value, inside)
    if hasattr(kind, "__pydantic_fields__"):
        return lambda walk, value, inside: walk.entries(value, inside)
    if issubclass(kind, SimpleNamespace):
        return lambda walk, value, inside: walk.entries(vars(value).items(), inside)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return lambda walk, value, inside: walk.entries(zip(value._fields, value, strict=True), inside)
    return None


def _nameless_parts(kind: type) -> _Form | None:
    if issubclass(kind, bytes | bytearray | memoryview):
        return lambda walk, value, inside: str(bytes(value))
    if issubclass(kind, Sequence | KeysView | ItemsView | ValuesView):
        return lambda walk, value, inside: walk.items(value, inside)
    if issubclass(kind, AbstractSet):
        return lambda walk, value, inside: walk.members(value, inside)
    return None


def _array(kind: type) -> _Form | None:
    if is_a(kind, "numpy", "datetime64", "timedelta64"):  # as numbers they would have lost their unit
        return lambda walk, value, inside: str(value)
    if is_a(kind, "pandas", "DataFrame"):
        return _columns
    if is_a(kind, "pandas", "Series", "Index"):
        return _rows
    if callable(getattr(kind, "tolist", None)):  # numpy's scalars and arrays, tensors
        return lambda walk, value, inside: walk.copy(value.tolist(), inside)
    return None


def _columns(walk: Walk, frame: Any, inside: Around) -> Any:
    return walk.entries([(name, frame[name]) for name in frame.columns], inside)


def _rows(walk: Walk, series: Any, inside: Around) -> Any:
    shown = walk.copy(series[: walk.most_rows].tolist(), inside)
    return shown if len(shown) == len(series) else [*shown, f"{MORE} ({len(series)} in all)"]


def is_space(kind: type) -> bool:
    """Whether instances of a class are one of Mesa's spaces."""
    return (
        is_a(kind, "mesa.discrete_space", "DiscreteSpace")
        or is_a(kind, "mesa.experimental.continuous_space", "ContinuousSpace")
        or is_a(kind, "mesa.space", "_Grid", "ContinuousSpace", "NetworkGrid")
    )


def _exact(value: str | float) -> str | float:
    """A text or a number without what a subclass adds to it."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    return float(value) if math.isfinite(value) else str(float(value))


def _are_atoms(items: Iterable[Any]) -> bool:
    """Whether the items are their own canonical form."""
    for item in items:  # a loop, since most are short: faster here than sets and generators
        kind = type(item)
        if kind is float:
            if item - item != 0.0:  # not finite
                return False
        elif kind not in _EXACT:
            return False
    return True


def _is_literal(value: Any) -> bool:
    """Whether Python's notation of a value is canonical already: faster than a copy, and true of most."""
    if type(value) is Canonical:
        return _LITERALS.issuperset(map(type, value.values()))
    level = [value]
    for _ in range(DEEPEST):
        kinds = set(map(type, level))
        if not kinds <= _LITERALS:
            return False
        if float in kinds and not all(math.isfinite(item) for item in level if type(item) is float):
            return False
        if kinds <= _ATOMS:
            return True
        dicts = [item for item in level if type(item) is dict]
        if not _EXACT.issuperset(map(type, chain.from_iterable(dicts))):  # keys
            return False
        sequences = [item for item in level if type(item) is tuple or type(item) is list]
        level = [*chain.from_iterable(map(dict.values, dicts)), *chain.from_iterable(sequences)]
    return False


def _is_hidden(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_")
