"""Reading what a model wants called."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from pydantic_core import from_json, to_json

from mesa_llm.clients.messages import ToolCall
from mesa_llm.errors import ToolError
from mesa_llm.tools.argument_errors import shortened

_NAMELESS = "unknown"


def read(call: Any) -> tuple[str, str, Any]:
    """Identifier, name and raw arguments of a call: a `ToolCall`, or an object in the form of the OpenAI API."""
    if isinstance(call, ToolCall):
        return call.id, call.name, call.arguments
    function = getattr(call, "function", call)
    return (
        str(getattr(call, "id", None) or _NAMELESS),
        str(getattr(function, "name", None) or _NAMELESS),
        getattr(function, "arguments", None),
    )


def parse_arguments(raw: Any) -> dict[str, Any]:
    """Parse the arguments of a call. No text, and `null`, mean no arguments.

    Args:
        raw: a JSON object as text, or already parsed, as some servers send it.

    Raises:
        ToolError: if it is not valid JSON, or not an object.
    """
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        return {}
    try:
        text = raw.encode(errors="surrogatepass") if isinstance(raw, str) else to_json(raw, inf_nan_mode="constants")
        arguments = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise ToolError(f"the arguments are not valid JSON, {error}: {shortened(raw)}") from error
    if arguments is None:
        return {}
    if not isinstance(arguments, dict):
        raise ToolError(f'the arguments must be a JSON object such as {{"name": "value"}}, got {shortened(raw)}')
    return arguments


def no_such_tool(name: str, on_offer: Collection[str]) -> ToolError:
    """The error for a call of a tool that is not there, or not on offer."""
    if not on_offer:
        return ToolError(f"there is no tool {shortened(name)}; no tools are on offer")
    closest = difflib.get_close_matches(name[:100], on_offer, n=1)
    hint = f" (did you mean {closest[0]!r}?)" if closest else ""
    return ToolError(f"there is no tool {shortened(name)}{hint}; on offer: {', '.join(on_offer)}")
