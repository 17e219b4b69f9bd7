"""Turns the forms in which callers give tools, formats and sampling arguments into fields of a request."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypedDict, get_args

from mesa_llm.clients import LLMRequest, ResponseFormat, ToolChoice, ToolSpec
from mesa_llm.clients.messages import JSONSchema
from mesa_llm.errors import ConfigurationError
from mesa_llm.errors.checks import check_whole, check_word

if TYPE_CHECKING:
    from pydantic import BaseModel

type AnyTool = ToolSpec | Mapping[str, Any]
type AnyFormat = ResponseFormat | type[BaseModel] | Mapping[str, Any]

_NAMED_SCHEMAS = {"$defs", "properties"}
_DATA = {"const", "default", "enum", "examples", "required"}


def tool_specs(tools: Iterable[AnyTool] | None) -> tuple[ToolSpec, ...]:
    """Tools as typed data."""
    return tuple([tool if isinstance(tool, ToolSpec) else _tool_spec(tool) for tool in tools or ()])


def _tool_spec(tool: Mapping[str, Any]) -> ToolSpec:
    try:
        function = tool["function"]
        name = function["name"]
    except (KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{tool!r} is not a tool. Give a ToolSpec, or {{'type': 'function', 'function': {{'name': …, "
            "'description': …, 'parameters': …}}."
        ) from error
    empty = {"type": "object", "properties": {}}
    return ToolSpec(name, function.get("description", ""), function.get("parameters") or empty)


def _accept(arguments: Mapping[str, Any]) -> None:
    """The check of a tool that refuses nothing."""


@dataclass(unsafe_hash=True, slots=True)
class OfferedTool(ToolSpec):
    """A tool as it is offered to one agent at one moment: arguments may depend on what the agent sees.

    Attributes:
        plain: the tool as it is sent, always the same, so that the prompt stays the same too.
        narrow: gives the schema of its arguments with what can be chosen now as enums, or `None` if there is nothing to
            choose from. Called only where a schema constrains the answer, since looking around costs time.
        check: takes the arguments of a call as they are read, and raises a `ToolError` that says what is wrong.
    """

    plain: ToolSpec
    narrow: Callable[[], JSONSchema | None] | None = field(default=None, compare=False, repr=False)
    check: Callable[[Mapping[str, Any]], object] = field(default=_accept, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        plain: ToolSpec,
        narrow: Callable[[], JSONSchema | None] | None = None,
        check: Callable[[Mapping[str, Any]], object] = _accept,
    ) -> OfferedTool:
        """The tool with a way to narrow its arguments, and one to check them."""
        return cls(plain.name, plain.description, plain.parameters, plain, narrow, check)


def check_tool_choice(tool_choice: Any) -> ToolChoice | None:
    """The tool choice; raises a `ConfigurationError` if it is neither one nor `None`."""
    choice: ToolChoice | None = check_word("tool_choice", tool_choice, (*get_args(ToolChoice.__value__), None))
    return choice


def check_most_calls(max_tool_calls: int | None) -> int | None:
    """How many tools an answer may call; `None` is any number. Raises a `ConfigurationError` if it cannot work."""
    if max_tool_calls is not None:
        hint = "Use None for any number, and tool_calls='none' for no calls."
        check_whole("max_tool_calls", max_tool_calls, hint=hint)
    return max_tool_calls


def with_plain_tools(request: LLMRequest) -> LLMRequest:
    """The request as clients get it: nothing but data."""
    if OfferedTool not in map(type, request.tools):
        return request
    plain = tuple([tool.plain if isinstance(tool, OfferedTool) else tool for tool in request.tools])
    return replace(request, tools=plain)


def narrowed_parameters(tool: ToolSpec) -> JSONSchema | None:
    """The schema of a tool's arguments for an answer that a schema constrains; `None` if there is nothing to choose."""
    return tool.narrow() if isinstance(tool, OfferedTool) and tool.narrow is not None else tool.parameters


def response_format_fields(response_format: AnyFormat | None) -> dict[str, Any]:
    """The field of an `LLMRequest` that asks for a response format.

    It is `response_format`; or, for what a `ResponseFormat` cannot say (`json_object`, `strict`), `options`.
    """
    if response_format is None or isinstance(response_format, ResponseFormat):
        return {"response_format": response_format}
    if isinstance(response_format, Mapping):
        return _fields_of_dict(response_format)
    if hasattr(response_format, "model_json_schema"):
        return {"response_format": ResponseFormat(response_format.__name__, response_format.model_json_schema())}
    raise ConfigurationError(
        f"{response_format!r} is not a response format. Give a pydantic model, a JSON schema or a ResponseFormat."
    )


def _fields_of_dict(given: Mapping[str, Any]) -> dict[str, Any]:
    if given.get("type") == "json_schema" and given.get("json_schema", {}).keys() == {"name", "schema"}:
        return {"response_format": ResponseFormat(**given["json_schema"])}
    if given.get("type") in {"json_schema", "json_object", "text"}:
        return {"options": {"response_format": dict(given)}}
    if given.get("type") == "object":
        return {"response_format": ResponseFormat(str(given.get("title", "answer")), given)}
    raise ConfigurationError(
        f"{given!r} is not a response format. Give the JSON schema of an object, or {{'type': 'json_schema', "
        "'json_schema': {'name': …, 'schema': …}}."
    )


def rebuilt(schema: Any, rebuild: Callable[[dict[str, Any]], Any]) -> Any:
    """A copy of a JSON schema in which every schema, the innermost first, is replaced by what `rebuild` returns for it.

    Names of properties and definitions, and data such as the values of an enum, are not schemas and stay as they are.
    """
    if isinstance(schema, list):
        return [rebuilt(item, rebuild) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    parts: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _NAMED_SCHEMAS:
            parts[key] = {name: rebuilt(part, rebuild) for name, part in value.items()}
        else:
            parts[key] = value if key in _DATA else rebuilt(value, rebuild)
    return rebuild(parts)


class SamplingOptions(TypedDict, total=False):
    """Sampling arguments of the chat completions API. `None` means: not sent, so the provider's default holds.

    Attributes:
        temperature: the randomness of the answer; 0 is (almost) deterministic.
        top_p: only the likeliest tokens that have this share of the probability together are drawn, above 0, up to 1.
        max_tokens: the length of an answer, at least 1 token.
        max_completion_tokens: the same by its newer name, which some models want. A server that wants the other name
            gets it.
        seed: the same seed gives the same answer, where the provider holds to it.
        stop: texts at which an answer ends.
        extra_body: what else goes into the body of the request, for servers that know more than the API.
    """

    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    max_completion_tokens: int | None
    seed: int | None
    stop: str | Sequence[str] | None
    extra_body: Mapping[str, Any] | None


def sampling_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are sent: those that are not `None`. Raises a `ConfigurationError` if one cannot work."""
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in given.items():
        if name not in _RULES:
            continue
        kinds, works, wanted, hint = _RULES[name]
        if not isinstance(value, kinds) or isinstance(value, bool) or not works(value):
            raise ConfigurationError(f"{name} must be {wanted}, got {value!r}. {hint}")
    return given


type _Rule = tuple[tuple[type, ...], Callable[[Any], bool], str, str]

_LENGTH: _Rule = ((int,), lambda value: value >= 1, "a whole number >= 1", "Use None for the provider's own limit.")
_RULES: dict[str, _Rule] = {
    "temperature": ((int, float), lambda value: 0 <= value < math.inf, "a number >= 0", "Use 0 for no chance."),
    "top_p": ((int, float), lambda value: 0 < value <= 1, "above 0 and at most 1", "Use 1 for all tokens."),
    "max_tokens": _LENGTH,
    "max_completion_tokens": _LENGTH,
    "seed": ((int,), lambda value: True, "a whole number", "Use None for another answer each time."),
}
