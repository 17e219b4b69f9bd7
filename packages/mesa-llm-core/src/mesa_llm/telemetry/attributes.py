"""What a span tells of a request, of its place in the run, and of what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from mesa_llm.activation import CallOrigin
from mesa_llm.clients import LLMRequest, LLMResponse
from mesa_llm.errors import ModelCallError
from mesa_llm.telemetry import genai_names as names

type Attributes = dict[str, str | int | float | Sequence[str]]

_NUMBERS = {
    "frequency_penalty": (names.REQUEST_FREQUENCY_PENALTY, float),
    "max_tokens": (names.REQUEST_MAX_TOKENS, int),
    "max_completion_tokens": (names.REQUEST_MAX_TOKENS, int),
    "presence_penalty": (names.REQUEST_PRESENCE_PENALTY, float),
    "seed": (names.REQUEST_SEED, int),
    "temperature": (names.REQUEST_TEMPERATURE, float),
    "top_k": (names.REQUEST_TOP_K, int),
    "top_p": (names.REQUEST_TOP_P, float),
}
_PORTS = {"http": 80, "https": 443}


def asked_model(request: LLMRequest) -> str:
    """The model's name as its provider knows it."""
    provider, slash, name = request.model.partition("/")
    return name if slash else provider


def request_attributes(request: LLMRequest) -> Attributes:
    """What was asked for, without the text."""
    provider, slash, _ = request.model.partition("/")
    attributes: Attributes = {
        names.OPERATION_NAME: names.CHAT,
        names.PROVIDER_NAME: names.PROVIDERS.get(provider, provider) if slash else names.UNKNOWN_PROVIDER,
        names.REQUEST_MODEL: asked_model(request),
    }
    if request.response_format is not None:
        attributes[names.OUTPUT_TYPE] = names.JSON
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
            attributes[names.REQUEST_STOP_SEQUENCES] = (text,)
        case [*texts] if texts and all(isinstance(text, str) for text in texts):
            attributes[names.REQUEST_STOP_SEQUENCES] = tuple(texts)
    match options.get("n"):
        case int(count) if count != 1:
            attributes[names.REQUEST_CHOICE_COUNT] = count
    match options.get("reasoning_effort"):
        case str(level):
            attributes[names.REQUEST_REASONING_LEVEL] = level
    return attributes


def server_attributes(endpoint: str | None) -> Attributes:
    """Where it was asked; nothing if that is not known."""
    try:
        parts = urlsplit(endpoint or "")
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return {}
    attributes: Attributes = {names.SERVER_ADDRESS: host} if host else {}
    if host and port:
        attributes[names.SERVER_PORT] = port
    return attributes


def origin_attributes(origin: CallOrigin | None) -> Attributes:
    """Which call of which agent it is; nothing outside agents' steps."""
    if origin is None:
        return {}
    return {
        names.AGENT_ID: origin.agent_id,
        names.AGENT_CLASS: origin.agent_class,
        names.STEP: origin.step,
        names.CALL: origin.call,
    }


def response_attributes(response: LLMResponse) -> Attributes:
    """What was answered, without the text."""
    attributes: Attributes = {
        names.RESPONSE_MODEL: response.model,
        names.RESPONSE_FINISH_REASONS: (response.finish_reason,),
        names.RETRIES: response.retries,
        names.SOURCE: response.source,
    }
    if response.usage.total_tokens:
        attributes[names.USAGE_INPUT_TOKENS] = response.usage.prompt_tokens
        attributes[names.USAGE_OUTPUT_TOKENS] = response.usage.completion_tokens
    if response.cost is not None:
        attributes[names.COST] = response.cost
    return attributes


def error_attributes(error: BaseException) -> Attributes:
    """How it failed: by the HTTP status if there is one, else by the error's class. Without its text."""
    if not isinstance(error, ModelCallError):
        return {names.ERROR_TYPE: type(error).__qualname__}
    attributes = server_attributes(error.endpoint)
    attributes[names.ERROR_TYPE] = type(error).__qualname__ if error.status is None else str(error.status)
    attributes[names.RETRIES] = error.retries
    return attributes
