"""A client that traces the calls that go through it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse
from mesa_llm.clients.providers import endpoint_of
from mesa_llm.errors import ConfigurationError
from mesa_llm.telemetry import attributes

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

_SCOPE = "mesa_llm.telemetry"


class TracedClient(AsyncClient):
    """Makes each call to another client a span of OpenTelemetry.

    The spans follow OpenTelemetry's conventions for generative models: `chat {model}`, with the provider, the sampling
    arguments, the tokens, and the error if it failed. Attributes of our own tell which agent asks (`mesa_llm.agent.id`
    and `.class`), in which step, which of its calls it is, what it has cost, how often it was sent again, and who has
    answered. The parent is the span in which the agent runs, if one is open: opened around `model.step()`, it holds all
    calls of the step.

    As the outermost client of a stack it measures calls as agents see them, the time in limits and retries included.
    Further in, around the transport, every attempt is a span.

    A copy sends its spans to the same provider. A pickle sends them to the process's global one: providers do not
    pickle.

    Args:
        inner: the client that answers.
        tracer_provider: makes the spans; `None` for the process's global one, also if that is set later.
        record_content: whether prompts, answers, offered tools and the texts of errors go into the spans too. They may
            hold what nobody else should see, and are long.

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
        trace = self._trace
        span = self._tracer.start_span(
            f"chat {attributes.asked_model(request)}",
            kind=trace.SpanKind.CLIENT,
            attributes=attributes.request_attributes(request)
            | attributes.server_attributes(_endpoint(self.inner, request.model))
            | attributes.origin_attributes(request.call.origin),
        )
        # Errors become attributes: as events they would show their texts, and prompts in them.
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            if self.record_content and span.is_recording():
                span.set_attributes(attributes.request_content(request))
            try:
                response = await self.inner.complete(request)
            except BaseException as error:
                self._failed(span, error)
                raise
            if span.is_recording():
                span.set_attributes(attributes.response_attributes(response))
                if self.record_content:
                    span.set_attributes(attributes.response_content(response))
            return response

    def _failed(self, span: Span, error: BaseException) -> None:
        span.set_attributes(attributes.error_attributes(error))
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
    """Where the transport at the bottom of a stack asks; `None` if it has no address, or there are several."""
    while hasattr(client, "inner"):
        client = client.inner
    return endpoint_of(llm_model, client.api_base) if hasattr(client, "api_base") else None
