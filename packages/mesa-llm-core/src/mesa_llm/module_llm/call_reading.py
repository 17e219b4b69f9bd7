"""Reading the tool calls of a model: their arguments, the names of their tools, and calls that are written as text.

Models write calls in many ways. What can mean one thing only is read; anything else is refused.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import from_json, to_jsonable_python

from mesa_llm.clients import ToolCall, tool_call
from mesa_llm.clients.chat_completion import to_response
from mesa_llm.clients.thoughts import without_thoughts
from mesa_llm.errors import ToolError
from mesa_llm.errors.shown_text import short_repr
from mesa_llm.module_llm.json_in_text import json_at, with_known_escapes

# --- arguments

_NO_ARGUMENTS = {"", "null", "none"}
_UNUSUAL = re.compile(r"\\u|\d[eE]\+?\d{3}")  # what may be half a surrogate pair, or a number that is not finite
_OPENING = re.compile(r"[{\[]")
_WRAPPERS = {"arguments", "args", "input", "kwargs", "parameters", "params", "properties"}
_BESIDE_WRAPPERS = {"function", "id", "name", "tool", "tool_name", "type"}
_string_decoder = json.JSONDecoder(strict=False)


def read_arguments(text: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """The arguments of a call: one JSON object.

    It may be fenced, have stray brackets, end tags or words around it, be as sloppy as JSON5 or Python's notation
    allow, stand alone in a list, follow empty objects, or be JSON in a JSON string. Nothing, `null` and `[]` mean no
    arguments. Lone surrogates become U+FFFD, since they could be neither stored nor sent.

    Raises:
        ToolError: if it is no object, breaks off, holds several different objects or a number that is not finite.
    """
    if isinstance(text, str) and text.startswith("{") and not _UNUSUAL.search(text):  # read ten times as fast
        try:
            strict: dict[str, Any] = from_json(text, allow_inf_nan=False)
        except (ValueError, TypeError):  # TypeError: the text has half a surrogate pair
            pass
        else:
            return strict
    value: Any = text
    for _ in range(2):  # once more if the first value is a text
        if isinstance(value, str):
            value = _value_in(value, text)
    if isinstance(value, list) and len(value) <= 1:
        value = value[0] if value else None
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ToolError(f'the arguments must be a JSON object such as {{"name": "value"}}, got {short_repr(text)}')
    try:
        written = json.dumps(dict(value), ensure_ascii=False, allow_nan=False, default=to_jsonable_python)
        read: dict[str, Any] = json.loads(written.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ToolError(f"the arguments hold what JSON cannot, {_in_short(error)}: {short_repr(text)}") from error
    return read


def unwrapped(arguments: dict[str, Any], parameters: Collection[str]) -> dict[str, Any]:
    """The arguments inside of arguments such as `{"arguments": {"x": 1}}`, for a tool without such a parameter."""
    wrappers = [name for name in arguments if name in _WRAPPERS]
    if len(wrappers) != 1 or any(name in parameters for name in arguments):
        return arguments
    (wrapper,) = wrappers
    inside = arguments[wrapper]
    if not isinstance(inside, str | Mapping) or not arguments.keys() - {wrapper} <= _BESIDE_WRAPPERS:
        return arguments
    try:
        return read_arguments(inside)
    except ToolError:
        return arguments


def _value_in(text: str, whole: Any) -> Any:
    """The JSON value that a text holds."""
    stripped = text.strip()
    if stripped.casefold() in _NO_ARGUMENTS:
        return None
    try:
        return json.loads(stripped, strict=False)
    except (ValueError, RecursionError):
        pass
    if stripped.startswith("{{") and stripped.endswith("}}"):  # as templates escape braces
        stripped = stripped[1:-1]
    if stripped.startswith(('"', '{\\"')):  # JSON in a string, with something behind it, or without its quotes
        try:
            return _string_decoder.raw_decode(stripped if stripped[0] == '"' else f'"{stripped}"')[0]
        except ValueError:
            pass
    values = {json.dumps(value): value for value in _values_in(with_known_escapes(stripped), whole)}
    if len(values) > 1:
        values.pop("{}", None)
    if len(values) > 1:
        raise ToolError(f"the arguments are several JSON values, give one object: {short_repr(whole)}")
    return next(iter(values.values()), text)


def _values_in(text: str, whole: Any) -> Iterator[Any]:
    """The JSON objects and arrays in a text. All that begin must end: what is inside of one is not the arguments."""
    position = 0
    while opening := _OPENING.search(text, position):
        found = json_at(text, opening.start())
        if found is None:
            raise ToolError(f"the arguments are not valid JSON{_problem(text)}: {short_repr(whole)}")
        yield found.value
        position = found.end


def _problem(text: str) -> str:
    try:
        from_json(text.encode(errors="surrogatepass"), allow_inf_nan=False)
    except ValueError as error:
        return f", {_in_short(error)}"
    return ""


def _in_short(error: Exception) -> str:
    return " ".join(str(error).split())[:100]


# --- names

_JUNK_AFTER_NAME = re.compile(r"<\|.*|\(\)\Z|[:.#]\d+\Z", re.DOTALL)
_AROUND_NAME = " \t\n\r\"'`"
_END_OF_NAMESPACE = re.compile(r"[.:/]|__")
_SEPARATORS = re.compile(r"[-_\s]+")


def matching_name(name: str, offered: Iterable[str]) -> str | None:
    """The one tool on offer that a name means; `None` if no tool or several fit.

    Case, separators, quotes and space, a trailing `()`, a namespace (`functions.move`, `mcp__move`) and channel tags
    (`move<|channel|>commentary`) do not count. A call without a name means the only tool.
    """
    names = list(offered)
    if name in names:
        return name
    bare = name.strip(_AROUND_NAME)
    if not bare:
        return names[0] if len(names) == 1 else None
    bare = _JUNK_AFTER_NAME.sub("", bare)
    for variant in (bare, _END_OF_NAMESPACE.split(bare)[-1]):
        fitting = [known for known in names if _same(known) == _same(variant)]
        if fitting:
            return fitting[0] if len(fitting) == 1 else None
    return None


def _same(name: str) -> str:
    return _SEPARATORS.sub("", name.strip(_AROUND_NAME)).casefold()


# --- calls as text

_CALLED = r"[\"'`]?([\w.:/-]+)[\"'`]?"
_TAG = r"tool_?calls?|function_?calls?|tools?|tool_use"
# What stands between calls and says nothing: special tokens, tags, fences. \uff5c is DeepSeek's bar.
_MARKUP = re.compile(
    rf"(?:[\s,;}}\]]|<[|\uff5c](?:[^<>|\uff5c\n]{{1,60}})[|\uff5c]>|</?(?:\w+:)?(?:{_TAG})>|\[/?(?:TOOL_CALLS?|ARGS)\]"
    r"|\[CALL_ID\]\w+|```\w*|`|function(?=<\uff5c))*+",  # possessive: a run of backticks can be read in many ways
    re.IGNORECASE,
)
_ADDRESSEE = re.compile(
    rf"(?:assistant|commentary|analysis|\s|<\|\w+\|>)*to={_CALLED}(?:\s|<\|\w+\|>|commentary|analysis|code|json)*",
    re.IGNORECASE,
)
_NAMED = re.compile(rf"{_CALLED}{_MARKUP.pattern}(?=[{{<])", re.IGNORECASE)
_ELEMENT = re.compile(rf"<(?:\w+:)?(?:function|invoke|tool_call)(?:\s+name)?\s*[=(/]\s*{_CALLED}\s*\)?\s*>?\s*")
_END_OF_ELEMENT = re.compile(r"\s*</(?:\w+:)?(?:function|invoke|tool_call)>")
_PARAMETER = re.compile(
    r"\s*<(?:\w+:)?(?:parameter|param)(?:\s+name)?\s*=\s*[\"']?([\w-]+)[\"']?[^>]*>"
    r"(.*?)(?:</(?:\w+:)?(?:parameter|param)>|(?=<(?:parameter|param)[\s=])|(?=</(?:function|invoke)>))"
    r"|\s*<arg_key>\s*([\w-]+)\s*</arg_key>\s*<arg_value>(.*?)</arg_value>",
    re.DOTALL,
)
_PYTHON_CALL = re.compile(r"[\[(\s]*(?:print\s*\(\s*)?([\w.]+)\s*\(")
_PYTHON_ESCAPE = re.compile(r"\\(?:[\\'\"abfnrtv\n]|[0-7]{1,3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})?")
_MARKUP_AT_END = re.compile(rf"(?:<[|\uff5c][^<>|\uff5c\n]{{1,60}}[|\uff5c]>|</(?:{_TAG})>)\Z", re.IGNORECASE)
_SPACE_AND_FENCES = " \t\n\r`"
_LONGEST_PYTHON = 10_000  # characters
_JSON_NAMES = {"true": True, "false": False, "null": None}

_NAMES = ("name", "tool", "tool_name", "function", "function_name", "recipient_name", "action")
_ARGUMENTS = (
    *("arguments", "parameters", "args", "input", "params", "kwargs"),
    *("tool_input", "tool_args", "function_args", "action_input"),
)
_LISTS = ("tool_calls", "calls", "tool_uses", "function_call", "tool_call", "function_calls")
_ABOUT_CALL = {"id", "call_id", "index", "tool_call_id", "type"}


class _NoCallsError(Exception):
    """The text, or a part of it, is not a call."""


def calls_in_text(text: str, offered: Collection[str]) -> tuple[ToolCall, ...] | None:
    """The tool calls that a text consists of, in the notations that models are trained on.

    They are JSON (`{"name": …, "arguments": …}` and its relatives, one or a list, bare, fenced or in tags), a name
    followed by JSON, elements with parameters, harmony messages, or Python calls with named arguments. Values inside of
    tags stay texts, since tags do not say their type. `None` if the text holds anything else, or a call that cannot be
    read, or of a tool that is not on offer.
    """
    answer = without_thoughts(text)[0].strip()
    try:
        named = _python_calls(answer, offered) or list(_notated_calls(with_known_escapes(answer), offered))
    except (_NoCallsError, ToolError):
        return None
    made = [tool_call(name, **arguments) for name, arguments in named]
    return to_response(made, model="").message.tool_calls or None


def _name(written: Any, offered: Collection[str]) -> str:
    name = matching_name(written, offered) if isinstance(written, str) and written.strip() else None
    if name is None:
        raise _NoCallsError
    return name


type _Named = tuple[str, dict[str, Any]]


def _notated_calls(text: str, offered: Collection[str]) -> Iterator[_Named]:
    """Calls one after the other, with nothing but markup between them."""
    position = _after(_MARKUP, text, 0)
    while position < len(text):
        if element := _ELEMENT.match(text, position):
            arguments, position = _element_arguments(text, element.end())
            yield _name(element[1], offered), arguments
        elif text[position] in "{[":
            value, position = _json_value(text, position)
            yield from _calls_in(value, offered)
        elif named := _ADDRESSEE.match(text, position) or _NAMED.match(text, position):
            name = _name(named[1], offered)
            if text[named.end() : named.end() + 1] == "{":
                value, position = _json_value(text, named.end())
                yield name, read_arguments(value)
            else:
                arguments, position = _parameters(text, named.end())
                yield name, arguments
        else:
            raise _NoCallsError
        position = _after(_MARKUP, text, position)


def _json_value(text: str, position: int) -> tuple[Any, int]:
    found = json_at(text, position)
    if found is None:
        raise _NoCallsError
    return found.value, found.end


def _element_arguments(text: str, position: int) -> tuple[dict[str, Any], int]:
    """The content of `<function=move>…</function>`: JSON, or parameters up to the end tag."""
    position = _after(_MARKUP, text, position) if text[position : position + 1] in {"`", ","} else position
    if text[position : position + 1] == "{":
        value, position = _json_value(text, position)
        position = _after(_MARKUP, text, position)
        end = _END_OF_ELEMENT.match(text, position)
        return read_arguments(value), position if end is None else end.end()
    return _parameters(text, position)


def _parameters(text: str, position: int) -> tuple[dict[str, Any], int]:
    arguments: dict[str, Any] = {}
    while parameter := _PARAMETER.match(text, position):
        name, value = (parameter[1], parameter[2]) if parameter[1] else (parameter[3], parameter[4])
        arguments[name] = value.removeprefix("\n").removesuffix("\n")
        position = parameter.end()
    end = _END_OF_ELEMENT.match(text, position)
    if end is None:  # cut off, perhaps before other parameters
        raise _NoCallsError
    return read_arguments(arguments), end.end()


def _calls_in(value: Any, offered: Collection[str]) -> Iterator[_Named]:
    """The calls that a JSON value describes."""
    if isinstance(value, list) and value:
        for item in value:
            yield from _calls_in(item, offered)
        return
    if not isinstance(value, dict):
        raise _NoCallsError
    for key in _LISTS:
        if isinstance(value.get(key), dict | list):
            if any(isinstance(beside, dict | list) for name, beside in value.items() if name != key):
                raise _NoCallsError
            yield from _calls_in(value[key], offered)
            return
    if isinstance(function := value.get("function"), dict):
        if not value.keys() - {"function"} <= _ABOUT_CALL:
            raise _NoCallsError
        yield from _calls_in(function, offered)
        return
    if len(value) == 1 and isinstance(held := next(iter(value.values())), dict) and next(iter(value)) in offered:
        yield next(iter(value)), read_arguments(held)
        return
    keys = value.keys() - _ABOUT_CALL
    names, arguments = keys & set(_NAMES), keys & set(_ARGUMENTS)
    if len(names) != 1 or len(arguments) > 1 or len(keys) > len(names) + len(arguments):
        raise _NoCallsError
    (named,) = names
    if named == "action" and not arguments:  # an answer in a form of its own
        raise _NoCallsError
    yield _name(value[named], offered), read_arguments(value[arguments.pop()]) if arguments else {}


def _python_calls(text: str, offered: Collection[str]) -> list[_Named]:
    """Calls in Python's notation: one or a list, one a line; `[]` if the text does not look like it."""
    first = _PYTHON_CALL.match(text, _after(_MARKUP, text, 0))
    if first is None or len(text) > _LONGEST_PYTHON or matching_name(first[1], offered) is None:
        return []
    text = text[first.start() :].rstrip(_SPACE_AND_FENCES)
    while markup := _MARKUP_AT_END.search(text, max(0, len(text) - 70)):
        text = text[: markup.start()].rstrip(_SPACE_AND_FENCES)
    text = _PYTHON_ESCAPE.sub(lambda escape: escape[0] if len(escape[0]) > 1 else r"\\", text)
    try:
        lines = ast.parse(text.strip()).body
        calls = [call for line in lines for call in _calls_of(line.value if isinstance(line, ast.Expr) else line)]
        return [_python_call(call, offered) for call in calls]
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise _NoCallsError from error


def _calls_of(node: ast.AST) -> list[ast.Call]:
    if isinstance(node, ast.List | ast.Tuple):
        return [call for item in node.elts for call in _calls_of(item)]
    if not isinstance(node, ast.Call):
        raise _NoCallsError
    if isinstance(node.func, ast.Name) and node.func.id == "print" and len(node.args) == 1:
        return _calls_of(node.args[0])
    return [node]


def _python_call(call: ast.Call, offered: Collection[str]) -> _Named:
    name = _name(ast.unparse(call.func), offered)
    if call.args:
        if call.keywords or len(call.args) > 1 or not isinstance(call.args[0], ast.Dict):
            raise _NoCallsError
        return name, read_arguments(_literal(call.args[0]))
    if any(keyword.arg is None for keyword in call.keywords):
        raise _NoCallsError
    return name, read_arguments({str(keyword.arg): _literal(keyword.value) for keyword in call.keywords})


class _WithJSONNames(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_JSON_NAMES[node.id]) if node.id in _JSON_NAMES else node


def _literal(node: ast.expr) -> Any:
    return ast.literal_eval(_WithJSONNames().visit(node))


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return position if match is None else match.end()
