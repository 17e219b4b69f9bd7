"""Annotations for arguments that the calling agent must have in sight: an agent, a cell, a direction."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from mesa_llm.activation.values import to_json, to_text
from mesa_llm.module_llm.call_reading import matching_name
from mesa_llm.module_llm.request_fields import rebuilt
from mesa_llm.spaces import directions_from, free_places_around
from mesa_llm.spaces.space import XY, listed, literal

_MARK = "x-visible"  # the key under which a schema holds its annotation, until the schema is sent
_MOST_CHOICES = 500  # the longest enum; an argument with more choices is left open
_EVERYWHERE = -1


class Seen(Protocol):
    """What an agent sees: an `Observation`."""

    @property
    def local_state(self) -> Mapping[str, Any]:
        """What it sees of each agent, by class name and id: `"Citizen 3"`."""
        ...


@dataclass(frozen=True, slots=True)
class Sight:
    """What the arguments of a call are checked against: the agent, and what it saw as it decided."""

    agent: Any
    seen: Seen
    steps: Mapping[str, Any] | None = None
    """The steps that it could take then; `None` for those that it can take now."""


class _Marking(ABC):
    """An annotation that puts itself into the schema, and knows which values the argument can have at the moment."""

    __slots__ = ()

    @abstractmethod
    def choices(self, agent: Any, seen: Seen) -> list[Any] | None:
        """The values, as JSON; `None` on continuous spaces."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema) | {_MARK: self}


@dataclass(frozen=True, slots=True)
class VisibleAgent(_Marking):
    """Marks a number as the `unique_id` of an agent in sight: `Annotated[int, VisibleAgent(Citizen)]`.

    In the tool's schema it looks like any number. Where a schema constrains the answer (`tool_mode="json_schema"`), the
    model can only choose the ids of agents that the calling agent sees; if it sees none, it cannot call the tool. Ids
    of agents that the calling agent did not see as it decided are refused. Without a class, an agent may also name
    itself and the senders of messages that it remembers, so that it can answer. An agent whose `vision` is `None` may
    name all agents. The tool itself still has to check the id: the world may change until it runs.

    Attributes:
        of: the class of the agent, subclasses included, or the name of one class; `None` for any.
    """

    of: type | str | None = None

    def choices(self, agent: Any, seen: Seen) -> list[int]:
        """The ids of such agents in an observation.

        Args:
            agent: the agent that sees.
            seen: what it sees.
        """
        names = None if self.of is None else {self.of} if isinstance(self.of, str) else set(_names(self.of))
        found = (name.rpartition(" ") for name in seen.local_state)
        return [int(number) for kind, _, number in found if number.isdecimal() and (names is None or kind in names)]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self._refuse_unseen, handler(source))

    def _refuse_unseen(self, value: Any, info: ValidationInfo) -> Any:
        sight = info.context
        if not isinstance(sight, Sight) or getattr(sight.agent, "vision", None) is None or not isinstance(value, int):
            return value
        seen = self.choices(sight.agent, sight.seen)
        if value in seen or (self.of is None and value in {sight.agent.unique_id, *_heard_from(sight.agent)}):
            return value
        raise PydanticCustomError(
            "unseen", "{message}", {"message": f"you see no such agent (you see {listed(seen) or 'none'})"}
        )


class _InSight(_Marking):
    def choices(self, agent: Any, seen: Seen) -> list[Any] | None:
        vision = getattr(agent, "vision", None) or 0
        places = free_places_around(agent, math.inf if vision == _EVERYWHERE else vision)
        return None if places is None else [_written(place) for place in places]


class OneStepAway(_Marking):
    """Marks a text as the name of a step that the calling agent can take."""

    def choices(self, agent: Any, seen: Seen) -> list[Any]:
        """The names of the steps into places that have room."""
        return list(directions_from(agent, free_only=True))


def step_meant(direction: str, steps: Collection[str]) -> str | None:
    """The step that a model means: a compass direction in any spelling ("north-east"), another name as it is."""
    for name in (direction, direction.strip()):
        if name in steps:
            return name
    return matching_name(name, [step for step in steps if step in XY]) if name else None


def _heard_from(agent: Any) -> set[Any]:
    entries = getattr(getattr(agent, "memory", None), "entries", ())
    return {entry.content.get("sender") for entry in entries if entry.type == "message"}


def _names(of: type[Any]) -> Iterator[str]:
    yield of.__name__
    subclasses: list[type[Any]] = of.__subclasses__()
    for subclass in subclasses:
        yield from _names(subclass)


def _written(place: Any) -> Any:
    """A place as a model writes it; coordinates as text, since some servers cannot handle an enum of lists."""
    if isinstance(place, tuple):
        return to_json(place)
    return place if isinstance(place, int | float | str) else to_text(place)


def _unwritten(place: Any) -> Any:
    """Coordinates that come as text: "[3, 4]" or "(3, 4)"."""
    value = literal(place) if isinstance(place, str) else place
    return list(value) if isinstance(value, list | tuple) else place


def _hashable(place: Any) -> Any:
    return tuple(place) if isinstance(place, list) else place


VisibleAgentId = Annotated[int, VisibleAgent()]
"""The `unique_id` of an agent in sight, see `VisibleAgent`."""

VisibleCell = Annotated[
    list[int | float] | int | str, BeforeValidator(_unwritten), AfterValidator(_hashable), _InSight()
]
"""A place with room in the calling agent's vision. The tool gets a tuple of coordinates, or the name of a node.

The model may write coordinates as a list or as text. Where a schema constrains its answer, it can only choose places
that the calling agent sees and that have room; on continuous spaces any place.
"""

FreeDirection = Annotated[str, OneStepAway()]
"""The name of a step that the calling agent can take, such as "North".

Where a schema constrains the model's answer, it can only choose steps into places that have room.
"""


def without_marks(schema: Any) -> Any:
    """A schema as it is sent: without marks."""
    return rebuilt(schema, lambda part: {key: value for key, value in part.items() if key != _MARK})


def narrowed(schema: Mapping[str, Any], agent: Any, seen: Seen) -> dict[str, Any] | None:
    """The schema of a tool's arguments, with an enum of the present choices in the place of each mark.

    An optional argument without a choice is left out; if a required one has none, the result is `None`.
    """

    def with_choices(part: dict[str, Any]) -> dict[str, Any]:
        mark: _Marking | None = part.pop(_MARK, None)
        return part if mark is None else _with_choices(part, mark.choices(agent, seen))

    properties: dict[str, Any] = {}
    for name, argument in schema["properties"].items():
        try:
            properties[name] = rebuilt(argument, with_choices)
        except _NothingToChooseError:
            if name in schema["required"]:
                return None
    rest = {key: value for key, value in schema.items() if key != "properties"}
    return {"type": "object", "properties": properties, **without_marks(rest)}


class _NothingToChooseError(Exception):
    """An argument has no possible value at the moment."""


def _with_choices(argument: dict[str, Any], choices: list[Any] | None) -> dict[str, Any]:
    if choices is None or len(choices) > _MOST_CHOICES:
        return argument
    if not choices:
        raise _NothingToChooseError
    kinds = {"string" if isinstance(choice, str) else "integer" for choice in choices}
    kept = {key: value for key, value in argument.items() if key == "description"}
    return {**({"type": kinds.pop()} if len(kinds) == 1 else {}), "enum": choices, **kept}
