"""Reading tool calls: arguments, the names of tools, and calls that are written as text."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesa_llm.clients import tool_call
from mesa_llm.errors import ToolError
from mesa_llm.module_llm.call_reading import calls_in_text, matching_name, read_arguments, unwrapped
from mesa_llm.module_llm.json_in_text import found_in

X = {"x": 1}

# --- arguments


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('{"x": 1}', X),
        ({"x": 1}, X),
        ({"x": (1, 2)}, {"x": [1, 2]}),
        (None, {}),
        ("", {}),
        ("  ", {}),
        ("null", {}),
        ("None", {}),
        ('""', {}),
        ("[]", {}),
        ("{}", {}),
        ('"{\\"x\\": 1}"', X),
        ('{\\"x\\": 1}', X),
        ('"{\\"x\\": 1}"</tool_call>', X),
        ('"null"', {}),
        ('{"x": 1}}', X),
        ('{"x": 1}]}', X),
        ('{"x": 1}</tool_call>', X),
        ('{"x": 1}<|call|>', X),
        ('<|message|>{"x": 1}', X),
        ('```json\n{"x": 1}\n```', X),
        ('Here: {"x": 1}.', X),
        ('{"x": 1, "note": "a\nb\tc"}', {"x": 1, "note": "a\nb\tc"}),
        ('{"x": 1, "note": "a\nb",}', {"x": 1, "note": "a\nb"}),
        ("{'x': 1}", X),
        ("{'x': 'it\\'s'}", {"x": "it's"}),
        ("{'x': True, 'y': None, 'z': (1, 2)}", {"x": True, "y": None, "z": [1, 2]}),
        ("{'x': 'True (or None)'}", {"x": "True (or None)"}),
        ('{"x": True}', {"x": True}),
        ("{x: 1}", X),
        ('{"x": 1,}', X),
        ('{"x": 1 // don\'t\n}', X),
        ('[{"x": 1}]', X),
        ('{{"x": 1}}', X),
        ('{{"x": {"y": 1}}}', {"x": {"y": 1}}),
        ('{}{"x": 1}', X),
        ('{"x": 1}{}', X),
        ('{"x": 1}{"x": 1}', X),
        ('{"note": "C:\\Users"}', {"note": "C:\\Users"}),
        ('{"note": "\\d+\\.\\d"}', {"note": "\\d+\\.\\d"}),
        ('{"note": "\\ud83d"}', {"note": "\ufffd"}),
        ('{"note": "\\ud83d\\ude00"}', {"note": "\U0001f600"}),
        ('{"\ud800": 1}', {"\ufffd": 1}),
        ('{"note": "a\\u0000b"}', {"note": "a\0b"}),
        ('{"note": "</think> <|call|> ``` }"}', {"note": "</think> <|call|> ``` }"}),
    ],
)
def test_arguments(written, read):
    assert read_arguments(written) == read
    json.dumps(read_arguments(written), ensure_ascii=False).encode()  # can be stored and sent


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ('{"x": 1}{"x": 2}', "several JSON values, give one object"),
        ('{"x": 1}{"x": true}', "several JSON values"),
        ('{"x": 1', "not valid JSON, EOF while parsing an object"),
        ('{"x": "a', "not valid JSON, EOF while parsing a string"),
        ("{'x': 1", "not valid JSON"),
        ('{"x": 1}{"y"', "not valid JSON"),
        ('{"x": 1 "inner": {"x": 2}}', "not valid JSON, expected `,` or `}`"),
        ('["x"]', "must be a JSON object"),
        ("[1, 2]", "must be a JSON object"),
        ('[{"x": 1}, {"x": 2}]', "must be a JSON object"),
        ("north", "must be a JSON object"),
        ('"north"', "must be a JSON object"),
        ("3", "must be a JSON object"),
        ('"\\"{}\\""', "must be a JSON object"),  # encoded three times
        ('{"x": NaN}', "hold what JSON cannot"),
        ('{"x": 1e999}', "hold what JSON cannot"),
        ({"x": float("inf")}, "hold what JSON cannot"),
        ({"x": object()}, "hold what JSON cannot"),
        ({(1, 2): 1}, "hold what JSON cannot"),
        ("[" * 100_000, "not valid JSON"),
        ("9" * 10_000, "must be a JSON object"),
    ],
)
def test_arguments_that_mean_nothing_or_several_things(written, problem):
    with pytest.raises(ToolError, match="the arguments ") as caught:
        read_arguments(written)
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 400


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_ARGUMENTS = st.dictionaries(st.text(), _JSON, max_size=4)


@given(_ARGUMENTS, st.booleans(), st.sampled_from(["{}", "```json\n{}\n```", "{}}}", "{}</tool_call>", "[{}]", "{}{}"]))
def test_what_json_has_written_is_read_as_it_was(arguments, ascii_only, around):
    text = json.dumps(arguments, ensure_ascii=ascii_only)
    assert read_arguments(around.replace("{}", text, 1)) == arguments
    assert read_arguments(json.dumps(text)) == arguments
    assert read_arguments(repr(arguments)) == arguments or "\\x" in repr(arguments) or "\\U" in repr(arguments)


_PIECES = st.sampled_from(
    [*"{}[]()\"',:\\<>|`", "{'x': ", '"x": 1', "True", "move", "(x=", "tool_call", "</", "\n", "\ud800"]
)
_ODD = st.lists(_PIECES, max_size=12).map("".join) | st.text(st.characters())


@given(_ODD)
def test_no_text_raises_anything_but_a_tool_error(text):
    with suppress(ToolError):
        read_arguments(text)
    assert matching_name(text, ["move", "rest"]) in {None, "move", "rest"}
    for call in calls_in_text(text, ["move", "rest"]) or ():
        assert call.name in {"move", "rest"}
        assert isinstance(json.loads(call.arguments), dict)


@pytest.mark.parametrize(
    ("arguments", "inside"),
    [
        ({"arguments": X}, X),
        ({"parameters": X}, X),
        ({"input": X}, X),
        ({"args": '{"x": 1}'}, X),
        ({"name": "move", "arguments": X}, X),
        ({"type": "object", "properties": X}, X),
        ({"arguments": {"arguments": X}}, {"arguments": X}),
        ({"input": "north"}, {"input": "north"}),
        ({"x": 1, "arguments": {"x": 2}}, {"x": 1, "arguments": {"x": 2}}),
        ({"arguments": X, "speed": 2}, {"arguments": X, "speed": 2}),
        ({"arguments": X, "parameters": X}, {"arguments": X, "parameters": X}),
        ({"note": X}, {"note": X}),
    ],
)
def test_arguments_inside_of_arguments(arguments, inside):
    assert unwrapped(arguments, ["x", "y"]) == inside
    assert unwrapped(arguments, [*arguments]) == arguments  # the tool has such parameters


# --- names


@pytest.mark.parametrize(
    "name",
    [
        *("move_to", "Move_To", "MOVE_TO", "moveTo", "move-to", "move to", " move_to\n", "`move_to`", '"move_to"'),
        *("move_to()", "functions.move_to", "default_api.move_to", "tool.move_to", "tools:move_to", "mcp__move_to"),
        *("mcp__srv__move_to", "functions.move_to:0", "functions/move_to", "move_to<|channel|>commentary"),
        *("functions.move_to<|channel|>json", "a.b.Move-To()"),
    ],
)
def test_a_name_that_means_one_tool(name):
    assert matching_name(name, ["rest", "move_to", "move"]) == "move_to"


@pytest.mark.parametrize(
    "name", ["fly", "", "mov", "move_to(x=1)", "move_to x", "functions.", "tool_move_to", "moveto_"[:3]]
)
def test_a_name_that_means_no_tool(name):
    assert matching_name(name, ["rest", "move_to"]) is None


def test_a_name_that_means_several_tools():
    assert matching_name("MOVE", ["move", "Move"]) is None
    assert matching_name("Move", ["move", "Move"]) == "Move"  # exactly
    assert matching_name("x.moveto", ["move_to", "move-to"]) is None
    assert matching_name("", ["move", "rest"]) is None


def test_a_call_without_a_name_means_the_only_tool():
    assert matching_name("", ["move"]) == "move"
    assert matching_name("fly", ["move"]) is None
    assert matching_name("move", []) is None


# --- calls as text

ONE = '{"name": "move", "arguments": {"x": 1}}'


@pytest.mark.parametrize(
    "text",
    [
        # Hermes, Qwen
        f"<tool_call>\n{ONE}\n</tool_call>",
        f"<tool_call>{ONE}",
        f"<tool_call>{ONE}}}</tool_call>",
        f"<tool_calls>[{ONE}]</tool_calls>",
        f"<TOOLCALL>[{ONE}]</TOOLCALL>",
        f"<function_call>{ONE}</function_call>",
        '<tool_call>{"name": "move", "arguments": "{\\"x\\": 1}"}</tool_call>',
        "<tool_call>{'name': 'move', 'arguments': {'x': 1}}</tool_call>",
        # Llama, Groq
        '<function=move{"x": 1}</function>',
        '<function=move>{"x": 1}</function>',
        '<function(move){"x": 1}</function>',
        '<|python_tag|>{"name": "move", "parameters": {"x": 1}}',
        "<|python_tag|>move(x=1)",
        # Mistral
        f"[TOOL_CALLS][{ONE}]",
        '[TOOL_CALLS] [{"name": "move", "arguments": {"x": 1}, "id": "abc123"}]',
        '[TOOL_CALLS]move[ARGS]{"x": 1}',
        '[TOOL_CALLS]move[CALL_ID]a1b2[ARGS]{"x": 1}',
        # Phi, Granite; Kimi; DeepSeek
        f"<|tool_call|>[{ONE}]",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.move:0<|tool_call_argument_begin|>"
        '{"x": 1}<|tool_call_end|><|tool_calls_section_end|>',
        "<\uff5ctool\u2581calls\u2581begin\uff5c><\uff5ctool\u2581call\u2581begin\uff5c>function<\uff5ctool\u2581sep\uff5c>"
        'move\n```json\n{"x": 1}\n```<\uff5ctool\u2581call\u2581end\uff5c><\uff5ctool\u2581calls\u2581end\uff5c>',
        # JSON
        ONE,
        f"```json\n{ONE}\n```",
        f"```\n{ONE}\n```",
        f"[{ONE}]",
        f"<think>I might move(x=2).</think>\n{ONE}",
        '{"name": "move", "parameters": {"x": 1}}',
        '{"name": "functions.move", "arguments": {"x": 1}}',
        '{"tool": "move", "arguments": {"x": 1}}',
        '{"tool_name": "move", "parameters": {"x": 1}}',
        '{"function": "move", "arguments": {"x": 1}}',
        '{"action": "move", "action_input": {"x": 1}}',
        '{"function": {"name": "move", "arguments": {"x": 1}}}',
        '{"type": "function", "function": {"name": "move", "arguments": "{\\"x\\": 1}"}}',
        '{"tool_calls": [{"name": "move", "arguments": {"x": 1}}]}',
        '{"content": null, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "move", "arguments": {"x": 1}}}]}',
        '{"function_call": {"name": "move", "arguments": {"x": 1}}}',
        '{"calls": [{"tool": "move", "arguments": {"x": 1}}]}',
        '{"tool_uses": [{"recipient_name": "functions.move", "parameters": {"x": 1}}]}',
        '{"move": {"x": 1}}',
        # Python
        "move(x=1)",
        "`move(x=1)`",
        "```python\nmove(x=1)\n```",
        "```tool_code\nprint(default_api.move(x=1))\n```",
        "[move(x=1)]",
        'move({"x": 1})',
        # harmony
        '<|channel|>commentary to=functions.move<|message|>{"x": 1}<|call|>',
        '<|start|>assistant<|channel|>commentary to=functions.move <|constrain|>json<|message|>{"x": 1}<|call|>',
        '<|start|>assistant to=functions.move<|channel|>commentary json<|message|>{"x": 1}',
        'commentary to=functions.move json{"x": 1}',
        'move {"x": 1}',
    ],
)
def test_a_call_as_text(text):
    assert calls_in_text(text, ["move", "rest"]) == (tool_call("move", x=1),)


@pytest.mark.parametrize(
    "text",
    [
        "<function=move><parameter=x>1</parameter><parameter=note>a\nb</parameter></function>",
        "<tool_call>\n<function=move>\n<parameter=x>\n1\n</parameter>\n<parameter=note>\na\nb\n</parameter>\n</function>\n"
        "</tool_call>",
        "<tool_call>\n<function=move>\n<parameter=x>\n1\n<parameter=note>\na\nb\n</function>\n</tool_call>",
        '<function_calls><invoke name="move"><parameter name="x">1</parameter><parameter name="note">a\nb</parameter>'
        "</invoke></function_calls>",
        "<tool_call>move\n<arg_key>x</arg_key>\n<arg_value>1</arg_value>\n<arg_key>note</arg_key>\n<arg_value>a\nb</arg_value>\n"
        "</tool_call>",
    ],
)
def test_tags_do_not_say_of_what_type_their_values_are(text):
    assert calls_in_text(text, ["move", "rest"]) == (tool_call("move", x="1", note="a\nb"),)


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>{ONE}</tool_call>\n<tool_call>{ONE}</tool_call>",
        f"{ONE}\n{ONE}",
        f"{ONE}; {ONE}",
        f"[{ONE}, {ONE}]",
        "move(x=1)\nmove(x=1)",
        "[move(x=1), move(x=1)]",
        '<function=move{"x": 1}</function><function=move{"x": 1}</function>',
    ],
)
def test_ids_are_distinct_and_the_same_in_every_run(text):
    first, second = calls_in_text(text, ["move", "rest"])
    assert first == tool_call("move", x=1)
    assert (second.id, second.name, second.arguments) == (f"{first.id}_2", "move", first.arguments)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("rest()", {}),
        ('{"name": "rest"}', {}),
        ('{"name": "rest", "arguments": null}', {}),
        ("<function=rest></function>", {}),
        ("rest(how=None, ok=true, of=[1, (2, 3)], n=-1)", {"how": None, "ok": True, "of": [1, [2, 3]], "n": -1}),
        ('rest(where="C:\\Users")', {"where": "C:\\Users"}),
    ],
)
def test_arguments_of_calls_as_text(text, arguments):
    assert calls_in_text(text, ["move", "rest"]) == (tool_call("rest", **arguments),)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "move",
            '"move"',
            "{}",
            "[]",
            "null",
            "Move to 1.",
            "I call move(x=1)",
            "move(x=1) and rest",
            "```\n```",
        ),
        *(f"Sure: {ONE}", f"{ONE}\nDone.", f"<tool_call>{ONE}</tool_call> Done.", f'{ONE}{{"x": 1}}'),
        *("fly(x=1)", '{"name": "fly", "arguments": {}}', f'{ONE}{{"name": "fly", "arguments": {{}}}}', "print(1)"),
        *('{"name": "", "arguments": {"x": 1}}', '{"name": null, "arguments": {}}', '<function=fly{"x": 1}</function>'),
        *(ONE[:-1], ONE[:-2], f"<tool_call>{ONE[:-1]}", "move(x=1", "<function=move><parameter=x>1", "[TOOL_CALLS]"),
        *(
            "<function=move><parameter=x>1</parameter>",
            "<tool_call>move\n<arg_key>x</arg_key>\n<arg_value>1</arg_value>",
        ),
        *('{"name": "move", "arguments": [1]}', '{"name": "move", "arguments": "north"}', '{"name": "move", "x": 1}'),
        *(
            '{"x": 1}',
            '{"reasoning": "r", "action": "move"}',
            '{"action": "move"}',
            '{"tool_calls": []}',
            '{"move": 1}',
        ),
        *("move(1)", "move(x=y)", "move(**{})", "x = move(x=1)", "move(x=1).y", "import os", "move(x=move(x=1))"),
        *('{"name": "move", "tool": "rest", "arguments": {}}', '{"tool_calls": [], "name": "move", "arguments": {}}'),
        *("word " * 1000, " " * 100_000 + "x", "[" * 100_000, "move" * 50_000 + "{", "`" * 50_000, "move(" * 2000),
        *("move" + "`" * 50_000 + "x", "move" + "```" * 20_000 + "x"),  # each backtick can be read in two ways
    ],
)
def test_what_is_more_or_less_than_calls_stays_a_text(text):
    assert calls_in_text(text, ["move", "rest"]) is None


@given(_ARGUMENTS)
def test_what_json_has_written_is_called_as_it_was(arguments):
    call = json.dumps({"name": "move", "arguments": arguments})
    for text in (call, f"<tool_call>{call}</tool_call>", f"```json\n{call}\n```", f"[TOOL_CALLS][{call}]"):
        (made,) = calls_in_text(text, ["move"])
        assert json.loads(made.arguments) == arguments


# --- JSON in a text that is no call


@pytest.mark.parametrize(
    "text",
    ['{"plan": {"action": "a"}; "action": "b"}', '{"x": 1 "inner": {"x": 2}}', '{"x": "a\nb', '{"x": "a\ud800b'],
)
def test_what_is_inside_of_an_object_that_breaks_off_is_not_the_answer(text):
    (found,) = found_in(text)
    assert not found.is_complete


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("I do {'go': True, 'to': (1, 2)}.", {"go": True, "to": [1, 2]}),
        ('{"a": 1 // the first\n}', {"a": 1}),
        ('{don\'t worry} {"a": 1}', {"a": 1}),
        ('{"a": "\\(x\\)"}', {"a": "\\(x\\)"}),
        ("{'a': 'b\nc'}", {"a": "b\nc"}),
    ],
)
def test_sloppy_json_in_a_text(text, value):
    (found,) = found_in(text)
    assert (found.value, found.is_complete) == (value, True)
