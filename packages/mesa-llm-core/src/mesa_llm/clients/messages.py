"""Requests to a model and its responses, as data; and the key by which equal requests are recognised.

Field names and meanings follow the OpenAI chat completions API, which every supported server speaks.

Agents and clients share them, so changed copies are made by `dataclasses.replace`. Those that a step makes
many of are not frozen: that would make each of them three times as slow to construct.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from mesa_llm.activation.call import ModelCall
from mesa_llm.errors import ConfigurationError

type Role = Literal["system", "user", "assistant", "tool"]
type ToolChoice = Literal["auto", "none", "required"]
"""Whether an answer may, must not or must call tools."""
type Source = Literal["model", "rule", "journal", "shared"]
type JSONSchema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model wants called.

    Attributes:
        id: the provider's identifier of the call.
        name: the tool's name.
        arguments: a JSON object as text, exactly as the model wrote it; may be invalid.
    """

    id: str
    name: str
    arguments: str

    def parsed_arguments(self) -> Any:
        """The arguments as a JSON value; as the text that they are if that is not JSON."""
        try:
            return json.loads(self.arguments)
        except (ValueError, RecursionError):
            return self.arguments

    @property
    def function(self) -> ToolCall:
        """The call itself: models written for mesa-llm 0.3 read `call.function.name` and `.arguments`."""
        return self


@dataclass(unsafe_hash=True, slots=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: who speaks.
        content: the text; may be empty when there are tool calls.
        tool_calls: tools that the assistant wants called.
        tool_call_id: for role `tool`, the call that this message answers.
    """

    role: Role
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The message as JSON of the chat completions API."""
        message: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.tool_calls
            ]
        if self.tool_call_id is not None:
            message["tool_call_id"] = self.tool_call_id
        return message


@dataclass(unsafe_hash=True, slots=True)
class ToolSpec:
    """A tool as offered to a model.

    Attributes:
        name: the name that the model calls it by.
        description: what it does and what it returns.
        parameters: JSON schema (an object) of its arguments.
    """

    name: str
    description: str
    parameters: JSONSchema

    def as_dict(self) -> dict[str, Any]:
        """The tool as JSON of the chat completions API."""
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": dict(self.parameters)},
        }


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """A JSON schema that the answer's content must satisfy.

    Attributes:
        name: a name for the schema.
        schema: the JSON schema (an object).
    """

    name: str
    schema: JSONSchema

    def as_dict(self) -> dict[str, Any]:
        """The format as JSON of the chat completions API."""
        return {"type": "json_schema", "json_schema": {"name": self.name, "schema": dict(self.schema)}}


@dataclass(unsafe_hash=True, slots=True, kw_only=True)
class LLMRequest:
    """One question to a model. Holds no key and no address: those belong to the client.

    Attributes:
        model: `provider/model`, e.g. `openai/gpt-4o-mini`.
        messages: the conversation so far, oldest first.
        tools: the tools on offer.
        tool_choice: whether tools may, must not or must be called; `None` leaves it to the provider.
        response_format: a schema for the answer's content.
        options: sampling arguments (`temperature`, `max_tokens`, `seed`, …), passed on as they are.
        max_tool_calls: how many tools the answer may call at most; `None` for any number. With 1, servers are asked not
            to call several at once (`parallel_tool_calls`).
        call: the call in which the request is sent: its identity, its deadline, and the time that it has waited in
            queues. No part of what is asked: not sent, not compared.
        observation: the `Observation` that the messages show, for rules that answer in the place of a model; they read
            it by `read_observation`. `None` for a request without one. It is not part of the question: not sent, not
            compared, not recorded.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice | None = None
    response_format: ResponseFormat | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    max_tool_calls: int | None = None
    call: ModelCall = field(default_factory=ModelCall, compare=False, repr=False)
    observation: object = field(default=None, compare=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """The request as JSON of the chat completions API, `model` included."""
        body: dict[str, Any] = {"model": self.model, "messages": [message.as_dict() for message in self.messages]}
        if self.tools:
            body["tools"] = [tool.as_dict() for tool in self.tools]
            if self.tool_choice is not None:
                body["tool_choice"] = self.tool_choice
            if self.max_tool_calls == 1 and self.tool_choice != "none":
                body["parallel_tool_calls"] = False
        if self.response_format is not None:
            body["response_format"] = self.response_format.as_dict()
        return body | dict(self.options)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that one call took.

    Attributes:
        prompt_tokens: tokens read.
        completion_tokens: tokens written.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Tokens read and written."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(unsafe_hash=True, slots=True, kw_only=True)
class LLMResponse:
    """A model's answer.

    Attributes:
        message: what the assistant says, with its tool calls.
        model: the model that answered, as the provider names it.
        usage: tokens taken; zero where the provider does not say.
        finish_reason: why the answer ended, in the words of the API: `stop`; `tool_calls`; `length`, cut off;
            `content_filter`, stopped by the provider, or refused by the model, whose words are then the content;
            `error`, broken off by the server. A word of a server's own that means none of these stays as it is.
        cost: the price of the call in US dollars; `None` where it is not known.
        retries: how often the request was sent again before this answer came.
        reasoning: what a reasoning model thought before it answered, where the provider shows it; never a part of the
            message.
        source: who answered: the `model`; a `rule` in Python, whose latency is simulated; a `journal`, from an earlier
            run; or the model, to an identical request with which this one `shared` its call.
        latency_s: seconds of the exchange that gave this answer, measured by the transport from sending the request to
            having read the answer. Waiting in limits, failed attempts, pauses between attempts and imports do not
            count. `None` for an answer from a journal or a shared one, and if the client does not measure it. It does
            not count when two answers are compared.
    """

    message: Message
    model: str
    usage: Usage = Usage()
    finish_reason: str = "stop"
    cost: float | None = None
    retries: int = 0
    reasoning: str = ""
    source: Source = "model"
    latency_s: float | None = field(default=None, compare=False)

    @property
    def choices(self) -> tuple[LLMResponse]:
        """The answer itself: models written for mesa-llm 0.3 read `response.choices[0].message`."""
        return (self,)


def request_key(request: LLMRequest) -> str:
    """A hash of the whole request: the same in every process and on every machine, whatever the order of its keys.

    It is the SHA-256 of the request as canonical JSON, in hexadecimal, and depends on neither API key nor address.

    Raises:
        ConfigurationError: if the request holds something that JSON cannot.
    """
    # A model may write half of a surrogate pair, and its answer becomes part of the next prompt.
    return hashlib.sha256(canonical_json(request.as_dict()).encode("utf-8", "surrogatepass")).hexdigest()


def _refuse(value: object) -> NoReturn:
    raise ConfigurationError(
        f"A request holds {value!r} ({type(value).__name__}), which cannot be written as JSON. Give options, tools and "
        "formats as plain values: str, int, float, bool, None, list, dict."
    )


canonical_json = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_refuse).encode
"""A request, or a part of one, as JSON: the same text for the same value."""
