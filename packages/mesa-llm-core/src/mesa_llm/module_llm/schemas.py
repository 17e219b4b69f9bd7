"""Tools and response formats, in all the forms that callers write them, as typed data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mesa_llm.clients import ResponseFormat, ToolSpec
from mesa_llm.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import BaseModel

type AnyTool = ToolSpec | Mapping[str, Any]
type AnyFormat = ResponseFormat | type[BaseModel] | Mapping[str, Any]


def tool_specs(tools: Iterable[AnyTool] | None) -> tuple[ToolSpec, ...]:
    """Tools as typed data.

    Args:
        tools: specs, or dicts in the form of the chat completions API.

    Raises:
        ConfigurationError: if one is neither.
    """
    return tuple([tool if isinstance(tool, ToolSpec) else _tool_spec(tool) for tool in tools or ()])


def _tool_spec(tool: Mapping[str, Any]) -> ToolSpec:
    try:
        function = tool["function"]
        name = function["name"]
    except (KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{tool!r} is no tool. Give a ToolSpec, or {{'type': 'function', 'function': {{'name': …, 'description': "
            "…, 'parameters': …}}."
        ) from error
    empty = {"type": "object", "properties": {}}
    return ToolSpec(name, function.get("description", ""), function.get("parameters") or empty)


def response_format_fields(response_format: AnyFormat | None) -> dict[str, Any]:
    """The fields of an `LLMRequest` that ask for a response format.

    Args:
        response_format: a `ResponseFormat`, a pydantic model, a JSON schema, or a dict in the form of the chat
            completions API.

    Returns:
        `response_format`; or, for what a `ResponseFormat` cannot say (`json_object`, `strict`), `options`.

    Raises:
        ConfigurationError: if it is none of these.
    """
    if response_format is None or isinstance(response_format, ResponseFormat):
        return {"response_format": response_format}
    if isinstance(response_format, Mapping):
        return _fields_of_dict(response_format)
    if hasattr(response_format, "model_json_schema"):
        return {"response_format": ResponseFormat(response_format.__name__, response_format.model_json_schema())}
    raise ConfigurationError(
        f"{response_format!r} is no response format. Give a pydantic model, a JSON schema or a ResponseFormat."
    )


def _fields_of_dict(given: Mapping[str, Any]) -> dict[str, Any]:
    if given.get("type") == "json_schema" and given.get("json_schema", {}).keys() == {"name", "schema"}:
        return {"response_format": ResponseFormat(**given["json_schema"])}
    if given.get("type") in {"json_schema", "json_object", "text"}:
        return {"options": {"response_format": dict(given)}}
    if given.get("type") == "object":
        return {"response_format": ResponseFormat(str(given.get("title", "answer")), given)}
    raise ConfigurationError(
        f"{given!r} is no response format. Give the JSON schema of an object, or {{'type': 'json_schema', "
        "'json_schema': {'name': …, 'schema': …}}."
    )
