"""Model calls as OpenTelemetry spans, by the conventions for generative models."""

import asyncio
import copy
import json
import pickle
import sys

import pytest
from helpers.environment import without_keys_and_proxies
from helpers.moved_clock import Together
from helpers.speakers import SpeakersModel, seen_by
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from mesa_llm.clients import (
    DirectClient,
    LiteLLMClient,
    LLMClient,
    LLMRequest,
    LLMResponse,
    Message,
    MeteredClient,
    ResponseFormat,
    RuleBasedClient,
    ToolCall,
    ToolSpec,
    Usage,
)
from mesa_llm.errors import ConfigurationError, ModelTimeoutError, RateLimitedError
from mesa_llm.limits import FallbackClient, LimitedClient, RetryingClient, SingleFlightClient
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.telemetry import TracedClient
from mesa_llm.testing import FakeOpenAIServer, ScriptedLLM

REQUEST = LLMRequest(model="openai/gpt-4o-mini", messages=(Message("user", "the prompt"),))
ANSWER = LLMResponse(
    message=Message("assistant", "the answer"),
    model="gpt-4o-mini-2024-07-18",
    usage=Usage(10, 3),
    cost=0.25,
    retries=2,
    latency_s=0.5,
)


class Traces:
    def __init__(self):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    def client(self, inner, **more):
        return TracedClient(inner, tracer_provider=self.provider, **more)

    @property
    def spans(self):
        return self.exporter.get_finished_spans()

    def of(self, inner, request=REQUEST, **more):
        """The one span of one call."""
        self.client(inner, **more).generate(request)
        (span,) = self.spans
        return span


@pytest.fixture
def traces():
    made = Traces()
    yield made
    made.provider.shutdown()


# What a span tells


def test_a_call_is_a_span(traces):
    span = traces.of(ScriptedLLM(ANSWER))
    assert (span.name, span.kind, span.status.status_code) == ("chat gpt-4o-mini", SpanKind.CLIENT, StatusCode.UNSET)
    assert span.instrumentation_scope.name == "mesa_llm.telemetry"
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 3,
        "mesa_llm.cost": 0.25,
        "mesa_llm.retries": 2,
        "mesa_llm.source": "model",
    }


def test_what_is_not_known_is_not_told(traces):
    attributes = traces.of(ScriptedLLM("hello")).attributes
    assert not {"gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "mesa_llm.cost"} & set(attributes)


def test_sampling_arguments(traces):
    options = {
        "temperature": 0,
        "top_p": 0.5,
        "max_tokens": 20,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "seed": 7,
        "stop": ["\n", "END"],
        "n": 2,
        "reasoning_effort": "low",
        "extra_body": {"top_k": 40, "max_tokens": 30, "guided_choice": ["a"]},
    }
    request = LLMRequest(
        model="gemini/x", messages=(), options=options, response_format=ResponseFormat("a", {"type": "object"})
    )
    told = traces.of(ScriptedLLM(ANSWER), request).attributes
    assert {name: value for name, value in told.items() if ".request." in name or ".output." in name} == {
        "gen_ai.request.model": "x",
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.request.top_k": 40,
        "gen_ai.request.max_tokens": 30,
        "gen_ai.request.frequency_penalty": 0.1,
        "gen_ai.request.presence_penalty": 0.2,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("\n", "END"),
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.reasoning.level": "low",
        "gen_ai.output.type": "json",
    }


@pytest.mark.parametrize(
    "options",
    [{"temperature": None, "seed": "7", "top_p": True}, {"stop": [1]}, {"stop": []}, {"n": 1}, {"extra_body": [1]}],
)
def test_arguments_of_another_kind_are_left_out(traces, options):
    told = traces.of(ScriptedLLM(ANSWER), LLMRequest(model="openai/x", messages=(), options=options)).attributes
    assert [name for name in told if ".request." in name] == ["gen_ai.request.model"]


def test_one_stop_sequence(traces):
    request = LLMRequest(model="openai/x", messages=(), options={"stop": "END"})
    assert traces.of(ScriptedLLM(ANSWER), request).attributes["gen_ai.request.stop_sequences"] == ("END",)


@pytest.mark.parametrize(
    ("model", "provider", "asked"),
    [
        ("openrouter/openai/gpt-4o", "openrouter", "openai/gpt-4o"),
        ("mistral/m", "mistral_ai", "m"),
        ("gemini/m", "gcp.gemini", "m"),
        ("m", "_OTHER", "m"),
    ],
)
def test_provider_and_model(traces, model, provider, asked):
    span = traces.of(ScriptedLLM(ANSWER), LLMRequest(model=model, messages=()))
    told = (span.name, span.attributes["gen_ai.provider.name"], span.attributes["gen_ai.request.model"])
    assert told == (f"chat {asked}", provider, asked)


# Where it was asked


def test_the_server_that_answers(traces, monkeypatch):
    without_keys_and_proxies(monkeypatch)
    with FakeOpenAIServer("hello") as server:
        direct = DirectClient(api_base=server.url)
        span = traces.of(RetryingClient(LimitedClient(direct, max_concurrency=1)))
    port = int(server.url.split(":")[2].split("/")[0])
    assert (span.attributes["server.address"], span.attributes["server.port"]) == ("127.0.0.1", port)


@pytest.mark.parametrize(
    ("client", "model", "address"),
    [
        (DirectClient(), "openai/x", ("api.openai.com", 443)),
        (DirectClient(), "ollama/x", ("localhost", 11434)),
        (LiteLLMClient(), "anthropic/x", (None, None)),  # litellm knows it, and we do not
        (LiteLLMClient(api_base="http://[::1]/v1"), "anthropic/x", ("::1", 80)),
        (LiteLLMClient(api_base="http://host:port"), "anthropic/x", (None, None)),
        (RuleBasedClient(str), "openai/x", (None, None)),
    ],
)
def test_the_address_is_told_when_the_span_begins(traces, monkeypatch, client, model, address):
    """For samplers. Nobody is asked here."""
    without_keys_and_proxies(monkeypatch)

    async def complete(self, request):
        return ANSWER

    monkeypatch.setattr(type(client), "complete", complete)
    attributes = traces.of(MeteredClient(client), LLMRequest(model=model, messages=())).attributes
    assert (attributes.get("server.address"), attributes.get("server.port")) == address


# Failures


def test_a_refusal_is_told_by_its_status(traces):
    error = RateLimitedError("the prompt", status=429, endpoint="https://api.openai.com/v1", retries=3)
    with pytest.raises(RateLimitedError) as caught:
        traces.of(ScriptedLLM(error))
    assert caught.value is error
    (span,) = traces.spans
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes["error.type"], span.attributes["mesa_llm.retries"]) == ("429", 3)
    assert (span.attributes["server.address"], span.attributes["server.port"]) == ("api.openai.com", 443)


@pytest.mark.parametrize("error", [ModelTimeoutError("no answer"), ValueError("a bug")])
def test_other_errors_are_told_by_their_class(traces, error):
    with pytest.raises(type(error)):
        traces.of(ScriptedLLM(error))
    assert traces.spans[0].attributes["error.type"] == type(error).__name__


async def test_a_cancelled_call_ends_its_span(traces):
    arrived, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def never(request):
        loop.call_soon_threadsafe(arrived.set)
        try:
            await asyncio.Event().wait()
        finally:
            loop.call_soon_threadsafe(ended.set)

    call = asyncio.create_task(traces.client(ScriptedLLM(never)).agenerate(REQUEST))
    await arrived.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await ended.wait()
    await traces.client(RuleBasedClient(lambda request: "ok")).agenerate(REQUEST)  # comes after it on that loop
    assert traces.spans[0].attributes["error.type"] == "CancelledError"


# Text


def test_no_text_goes_into_a_span_unless_it_is_asked_for(traces):
    request = LLMRequest(model="openai/x", messages=REQUEST.messages, tools=(ToolSpec("a", "the tool", {}),))
    traces.of(ScriptedLLM(ANSWER), request)
    with pytest.raises(ValueError, match="the prompt"):
        traces.client(ScriptedLLM(ValueError("the prompt"))).generate(request)
    for span in traces.spans:
        assert "the " not in span.to_json()
        assert not span.events


def test_text(traces):
    conversation = (
        Message("system", "You are a cop."),
        Message("user", "Where to? \ud83d"),
        Message("assistant", "Hm.", tool_calls=(ToolCall("1", "look", '{"far": true}'), ToolCall("2", "go", "{"))),
        Message("tool", "a wall", tool_call_id="1"),
    )
    tool = ToolSpec("look", "Look around.", {"type": "object"})
    answer = LLMResponse(message=Message("assistant", "North."), model="m", reasoning="A wall.")
    told = traces.of(
        ScriptedLLM(answer), LLMRequest(model="openai/x", messages=conversation, tools=(tool,)), record_content=True
    ).attributes
    assert told["gen_ai.input.messages"].isascii()
    assert json.loads(told["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "You are a cop."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Where to? \ud83d"}]},
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "Hm."},
                {"type": "tool_call", "id": "1", "name": "look", "arguments": {"far": True}},
                {"type": "tool_call", "id": "2", "name": "go", "arguments": "{"},
            ],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": "a wall"}]},
    ]
    assert json.loads(told["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [{"type": "reasoning", "content": "A wall."}, {"type": "text", "content": "North."}],
            "finish_reason": "stop",
        }
    ]
    assert json.loads(told["gen_ai.tool.definitions"]) == [
        {"type": "function", "name": "look", "description": "Look around.", "parameters": {"type": "object"}}
    ]


def test_a_tool_whose_schema_is_no_json_does_not_fail_the_call(traces):
    request = LLMRequest(model="openai/x", messages=(), tools=(ToolSpec("a", "", {"default": object}),))
    assert (
        "object" in traces.of(ScriptedLLM(ANSWER), request, record_content=True).attributes["gen_ai.tool.definitions"]
    )


def test_the_text_of_an_error(traces):
    with pytest.raises(ValueError, match="a bug"):
        traces.of(ScriptedLLM(ValueError("a bug")), record_content=True)
    assert traces.spans[0].status.description == "a bug"


# In a run


@pytest.mark.parametrize("mode", ["asyncio", "threading", "off"])
def test_a_span_around_the_step_is_the_parent_of_its_calls(traces, mode):
    enable_automatic_parallel_stepping()
    parallel = False if mode == "off" else ParallelStepping(mode=mode)
    model = SpeakersModel(3, traces.client(ScriptedLLM(seen_by_as_text)), parallel=parallel)
    for step in (1, 2):
        with traces.tracer.start_as_current_span(f"step {step}"):
            model.step()
    steps = {span.name: span.context for span in traces.spans if not span.attributes}
    calls = [span for span in traces.spans if span.attributes]
    assert len(calls) == 6
    for number, name in enumerate(("step 1", "step 2")):
        # In the order of their ends: those of one step after those of the one before.
        for call in calls[3 * number : 3 * number + 3]:
            assert (call.parent.span_id, call.context.trace_id) == (steps[name].span_id, steps[name].trace_id)
    agents = {(span.attributes["mesa_llm.agent.class"], span.attributes["mesa_llm.agent.id"]) for span in calls}
    assert agents == {("Speaker", 1), ("Speaker", 2), ("Speaker", 3)}
    assert {span.attributes["mesa_llm.call"] for span in calls} == {1}
    assert sorted(span.attributes["mesa_llm.step"] for span in calls) == [1, 1, 1, 2, 2, 2]


def seen_by_as_text(request):
    return str(seen_by(request))


def test_outside_a_step_there_is_no_agent(traces):
    assert not [name for name in traces.of(ScriptedLLM(ANSWER)).attributes if name.startswith("mesa_llm.agent")]


def test_what_is_asked_inside_is_a_child(traces):
    """Such as the span of the HTTP request, if that is traced too."""
    inner = traces.client(ScriptedLLM([RateLimitedError("busy", status=429, is_transient=True), ANSWER]))
    traces.client(RetryingClient(inner, initial=0.001)).generate(REQUEST)
    first, second, outer = traces.spans
    assert first.parent.span_id == second.parent.span_id == outer.context.span_id
    assert [span.attributes.get("error.type") for span in traces.spans] == ["429", None, None]
    assert [span.attributes["mesa_llm.retries"] for span in traces.spans] == [0, 2, 3]


async def test_each_of_those_who_share_a_call_has_a_span(traces):
    client = traces.client(Together(SingleFlightClient(ScriptedLLM(ANSWER)), 3))
    request = LLMRequest(model="openai/x", messages=(), options={"seed": 1})
    await asyncio.gather(*(client.agenerate(request) for _ in range(3)))
    assert sorted(span.attributes["mesa_llm.source"] for span in traces.spans) == ["model", "shared", "shared"]


def test_who_answered_in_place_of_another(traces):
    client = FallbackClient((ScriptedLLM(ModelTimeoutError("slow")), None), (RuleBasedClient(say_hello), "rules/v1"))
    attributes = traces.of(client).attributes
    assert (attributes["gen_ai.request.model"], attributes["gen_ai.response.model"]) == ("gpt-4o-mini", "rules/v1")
    assert (attributes["mesa_llm.cost"], attributes["mesa_llm.retries"]) == (0.0, 1)


# As a client


def test_it_is_a_client_and_changes_nothing(traces):
    inner = ScriptedLLM(ANSWER)
    client = traces.client(inner)
    assert isinstance(client, LLMClient)
    assert client.generate(REQUEST) is ANSWER
    assert inner.requests == [REQUEST]


def test_a_copy_traces_to_the_same_provider_and_a_pickle_to_the_global_one(traces):
    client = traces.client(RuleBasedClient(say_hello), record_content=True)
    for twin in (copy.copy(client), copy.deepcopy(client)):
        twin.generate(REQUEST)
    assert [span.attributes["gen_ai.response.model"] for span in traces.spans] == [REQUEST.model] * 2
    pickled = pickle.loads(pickle.dumps(client))
    assert pickled.record_content
    assert pickled.generate(REQUEST).message.content == "hello"
    assert len(traces.spans) == 2
    model = copy.deepcopy(SpeakersModel(1, client, parallel=False))
    model.step()
    assert len(traces.spans) == 3
    assert next(iter(model.agents)).llm.client.inner is not client.inner


def say_hello(request):
    return "hello"


def test_without_a_provider_nothing_is_recorded_and_calls_are_answered():
    client = TracedClient(ScriptedLLM([ANSWER, ValueError("a bug")]), record_content=True)
    assert client.generate(REQUEST) is ANSWER
    with pytest.raises(ValueError, match="a bug"):
        client.generate(REQUEST)


def test_without_opentelemetry_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'mesa-llm-core\[otel\]'"):
        TracedClient(ScriptedLLM(ANSWER))
