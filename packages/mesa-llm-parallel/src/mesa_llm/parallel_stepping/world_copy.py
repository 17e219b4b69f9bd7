"""Throw-away copies of a model, from which a step looks ahead.

A copy is a pickle that is read back. Agents are written one by one and refer to each other by number, so the depth of
the stack does not grow with chains of agents: plain `pickle` and `copy.deepcopy` end in a `RecursionError` with a few
hundred agents that hold lists of each other. What nothing changes while agents step (clients, functions, classes, tool
specifications) is shared with the original.

Cells get a class of their own in each copy. Mesa gives each grid a class of cells that reads and writes the grid's
property layers, and keeps the neighborhoods of all cells in caches at the class: a shared class would let a copy write
into the original, and keep every copy alive.

Most of a model is its past. A memory entry on a copy takes its texts from the original, and copies its content when an
agent reads it. What a `DataCollector` has recorded of agents is left out: a copy needs it for nothing but its data
frames.
"""

from __future__ import annotations

import ast
import copy
import copyreg
import functools
import inspect
import io
import itertools
import pickle
import threading
import types
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, cast

from mesa import Agent, DataCollector
from mesa.discrete_space import Cell

from mesa_llm.activation.context import LookEnded
from mesa_llm.activation.values import is_canonical
from mesa_llm.clients import LLMRequest, LLMResponse, Message, ToolCall, ToolSpec
from mesa_llm.errors import MesaLLMError
from mesa_llm.memory import MemoryEntry
from mesa_llm.parallel_stepping.config import ParallelStepping
from mesa_llm.parallel_stepping.failures import name_of
from mesa_llm.parallel_stepping.report import StepReport
from mesa_llm.recording import SimulationRecorder

if TYPE_CHECKING:
    from mesa import Model

type _How = Literal[
    "agent", "cell", "shared", "class", "function", "iterator", "weak", "entry", "collector", "by state"
]

_SHARED = (
    types.ModuleType,
    LLMRequest,
    LLMResponse,
    Message,
    ToolCall,
    ToolSpec,
    ParallelStepping,
    StepReport,
    SimulationRecorder,
)
_HARMLESS_IN_CLOSURES = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, str, bytes, int, float)


class CannotCopyError(MesaLLMError):
    """A model cannot be copied; the message names what stands in the way."""


class WorldCopy:
    """A model as it was when this was made; copies are read from it.

    Args:
        model: the model.
        others: what else is copied with it, such as agents and arguments; what they share stays shared.

    Raises:
        CannotCopyError: if something in the model can be neither copied nor shared.
    """

    def __init__(self, model: Model[Any, Any], *others: Any) -> None:
        file = io.BytesIO()
        pickler = _Pickler(file)
        try:
            pickler.dump((model, others))
            for agent in pickler.agents:  # grows meanwhile
                pickler.dump(_state_of(agent))
        except Exception as error:
            raise CannotCopyError(_obstacle(model, error)) from error
        self._bytes = file.getvalue()
        self._agents = [(type(agent), agent.unique_id) for agent in pickler.agents]
        self._shared = pickler.shared
        self._cell_classes = pickler.cell_classes

    def make(self) -> tuple[Model[Any, Any], tuple[Any, ...]]:
        """A new copy of the model, and of the others. Nothing but these two keeps its agents alive."""
        agents: list[Agent[Any]] = [object.__new__(kind) for kind, _ in self._agents]
        for agent, (_, unique_id) in zip(agents, self._agents, strict=True):
            agent.unique_id = unique_id  # sets hash agents before their states are read
        unpickler = pickle.Unpickler(io.BytesIO(self._bytes))
        _reading.agents, _reading.shared = agents, self._shared
        _reading.cell_classes = [_twin(cell_class) for cell_class in self._cell_classes]
        try:
            made: tuple[Model[Any, Any], tuple[Any, ...]] = unpickler.load()
            for agent in agents:
                _set_state(agent, unpickler.load())
        finally:
            del _reading.agents, _reading.shared, _reading.cell_classes
        return made


class _Pickler(pickle.Pickler):
    """Writes agents and shared objects as numbers.

    Args:
        file: gets the bytes.
        left_out: an object that is not written, nor what it holds; to find out which of its parts cannot be copied.

    Attributes:
        agents: the agents met so far.
        shared: the shared objects met so far.
        cell_classes: the classes of the cells met so far.
    """

    def __init__(self, file: io.BytesIO, *, left_out: object = None) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._left_out = left_out
        self.agents: list[Agent[Any]] = []
        self.shared: list[Any] = []
        self.cell_classes: list[type[Cell]] = []

    def reducer_override(self, value: Any) -> Any:
        """How an object is written: `NotImplemented` for pickle's own way."""
        if value is self._left_out:
            return _dead_reference, ()
        kind = type(value)
        how = _hows.get(kind)
        if how is None:
            how = _hows[kind] = _how(kind)
        if how == "by state" or (how == "entry" and not _is_over(value)):
            return NotImplemented
        if how == "agent":  # once: pickle remembers what it has written
            self.agents.append(value)
            return _agent, (len(self.agents) - 1,)
        if how == "cell":
            return _cell, (self._number_of(kind),), value.__getstate__(), None, None, _set_cell_state
        if how == "weak":
            target = value()
            return (_dead_reference, ()) if target is None else (kind, (target,))
        if how == "iterator":
            return _iterator(value)
        if how == "collector":
            return copyreg.__newobj__, (kind,), {**vars(value), **{name: {} for name in _RECORDED}}  # type: ignore[attr-defined]
        if how == "class" and issubclass(value, Cell):
            return _cell_class, (self._number_of(value),)
        if how == "function":
            if value in _OURS:
                return NotImplemented
            _check_closure(value)
        self.shared.append(value)
        return _entry if how == "entry" else _shared, (len(self.shared) - 1,)

    def _number_of(self, cell_class: type[Cell]) -> int:
        if cell_class not in self.cell_classes:
            self.cell_classes.append(cell_class)
        return self.cell_classes.index(cell_class)


_hows: weakref.WeakKeyDictionary[type, _How] = weakref.WeakKeyDictionary()


def _how(kind: type) -> _How:
    if issubclass(kind, Agent):
        return "agent"
    if issubclass(kind, Cell):
        return "cell"
    if issubclass(kind, type):
        return "class"
    if issubclass(kind, types.FunctionType):
        return "function"
    if kind in (weakref.ref, weakref.WeakMethod):
        return "weak"
    if kind is MemoryEntry:
        return "entry"
    if kind is DataCollector:
        return "collector"
    if issubclass(kind, types.GeneratorType) or kind.__module__ == "itertools":
        return "iterator"
    if issubclass(kind, _SHARED) or inspect.iscoroutinefunction(getattr(kind, "complete", None)):  # a client
        return "shared"
    return "by state"


_RECORDED = ("_agent_records", "_agenttype_records")


def _is_over(entry: MemoryEntry) -> bool:
    """Whether nothing changes an entry any more: its text is made, and no object is in it."""
    return entry._text is not None and entry.agent is None and is_canonical(entry.content)


class _Entry(MemoryEntry):
    """A memory entry on a copy. Its content is copied when it is read: what agents change there stays on the copy."""

    __slots__ = ("_original",)

    _original: MemoryEntry

    def __getattr__(self, name: str) -> Any:
        if name != "content":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        content = copy.deepcopy(self._original.content)
        object.__setattr__(self, "content", content)
        return content


class _Unread(Iterator[Any]):
    """Stands for an iterator that cannot be copied. Who reads on in a look is asked at its turn."""

    def __next__(self) -> Any:
        raise LookEnded("an iterator cannot be read on a copy")


def _iterator(value: Iterator[Any]) -> tuple[Any, ...]:
    """How an iterator is written. From Python 3.14 on, those of `itertools` have no pickles, but show their counts."""
    if type(value) is itertools.count:
        try:
            counted = ast.literal_eval(repr(value).removeprefix("count"))
        except ValueError:  # counts no plain numbers
            return _Unread, ()
        return itertools.count, counted if isinstance(counted, tuple) else (counted,)
    return _Unread, ()


def _check_closure(function: types.FunctionType) -> None:
    """Refuse to share a function that holds on to something which a copy would then share with the original."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            held = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        if held is not None and not isinstance(held, _HARMLESS_IN_CLOSURES):
            raise pickle.PicklingError(
                f"the function {function.__qualname__} holds {name!r} ({type(held).__name__}) from where it was defined"
            )


def _state_of(agent: Agent[Any]) -> Any:
    function, arguments, state, *_ = (*cast("tuple[Any, ...]", agent.__reduce_ex__(4)), None, None)
    if function is not copyreg.__newobj__ or len(arguments) > 1:  # type: ignore[attr-defined]
        raise pickle.PicklingError(f"{type(agent).__name__} has a __reduce__ or __getnewargs__ of its own")
    return state


def _set_state(agent: Agent[Any], state: Any) -> None:
    if hasattr(agent, "__setstate__"):
        agent.__setstate__(state)
        return
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    vars(agent).update(attributes or {})
    for name, value in (slots or {}).items():
        setattr(agent, name, value)


class _Reading(threading.local):
    """What the numbers stand for in the copy that the thread is reading."""

    agents: list[Agent[Any]]
    shared: list[Any]
    cell_classes: list[type[Cell]]


_reading = _Reading()


def _agent(number: int) -> Agent[Any]:
    return _reading.agents[number]


def _shared(number: int) -> Any:
    return _reading.shared[number]


def _entry(number: int) -> MemoryEntry:
    original = _reading.shared[number]
    entry = object.__new__(_Entry)
    for name in ("step", "type", "agent", "_text", "_full", "_digest", "_tokens", "_observation_id", "_relative_to"):
        _set(entry, name, getattr(original, name))
    _set(entry, "_original", original)
    return entry


_set = object.__setattr__  # entries are frozen


def _cell(number: int) -> Cell:
    cell_class = _reading.cell_classes[number]
    return object.__new__(cell_class)


def _cell_class(number: int) -> type[Cell]:
    return _reading.cell_classes[number]


def _twin(cell_class: type[Cell]) -> type[Cell]:
    """A class like that of the original's cells, with caches of its own. Mesa adds what reads the property layers."""
    own = {name: set(vars(cell_class)[name]) for name in _LAYERS if name in vars(cell_class)}
    bases = cell_class.__bases__ if own else (cell_class,)
    caches = {
        name: functools.cache(method.__wrapped__)
        for base in reversed(cell_class.__mro__)
        for name, method in vars(base).items()
        if hasattr(method, "cache_clear")
    }
    return type(cell_class.__name__, bases, {"__slots__": (), **own, **caches})


_LAYERS = ("_mesa_properties", "property_layers")  # Mesa 3 and Mesa 4: the names of the grid's property layers


def _set_cell_state(cell: Cell, state: tuple[dict[str, Any] | None, dict[str, Any]]) -> None:
    attributes, slots = state
    for name, value in {**(attributes or {}), **slots}.items():
        if name not in ("__dict__", "neighborhood"):  # Mesa 3.4 keeps the neighborhood there; it is found again
            setattr(cell, name, value)


def _dead_reference() -> weakref.ref[Any]:
    return weakref.ref(io.BytesIO())


_OURS = frozenset({_agent, _cell, _cell_class, _entry, _set_cell_state, _shared, _dead_reference})


def _obstacle(model: Model[Any, Any], error: Exception) -> str:
    """What cannot be copied: the first attribute of the model or of an agent that fails by itself."""
    for owner in (model, *model.agents):
        for name, value in vars(owner).items():
            try:
                _Pickler(io.BytesIO(), left_out=model).dump(value)
            except Exception as reason:
                label = type(owner).__name__ if owner is model else name_of(cast("Agent[Any]", owner))
                return f"{label}.{name} ({type(value).__name__}): {reason}"
    return f"{type(error).__name__}: {error}"
