"""Requests, responses and errors as the texts that the file holds."""

from __future__ import annotations

import builtins
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from pydantic_core import to_json

from mesa_llm import errors
from mesa_llm.clients import LLMRequest, LLMResponse, Message, ToolCall, ToolSpec, Usage
from mesa_llm.clients.masking import without_secrets
from mesa_llm.clients.messages import canonical_json
from mesa_llm.errors import DecisionError, ModelCallError
from mesa_llm.journal.schema import DIGEST_SIZE

_TOOL_SETS_KEPT = 100
"""For how many sets of tools the JSON is kept."""

_tool_sets: dict[tuple[int, ...], tuple[tuple[ToolSpec, ...], str]] = {}  # used on the transport loop alone


def texts_of(request: LLMRequest) -> tuple[bytes, tuple[str, ...]]:
    """A request's digest, and its texts: the request without its messages, then each message, as JSON.

    Keys among its options are in the digest, and not in the texts.

    The journal stores each text once, since agents, steps and conversations repeat most of them. Each is encoded once
    here: the canonical form, which gives the digest, is composed of them.
    """
    body = request.as_dict()
    messages = [canonical_json(message) for message in body.pop("messages")]
    fields = {name: _field(name, value) for name, value in body.items() if name != "tools"}
    if "tools" in body:
        own = "tools" in request.options  # in a form that only the provider knows
        fields["tools"] = _field("tools", body["tools"]) if own else _tools_field(request.tools)
    before = [fields[name] for name in sorted(fields) if name < "messages"]
    after = [fields[name] for name in sorted(fields) if name > "messages"]
    whole = _braced([*before, f'"messages":[{",".join(messages)}]', *after])
    key = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).digest()
    if request.options and (shown := without_secrets(request.options)) != request.options:
        fields |= {name: _field(name, value) for name, value in shown.items() if name in fields}
        before, after = [fields[name] for name in sorted(fields)], []
    return key, tuple(_storable(text) for text in (_braced([*before, *after]), *messages))


def text_digest(text: str) -> bytes:
    """What a text is found by."""
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_SIZE).digest()


def request_from(stored: bytes, look_up: Callable[[bytes], str]) -> dict[str, Any]:
    """A request as JSON of the chat completions API, from the digests of its texts as they are stored."""
    digests = [stored[start : start + DIGEST_SIZE] for start in range(0, len(stored), DIGEST_SIZE)]
    body, *messages = (json.loads(look_up(digest)) for digest in digests)
    return {"model": body["model"], "messages": messages, **body}


def _tools_field(tools: tuple[ToolSpec, ...]) -> str:
    """Keeps what it returns: agents offer the same few sets of tools, the longest part of most requests."""
    key = tuple(map(id, tools))
    if key not in _tool_sets:
        if len(_tool_sets) >= _TOOL_SETS_KEPT:
            _tool_sets.clear()
        # With the tools themselves: while they are kept, no other object has their ids.
        _tool_sets[key] = tools, _field("tools", [tool.as_dict() for tool in tools])
    return _tool_sets[key][1]


def _field(name: str, value: Any) -> str:
    return f"{canonical_json(name)}:{canonical_json(value)}"


def _braced(fields: list[str]) -> str:
    return f"{{{','.join(fields)}}}"


def as_json(value: Any) -> str:
    """A canonical value as JSON that the file can hold."""
    try:
        return to_json(value).decode()  # several times as fast as `json`
    except ValueError:  # half of a surrogate pair
        return json.dumps(value)


def _storable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which SQLite refuses
        return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    return text


def response_to_json(response: LLMResponse) -> str:
    """A response as JSON, without its source and its latency."""
    fields = asdict(response)
    del fields["source"], fields["latency_s"]
    return json.dumps(fields)


def response_from_json(text: str) -> LLMResponse:
    """The response that `response_to_json` wrote; its source is the journal."""
    fields = json.loads(text)
    message = fields.pop("message")
    calls = tuple(ToolCall(**call) for call in message.pop("tool_calls"))
    return LLMResponse(
        message=Message(**message, tool_calls=calls), usage=Usage(**fields.pop("usage")), **fields, source="journal"
    )


_DETAILS = ("model", "endpoint", "status", "retry_after", "is_transient", "retries", "bad_answer")
# By name, so that a file cannot have anything imported or constructed.
_KNOWN: dict[str, type[Exception]] = {
    name: known
    for module, roots in ((errors, (ModelCallError, DecisionError)), (builtins, (OSError,)))
    for name, known in vars(module).items()
    if isinstance(known, type) and issubclass(known, roots)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedError:
    """How a call failed.

    Attributes:
        kind: the name of the error's class: one of `mesa_llm.errors`, or one of Python's `OSError`s. For a class that
            you define, it is the nearest of these.
        message: its text.
        details: the attributes of a `ModelCallError`; the `args` of an `OSError`.
    """

    kind: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, error: BaseException) -> Self | None:
        """An error as it is recorded; `None` for one that is not an outcome of a call, such as a programming error."""
        details: dict[str, Any] = {}
        if isinstance(error, ModelCallError):
            details = {name: getattr(error, name) for name in _DETAILS}
        elif isinstance(error, OSError) and all(isinstance(arg, str | int) for arg in error.args):
            details = {"args": list(error.args)}
        for known in type(error).__mro__:
            if _KNOWN.get(known.__name__) is known:
                return cls(kind=known.__name__, message=str(error), details=details)
        return None

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The error that `as_json` wrote."""
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
