"""A client that traces model calls as OpenTelemetry spans.

The names follow OpenTelemetry's conventions for clients of generative models, as of October 2026; they are not stable
yet. Names that begin with `mesa_llm` are our own.
https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/client-inference.md
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from mesa_llm.activation import CallOrigin
from mesa_llm.activation.values import plain
from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse, Message
from mesa_llm.clients.providers import endpoint_of
from mesa_llm.errors import ConfigurationError, ModelCallError

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

_SCOPE = "mesa_llm.telemetry"
type _Attributes = dict[str, str | int | float | Sequence[str]]

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
# The conventions' names of providers, where they differ from litellm's.
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
_PORTS = {"http": 80, "https": 443}


class TracedClient(AsyncClient):
    """Makes each call to another client an OpenTelemetry span.

    The spans follow OpenTelemetry's conventions for generative models: `chat {model}`, with the provider, the sampling
    arguments, the tokens, and the error if it failed. Attributes of our own name the agent (`mesa_llm.agent.id` and
    `.class`), the step, the number of the call, its cost, its retries, the source of the answer, and
    `mesa_llm.asked_ahead` if it was sent before its agent's turn (sequential activation). The parent is the span in
    which the agent runs, if one is open: a span around `model.step()` holds all calls of the step.

    As the outermost client of a stack it measures calls as agents see them, the time in limits and retries included.
    Further in, around the transport, every attempt is a span.

    A copy sends its spans to the same provider, a pickle to the process's global one, since providers do not pickle.

    Args:
        inner: the client that answers.
        tracer_provider: makes the spans; `None` for the process's global one, also if that is set later.
        record_content: whether prompts, answers, offered tools and the texts of errors go into the spans too. They are
            long, and may be confidential.

    Raises:
        ConfigurationError: if OpenTelemetry is not installed.
    """

    def __init__(
        self, inner: LLMClient, *, tracer_provider: TracerProvider | None = None, record_content: bool = False
    ) -> None:
        self.inner = inner
        self.record_content = record_content
        self._provider = tracer_provider
        self._open()

    def _open(self) -> None:
        try:
            from opentelemetry import trace  # noqa: PLC0415 - an optional dependency
        except ImportError as error:
            raise ConfigurationError(
                "TracedClient needs OpenTelemetry. Install it with: pip install 'mesa-llm-core[otel]'"
            ) from error
        self._trace = trace
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=self._provider)

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Have the inner client answer, in a span. Runs on the transport loop."""
        if request.call.known is not None:  # it has a span from when it was asked ahead
            return await self.inner.complete(request)
        trace = self._trace
        span = self._tracer.start_span(
            f"chat {_asked_model(request)}",
            kind=trace.SpanKind.CLIENT,
            attributes=_request_attributes(request)
            | _server_attributes(_endpoint(self.inner, request.model))
            | _origin_attributes(request.call.origin)
            | ({"mesa_llm.asked_ahead": True} if request.call.asked_ahead else {}),
        )
        # Errors become attributes: as events they would show their texts, which can hold prompts.
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            if self.record_content and span.is_recording():
                span.set_attributes(_request_content(request))
            try:
                response = await self.inner.complete(request)
            except BaseException as error:
                self._failed(span, error)
                raise
            if span.is_recording():
                span.set_attributes(_response_attributes(response))
                if self.record_content:
                    span.set_attributes(_response_content(response))
            return response

    def _failed(self, span: Span, error: BaseException) -> None:
        span.set_attributes(_error_attributes(error))
        span.set_status(self._trace.StatusCode.ERROR, str(error) if self.record_content else None)

    def __getstate__(self) -> dict[str, object]:
        kept = vars(self) | {"_provider": None}
        del kept["_trace"], kept["_tracer"]
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = copy.copy(self)
        memo[id(self)] = twin
        twin.inner = copy.deepcopy(self.inner, memo)
        return twin

    def __copy__(self) -> Self:
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        return twin


def _endpoint(client: object, llm_model: str) -> str | None:
    """The address of the transport at the bottom of a stack; `None` if it has none, or several."""
    while hasattr(client, "inner"):
        client = client.inner
    return endpoint_of(llm_model, client.api_base) if hasattr(client, "api_base") else None


def _asked_model(request: LLMRequest) -> str:
    provider, slash, name = request.model.partition("/")
    return name if slash else provider


def _request_attributes(request: LLMRequest) -> _Attributes:
    provider, slash, _ = request.model.partition("/")
    attributes: _Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider) if slash else "_OTHER",
        "gen_ai.request.model": _asked_model(request),
    }
    if request.response_format is not None:
        attributes["gen_ai.output.type"] = "json"
    return attributes | _option_attributes(request.options)


def _option_attributes(options: Mapping[str, Any]) -> _Attributes:
    extra = options.get("extra_body")
    options = {**options, **extra} if isinstance(extra, Mapping) else options
    attributes: _Attributes = {
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


def _server_attributes(endpoint: str | None) -> _Attributes:
    try:
        parts = urlsplit(endpoint or "")
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return {}
    attributes: _Attributes = {"server.address": host} if host else {}
    if host and port:
        attributes["server.port"] = port
    return attributes


def _origin_attributes(origin: CallOrigin | None) -> _Attributes:
    if origin is None:
        return {}
    return {
        "mesa_llm.agent.id": origin.agent_id,
        "mesa_llm.agent.class": origin.agent_class,
        "mesa_llm.step": origin.step,
        "mesa_llm.call": origin.call,
    }


def _response_attributes(response: LLMResponse) -> _Attributes:
    attributes: _Attributes = {
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


def _error_attributes(error: BaseException) -> _Attributes:
    """The HTTP status if there is one, else the error's class; without its text."""
    if not isinstance(error, ModelCallError):
        return {"error.type": type(error).__qualname__}
    attributes = _server_attributes(error.endpoint)
    attributes["error.type"] = type(error).__qualname__ if error.status is None else str(error.status)
    attributes["mesa_llm.retries"] = error.retries
    return attributes


def _request_content(request: LLMRequest) -> dict[str, str]:
    content = {"gen_ai.input.messages": _json([_message(message) for message in request.messages])}
    if request.tools:
        content["gen_ai.tool.definitions"] = _json(
            [
                {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.parameters}
                for tool in request.tools
            ]
        )
    return content


def _response_content(response: LLMResponse) -> dict[str, str]:
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
        {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.parsed_arguments()}
        for call in message.tool_calls
    ]
    return {"role": message.role, "parts": parts}


def _json(value: Any) -> str:
    # In ASCII, because half a character, where a model broke off, cannot be exported; and with a default, because a
    # span must not fail a call.
    return json.dumps(value, default=plain)
