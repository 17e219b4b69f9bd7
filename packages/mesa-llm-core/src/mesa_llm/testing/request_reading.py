"""Reading a request as a server gets it, for clients that answer on the fake server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from mesa_llm.clients import LLMRequest, Message, ResponseFormat, ToolCall, ToolChoice, ToolSpec


def read_request(body: Mapping[str, Any]) -> LLMRequest:
    """The request in a body: `LLMRequest.as_dict` the other way round. What it has no field for becomes an option."""
    options = dict(body)
    fields: dict[str, Any] = {
        "model": str(options.pop("model", "")),
        "messages": tuple(map(_read_message, options.pop("messages", ()))),
        "tools": tuple([_read_tool(tool["function"]) for tool in options.pop("tools", None) or ()]),
    }
    if options.get("tool_choice") in get_args(ToolChoice.__value__):
        fields["tool_choice"] = options.pop("tool_choice")
    match options.get("response_format"):
        case {"type": "json_schema", "json_schema": {"name": str(name), "schema": dict(schema)}}:
            del options["response_format"]
            fields["response_format"] = ResponseFormat(name, schema)
    return LLMRequest(**fields, options=options)


def _read_message(message: Mapping[str, Any]) -> Message:
    content = message.get("content") or ""
    if not isinstance(content, str):  # a list of parts
        content = "".join(part.get("text", "") for part in content)
    calls = [
        ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls") or ()
    ]
    role = message["role"]
    return Message("system" if role == "developer" else role, content, tuple(calls), message.get("tool_call_id"))


def _read_tool(function: Mapping[str, Any]) -> ToolSpec:
    return ToolSpec(function["name"], function.get("description", ""), function.get("parameters") or {})
