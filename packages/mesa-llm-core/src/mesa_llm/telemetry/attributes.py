"""What a span says of a request, of its place in the run, and of what became of it.

The names are those of OpenTelemetry's conventions for clients of generative models, as of October 2026; they are not
stable yet. Names that begin with `mesa_llm` are our own.
https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/client-inference.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from mesa_llm.activation import CallOrigin
from mesa_llm.activation.values import plain
from mesa_llm.clients import LLMRequest, LLMResponse, Message, ToolCall
from mesa_llm.errors import ModelCallError

type Attributes = dict[str, str | int | float | Sequence[str]]

_NUMBERS = {
    "frequency_penalty": ("gen_ai.request.frequency_penalty", float),
    "max_tokens": ("gen_ai.request.max_tokens", int),
    "max_completion_tokens": ("gen_ai.request.max_tokens", int),
    "presence_penalty": ("gen_ai.request.presence_penalty", float),
    "seed": ("gen_ai.request.seed", int),
    "temperature": ("gen_ai.request.temperature", float),
    "top_k": ("gen_ai.request.top_k", int),
    "top_p": ("gen_ai.request.top_p", float),
}
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "cohere_chat": "cohere",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""What the conventions call a provider, where that is not litellm's name for it."""
_PORTS = {"http": 80, "https": 443}


def asked_model(request: LLMRequest) -> str:
    """The model's name as its provider knows it."""
    provider, slash, name = request.model.partition("/")
    return name if slash else provider


def request_attributes(request: LLMRequest) -> Attributes:
    """What was asked for, without the text."""
    provider, slash, _ = request.model.partition("/")
    attributes: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider) if slash else "_OTHER",
        "gen_ai.request.model": asked_model(request),
    }
    if request.response_format is not None:
        attributes["gen_ai.output.type"] = "json"
    return attributes | _option_attributes(request.options)


def _option_attributes(options: Mapping[str, Any]) -> Attributes:
    extra = options.get("extra_body")
    options = {**options, **extra} if isinstance(extra, Mapping) else options
    attributes: Attributes = {
        name: as_type(options[option])
        for option, (name, as_type) in _NUMBERS.items()
        if type(options.get(option)) in {int, float}
    }
    match options.get("stop"):
        case str(text):
            attributes["gen_ai.request.stop_sequences"] = (text,)
        case [*texts] if texts and all(isinstance(text, str) for text in texts):
            attributes["gen_ai.request.stop_sequences"] = tuple(texts)
    match options.get("n"):
        case int(count) if count != 1:
            attributes["gen_ai.request.choice.count"] = count
    match options.get("reasoning_effort"):
        case str(level):
            attributes["gen_ai.request.reasoning.level"] = level
    return attributes


def server_attributes(endpoint: str | None) -> Attributes:
    """Where it was asked; nothing if that is not known."""
    try:
        parts = urlsplit(endpoint or "")
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return {}
    attributes: Attributes = {"server.address": host} if host else {}
    if host and port:
        attributes["server.port"] = port
    return attributes


def origin_attributes(origin: CallOrigin | None) -> Attributes:
    """Which call of which agent it is; nothing outside agents' steps."""
    if origin is None:
        return {}
    return {
        "mesa_llm.agent.id": origin.agent_id,
        "mesa_llm.agent.class": origin.agent_class,
        "mesa_llm.step": origin.step,
        "mesa_llm.call": origin.call,
    }


def response_attributes(response: LLMResponse) -> Attributes:
    """What was answered, without the text."""
    attributes: Attributes = {
        "gen_ai.response.model": response.model,
        "gen_ai.response.finish_reasons": (response.finish_reason,),
        "mesa_llm.retries": response.retries,
        "mesa_llm.source": response.source,
    }
    if response.usage.total_tokens:
        attributes["gen_ai.usage.input_tokens"] = response.usage.prompt_tokens
        attributes["gen_ai.usage.output_tokens"] = response.usage.completion_tokens
    if response.cost is not None:
        attributes["mesa_llm.cost"] = response.cost
    return attributes


def error_attributes(error: BaseException) -> Attributes:
    """How it failed: by the HTTP status if there is one, else by the error's class. Without its text."""
    if not isinstance(error, ModelCallError):
        return {"error.type": type(error).__qualname__}
    attributes = server_attributes(error.endpoint)
    attributes["error.type"] = type(error).__qualname__ if error.status is None else str(error.status)
    attributes["mesa_llm.retries"] = error.retries
    return attributes


def request_content(request: LLMRequest) -> dict[str, str]:
    """The text of a request: the messages and the tools on offer, as JSON."""
    content = {"gen_ai.input.messages": _json([_message(message) for message in request.messages])}
    if request.tools:
        content["gen_ai.tool.definitions"] = _json(
            [
                {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.parameters}
                for tool in request.tools
            ]
        )
    return content


def response_content(response: LLMResponse) -> dict[str, str]:
    """The text of an answer, after what the model has thought before it, as JSON."""
    message = _message(response.message)
    if response.reasoning:
        message["parts"].insert(0, {"type": "reasoning", "content": response.reasoning})
    message["finish_reason"] = response.finish_reason
    return {"gen_ai.output.messages": _json([message])}


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
