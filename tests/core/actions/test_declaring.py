"""Declaring an action, what its arguments may be, and which actions a manager has."""

import copy
import enum
import pickle
from typing import Annotated, Any, Literal, NewType, Optional

import numpy as np
import pytest
from pydantic import BaseModel, Field

from mesa_llm.actions import ActionChoice, ActionManager, ActionMetadata, action, default_actions, wait
from mesa_llm.actions.action_decorator import (
    ActionAnnotationContractError,
    ActionAnnotationResolutionError,
    ActionSignatureError,
)
from mesa_llm.errors import ActionError, ConfigurationError

NOTHING = object()


class Food(enum.Enum):
    RICE = "rice"
    BEANS = "beans"


class Order(BaseModel):
    food: str
    amount: int


def manager_of(annotation, default=NOTHING):
    """A manager of one action `f`, which takes a `v` of this type and returns it."""

    def f(agent, v):
        """Return the value.

        Args:
            v: any value.
        """
        return v

    if default is not NOTHING:
        f.__defaults__ = (default,)
    f.__annotations__ = {"v": annotation}
    manager = ActionManager()
    action(action_manager=manager)(f)
    return manager


def read(annotation, value):
    return manager_of(annotation).validate(None, {"name": "f", "arguments": {"v": value}}).arguments["v"]


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (int, 3, 3),
        (int, " 3 ", 3),
        (int, "-5", -5),
        (int, 3.0, 3),
        (int, np.int64(3), 3),
        (int, np.float64(3), 3),
        ("int", "3", 3),
        (float, "1.5", 1.5),
        (float, 2, 2),
        (float, np.float64(0.5), 0.5),
        (bool, True, True),
        (bool, np.True_, True),
        (str, "x", "x"),
        (None, None, None),
        (Optional[int], None, None),  # noqa: UP045 - both spellings
        (int | None, "3", 3),
        (int | str, "3", "3"),
        (int | str, 3, 3),
        (float | int, "3", 3.0),
        (Literal["a", "b"], "b", "b"),
        (Literal[1, 2], 1.0, 1),
        (Literal["a", None], None, None),
        (list[int], ["1", 2], [1, 2]),
        (list[int], "[1, 2]", [1, 2]),
        (list[int], (1, 2), [1, 2]),
        (list[list[int]], [["1"]], [[1]]),
        (list[int] | str, "[1]", "[1]"),
        (tuple[int, int], [1, "2"], (1, 2)),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[int, ...], [], ()),
        (dict[str, int], {"a": "1"}, {"a": 1}),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (Annotated[int, Field(ge=0)], "3", 3),
        (set[int], [1, 1], {1}),
        (Food, "rice", Food.RICE),
        (Order, {"food": "rice", "amount": 2}, Order(food="rice", amount=2)),
    ],
)
def test_values_that_are_read(annotation, value, expected):
    got = read(annotation, value)
    assert (got, type(got)) == (expected, type(expected))
    assert read(annotation, got) == expected  # a choice is checked twice


@pytest.mark.parametrize(
    ("annotation", "values"),
    [
        (int, [True, np.True_, 1.5, "x", "", None, [1], float("nan"), float("inf")]),
        (float, [True, "nan", "inf", float("nan"), None, "x"]),
        (str, [1, None, True, b"x"]),
        (bool, [1, 0, "true", None]),
        (int | None, ["null", "", True]),
        (Literal["a"], ["A", 1]),
        (Literal[1], [True, "1", 2]),
        (list[int], [1, "1,2", "[1", ["x"], [True]]),
        (tuple[int, int], [[1], [1, 2, 3], "(1, 2"]),
        (dict[str, int], [[], {"a": "x"}]),
        (Annotated[int, Field(ge=0, le=20)], [-1, 21]),
        (Food, ["bread"]),
    ],
)
def test_values_that_are_refused_with_the_name_of_the_argument(annotation, values):
    for value in values:
        with pytest.raises(ActionError, match=r"^f: argument 'v'|^f: argument 'v\.") as caught:
            read(annotation, value)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("annotation", "in_schema"),
    [
        (int, {"type": "integer"}),
        (Literal["a", "b"], {"enum": ["a", "b"], "type": "string"}),
        (Annotated[int, Field(ge=0, le=20)], {"type": "integer", "minimum": 0, "maximum": 20}),
        (Annotated[str, Field(max_length=9)], {"type": "string", "maxLength": 9}),
        (Annotated[list[int], Field(max_length=2)], {"type": "array", "maxItems": 2, "items": {"type": "integer"}}),
        (tuple[int, int], {"type": "array", "minItems": 2, "maxItems": 2}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Food, {"enum": ["rice", "beans"], "type": "string"}),
    ],
)
def test_what_is_legal_stands_in_the_schema(annotation, in_schema):
    (schema,) = manager_of(annotation).get_actions_schema()
    assert schema["parameters"]["properties"]["v"].items() >= in_schema.items()


@pytest.mark.parametrize("annotation", [Any, object, bytes.fromhex, np.ndarray, "1 +", 5])
def test_annotations_for_which_a_model_can_write_nothing(annotation):
    with pytest.raises((ActionAnnotationContractError, ActionAnnotationResolutionError), match="'f'"):
        manager_of(annotation)


def test_a_name_that_is_not_defined():
    with pytest.raises(ActionAnnotationResolutionError, match="Missing"):
        manager_of("Missing")


def test_a_new_type_is_read_as_what_it_is_made_of():
    assert read(NewType("Id", int), 3) == 3


@pytest.mark.parametrize(
    ("annotation", "default"),
    [(int, 3), (float, 3), (int | None, None), (str, ""), (list[int], [1]), (Literal["a"], "a"), (tuple[int, ...], ())],
)
def test_defaults_that_fit(annotation, default):
    manager = manager_of(annotation, default)
    assert manager.validate(None, {"name": "f", "arguments": {}}).arguments == {}
    assert manager.execute(None, {"name": "f", "arguments": {}}) == default
    (schema,) = manager.get_actions_schema()
    assert schema["parameters"]["required"] == []


@pytest.mark.parametrize(
    ("annotation", "default"),
    [(int, True), (int, "1"), (int, None), (tuple[int, ...], [1]), (float, float("inf")), (Literal["a"], "b")],
)
def test_defaults_that_do_not_fit(annotation, default):
    with pytest.raises(ActionSignatureError, match="does not allow its default"):
        manager_of(annotation, default)


def unannotated(agent, x):
    "Doc."


def star(agent, *x: int):
    "Doc."


def stars(agent, **x: int):
    "Doc."


def positional(agent, /):
    "Doc."


def two_agents(agent, AGENT):  # noqa: N803 - on purpose
    "Doc."


def generator(agent):
    "Doc."
    yield 1


async def async_generator(agent):
    "Doc."
    yield 1


@pytest.mark.parametrize(
    "function", [unannotated, star, stars, positional, two_agents, generator, async_generator, len, 5, "wait"]
)
def test_what_cannot_be_an_action_is_neither_registered_nor_changed(function):
    manager = ActionManager()
    with pytest.raises((TypeError, ConfigurationError)):
        action(action_manager=manager)(function)
    assert manager.actions == {}
    assert not hasattr(function, "__action_schema__")


def test_the_agent_is_always_passed_on():
    with pytest.raises(ConfigurationError, match="ignore_agent must be True, got False"):
        action(ignore_agent=False)


def test_what_is_known_of_an_action():
    @action(action_manager=ActionManager())
    def buy(Agent: "Undefined", food: str, amount: int = 1) -> str:  # noqa: N803, F821 - on purpose
        """Buy some food.

        It costs money.

        Args:
            food (str): what to buy
            amount: how much of it
        Raises:
            ValueError: if the field is bare.

        Returns:
            what was bought
        """

    metadata = buy.__action_metadata__
    assert isinstance(metadata, ActionMetadata)
    assert metadata.description == "Buy some food.\n\nIt costs money."
    assert (metadata.name, metadata.required, metadata.return_description) == ("buy", ["food"], "what was bought")
    assert metadata.parameters["food"] == {"type": "string", "description": "what to buy"}
    assert buy.__action_schema__ == {
        "name": "buy",
        "description": metadata.description,
        "parameters": {
            "type": "object",
            "properties": metadata.parameters,
            "required": ["food"],
            "additionalProperties": False,
        },
        "returns": "what was bought",
    }


@pytest.mark.parametrize(
    ("docstring", "warning"),
    [
        (None, "has no docstring: the model has to guess what it does"),
        ("Go.", r"does not describe \['where'\] in its docstring"),
    ],
)
def test_what_the_model_has_to_guess_is_warned_about(docstring, warning):
    def go(agent, where: str): ...

    go.__doc__ = docstring
    with pytest.warns(UserWarning, match=f"^Action 'go' {warning}"):
        action(action_manager=ActionManager())(go)


# --- which actions


def make(name, result=None, **options):
    """An action that gives back a result; its place is that of the name."""

    def function(agent):
        "Give it back."
        return result

    function.__name__ = function.__qualname__ = name
    return action(action_manager=ActionManager(), **options)(function)


def test_a_manager_takes_functions_and_names_all_or_none():
    sing = make("sing")
    for given, names in [
        (None, []),
        ([], []),
        ((), []),
        ("wait", ["wait"]),
        (sing, ["sing"]),
        ([sing, "wait", sing], ["sing", "wait"]),
        ((wait, sing), ["wait", "sing"]),
    ]:
        assert list(ActionManager(given).actions) == names
    manager = ActionManager([sing])
    for wrong, error, words in [
        (["wait", "fly"], ConfigurationError, "There is no action 'fly'. There are: .*wait"),
        (["wait", len], TypeError, "is not an action. Declare a function with @action"),
        (["wait", 5], TypeError, "5 is not an action"),
        ({"wait": wait}, TypeError, "must be a list or tuple"),
        (["wait", make("sing", "another")], None, None),
    ]:
        if error is not None:
            with pytest.raises(error, match=words):
                manager.register_many(wrong)
            assert list(manager.actions) == ["sing"]
    assert manager.has_action("sing")
    assert not manager.has_action("wait")


def test_a_name_means_one_function():
    def wait(agent):
        "Another one."

    manager = ActionManager(default_actions())
    with pytest.raises(ConfigurationError, match="Two actions have the name 'wait'"):
        action(action_manager=manager)(wait)
    assert action(default_actions()[0]) is default_actions()[0]


def test_an_action_of_a_manager_has_no_name_elsewhere():
    make("whisper")
    with pytest.raises(ConfigurationError, match="There is no action 'whisper'"):
        ActionManager(["whisper"])


def test_the_same_definition_again_replaces_the_first_one():
    manager = ActionManager()
    for version in (1, 2):
        manager.register(make("gather", version))
    assert manager.execute(None, {"name": "gather", "arguments": {}}) == 2


def test_a_selection_narrows_and_never_widens():
    sing, other = make("sing"), make("dance")
    manager = ActionManager([sing, wait])
    for selection, names in [
        (None, []),
        ([], []),
        ((), []),
        ("wait", ["wait"]),
        (wait, ["wait"]),
        (["wait", "sing", wait], ["wait", "sing"]),
        ((sing,), ["sing"]),
    ]:
        assert list(manager.available_actions(None, selection)) == names
        assert [schema["name"] for schema in manager.get_actions_schema(actions=selection)] == names
    for wider in ("move_one_step", other, ["no such"], make("sing")):
        with pytest.raises(ConfigurationError, match="is not one of the agent's actions: sing, wait"):
            manager.available_actions(None, wider)
    for odd in (5, {"wait": wait}, [None], {"wait"}):
        with pytest.raises(TypeError):
            manager.available_actions(None, odd)


def test_an_action_is_on_offer_while_its_condition_holds():
    open_now = [True]
    enter = make("enter", "in", available=lambda agent: open_now[0])
    manager = ActionManager([enter])
    assert list(manager.available_actions("me")) == ["enter"]
    open_now[0] = False
    assert list(manager.available_actions("me")) == []
    assert list(manager.available_actions()) == ["enter"]
    with pytest.raises(ActionError, match=r"There is no action 'enter' on offer\. There are: none"):
        manager.validate("me", {"name": "enter", "arguments": {}})


def test_choices_that_are_none():
    manager = ActionManager([wait])
    for given, error in [
        ("wait", TypeError),
        (None, TypeError),
        (("wait", {}), TypeError),
        ({"name": "wait"}, ActionError),
        ({"name": "Wait", "arguments": {}}, ActionError),
        ({"name": "wait", "arguments": {"agent": 1}}, ActionError),
        ({"name": "wait", "arguments": {"colour": "red"}}, ActionError),
    ]:
        with pytest.raises(error):
            manager.execute("me", given)


def test_choices_are_equal_by_what_they_say_and_can_be_copied():
    choice = ActionChoice(name="wait", arguments={"a": [1]}, rationale="x")
    assert choice == ActionChoice.model_validate({"name": "wait", "arguments": {"a": [1]}, "rationale": "x", "b": 1})
    assert choice != ActionChoice(name="wait", arguments={})
    assert copy.deepcopy(choice) == pickle.loads(pickle.dumps(choice)) == choice
    assert choice != "wait"
