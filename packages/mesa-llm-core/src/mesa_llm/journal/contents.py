"""A request as a few texts, most of which it has in common with others: each of them is stored once.

An agent's system prompt and tools are the same in every step, and often the same for all agents; the messages of a
conversation come again with every further message.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mesa_llm.clients import LLMRequest, ToolSpec
from mesa_llm.errors import ConfigurationError

_DIGEST = 16
"""Bytes of a digest."""
_MOST_KNOWN = 100
"""The most sets of tools whose JSON is kept."""

_tools_known: dict[tuple[int, ...], tuple[tuple[ToolSpec, ...], str]] = {}  # used on the transport loop alone


@dataclass(frozen=True, slots=True)
class Contents:
    """A request as it is stored.

    Attributes:
        key: its `request_key`, in bytes.
        texts: all of it but its messages, then each message, in JSON.
    """

    key: bytes
    texts: tuple[str, ...]


def contents_of(request: LLMRequest) -> Contents:
    """A request as it is stored.

    Each part is written as JSON once: the canonical form of the whole, of which the key is the digest, is made of them.

    Raises:
        ConfigurationError: if one of its options or schemas has no form in JSON.
    """
    body = request.as_dict()
    messages = [_encode(message) for message in body.pop("messages")]
    fields = {name: _field(name, value) for name, value in body.items() if name != "tools"}
    if "tools" in body:
        own = "tools" in request.options  # of a form that only the provider knows
        fields["tools"] = _field("tools", body["tools"]) if own else _tools_field(request.tools)
    before = [fields[name] for name in sorted(fields) if name < "messages"]
    after = [fields[name] for name in sorted(fields) if name > "messages"]
    whole = _braced([*before, f'"messages":[{",".join(messages)}]', *after])
    key = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).digest()
    return Contents(key, tuple(_storable(text) for text in (_braced([*before, *after]), *messages)))


def digest_of(text: str) -> bytes:
    """What a text is found by."""
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST).digest()


def digests_in(stored: bytes) -> list[bytes]:
    """The digests of a request's texts."""
    return [stored[start : start + _DIGEST] for start in range(0, len(stored), _DIGEST)]


def request_from(stored: bytes, look_up: Callable[[bytes], str]) -> dict[str, Any]:
    """The JSON of the request whose digests are stored.

    Args:
        stored: its digests.
        look_up: gives a text for its digest.
    """
    body, *messages = (json.loads(look_up(digest)) for digest in digests_in(stored))
    return request_of(body, messages)


def request_of(body: dict[str, Any], messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The parts of a request put together, in the order in which they are sent."""
    return {"model": body["model"], "messages": list(messages), **body}


def _tools_field(tools: tuple[ToolSpec, ...]) -> str:
    """Agents offer the same few sets of tools again and again, which are the longest part of most requests."""
    key = tuple(map(id, tools))
    known = _tools_known.get(key)
    if known is None:
        if len(_tools_known) >= _MOST_KNOWN:
            _tools_known.clear()
        # With the tools themselves: as long as they are kept, nothing else has their ids.
        known = _tools_known[key] = tools, _field("tools", [tool.as_dict() for tool in tools])
    return known[1]


def _field(name: str, value: Any) -> str:
    return f"{_encode(name)}:{_encode(value)}"


def _braced(fields: list[str]) -> str:
    return f"{{{','.join(fields)}}}"


def _storable(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which SQLite does not take
        return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    return text


def _refuse(value: Any) -> Any:
    raise ConfigurationError(
        f"{value!r} ({type(value).__name__}) in a request has no form in JSON. "
        "Use a str, number, bool, None, list or dict."
    )


# As in `request_key`.
_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_refuse).encode
