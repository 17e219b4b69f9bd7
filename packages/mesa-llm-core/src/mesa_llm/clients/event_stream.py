"""A completion that a server sent as an event stream, although it was not asked to: its chunks put together."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_DATA = re.compile(r"^data:[ ]?(.*?)\r?$", re.MULTILINE)
_BEGINNING = re.compile(r"(?:\s*(?::|event:|id:|retry:)[^\n]*\n)*\s*data:")


def is_event_stream(text: str) -> bool:
    """Whether a body is an event stream: fields and comments, and data among them."""
    return _BEGINNING.match(text) is not None


def read_event_stream(text: str) -> Any:
    """The completion in an event stream, put together; the event that reports an error; `None` if it breaks off."""
    whole: dict[str, Any] = {}
    message: dict[str, Any] = {"role": "assistant", "content": None}
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": None}
    has_ended = False
    for event in _events(text):
        if event is None:
            has_ended = True
            continue
        if event.get("error"):
            return event
        whole |= {name: value for name, value in event.items() if name != "choices" and value is not None}
        chunks = event.get("choices")
        for chunk in chunks if isinstance(chunks, list) else ():
            if not isinstance(chunk, Mapping) or chunk.get("index", 0) != 0:
                continue
            _add(message, chunk.get("delta") or chunk.get("message") or {})
            if chunk.get("finish_reason") is not None:
                choice["finish_reason"] = chunk["finish_reason"]
                has_ended = True
    return whole | {"choices": [choice]} if has_ended else None


def _events(text: str) -> Iterator[dict[str, Any] | None]:
    """The data of each event; `None` for the mark of the end."""
    for data in _DATA.findall(text):
        if data.strip() == "[DONE]":
            yield None
        elif data.strip() and isinstance(event := json.loads(data), dict):
            yield event


def _add(message: dict[str, Any], delta: Any) -> None:
    """Add a piece to a message: texts and lists grow, and calls do so one by one."""
    if not isinstance(delta, Mapping):
        return
    for name, value in delta.items():
        if name == "tool_calls" and isinstance(value, list):
            calls = message.setdefault("tool_calls", [])
            for piece in value:
                if isinstance(piece, Mapping):
                    _add_call(calls, piece)
        elif name == "role" or value is None:
            continue
        elif isinstance(value, str | list) and isinstance(message.get(name), type(value)):
            message[name] = message[name] + value
        elif isinstance(value, Mapping):
            _add(message.setdefault(name, {}), value)
        else:
            message[name] = value


def _add_call(calls: list[dict[str, Any]], piece: Mapping[str, Any]) -> None:
    index = piece.get("index", len(calls))
    known = next((call for call in calls if call["index"] == index), None)
    if known is None:
        known = {"index": index, "function": {}}
        calls.append(known)
    known |= {name: value for name, value in piece.items() if name in {"id", "type"} and value}
    function = piece.get("function")
    if isinstance(function, Mapping):
        known["function"].setdefault("name", function.get("name"))  # some servers repeat it in each chunk
        _add(known["function"], {"arguments": function.get("arguments")})
