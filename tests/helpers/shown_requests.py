"""Requests as text, for snapshots that show a changed word as a diff."""

from __future__ import annotations

import json


def as_text(request):
    """All that a request has: its messages, its tools, and its other fields."""
    fields = request.as_dict()
    parts = [f"--- {message['role']}\n{_content(message)}" for message in fields.pop("messages")]
    tools = fields.pop("tools", None)
    if tools:
        parts.append("\n".join(["--- tools", *map(_as_json, tools)]))
    fields.pop("model")
    if fields:
        parts.append("\n".join(["--- besides", *(f"{name}: {_as_json(value)}" for name, value in fields.items())]))
    return "\n".join(parts)


def as_page(titled):
    """Requests, each with a title, as the text of a file."""
    return "\n\n".join(f"===== {title}\n{as_text(request)}" for title, request in titled) + "\n"


def _content(message):
    more = {name: value for name, value in message.items() if name not in {"role", "content"}}
    content = message["content"] if isinstance(message["content"], str) else _as_json(message["content"])
    return f"{content}\n{_as_json(more)}" if more else content


def _as_json(value):
    return json.dumps(value, ensure_ascii=False)
