"""The JSON of OpenAI's chat completions API: a request as a body, a body as a response. And responses from Python."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from pydantic_core import from_json, to_json

from mesa_llm.clients.event_stream import is_event_stream, read_event_stream
from mesa_llm.clients.messages import LLMRequest, LLMResponse, Message, ToolCall, Usage
from mesa_llm.clients.server_errors import error_in, only_object
from mesa_llm.clients.thoughts import without_thoughts
from mesa_llm.errors import ConfigurationError

type Answer = LLMResponse | Message | str | ToolCall | Sequence[ToolCall]
"""What a policy or a script may answer with: a whole response, a message, a text, or tool calls."""


def write_request(request: LLMRequest, model: str) -> bytes:
    """The body to send to a server that knows the model as `model`.

    Options that are `None` are left out. Those in the option `extra_body`, a mapping, replace others of the same name.
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

    Comments of an event stream before it and anything after it are ignored, and a stream of completion chunks is put
    together. Bytes that are not UTF-8, and lone surrogates where a model broke off, are replaced by U+FFFD.
    """
    try:
        return from_json(body)
    except ValueError:
        try:
            lenient = _leniently(body)
        except (ValueError, RecursionError):
            return None
        text = json.dumps(lenient, ensure_ascii=False)
        return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _leniently(body: bytes) -> Any:
    with suppress(UnicodeDecodeError, json.JSONDecodeError):
        return json.loads(body)
    text = body.decode("utf-8-sig", "replace")
    if is_event_stream(text):
        return read_event_stream(text)
    text = re.sub(r"\A(?:\s*:[^\n]*\n)+", "", text).lstrip()
    value, _end = json.JSONDecoder().raw_decode(text)
    return value if isinstance(value, dict | list) else None


def read_completion(completion: Any, model: str, *, latency_s: float | None = None) -> LLMResponse | None:
    """The response in a completion's JSON; `None` if it is not a completion, or reports an error.

    Its model is `model` if the completion does not name one. A refusal is an answer: its words are the content, and its
    `finish_reason` is `content_filter`.
    """
    completion = only_object(completion)
    if not isinstance(completion, dict) or error_in(completion) is not None:
        return None
    choice = _first_choice(completion.get("choices"))
    message = choice.get("message") or choice.get("delta")
    if not isinstance(message, dict):
        if not isinstance(choice.get("text"), str):
            return None
        message = {"content": choice["text"]}  # of the older completions API
    calls = _tool_calls(message)
    content, thoughts, refusal = _parts(message.get("content"))
    content, more_thoughts = without_thoughts(content)
    refusal = refusal or _text(message.get("refusal"))
    reasoning = [_reasoning(message), thoughts, more_thoughts]
    finish_reason = _finish_reason(choice.get("finish_reason"), has_calls=bool(calls))
    if refusal and not content and not calls:
        content, finish_reason = refusal, "content_filter"
    return LLMResponse(
        message=Message("assistant", content, tool_calls=calls),
        model=_text(completion.get("model")) or model,
        usage=read_usage(completion.get("usage")),
        finish_reason=finish_reason,
        cost=_cost(usage.get("cost") if isinstance(usage := completion.get("usage"), dict) else None),
        reasoning="\n".join(dict.fromkeys(filter(None, reasoning))),
        latency_s=latency_s,
    )


def _first_choice(choices: Any) -> Mapping[str, Any]:
    """The choice with the lowest index; an empty one without choices."""
    listed = list(choices.values()) if isinstance(choices, dict) else choices if isinstance(choices, list) else []
    usable = [choice for choice in listed if isinstance(choice, dict)]
    if len(usable) == 1:
        return usable[0]
    return min(usable, key=lambda choice: _count(choice.get("index")) or 0, default={})


_FINISH_REASONS = {
    "stop": "stop eos eos_token end_turn stop_sequence end complete completed done",
    "length": "length max_tokens max_output_tokens model_length max_length model_context_window_exceeded",
    "content_filter": "content_filter content_filtered safety sensitive refusal recitation blocklist spii language "
    "prohibited_content guardrail_intervened",
    "tool_calls": "tool_calls tool_call tool_use function_call function_calls",
    "error": "error abort aborted cancelled network_error insufficient_system_resource malformed_function_call "
    "unexpected_tool_call error_finish",
}
_IN_THE_APIS_WORDS = {word: reason for reason, words in _FINISH_REASONS.items() for word in words.split()}


def _finish_reason(said: Any, *, has_calls: bool) -> str:
    """Why an answer ended, in the words of the API; a word that is not known stays."""
    word = _text(said)
    reason = _IN_THE_APIS_WORDS.get(word.lower(), word) or "stop"
    return "tool_calls" if has_calls and reason == "stop" else reason


def _tool_calls(message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """The calls in a message, in all forms that servers give them, with ids that are not empty and not the same."""
    given = message.get("tool_calls") or []
    if isinstance(given, str):
        given = read_json(given.encode("utf-8", "replace"))
    if isinstance(given, dict):
        given = [given]
    if not given and isinstance(message.get("function_call"), dict):  # before there were tools
        given = [{"function": message["function_call"]}]
    if not given and isinstance(message.get("content"), list):  # Anthropic's form
        given = [part for part in message["content"] if isinstance(part, dict) and part.get("type") == "tool_use"]
    if not given:
        return ()
    entries = [entry for entry in given if isinstance(entry, dict)] if isinstance(given, list) else []
    calls: list[ToolCall] = []
    for number, entry in enumerate(entries):
        function = next((entry[kind] for kind in ("function", "custom") if isinstance(entry.get(kind), dict)), entry)
        names = ("arguments", "input", "parameters", "args")
        arguments = next((function[name] for name in names if function.get(name) is not None), None)
        given_id = entry.get("id")
        wanted = str(given_id) if type(given_id) in {str, int} and given_id != "" else f"call_{number}"
        name = _text(function.get("name")) or _text(entry.get("function"))
        if not isinstance(arguments, str):
            arguments = "{}" if arguments is None else _as_json(arguments)
        calls.append(ToolCall(wanted, name, arguments))
    return _with_distinct_ids(calls)


def _parts(content: Any) -> tuple[str, str, str]:
    """The text of a message's content, in any form; and the thoughts and the refusal among its parts."""
    if content is None or isinstance(content, str):
        return content or "", "", ""
    if isinstance(content, dict) and _is_part(content):
        content = [content]
    if not (isinstance(content, list) and all(part is None or _is_part(part) for part in content)):
        return _as_json(content), "", ""
    texts: list[str] = []
    thoughts: list[str] = []
    refusals: list[str] = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif part is not None and "refusal" in part:
            refusals.append(_text(part["refusal"]))
        elif part is not None and part.get("type") != "tool_use":
            said = thoughts if str(part.get("type", "text")).startswith(("thinking", "reasoning", "summary")) else texts
            said.append(_words_of(part))
    return "".join(texts), "".join(thoughts), "".join(refusals)


def _is_part(part: Any) -> bool:
    if not isinstance(part, dict):
        return isinstance(part, str)
    return set(part) == {"text"} or str(part.get("type", "")).startswith(_PARTS)


_PARTS = (
    *("text", "output_text", "input_text", "refusal", "thinking", "redacted", "reasoning", "summary"),
    *("tool_", "image"),
)
_WORDS = ("text", "thinking", "reasoning", "content", "summary", "value")


def _words_of(part: Any) -> str:
    """The words in a part of a message: a text, or what holds one."""
    if isinstance(part, list):
        return "".join(_words_of(inner) for inner in part)
    if isinstance(part, dict):
        return next((words for name in _WORDS if (words := _words_of(part.get(name)))), "")
    return _text(part)


def _reasoning(message: Mapping[str, Any]) -> str:
    """The thoughts in fields of their own, beside the content."""
    # vLLM, SGLang, llama.cpp and DeepSeek; OpenRouter and Ollama; litellm, of Anthropic.
    names = ("reasoning_content", "reasoning", "reasoning_details", "thinking", "thinking_blocks")
    return next((words for name in names if name in message and (words := _words_of(message[name]))), "")


def read_usage(usage: Any) -> Usage:
    """The tokens that a completion took. What is not a number of tokens counts as not given.

    The total counts where it is more than the parts: some providers leave the tokens of thoughts out of the completion.
    """
    counts: Mapping[str, Any] = usage if isinstance(usage, dict) else {}

    def count(*names: str) -> int | None:
        for name in names:
            if (tokens := _count(counts.get(name))) is not None:
                return tokens
        return None

    prompt, total = count("prompt_tokens", "input_tokens"), count("total_tokens") or 0
    completion = count("completion_tokens", "output_tokens")
    if prompt is None:
        prompt = 0 if completion is None else max(0, total - completion)
    return Usage(prompt, max(completion or 0, total - prompt))


def _count(value: Any) -> int | None:
    """A whole number that is not negative, also as a float or as text."""
    if type(value) is int and 0 <= value < _MOST_TOKENS:  # most are
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return round(number) if 0 <= number < _MOST_TOKENS else None


_MOST_TOKENS = 1e12


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


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

    Thoughts in the text of an answer (see `without_thoughts`) become its `reasoning`, as in answers over the network.
    """
    if isinstance(answer, LLMResponse):
        is_timed = answer.latency_s is not None or answer.source != "model"
        return answer if is_timed or latency_s is None else replace(answer, latency_s=latency_s)
    message = to_message(answer)
    content, reasoning = without_thoughts(message.content)
    return LLMResponse(
        message=replace(message, content=content) if reasoning else message,
        model=model,
        finish_reason="tool_calls" if message.tool_calls else "stop",
        cost=cost,
        reasoning=reasoning,
        latency_s=latency_s,
    )


def to_message(answer: Message | str | ToolCall | Sequence[ToolCall]) -> Message:
    """The message for an answer in short form, with its text as it is."""
    if isinstance(answer, Message):
        return answer
    if isinstance(answer, str):
        return Message("assistant", answer)
    if isinstance(answer, ToolCall):
        return Message("assistant", tool_calls=(answer,))
    if isinstance(answer, Sequence) and all(isinstance(call, ToolCall) for call in answer):
        return Message("assistant", tool_calls=_with_distinct_ids(cast("Sequence[ToolCall]", answer)))
    raise TypeError(
        f"{answer!r} ({type(answer).__name__}) is not an answer. Answer with a str, a ToolCall, a list of ToolCalls, "
        "a Message or an LLMResponse."
    )


def _with_distinct_ids(calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
    """Number the ids of equal calls: a tool's result refers to its call by the id."""
    taken = {call.id for call in calls}
    seen: set[str] = set()
    distinct = []
    for call in calls:
        unique = call.id
        if call.id in seen:
            numbered = (f"{call.id}_{count}" for count in itertools.count(2))
            unique = next(name for name in numbered if name not in taken)
        taken.add(unique)
        seen.add(call.id)
        distinct.append(call if unique == call.id else replace(call, id=unique))
    return tuple(distinct)
