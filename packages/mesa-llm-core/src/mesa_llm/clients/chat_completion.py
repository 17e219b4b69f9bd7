"""The JSON of OpenAI's chat completions API: a request as a body, a body as a response. And responses from Python."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from pydantic_core import from_json, to_json

from mesa_llm.clients.messages import LLMRequest, LLMResponse, Message, ToolCall, Usage
from mesa_llm.errors import ConfigurationError

type Answer = LLMResponse | Message | str | ToolCall | Sequence[ToolCall]
"""What a policy or a script may answer with: a whole response, a message, a text, or tool calls."""


def write_request(request: LLMRequest, model: str) -> bytes:
    """The body to send to a server that knows the model as `model`.

    Options that are `None` are left out. Those in the option `extra_body`, a mapping, replace others of the same name.

    Raises:
        ConfigurationError: if `extra_body` is not a mapping, or the answer would be a stream.
        TypeError: if something in the request cannot be written as JSON.
    """
    body = request.as_dict()
    body["model"] = model
    if request.options:
        extra = body.pop("extra_body", None)
        if extra is not None and not isinstance(extra, Mapping):
            raise ConfigurationError(f"extra_body must be a mapping that goes into the request's JSON, got {extra!r}.")
        body = {name: value for name, value in body.items() if value is not None} | dict(extra or {})
        if body.get("stream"):
            raise ConfigurationError("stream=True cannot work here: an answer is read as a whole.")
    try:
        return to_json(body)
    except ValueError:
        # A lone surrogate, as in a text that a model broke off; or a value that JSON cannot hold, which this names.
        return json.dumps(body).encode()


def read_json(body: bytes) -> Any:
    """The JSON in an answer's body; `None` if it is not JSON.

    A lone surrogate, where a model broke off, is replaced by U+FFFD: it could be neither stored nor sent again.
    """
    try:
        return from_json(body)
    except ValueError:
        try:
            lenient = json.loads(body)
        except (ValueError, RecursionError):
            return None
        text = json.dumps(lenient, ensure_ascii=False)
        return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def error_in(completion: Any) -> Mapping[str, Any] | None:
    """The error that a completion reports, in place of an answer or beside the beginning of one."""
    if not isinstance(completion, dict):
        return None
    holders = completion.get("choices") or [completion]
    error = holders[0].get("error") if isinstance(holders, list) and isinstance(holders[0], dict) else None
    return {"message": error} if isinstance(error, str) else error if isinstance(error, dict) else None


def read_completion(completion: Any, model: str) -> LLMResponse | None:
    """The response in a completion's JSON; `None` if it is not a completion, or reports an error.

    Its model is `model` if the completion does not name one.
    """
    if error_in(completion) is not None:
        return None
    try:
        choice = completion["choices"][0]
        message = choice["message"]
        calls = tuple(_tool_call(call, number) for number, call in enumerate(message.get("tool_calls") or ()))
        content, thoughts = _text_and_thoughts(message.get("content"))
    except (TypeError, KeyError, AttributeError, IndexError):
        return None
    usage = completion.get("usage")
    counts: Mapping[str, Any] = usage if isinstance(usage, dict) else {}
    return LLMResponse(
        message=Message("assistant", content or _text(message.get("refusal")), tool_calls=calls),
        model=_text(completion.get("model")) or model,
        usage=Usage(_count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens"))),
        finish_reason=_text(choice.get("finish_reason")) or ("tool_calls" if calls else "stop"),
        cost=_cost(counts.get("cost")),
        # vLLM, SGLang, llama.cpp and DeepSeek; OpenRouter and Ollama.
        reasoning=_text(message.get("reasoning_content")) or _text(message.get("reasoning")) or thoughts,
    )


def _tool_call(call: Any, number: int) -> ToolCall:
    function = call["function"]
    arguments = function.get("arguments")
    return ToolCall(
        id=_text(call.get("id")) or f"call_{number}",
        name=_text(function["name"]),
        arguments=arguments if isinstance(arguments, str) else "{}" if arguments is None else json.dumps(arguments),
    )


def _text_and_thoughts(content: Any) -> tuple[str, str]:
    """The text of a message, and the thoughts that Mistral's reasoning models put before it in the list of parts."""
    if not isinstance(content, list):
        return _text(content), ""
    thoughts = [part["thinking"] for part in content if part.get("type") == "thinking"]
    return (
        "".join(_text(part.get("text")) for part in content),
        "".join(_text_and_thoughts(thought)[0] for thought in thoughts),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _cost(value: Any) -> float | None:
    """The charge in US dollars that OpenRouter reports."""
    return float(value) if type(value) in {int, float} and 0 <= value < math.inf else None


def tool_call(name: str, /, **arguments: Any) -> ToolCall:
    """A tool call as a model would write it.

    Its id follows from name and arguments, so that equal calls are equal in every process and every run.

    Args:
        name: the tool's name.
        **arguments: its arguments, as JSON values.

    Raises:
        TypeError: if an argument cannot be written as JSON.
    """
    text = json.dumps(arguments, ensure_ascii=False)
    digest = hashlib.sha256(f"{name}\n{text}".encode()).hexdigest()
    return ToolCall(id=f"call_{digest[:12]}", name=name, arguments=text)


def to_response(
    answer: Answer, *, model: str, cost: float | None = None, latency_s: float | None = None
) -> LLMResponse:
    """The full response for an answer in short form. A full one is kept, except that a missing latency is filled in.

    Raises:
        TypeError: if the answer has none of the forms of `Answer`.
    """
    if isinstance(answer, LLMResponse):
        is_timed = answer.latency_s is not None or answer.source != "model"
        return answer if is_timed or latency_s is None else replace(answer, latency_s=latency_s)
    if isinstance(answer, Message):
        message = answer
    elif isinstance(answer, str):
        message = Message("assistant", answer)
    elif isinstance(answer, ToolCall):
        message = Message("assistant", tool_calls=(answer,))
    elif isinstance(answer, Sequence) and all(isinstance(call, ToolCall) for call in answer):
        message = Message("assistant", tool_calls=_with_distinct_ids(cast("Sequence[ToolCall]", answer)))
    else:
        raise TypeError(
            f"{answer!r} ({type(answer).__name__}) is no answer. Answer with a str, a ToolCall, a list of ToolCalls, "
            "a Message or an LLMResponse."
        )
    finish_reason = "tool_calls" if message.tool_calls else "stop"
    return LLMResponse(message=message, model=model, finish_reason=finish_reason, cost=cost, latency_s=latency_s)


def _with_distinct_ids(calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
    """Number the ids of equal calls: a tool's result refers to its call by the id."""
    seen: dict[str, int] = {}
    distinct = []
    for call in calls:
        seen[call.id] = count = seen.get(call.id, 0) + 1
        distinct.append(call if count == 1 else replace(call, id=f"{call.id}_{count}"))
    return tuple(distinct)
