"""Answers in the JSON of the chat completions API."""

from __future__ import annotations

from typing import Any

from mesa_llm.clients.answers import Answer, to_response


def completion_json(answer: Answer | dict[str, Any], body: dict[str, Any], number: int) -> dict[str, Any]:
    """What a server sends for an answer.

    Args:
        answer: an answer as for `RuleBasedClient`; or a dict: a whole completion (with `choices`) or its message.
        body: the request's JSON.
        number: the number of the call; goes into the completion's id.
    """
    model = str(body.get("model", ""))
    if isinstance(answer, dict):
        if "choices" in answer:
            return answer
        message = {"role": "assistant", "content": None} | answer
        finish_reason = "tool_calls" if message.get("tool_calls") else "stop"
        usage = None
    else:
        response = to_response(answer, model=model)
        message, finish_reason = response.message.as_dict(), response.finish_reason
        usage = response.usage if response.usage.total_tokens else None
    prompt_tokens = usage.prompt_tokens if usage else _words(*(part.get("content") for part in body["messages"]))
    completion_tokens = usage.completion_tokens if usage else _words(message["content"])
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _words(*texts: object) -> int:
    """A count of words, in place of tokens: the same on every machine."""
    return sum(len(text.split()) for text in texts if isinstance(text, str))
