"""ToolManager: which tools there are, and what becomes of the calls that a model makes."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import json
import logging
import pickle
import re
import threading
import tracemalloc
import weakref
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesa import Agent, Model
from pydantic import AfterValidator, Field

from mesa_llm.activation.call import AgentStep, begin_agent_step, last_agent_step
from mesa_llm.activation.context import within
from mesa_llm.clients.messages import Message, ToolCall
from mesa_llm.errors import ConfigurationError, StepAborted, ToolError
from mesa_llm.module_llm.request_fields import OfferedTool, narrowed_parameters
from mesa_llm.tools import ToolManager, ToolResult, tool
from mesa_llm.tools.tool_decorator import _GLOBAL_TOOL_REGISTRY

AGENT = SimpleNamespace(unique_id=7)
ANY_TEXT = st.text(st.characters(), max_size=50)  # lone surrogates included


def even(value: int) -> int:
    if value % 2:
        raise ValueError("must be even")
    return value


@tool(tool_manager=ToolManager(tools=[]))
def move(agent: Any, direction: Literal["north", "south"], steps: int = 1, tags: list[int] = []) -> str:  # noqa: B006
    """Move.

    Args:
        direction: where to.
        steps: how far.
        tags: marks left.
    """
    return f"{agent.unique_id} {direction} {steps!r} {tags!r}"


@tool(tool_manager=ToolManager(tools=[]))
def wait() -> None:
    """Wait."""


def rest() -> None:
    """Wait."""


@tool(tool_manager=ToolManager(tools=[]))
async def amove(agent: Any) -> str:
    """Move, later."""
    await asyncio.sleep(0)
    return f"{agent.unique_id} on {threading.get_ident()}"


@tool(tool_manager=ToolManager(tools=[]))
def refuse(why: str):
    """Refuse.

    Args:
        why: the reason.
    """
    raise ToolError(f"not now: {why}")


@tool(tool_manager=ToolManager(tools=[]))
def buggy():
    """Fail."""
    raise KeyError("nothing there")


@pytest.fixture(autouse=True)
def _clean_registry():
    before = dict(_GLOBAL_TOOL_REGISTRY)
    yield
    _GLOBAL_TOOL_REGISTRY.clear()
    _GLOBAL_TOOL_REGISTRY.update(before)


@pytest.fixture
def manager():
    return ToolManager(tools=[move, wait, amove, refuse, buggy])


@pytest.fixture(params=["execute", "aexecute"])
def execute(request):
    """Both ways to execute calls: everything must hold for both."""
    if request.param == "execute":
        return ToolManager.execute
    return lambda *args, **kwargs: asyncio.run(ToolManager.aexecute(*args, **kwargs))


def call_of(name: str, arguments: Any = "") -> ToolCall:
    return ToolCall(f"id of {name}", name, arguments if isinstance(arguments, str) else json.dumps(arguments))


def of_a_model(function):
    """Make a new global tool."""
    function.__doc__ = "Do."
    return tool(function)


# --- which tools there are


def test_all_global_tools_also_those_defined_later():
    earlier = ToolManager()
    known = list(earlier.tools)

    @of_a_model
    def later(): ...

    assert list(earlier.tools) == [*known, "later"]
    assert earlier.tools["later"] is later
    assert earlier.specs() == ToolManager().specs()


def test_importing_the_tools_brings_the_built_in_ones():
    assert {"move_one_step", "teleport_to_location", "speak_to"} <= set(ToolManager().tools)


def test_tools_are_exactly_these_in_this_order():
    manager = ToolManager(tools=iter([wait, move]))

    @of_a_model
    def later(): ...

    assert list(manager.tools) == ["wait", "move"]
    assert len(manager.tools) == 2
    assert not manager.has_tool("later")
    assert list(ToolManager(tools=[]).tools) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: ToolManager({"move": move, "rest": wait}),  # mesa-llm 0.3
        lambda: ToolManager(extra_tools={"move": move, "rest": wait}),
        lambda: ToolManager(extra_tools=[move, rest]),
    ],
    ids=["positional dict", "dict", "list"],
)
def test_extra_tools_come_after_the_global_ones(make):
    @of_a_model
    def shared(): ...

    assert list(make().tools)[-3:] == ["shared", "move", "rest"]
    assert [spec.name for spec in make().specs()][-3:] == ["shared", "move", "rest"]
    assert make().specs(["rest"])[0].description == "Wait."


def test_an_own_tool_takes_the_place_of_a_global_one():
    @of_a_model
    def first(): ...

    @of_a_model
    def second(): ...

    manager = ToolManager(extra_tools={"first": wait})
    assert list(manager.tools)[-2:] == ["first", "second"]
    assert manager.tools["first"] is wait
    assert ToolManager().tools["first"] is first


def test_register():
    manager, other = ToolManager(), ToolManager()
    manager.register(move)
    assert manager.has_tool("move")
    assert not other.has_tool("move")
    assert not manager.has_tool("fly")


def test_a_bound_method_and_a_partial_can_be_tools(execute):
    class Ledger:
        total = 0

        def pay(self, amount: int):
            """Pay.

            Args:
                amount: in cents.
            """
            self.total += amount

    def add(x: int, y: int) -> int:
        """Add.

        Args:
            x: one.
            y: other.
        """
        return x + y

    ledger = Ledger()
    with pytest.warns(UserWarning, match="'add_two' has no docstring"):
        manager = ToolManager({"pay": ledger.pay, "add_two": functools.partial(add, 2)})
    calls = [call_of("pay", {"amount": "5"}), call_of("add_two", {"y": 3})]
    assert [result.response for result in execute(manager, AGENT, calls)] == ["pay executed successfully", "5"]
    assert ledger.total == 5


def test_the_table_can_be_changed_as_in_mesa_llm_03():
    @of_a_model
    def shared(): ...

    manager, other = ToolManager(), ToolManager()
    del manager.tools["shared"]
    assert not manager.has_tool("shared")
    assert "shared" not in list(manager.tools)
    assert other.has_tool("shared")
    with pytest.raises(KeyError):
        del manager.tools["shared"]

    manager.tools["shared"] = wait
    assert manager.tools["shared"] is wait
    assert "shared" in repr(manager.tools)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tools": [move], "extra_tools": [wait]}, "not both"),
        ({"tools": 3}, "functions or their names, got 3"),
        ({"tools": [3]}, "A tool is a function, got 3"),
        ({"tools": ["mov"]}, "There is no tool 'mov'"),
        ({"tools": "mov"}, "There is no tool 'mov'"),
        ({"tools": [move, move]}, "Two tools have the name 'move'"),
        ({"extra_tools": {"to move": move}}, "got 'to move'"),
        ({"extra_tools": {"move": None}}, "A tool is a function, got None"),
    ],
)
def test_what_cannot_be_tools(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        ToolManager(**arguments)


# --- what a model is offered


def test_selection(manager):
    names = [spec.name for spec in manager.specs()]
    assert names == ["move", "wait", "amove", "refuse", "buggy"]
    assert [spec.name for spec in manager.specs(["wait", "move"])] == ["wait", "move"]
    assert manager.specs([]) == ()
    assert manager.get_all_tools_schema([]) == []
    assert manager.get_all_tools_schema(["move"]) == [move.__tool_schema__]
    assert [schema["function"]["name"] for schema in manager.get_all_tools_schema()] == names
    assert all(a is b for a, b in zip(manager.specs(), manager.specs(names), strict=True))


def test_a_renamed_tool_is_offered_by_its_name_as_always_the_same_object():
    manager = ToolManager(extra_tools={"rest": wait})
    assert manager.specs(["rest"])[0].name == "rest"
    assert manager.specs(["rest"])[0] is manager.specs()[-1]


@pytest.mark.parametrize("method", ["specs", "get_all_tools_schema"])
def test_selecting_an_unknown_name(manager, method):
    with pytest.raises(ValueError, match=r"\['fly'\].*'amove', 'buggy', 'move', 'refuse', 'wait'") as caught:
        getattr(manager, method)(["move", "fly"])
    assert isinstance(caught.value, ConfigurationError)


def test_call_is_the_plain_function(manager):
    assert manager.call("move", {"agent": AGENT, "direction": "up", "steps": "1"}) == "7 up '1' []"
    with pytest.raises(ConfigurationError, match=r"'fly'.*'move'"):
        manager.call("fly", {})


# --- many managers


def test_a_manager_is_collected_while_its_tools_live():
    manager = ToolManager(extra_tools=[move])
    alive = weakref.ref(manager)

    @of_a_model
    def later(): ...

    assert manager.specs(["later", "move"])
    assert manager.execute(AGENT, [call_of("move", {"direction": "north"})])[0].ok
    del manager
    gc.collect()
    assert alive() is None


def test_ten_thousand_managers_take_some_hundred_bytes_each():
    for i in range(50):
        _GLOBAL_TOOL_REGISTRY[f"tool_{i}"] = move
    tracemalloc.start()
    managers = [ToolManager() for _ in range(10_000)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(managers[-1].tools) >= 50
    assert size / len(managers) < 600


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda manager: pickle.loads(pickle.dumps(manager))])
def test_pickle_and_deepcopy(clone, execute):
    original = ToolManager(extra_tools=[move])
    del original.tools["speak_to"]
    twin = clone(original)
    assert list(twin.tools) == list(original.tools)
    assert twin.tools["move"] is move
    twin.register(wait)
    assert not original.has_tool("wait")

    @of_a_model
    def later(): ...

    assert twin.has_tool("later")
    assert execute(twin, AGENT, [call_of("move", {"direction": "north"})])[0].ok
    assert list(clone(ToolManager(tools=[wait])).tools) == ["wait"]


# --- calls


def test_result_of_a_call(manager, execute):
    assert execute(manager, AGENT, [call_of("move", {"direction": "north", "steps": "3"})]) == [
        ToolResult("id of move", "move", {"direction": "north", "steps": "3"}, "7 north 3 []", ok=True)
    ]


def test_no_calls(manager, execute):
    assert execute(manager, AGENT, []) == []
    assert execute(manager, AGENT, None) == []
    assert manager.call_tools(AGENT, Message("assistant", "nothing to do")) == []
    assert manager.call_tools(AGENT, SimpleNamespace(tool_calls=None)) == []


def test_nothing_returned_is_a_success(manager, execute):
    [result] = execute(manager, AGENT, [call_of("wait")])
    assert (result.ok, result.response) == (True, "wait executed successfully")


@pytest.mark.parametrize("nothing", ["", "  ", "{}", "null"])
def test_ways_to_write_no_arguments(manager, execute, nothing):
    [result] = execute(manager, AGENT, [call_of("wait", nothing)])
    assert (result.ok, result.arguments) == (True, {})


def test_calls_run_one_after_the_other_in_their_order(execute):
    seen = []

    async def slow(n: int):
        seen.append(f"begin {n}")
        for _ in range(5):
            await asyncio.sleep(0)
        seen.append(f"end {n}")

    def quick(n: int):
        seen.append(f"quick {n}")

    slow.__doc__ = quick.__doc__ = "Do.\n\nArgs:\n    n: it."
    manager = ToolManager(tools=[slow, quick])
    calls = [call_of("slow", {"n": 1}), call_of("quick", {"n": 2}), call_of("fly"), call_of("slow", {"n": 3})]
    assert [result.ok for result in execute(manager, AGENT, calls)] == [True, True, False, True]
    assert seen == ["begin 1", "end 1", "quick 2", "begin 3", "end 3"]


@pytest.mark.parametrize("arguments", ['{"direction": "south", "steps": "2"}', {"direction": "south", "steps": "2"}])
async def test_calls_in_the_form_of_the_openai_api(manager, arguments):
    function = SimpleNamespace(name="move", arguments=arguments)
    response = SimpleNamespace(tool_calls=[SimpleNamespace(id="c1", type="function", function=function)])
    expected = [{"tool_call_id": "c1", "role": "tool", "name": "move", "response": "7 south 2 []"}]
    assert manager.call_tools(AGENT, response) == expected
    assert await manager.acall_tools(AGENT, response) == expected


def test_a_call_without_a_name(manager, execute):
    [result] = execute(manager, AGENT, [SimpleNamespace(function=None)])
    assert (result.call_id, result.name, result.ok) == ("unknown", "unknown", False)


async def test_call_tools_of_a_message(manager):
    message = Message("assistant", tool_calls=(call_of("wait"), call_of("fly")))
    results = manager.call_tools(AGENT, message)
    assert results == await manager.acall_tools(AGENT, message)
    assert [result["tool_call_id"] for result in results] == ["id of wait", "id of fly"]
    assert set(results[0]) == {"tool_call_id", "role", "name", "response"}


def test_an_async_tool_called_from_plain_code_runs_in_this_thread(manager):
    [result] = manager.execute(AGENT, [call_of("amove")])
    assert result.response == f"7 on {threading.get_ident()}"


async def test_an_async_tool_called_from_plain_code_inside_a_running_loop(manager):
    [result] = manager.execute(AGENT, [call_of("amove")])
    assert result.ok
    assert result.response != f"7 on {threading.get_ident()}"


async def test_tools_run_on_the_thread_of_the_loop_that_awaits_them(manager):
    def where():
        """Tell."""
        return f"7 on {threading.get_ident()}"

    manager.register(where)
    results = await manager.aexecute(AGENT, [call_of("where"), call_of("amove")])
    assert {result.response for result in results} == {f"7 on {threading.get_ident()}"}


def test_a_plain_function_that_returns_an_awaitable_is_awaited(execute):
    def later(agent):
        """Do."""
        return amove(agent)

    [result] = execute(ToolManager(tools=[later]), AGENT, [call_of("later")])
    assert result.response.startswith("7 on ")


def test_the_agent_is_given_by_the_manager_whatever_the_model_writes(manager, execute):
    [result] = execute(manager, AGENT, [call_of("move", {"direction": "north", "agent": "me"})])
    assert result.response == "7 north 1 []"


def test_agent_as_an_ordinary_parameter(execute):
    manager = ToolManager(tools=[])

    @tool(tool_manager=manager, ignore_agent=False)
    def ask(agent: int) -> str:
        """Ask.

        Args:
            agent: whom.
        """
        return f"asked {agent}"

    assert execute(manager, AGENT, [call_of("ask", {"agent": "3"})])[0].response == "asked 3"
    assert not execute(manager, AGENT, [call_of("ask")])[0].ok


# --- what the model did wrong


MISTAKES = [
    ("mvoe", {}, "there is no tool 'mvoe' (did you mean 'move'?); on offer: move, wait, amove, refuse, buggy"),
    ("xyz", {}, "there is no tool 'xyz'; on offer: move, wait, amove, refuse, buggy"),
    (
        "move",
        '{"direction": "north"',
        "the arguments are not valid JSON, EOF while parsing an object at line 1 column 21",
    ),
    ("move", '{"steps": NaN}', "the arguments hold what JSON cannot, Out of range float values"),
    ("move", "[" * 100_000, "the arguments are not valid JSON, recursion limit exceeded"),
    ("move", "9" * 10_000, "the arguments must be a JSON object such as"),
    ("move", '{"\ud800": 1}', "argument 'direction' is missing; unknown argument '\ufffd' (accepted: 'direction',"),
    ("move", "[1]", 'the arguments must be a JSON object such as {"name": "value"}, got \'[1]\''),
    ("move", '"north"', "the arguments must be a JSON object"),
    ("move", {}, "argument 'direction' is missing"),
    ("move", {"direction": "up"}, "argument 'direction' is 'up': should be 'north' or 'south'"),
    (
        "move",
        {"course": "north"},
        "argument 'direction' is missing; unknown argument 'course' (accepted: 'direction', 'steps', 'tags')",
    ),
    (
        "move",
        {"direction": "up", "a": 1, "b": 2},
        "argument 'direction' is 'up': should be 'north' or 'south'; unknown arguments 'a', 'b' (accepted: 'direction', ",
    ),
    (
        "move",
        {"direction": "north", "steps": "three"},
        "argument 'steps' is 'three': should be a valid integer, unable to parse string as an integer",
    ),
    (
        "move",
        {"direction": "north", "steps": 2.5},
        "argument 'steps' is 2.5: should be a valid integer, got a number with a fractional part",
    ),
    ("move", {"direction": None, "steps": None}, "argument 'direction' is None: should be 'north' or 'south'"),
    (
        "move",
        {"direction": "north", "tags": [1, "x"]},
        "argument 'tags.1' is 'x': should be a valid integer, unable to parse string as an integer",
    ),
    (
        "move",
        {"steps": "x", "direction": 1},
        "argument 'direction' is 1: should be 'north' or 'south'; argument 'steps'",
    ),
    ("move", {"direction": "north", "tags": ["x"] * 9}, "argument 'tags.0' is 'x'"),
    ("refuse", {"why": "raining"}, "not now: raining"),
]


@pytest.mark.parametrize(("name", "arguments", "text"), MISTAKES)
def test_mistakes_go_back_to_the_model(manager, execute, caplog, name, arguments, text):
    good = call_of("wait")
    wrong, after = execute(manager, AGENT, [call_of(name, arguments), good])
    assert wrong.response.startswith(f"Error: {text}")
    assert "\n" not in wrong.response
    assert "\x1b" not in wrong.response
    assert len(wrong.response) < 1000
    assert not wrong.ok
    assert after.ok
    assert caplog.records == []  # no bug of the user's


def test_of_many_problems_the_first_are_told(manager, execute):
    [result] = execute(manager, AGENT, [call_of("move", {"direction": "north", "tags": ["x"] * 9})])
    assert "'tags.4'" in result.response
    assert "'tags.5'" not in result.response
    assert result.response.endswith("; 4 more")


def test_the_arguments_are_kept_as_written_and_empty_if_unreadable(manager, execute):
    wrong, unreadable = execute(manager, AGENT, [call_of("move", {"steps": "3"}), call_of("move", "{")])
    assert wrong.arguments == {"steps": "3"}
    assert unreadable.arguments == {}


def probe(annotation: Any):
    def take(value): ...

    take.__annotations__["value"] = annotation
    take.__doc__ = "Take.\n\nArgs:\n    value: it."
    seen: list[Any] = []

    @functools.wraps(take)
    def taking(value):
        seen.append(value)

    return ToolManager(tools=[taking]), seen


@pytest.mark.parametrize(
    ("annotation", "written", "taken"),
    [
        (int, "3", 3),
        (int, 3.0, 3),
        (int, 10**30, 10**30),
        (float, "2.5", 2.5),
        (bool, "true", True),
        (str, 5, "5"),
        (int | str, "5", "5"),
        (list[int], "[1, 2]", [1, 2]),
        (list[int], ["1"], [1]),
        (tuple[int, str], [1, "a"], (1, "a")),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (int | None, None, None),
        (Any, {"a": [1]}, {"a": [1]}),
        (str, "[1, 2]", "[1, 2]"),
    ],
)
def test_what_models_write_becomes_what_is_annotated(execute, annotation, written, taken):
    manager, seen = probe(annotation)
    [result] = execute(manager, AGENT, [call_of("take", {"value": written})])
    assert result.ok, result.response
    assert seen == [taken]
    assert type(seen[0]) is type(taken)


@pytest.mark.parametrize(
    ("annotation", "written", "text"),
    [
        (int, "3.5", "should be a valid integer"),
        (float, "nan", "should be a finite number"),
        (list[int], "1, 2", "should be a valid array"),
        (list[int], "[1, 2", "should be a valid array"),
        (int | list[int], "x", "or should be a valid array"),
        (Annotated[int, AfterValidator(even)], 3, "argument 'value' is 3: must be even"),
        (tuple[int, int], [1], "argument 'value.1' is missing"),
        (str, "x" * 5000, None),
        (int, "x" * 5000, "should be a valid integer"),
    ],
)
def test_what_would_lose_something_is_refused(execute, annotation, written, text):
    manager, seen = probe(annotation)
    [result] = execute(manager, AGENT, [call_of("take", {"value": written})])
    if text is None:
        assert result.ok
    else:
        assert not result.ok
        assert seen == []
        assert text in result.response
        assert len(result.response) < 400


def test_a_tool_that_was_not_offered_is_refused(manager, execute):
    calls = [call_of("wait"), call_of("move", {"direction": "north"})]
    refused, made = execute(manager, AGENT, calls, offered=["move"])
    assert (refused.ok, refused.response) == (False, "Error: there is no tool 'wait'; on offer: move")
    assert made.ok
    [refused] = execute(manager, AGENT, [call_of("wait")], offered=())
    assert refused.response == "Error: there is no tool 'wait'; no tools are on offer"


@given(name=st.sampled_from(["move", "wait", "refuse"]) | ANY_TEXT, arguments=ANY_TEXT)
def test_no_text_raises(name, arguments):
    manager = ToolManager(tools=[move, wait, refuse])
    [result] = manager.execute(AGENT, [ToolCall("1", name, arguments)])
    assert result.ok or result.response.startswith("Error: ")


_WORD = st.text('x3.[{}]"\n\ud800', max_size=8)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _WORD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORD, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["direction", "steps", "tags", "agent", "x"]), _JSON))
def test_no_json_raises_nor_is_taken_for_a_bug(arguments):
    manager = ToolManager(tools=[move])
    function = SimpleNamespace(name="move", arguments=arguments)
    for call in (call_of("move", arguments), SimpleNamespace(id="1", function=function)):
        [result] = manager.execute(AGENT, [call])
        assert result.ok or result.response.startswith(("Error: argument", "Error: unknown", "Error: the arguments"))
        assert "\n" not in result.response


# --- what the tool did wrong


def test_a_bug_in_a_tool_is_logged_and_the_other_calls_are_made(manager, execute, caplog):
    with caplog.at_level(logging.ERROR):
        failed, after = execute(manager, AGENT, [call_of("buggy"), call_of("wait")])
    assert (failed.ok, failed.response) == (False, "Error: KeyError: 'nothing there'")
    assert after.ok
    [record] = caplog.records
    assert record.name == "mesa_llm.tools.tool_manager"
    assert "Agent 7" in record.getMessage()
    assert "'buggy'" in record.getMessage()
    assert record.exc_info[0] is KeyError


def test_a_bug_in_an_async_tool(execute, caplog):
    async def abuggy():
        """Fail."""
        raise ValueError

    [result] = execute(ToolManager(tools=[abuggy]), AGENT, [call_of("abuggy")])
    assert result.response == "Error: ValueError"
    assert len(caplog.records) == 1


def test_an_exhausted_iterator_in_a_tool_is_a_bug_like_others(execute):
    def first():
        """Fail."""
        return next(iter([]))

    [result] = execute(ToolManager(tools=[first]), AGENT, [call_of("first")])
    assert (result.ok, result.response) == (False, "Error: RuntimeError: coroutine raised StopIteration")


@pytest.mark.parametrize("end", [KeyboardInterrupt, StepAborted, SystemExit])
def test_what_is_no_exception_propagates_and_the_rest_is_not_done(execute, end):
    done = []

    def stop():
        """Stop."""
        raise end

    def note():
        """Note."""
        done.append(1)

    manager = ToolManager(tools=[stop, note])
    with pytest.raises(end):
        execute(manager, AGENT, [call_of("stop"), call_of("note")])
    assert done == []


async def test_cancellation_ends_the_tool_and_the_rest_is_not_done():
    begun, done = asyncio.Event(), []

    async def hang():
        """Hang."""
        begun.set()
        await asyncio.Event().wait()

    def note():
        """Note."""
        done.append(1)

    manager = ToolManager(tools=[hang, note])
    task = asyncio.create_task(manager.aexecute(AGENT, [call_of("hang"), call_of("note")]))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == []


# --- what is carried out as it was meant


MEANT = [
    ("functions.move", {"direction": "north"}, "7 north 1 []"),
    ("Move", {"direction": "north"}, "7 north 1 []"),
    ("move<|channel|>commentary", {"direction": "north"}, "7 north 1 []"),
    ("move", '"{\\"direction\\": \\"north\\"}"', "7 north 1 []"),
    ("move", "{'direction': 'north', 'tags': (1, 2)}", "7 north 1 [1, 2]"),
    ("move", {"arguments": {"direction": "north"}}, "7 north 1 []"),
    ("move", {"Direction": "north", "STEPS": 2}, "7 north 2 []"),
    ("move", {"direction": "north", "steps": None, "tags": None}, "7 north 1 []"),
    ("move", {"direction": "north", "steps": "null", "tags": ""}, "7 north 1 []"),
    ("move", {"direction": "north", "tags": "(1, 2)"}, "7 north 1 [1, 2]"),
    ("move", {"direction": "north", "speed": 3}, "7 north 1 [] (the argument 'speed' is unknown and was left out)"),
    (
        "move",
        {"direction": "north", "a": 1, "b": 2},
        "7 north 1 [] (the arguments 'a', 'b' are unknown and were left out)",
    ),
    ("move", {"direction": "north", "Direction": "south"}, "7 north 1 [] (the argument 'Direction' is unknown and was"),
    ("wait", {"long": 1}, "wait executed successfully (the argument 'long' is unknown and was left out)"),
]


@pytest.mark.parametrize(("name", "arguments", "response"), MEANT)
def test_a_call_is_carried_out_as_it_was_meant(manager, execute, name, arguments, response):
    [result] = execute(manager, AGENT, [call_of(name, arguments)])
    assert result.ok, result.response
    assert result.response.startswith(response)
    assert result.name in {"move", "wait"}


def test_the_note_on_arguments_left_out_goes_with_failures_too(manager, execute):
    refused, failed = execute(manager, AGENT, [call_of("refuse", {"why": "rain", "x": 1}), call_of("buggy", {"x": 1})])
    note = "(the argument 'x' is unknown and was left out)"
    assert refused.response == f"Error: not now: rain {note}"
    assert failed.response == f"Error: KeyError: 'nothing there' {note}"


@pytest.mark.parametrize(
    ("annotation", "written", "taken"),
    [
        (int | None, "null", None),
        (int | None, "None", None),
        (str | None, "null", "null"),
        (tuple[int, int], "(1, 2)", (1, 2)),
        (list[int], "[1, 2,]", [1, 2]),
        (dict[str, int], "{'a': 1}", {"a": 1}),
    ],
)
def test_values_that_models_write_as_text(execute, annotation, written, taken):
    manager, seen = probe(annotation)
    [result] = execute(manager, AGENT, [call_of("take", {"value": written})])
    assert result.ok, result.response
    assert seen == [taken]


def test_null_stays_none_where_the_tool_takes_none(execute):
    def rate(stars: int | None = 5) -> str:
        """Rate.

        Args:
            stars: how many.
        """
        return f"{stars}"

    results = execute(ToolManager(tools=[rate]), AGENT, [call_of("rate", {"stars": None}), call_of("rate")])
    assert [result.response for result in results] == ["None", "5"]


# --- checks at the time of the decision


CHECKS = [
    ({"stars": 3}, None),
    ({"stars": "3", "more": 1}, None),
    ({"stars": 3, "note": None}, None),
    ({"stars": 9}, "argument 'stars' is 9: should be less than or equal to 5"),
    ({"stars": -1}, "argument 'stars' is -1: should be greater than or equal to 0"),
    ({"stars": 3.5}, "argument 'stars' is 3.5: should be a valid integer"),
    ({}, "argument 'stars' is missing"),
    ({"stars": 3, "kind": "bad"}, "argument 'kind' is 'bad': should be 'good' or 'better'"),
    ({"stars": 3, "note": "x" * 11}, "String should have at most 10 characters"),
    ({"stars": 3, "tags": [1, 2, 3]}, "List should have at most 2 items"),
]


@pytest.mark.parametrize(("arguments", "problem"), CHECKS)
def test_an_offered_tool_checks_what_a_call_would_refuse(arguments, problem):
    def rate(
        stars: Annotated[int, Field(ge=0, le=5)],
        kind: Literal["good", "better"] = "good",
        note: Annotated[str, Field(max_length=10)] = "",
        tags: Annotated[list[int], Field(max_length=2)] = [],  # noqa: B006
    ):
        """Rate.

        Args:
            stars: how many.
            kind: what.
            note: why.
            tags: marks.
        """

    manager = ToolManager(tools=[rate])
    (offered,) = manager.specs(agent=AGENT, seen=SimpleNamespace(local_state={}))
    assert isinstance(offered, OfferedTool)
    assert offered.plain is manager.specs()[0]
    assert narrowed_parameters(offered) == offered.parameters
    [result] = manager.execute(AGENT, [call_of("rate", arguments)])
    if problem is None:
        offered.check(arguments)
        assert result.ok
    else:
        with pytest.raises(ToolError, match=re.escape(problem)) as caught:
            offered.check(arguments)
        assert result.response == f"Error: {caught.value}"


def test_a_tool_that_somebody_else_offers_refuses_nothing():
    (spec,) = ToolManager(tools=[wait]).specs()
    assert OfferedTool.of(spec).check({"any": 1}) is None


# --- tools with a condition


def is_rich(agent: Any) -> bool:
    return agent.gold > 0


@tool(tool_manager=ToolManager(tools=[]), available=is_rich)
def buy(agent: Any) -> str:
    """Buy."""
    agent.gold -= 1
    return "bought"


def names_of(specs) -> list[str]:
    return [spec.name for spec in specs]


@pytest.mark.parametrize(
    "manager",
    [ToolManager(tools=[buy, wait]), ToolManager(tools={"rest": wait}, available={"rest": lambda agent: True})],
    ids=["of the tool", "of the manager"],
)
def test_a_condition_that_holds(manager):
    agent = SimpleNamespace(unique_id=7, gold=1)
    assert names_of(manager.specs(agent=agent)) == names_of(manager.specs())


@pytest.mark.parametrize("selected", [None, ["buy", "wait"]])
def test_a_tool_is_on_offer_only_while_its_condition_holds(execute, selected):
    manager = ToolManager(tools=[buy, wait])
    agent, seen = SimpleNamespace(unique_id=7, gold=1), SimpleNamespace(local_state={})
    assert names_of(manager.specs(selected, agent=agent, seen=seen)) == ["buy", "wait"]
    first, second, third = execute(manager, agent, [call_of("buy"), call_of("Buy"), call_of("wiat")])
    assert (first.ok, first.response) == (True, "bought")
    assert (second.ok, second.response) == (False, "Error: the tool 'buy' cannot be used now; on offer: wait")
    assert third.response == "Error: there is no tool 'wiat' (did you mean 'wait'?); on offer: wait"
    assert agent.gold == 0
    assert names_of(manager.specs(selected, agent=agent, seen=seen)) == ["wait"]
    assert names_of(manager.specs(selected, agent=agent)) == ["wait"]
    assert names_of(manager.specs(selected)) == ["buy", "wait"]  # whoever the agent is


def test_a_condition_of_the_manager_is_one_more():
    manager = ToolManager(tools=[buy, wait], available={"buy": lambda agent: agent.unique_id == 7})
    for unique_id, gold, expected in ((7, 1, ["buy", "wait"]), (7, 0, ["wait"]), (8, 1, ["wait"])):
        assert names_of(manager.specs(agent=SimpleNamespace(unique_id=unique_id, gold=gold))) == expected


def test_what_a_condition_raises_is_raised_with_the_name_of_the_tool(execute):
    manager = ToolManager(tools=[buy])
    poor = SimpleNamespace(unique_id=7)
    for ask in (lambda: manager.specs(agent=poor), lambda: execute(manager, poor, [call_of("buy")])):
        with pytest.raises(AttributeError, match="gold") as caught:
            ask()
        assert caught.value.__notes__ == ["Raised by the condition `available` of 'buy', for agent 7."]


async def acondition(agent: Any) -> bool:
    return False


@pytest.mark.parametrize("condition", [True, "rich", acondition])
def test_what_cannot_be_a_condition(condition):
    with pytest.raises(ConfigurationError, match="available of 'wait' must be a plain function"):
        ToolManager(tools=[wait], available={"wait": condition})
    with pytest.raises(ConfigurationError, match="available of 'rest' must be a plain function"):
        tool(rest, tool_manager=ToolManager(tools=[]), available=condition)


def test_a_condition_for_no_tool():
    with pytest.raises(ConfigurationError, match=r"available names 'fly', which is none of the tools: \['wait'\]"):
        ToolManager(tools=[wait], available={"fly": is_rich})


# --- the tally


def test_each_call_counts_in_the_tally_of_the_agents_step(execute, caplog):
    agent = Agent(Model(rng=1))
    manager = ToolManager(tools=[move, wait, refuse, buggy])
    calls = [call_of("wait"), call_of("fly"), call_of("move"), call_of("refuse", {"why": "rain"}), call_of("buggy")]
    execute(manager, agent, calls)
    assert tally_of(last_agent_step(agent)) == (5, 3, 1)
    step = begin_agent_step(agent)
    with within(agent_step=step):
        execute(manager, agent, [call_of("buggy"), call_of("move", "{")])
        execute(manager, Agent(agent.model), [call_of("wait")])  # another agent's
    assert tally_of(step) == (2, 1, 1)
    execute(manager, AGENT, calls)  # no agent of a model


def test_an_error_that_ends_the_run_is_a_call_that_did_not_crash(execute):
    def configure():
        """Fail."""
        raise ConfigurationError("wrong")

    agent = Agent(Model(rng=1))
    with pytest.raises(ConfigurationError, match="wrong"):
        execute(ToolManager(tools=[configure]), agent, [call_of("configure")])
    assert tally_of(last_agent_step(agent)) == (1, 0, 0)


def tally_of(step: AgentStep) -> tuple[int, int, int]:
    return step.tally.tool_calls, step.tally.refused, step.tally.crashed


# --- generators


def generated():
    """Do."""
    yield 1


async def agenerated():
    """Do."""
    yield 1


class Generating:
    """Do."""

    __name__ = "generating"

    def __call__(self):
        yield 1


@pytest.mark.parametrize("function", [generated, agenerated, functools.partial(generated), Generating()])
def test_a_generator_is_no_tool(function):
    with pytest.raises(ConfigurationError, match=r"Tool 'it' is a generator: it has a `yield`.*Return the result"):
        ToolManager(tools={"it": function})
    if function in (generated, agenerated):
        with pytest.raises(ConfigurationError, match="is a generator"):
            tool(function, tool_manager=ToolManager(tools=[]))


@pytest.mark.parametrize("make", [generated, agenerated])
def test_a_generator_that_a_tool_returns_is_a_bug(execute, caplog, make):
    def later():
        """Do."""
        return make()

    [result] = execute(ToolManager(tools=[later]), AGENT, [call_of("later")])
    assert result.response.startswith("Error: TypeError: the tool has returned a generator")
    assert len(caplog.records) == 1


class Market:  # noqa: PLW1641
    """An object of an agent's own, whose methods are its tools; equal to others, so without a hash."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Market)

    def sell(self, good: str, amount: int = 1) -> str:
        """Offer a good.

        Args:
            good: what is sold.
            amount: how much of it.
        """
        return f"{self.name} {good} {amount}"


def trade(market: Market, good: str) -> str:
    """Trade a good.

    Args:
        market: where.
        good: what is traded.
    """
    return f"{market.name} {good}"


@pytest.mark.filterwarnings("ignore:Tool .* has no docstring")
@pytest.mark.parametrize("method_of", [lambda market: market.sell, lambda market: functools.partial(market.sell)])
def test_the_schema_of_a_method_is_made_once_whatever_it_is_bound_to(method_of):
    def manager_of(name):
        return ToolManager(extra_tools={"sell": method_of(Market(name))})

    first, second = (manager_of(name) for name in ("north", "south"))
    assert first.specs(["sell"])[0] is second.specs(["sell"])[0]
    assert list(first.specs(["sell"])[0].parameters["properties"]) == ["good", "amount"]
    for manager, name in ((first, "north"), (second, "south")):
        (result,) = manager.execute(AGENT, [ToolCall("1", "sell", '{"good": "maize"}')])
        assert result.response == f"{name} maize 1"


@pytest.mark.filterwarnings("ignore:Tool .* has no docstring")
def test_partial_functions_of_one_function_differ_by_what_they_leave_open():
    market = Market("north")
    tools = {
        "trade": functools.partial(trade, market),
        "trade_maize": functools.partial(trade, market, good="maize"),
        "trade_wheat": functools.partial(trade, market, good="wheat"),
    }
    manager = ToolManager(extra_tools=tools)
    of_trade, of_maize, of_wheat = manager.specs(list(tools))
    assert "default" not in of_trade.parameters["properties"]["good"]
    assert of_maize.parameters["properties"]["good"]["default"] == "maize"
    assert of_wheat.parameters["properties"]["good"]["default"] == "wheat"


def test_a_schema_does_not_keep_what_its_method_is_bound_to():
    market = Market("north")
    ToolManager([market.sell]).specs()
    kept = weakref.ref(market)
    del market
    gc.collect()
    assert kept() is None
