"""What came of a call, as JSON: a response, or the error in its place."""

from __future__ import annotations

import builtins
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from mesa_llm import errors
from mesa_llm.clients import LLMResponse, Message, ToolCall, Usage
from mesa_llm.errors import DecisionError, ModelCallError

_DETAILS = ("model", "endpoint", "status", "retry_after", "is_transient", "retries", "bad_answer")

# By name, so that nothing is imported or made on the word of a file.
_KNOWN: dict[str, type[Exception]] = {
    name: known
    for module, roots in ((errors, (ModelCallError, DecisionError)), (builtins, (OSError,)))
    for name, known in vars(module).items()
    if isinstance(known, type) and issubclass(known, roots)
}


def response_to_json(response: LLMResponse) -> str:
    """A response as JSON; who gave it is left out."""
    message, usage = response.message, response.usage
    return json.dumps(
        {
            "message": {
                "role": message.role,
                "content": message.content,
                "tool_calls": [
                    {"id": call.id, "name": call.name, "arguments": call.arguments} for call in message.tool_calls
                ],
                "tool_call_id": message.tool_call_id,
            },
            "model": response.model,
            "usage": {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens},
            "finish_reason": response.finish_reason,
            "cost": response.cost,
            "retries": response.retries,
            "reasoning": response.reasoning,
        }
    )


def response_from_json(text: str) -> LLMResponse:
    """The response that `response_to_json` has written, now from the journal."""
    fields = json.loads(text)
    message = fields.pop("message")
    calls = tuple(ToolCall(**call) for call in message.pop("tool_calls"))
    return LLMResponse(
        message=Message(**message, tool_calls=calls), usage=Usage(**fields.pop("usage")), **fields, source="journal"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedError:
    """How a call has failed.

    Attributes:
        kind: the name of the error's class: one of `mesa_llm.errors`, or of Python's `OSError`s. For a class of one's
            own it is the nearest of these.
        message: its text.
        details: of a `ModelCallError`, its attributes; of an `OSError`, its `args`.
    """

    kind: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, error: BaseException) -> Self | None:
        """An error as it is recorded; `None` for one that is no outcome of a call, such as a programming error.

        Args:
            error: what a client raised.
        """
        for known in type(error).__mro__:
            if _KNOWN.get(known.__name__) is known:
                return cls(kind=known.__name__, message=str(error), details=_details(error))
        return None

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The error that `as_json` has written.

        Args:
            text: the JSON.
        """
        return cls(**json.loads(text))

    def as_json(self) -> str:
        """The error as JSON."""
        return json.dumps(asdict(self))

    def exception(self) -> Exception:
        """The error itself, to be raised."""
        known = _KNOWN.get(self.kind, ModelCallError)
        if issubclass(known, ModelCallError):
            return known(self.message, **self.details)
        return known(*self.details.get("args", (self.message,)))


def _details(error: BaseException) -> dict[str, Any]:
    if isinstance(error, ModelCallError):
        return {name: getattr(error, name) for name in _DETAILS}
    if isinstance(error, OSError) and all(isinstance(arg, str | int) for arg in error.args):
        return {"args": list(error.args)}
    return {}
