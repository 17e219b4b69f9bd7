"""The JSON of OpenAI's chat completions API: a request written, an answer read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json, to_json

from mesa_llm.clients.messages import LLMRequest, LLMResponse, Message, ToolCall, Usage
from mesa_llm.errors import ConfigurationError


class NoCompletionError(Exception):
    """An answer is JSON, and no completion.

    Attributes:
        is_transient: whether the same request may well get one.
    """

    def __init__(self, what: str, *, is_transient: bool = False) -> None:
        super().__init__(what)
        self.is_transient = is_transient


def write_request(request: LLMRequest, model: str) -> bytes:
    """The body to send.

    Args:
        request: the request. Options that are `None` are left out; those in the option `extra_body`, a mapping, go into
            the body beside the others and replace what has their name.
        model: the model's name, as the server knows it.

    Raises:
        ConfigurationError: if `extra_body` is no mapping, or the answer is to be a stream.
        TypeError: if something in it cannot be written as JSON.
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
        # Half a character, as in a text that a model broke off; or something that is no JSON, which this names.
        return json.dumps(body).encode()


def read_json(body: bytes) -> Any:
    """An answer's JSON.

    Half a character, where a model broke off, is replaced by U+FFFD: it could be neither stored nor sent again.

    Raises:
        ValueError: if it is none.
    """
    try:
        return from_json(body)
    except ValueError:
        try:
            lenient = json.loads(body)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        text = json.dumps(lenient, ensure_ascii=False)
        return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def told_error(completion: Any) -> Mapping[str, Any] | None:
    """The error that a completion holds in place of an answer, or beside the beginning of one; `None` for none."""
    if not isinstance(completion, dict):
        return None
    holders = completion.get("choices") or [completion]
    error = holders[0].get("error") if isinstance(holders, list) and isinstance(holders[0], dict) else None
    return {"message": error} if isinstance(error, str) else error if isinstance(error, dict) else None


def read_completion(completion: Any, model: str) -> LLMResponse:
    """The response in a completion's JSON.

    Args:
        completion: the JSON.
        model: the model that has answered, if the completion does not name it.

    Raises:
        NoCompletionError: if it is none.
    """
    choices: Any = completion.get("choices") if isinstance(completion, dict) else None
    if choices == []:
        raise NoCompletionError("a completion without choices", is_transient=True)
    try:
        choice = choices[0]  # of whatever else it is, this or what follows raises
        message = choice["message"]
        calls = tuple(_tool_call(call, number) for number, call in enumerate(message.get("tool_calls") or ()))
        content, thoughts = _text_and_thoughts(message.get("content"))
    except (TypeError, KeyError, AttributeError, IndexError):
        raise NoCompletionError("JSON that is no completion") from None
    usage = completion.get("usage")
    return LLMResponse(
        message=Message("assistant", content or _text(message.get("refusal")), tool_calls=calls),
        model=_text(completion.get("model")) or model,
        usage=Usage(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
        if isinstance(usage, dict)
        else Usage(),
        finish_reason=_text(choice.get("finish_reason")) or ("tool_calls" if calls else "stop"),
        cost=_cost(usage.get("cost")) if isinstance(usage, dict) else None,
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
    """The text of a message, and what Mistral's reasoning models put before it in the same list of parts."""
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
    """What OpenRouter says that it has charged, in US dollars."""
    return float(value) if type(value) in {int, float} and 0 <= value < math.inf else None
