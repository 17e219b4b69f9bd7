"""The text of requests and answers, as the conventions want it in a span: as JSON, in messages made of parts."""

from __future__ import annotations

import json
from typing import Any

from mesa_llm.activation.values import plain
from mesa_llm.clients import LLMRequest, LLMResponse, Message, ToolCall
from mesa_llm.telemetry import genai_names as names


def request_content(request: LLMRequest) -> dict[str, str]:
    """The messages and the tools on offer."""
    content = {names.INPUT_MESSAGES: _json([_message(message) for message in request.messages])}
    if request.tools:
        content[names.TOOL_DEFINITIONS] = _json(
            [
                {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.parameters}
                for tool in request.tools
            ]
        )
    return content


def response_content(response: LLMResponse) -> dict[str, str]:
    """The answer, after what the model has thought before it."""
    message = _message(response.message)
    if response.reasoning:
        message["parts"].insert(0, {"type": "reasoning", "content": response.reasoning})
    message["finish_reason"] = response.finish_reason
    return {names.OUTPUT_MESSAGES: _json([message])}


def _message(message: Message) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    if message.tool_call_id is not None:
        parts.append({"type": "tool_call_response", "id": message.tool_call_id, "response": message.content})
    elif message.content:
        parts.append({"type": "text", "content": message.content})
    parts += [
        {"type": "tool_call", "id": call.id, "name": call.name, "arguments": _arguments(call)}
        for call in message.tool_calls
    ]
    return {"role": message.role, "parts": parts}


def _arguments(call: ToolCall) -> Any:
    try:
        return json.loads(call.arguments)
    except ValueError:
        return call.arguments


def _json(value: Any) -> str:
    # In ASCII: half a character, where a model broke off, could not be exported. What JSON has no form for, as its
    # canonical form: a span must not fail a call.
    return json.dumps(value, default=plain)
