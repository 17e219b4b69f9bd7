"""What offline policies and test scripts may answer, in short forms, and how that becomes a response."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from mesa_llm.clients.messages import LLMResponse, Message, ToolCall

type Answer = LLMResponse | Message | str | ToolCall | Sequence[ToolCall]
"""What a policy or a script answers with: a whole response, a message, words, or tool calls."""


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
    """An answer in short form as a full response.

    Args:
        answer: a response (kept as it is, but for a latency that it lacks), a message, its text, or one or several
            tool calls.
        model: the model that is said to have answered.
        cost: what it is said to have cost, in US dollars.
        latency_s: seconds that it is said to have taken.

    Raises:
        TypeError: if it is none of these.
    """
    if isinstance(answer, LLMResponse):
        is_timed = answer.latency_s is not None or answer.source != "model"
        return answer if is_timed or latency_s is None else replace(answer, latency_s=latency_s)
    message = _to_message(answer)
    finish_reason = "tool_calls" if message.tool_calls else "stop"
    return LLMResponse(message=message, model=model, finish_reason=finish_reason, cost=cost, latency_s=latency_s)


def _to_message(answer: Answer) -> Message:
    if isinstance(answer, Message):
        return answer
    if isinstance(answer, str):
        return Message("assistant", answer)
    if isinstance(answer, ToolCall):
        return Message("assistant", tool_calls=(answer,))
    if isinstance(answer, Sequence) and all(isinstance(call, ToolCall) for call in answer):
        return Message("assistant", tool_calls=_with_distinct_ids(cast("Sequence[ToolCall]", answer)))
    raise TypeError(
        f"{answer!r} ({type(answer).__name__}) is no answer. Answer with a str, a ToolCall, a list of ToolCalls, "
        "a Message or an LLMResponse."
    )


def _with_distinct_ids(calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
    """Number the ids of equal calls, since each is answered by its id."""
    seen: dict[str, int] = {}
    distinct = []
    for call in calls:
        seen[call.id] = count = seen.get(call.id, 0) + 1
        distinct.append(call if count == 1 else replace(call, id=f"{call.id}_{count}"))
    return tuple(distinct)
