"""JSON schemas as small as tool calling needs them, in the subset that every provider reads."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

_DATA = {"const", "default", "enum", "examples", "required"}
_NAMED_SCHEMAS = {"$defs", "properties"}


class _ToolSchema(GenerateJsonSchema):
    """Describes tuples by `items`: several providers refuse an array without it, and do not know `prefixItems`."""

    def tuple_schema(self, schema: core_schema.TupleSchema) -> JsonSchemaValue:
        json_schema = super().tuple_schema(schema)
        kinds: list[Any] = json_schema.pop("prefixItems", [])
        if "items" in json_schema:
            kinds.append(json_schema["items"])
        different = [kind for i, kind in enumerate(kinds) if kind not in kinds[:i]]
        json_schema["items"] = different[0] if len(different) == 1 else {"anyOf": different} if different else {}
        return json_schema


class _RecursiveTypeError(Exception):
    """A type contains itself: its schema cannot be written without references."""


def parameters_schema(arguments: TypeAdapter[Any]) -> dict[str, Any]:
    """The JSON schema of a tool's arguments.

    Without titles, which cost tokens and say nothing new, and without references, which some servers do not follow; a
    type that contains itself keeps them.

    Raises:
        PydanticUserError: if a type cannot be described in JSON schema.
    """
    schema = arguments.json_schema(schema_generator=_ToolSchema)
    definitions = schema.get("$defs", {})
    try:
        slim: dict[str, Any] = _slim({key: value for key, value in schema.items() if key != "$defs"}, definitions, ())
    except _RecursiveTypeError:
        slim = _slim(schema, {}, ())
    return {"type": "object", "properties": {}, "required": []} | slim


def _slim(node: Any, definitions: dict[str, Any], within: tuple[str, ...]) -> Any:
    """Drop titles and put definitions in the place of references to them; without definitions, keep references."""
    if isinstance(node, list):
        return [_slim(item, definitions, within) for item in node]
    if not isinstance(node, dict):
        return node
    inlined: dict[str, Any] = {}
    slim: dict[str, Any] = {}
    for key, value in node.items():
        if key == "$ref" and definitions:
            name = value.rpartition("/")[2]
            if name in within:
                raise _RecursiveTypeError
            inlined = _slim(definitions[name], definitions, (*within, name))
        elif key in _NAMED_SCHEMAS:
            slim[key] = {name: _slim(schema, definitions, within) for name, schema in value.items()}
        elif key != "title":
            slim[key] = value if key in _DATA else _slim(value, definitions, within)
    return inlined | slim
