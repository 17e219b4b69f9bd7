"""`@tool`: what the model is told about a function, and what becomes of the function."""

from __future__ import annotations

import enum
import functools
import gc
import json
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Optional

import pytest
from pydantic import BaseModel, Field

from mesa_llm.errors import ConfigurationError
from mesa_llm.tools import ToolManager, tool
from mesa_llm.tools.tool_decorator import _GLOBAL_TOOL_REGISTRY

if TYPE_CHECKING:
    from mesa_llm.llm_agent import LLMAgent


class Direction(enum.Enum):
    NORTH = "north"
    SOUTH = "south"


class Home(BaseModel):
    street: str
    title: int = 3


class Tree(BaseModel):
    children: list[Tree] = []


class Pair(NamedTuple):
    number: int
    name: str = "it"


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


@dataclass
class Point:
    x: float
    y: float


@pytest.fixture(autouse=True)
def _clean_registry():
    before = dict(_GLOBAL_TOOL_REGISTRY)
    yield
    _GLOBAL_TOOL_REGISTRY.clear()
    _GLOBAL_TOOL_REGISTRY.update(before)


@pytest.fixture
def private():
    return tool(tool_manager=ToolManager(tools=[]))


def parameters(function: Any) -> dict[str, Any]:
    return function.__tool_schema__["function"]["parameters"]


def property_of(annotation: Any) -> dict[str, Any]:
    """The schema of one parameter with this annotation."""

    def probe(value): ...

    probe.__doc__ = "Probe.\n\nArgs:\n    value: it."
    probe.__annotations__["value"] = annotation
    schema = dict(parameters(tool(tool_manager=ToolManager(tools=[]))(probe))["properties"]["value"])
    assert schema.pop("description") == "it."
    return schema


def test_the_whole_schema_of_a_tool(private):
    @private
    def move(agent: LLMAgent, direction: Literal["north", "south"], steps: int = 1) -> str:
        """Move on the grid.

        Stops at the border.

        Args:
            agent: provided automatically.
            direction: where to
                go.
            steps: how far.

        Returns:
            where it is
            now.

        Raises:
            ValueError: never told to the model.
        """
        return direction * steps

    assert move.__tool_schema__ == {
        "type": "function",
        "function": {
            "name": "move",
            "description": "Move on the grid.\n\nStops at the border.\nReturns: where it is now.",
            "parameters": {
                "type": "object",
                "properties": {
                    "direction": {"type": "string", "enum": ["north", "south"], "description": "where to go."},
                    "steps": {"type": "integer", "default": 1, "description": "how far."},
                },
                "required": ["direction"],
                "additionalProperties": False,
            },
        },
    }


def test_the_function_stays_a_plain_function(private):
    def double(x: int) -> int:
        """Double.

        Args:
            x: a number.
        """
        return 2 * x

    assert private(double) is double
    assert tool(double) is double
    assert tool()(double) is double
    assert double(4) == 8


def test_an_async_function_stays_one(private):
    @private
    async def wait() -> str:
        """Wait."""
        return "waited"

    coroutine = wait()
    with pytest.raises(StopIteration, match="waited"):
        coroutine.send(None)


def test_a_plain_tool_is_global_and_one_with_a_manager_is_not():
    before, own = ToolManager(), ToolManager()

    @tool
    def for_all():
        """Do."""

    @tool(tool_manager=own)
    def for_own():
        """Do."""

    assert [m.has_tool("for_all") for m in (before, own, ToolManager())] == [True, True, True]
    assert [m.has_tool("for_own") for m in (before, own, ToolManager())] == [False, True, False]
    assert "for_own" not in _GLOBAL_TOOL_REGISTRY


def test_a_manager_without_tools_is_not_taken_for_none():
    empty = ToolManager(tools=[])

    @tool(tool_manager=empty)
    def only_here():
        """Do."""

    assert "only_here" not in _GLOBAL_TOOL_REGISTRY
    assert list(empty.tools) == ["only_here"]


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        ("int", {"type": "integer"}),
        (Any, {}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Direction, {"type": "string", "enum": ["north", "south"]}),
        ("Direction", {"type": "string", "enum": ["north", "south"]}),
        (list["Direction"], {"type": "array", "items": {"type": "string", "enum": ["north", "south"]}}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (list, {"type": "array", "items": {}}),
        (tuple[int, int], {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (
            tuple[int, str],
            {
                "type": "array",
                "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (
            Pair,
            {
                "type": "array",
                "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                "minItems": 1,
                "maxItems": 2,
            },
        ),
        (tuple, {"type": "array", "items": {}}),
        (Literal["a"], {"type": "string", "enum": ["a"]}),
        (
            Annotated[Cat | Dog, Field(discriminator="kind")],
            {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {"kind": {"type": "string", "enum": [kind]}},
                        "required": ["kind"],
                    }
                    for kind in ("cat", "dog")
                ]
            },
        ),
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (Annotated[int, Field(ge=0)], {"type": "integer", "minimum": 0}),
        ("Annotated[int, Field(ge=0)]", {"type": "integer", "minimum": 0}),
        (
            Home,
            {
                "type": "object",
                "properties": {"street": {"type": "string"}, "title": {"type": "integer", "default": 3}},
                "required": ["street"],
            },
        ),
        (
            Point,
            {
                "type": "object",
                "properties": {"x": {"type": "number"}, "y": {"type": "number"}},
                "required": ["x", "y"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_schema_of_an_annotation(annotation, schema):
    assert property_of(annotation) == schema


def test_a_type_that_contains_itself_keeps_its_reference(private):
    @private
    def plant(tree: Tree):
        """Plant.

        Args:
            tree: it.
        """

    assert parameters(plant)["properties"]["tree"]["$ref"] == "#/$defs/Tree"
    assert parameters(plant)["$defs"]["Tree"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}


def test_any_parameter_name_works(private):
    @private
    def odd(title: str, copy: int, model_config: bool, _x: int, default: int = 1, enum: str = "a"):
        """Do.

        Args:
            title: a.
            copy: b.
            model_config: c.
            _x: d.
            default: e.
            enum: f.
        """

    properties = parameters(odd)["properties"]
    assert list(properties) == ["title", "copy", "model_config", "_x", "default", "enum"]
    assert properties["title"] == {"type": "string", "description": "a."}
    assert properties["enum"] == {"type": "string", "default": "a", "description": "f."}


def test_names_that_are_local_where_the_tool_is_defined(private):
    class Mood(enum.Enum):
        GOOD = "good"

    @private
    def feel(mood: Mood):
        """Feel.

        Args:
            mood: how.
        """

    assert parameters(feel)["properties"]["mood"]["enum"] == ["good"]


def test_a_default_of_none_allows_null(private):
    @private
    def look(distance: int = None):  # noqa: RUF013 - people write this
        """Look.

        Args:
            distance: how far.
        """

    assert parameters(look)["properties"]["distance"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]
    assert parameters(look)["required"] == []


@pytest.mark.parametrize("default", [float("inf"), object()], ids=["inf", "object"])
def test_a_default_that_is_no_json_is_optional_and_not_told(private, default):
    @private
    def look(distance: Any = default):
        """Look.

        Args:
            distance: how far.
        """

    assert parameters(look)["properties"]["distance"] == {"description": "how far."}
    json.dumps(look.__tool_schema__, allow_nan=False)


def test_no_parameters(private):
    @private
    def wait(agent: LLMAgent):
        """Wait."""

    assert parameters(wait) == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def test_agent_is_a_parameter_like_others_if_asked_for():
    @tool(tool_manager=ToolManager(tools=[]), ignore_agent=False)
    def ask(agent: int):
        """Ask.

        Args:
            agent: whom.
        """

    assert parameters(ask)["properties"] == {"agent": {"type": "integer", "description": "whom."}}


@pytest.mark.parametrize(
    "docstring",
    [
        "Look.\n\nArgs:\n    distance: how far.\nReturns:\n    what.",
        "\n    Look.\n\n        Args:\n            distance: how far.\n        Returns:\n            what.\n    ",
        "Look.\n\nParameters\n----------\ndistance : int\n    how far.\n\nReturns\n-------\nstr\n    what.",
        "Look.\n\n:param distance: how far.\n:returns: what.",
    ],
    ids=["google", "indented, as in 0.3", "numpy", "sphinx"],
)
def test_docstring_styles(private, docstring):
    def look(distance: int): ...

    look.__doc__ = docstring
    function = private(look).__tool_schema__["function"]
    assert function["description"] == "Look.\nReturns: what."
    assert function["parameters"]["properties"]["distance"]["description"] == "how far."


def test_a_docstring_that_cannot_be_parsed_is_the_description(private):
    def look(distance: Annotated[int, Field(description="how far")]): ...

    look.__doc__ = "Look.\n\nArgs:\n    no colon here"
    assert private(look).__tool_schema__["function"]["description"].startswith("Look.")
    assert parameters(look)["properties"]["distance"]["description"] == "how far"


def test_warns_of_a_missing_docstring(private):
    with pytest.warns(UserWarning, match=r"'mute' has no docstring") as caught:

        @private
        def mute(x: int): ...

    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert mute.__tool_schema__["function"]["description"] == ""


def test_warns_once_of_all_parameters_without_description(private):
    with pytest.warns(UserWarning, match=r"'half' does not describe \['y', 'z'\]") as caught:

        @private
        def half(agent, x: int, y: int, z: int):
            """Do.

            Args:
                x: it.
            """

    assert len(caught) == 1


def unencodable(x: Nowhere):  # noqa: F821
    """Do.

    Args:
        x: it.
    """


def uncallable(x: Callable[[], int]):
    """Do.

    Args:
        x: it.
    """


@pytest.mark.parametrize("function", [unencodable, uncallable])
def test_warns_of_a_type_that_a_model_cannot_write(function):
    with pytest.warns(UserWarning, match=rf"'{function.__name__}'.*type of 'x'.*no JSON schema.*Annotate"):
        tool(function)
    assert parameters(function)["properties"]["x"] == {"description": "it."}


def many(*things: int):
    """Do."""


def named(**things: int):
    """Do."""


def positional(x: int, /):
    """Do."""


def method(self, x: int):
    """Do."""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (many, r"'many' takes \*things.*list or dict"),
        (named, r"'named' takes \*\*things.*list or dict"),
        (positional, r"'positional' takes x.*Remove the /"),
        (method, r"'method' takes self.*outside of the class"),
        (lambda: 1, "has no name"),
        (functools.partial(many), "has no name"),
        ("move", "A tool is a function, got 'move'"),
        (max, "wrap it in a function"),
    ],
)
def test_what_cannot_be_a_tool(function, message):
    before = dict(_GLOBAL_TOOL_REGISTRY)
    with pytest.raises(ConfigurationError, match=message):
        tool(function)
    assert before == _GLOBAL_TOOL_REGISTRY


def test_a_definition_is_made_once_and_lives_as_long_as_its_function(monkeypatch):
    @tool(tool_manager=ToolManager(tools=[]))
    def once():
        """Do."""

    monkeypatch.setattr("mesa_llm.tools.signatures.TypeAdapter", None)  # a second one could not be made
    managers = [ToolManager(tools=[once]) for _ in range(3)]
    assert managers[0].specs()[0] is managers[2].specs()[0]

    alive = weakref.ref(once)
    del once, managers
    gc.collect()
    assert alive() is None


def test_a_wrapped_tool_is_described_by_what_it_wraps():
    def logged(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)

        return wrapper

    with warnings.catch_warnings():
        warnings.simplefilter("error")

        @tool(tool_manager=ToolManager(tools=[]))
        @logged
        def move(direction: Direction):
            """Move.

            Args:
                direction: where to.
            """

    assert parameters(move)["properties"]["direction"]["enum"] == ["north", "south"]
