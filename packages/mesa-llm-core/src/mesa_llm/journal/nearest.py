"""What a replay misses, beside what was recorded nearest to it."""

from __future__ import annotations

import difflib
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from mesa_llm.clients import LLMRequest
from mesa_llm.journal.calls import State, last_model_step, requests_in
from mesa_llm.journal.places import OUTSIDE, Place, number_of_call
from mesa_llm.journal.runs import RunId

_COMPARED = 40
"""The most requests that are compared in search of the nearest."""
_LINES = 60
"""The most lines of a diff that are shown."""
_WIDTH = 120
"""The most characters of a line that are shown."""

# From near to far; of each the nearest steps first.
_NEIGHBOURHOODS = (
    ("of the same agent in the same step", "step = :step AND agent_id = :agent"),
    ("of the same agent", "agent_id = :agent"),
    ("of the run", "1"),
)
_UNANSWERED: dict[State, str] = {
    "started": "was in flight when the run was broken off, and has no answer",
    "cancelled": "was cancelled by the agent itself, and has no answer",
}


def told_as_missing(
    connection: sqlite3.Connection, run: RunId, place: Place, request: LLMRequest, state: State | None
) -> str:
    """What to say of a call that cannot be replayed.

    Args:
        connection: to the journal.
        run: the run that is replayed.
        place: the call's place.
        request: what it asks.
        state: the state of what is recorded at this very place; `None` if nothing is.

    Returns:
        One line; and if nothing is recorded there, the nearest recorded request as a unified diff below.
    """
    if state is not None:
        return f"{place} {_UNANSWERED.get(state, state)}, in {run}."
    missing = f"{place} is not recorded in {run}"
    last = last_model_step(connection, run)
    if place.model_step > last > OUTSIDE:
        missing += f", which ends with step {last}"
    found = _nearest(connection, run, place, request)
    if found is None:
        return f"{missing}, which holds no calls."
    which, at, recorded = found
    diff = difflib.unified_diff(
        _lines(recorded), _lines(request.as_dict()), f"recorded: {at}", "asked now", lineterm="", n=1
    )
    lines = _shortened(list(diff))
    if not lines:
        return f"{missing}. The same request is recorded in another place: {at}."
    return "\n".join([f"{missing}. The nearest recorded request, {which}, differs:", *lines])


def _nearest(
    connection: sqlite3.Connection, run: RunId, place: Place, request: LLMRequest
) -> tuple[str, str, dict[str, Any]] | None:
    """Whose the nearest recorded request is, its place, and the request."""
    recorded_request = requests_in(connection, run)
    asked = _lines(request.as_dict())
    for which, condition in _NEIGHBOURHOODS:
        rows = connection.execute(
            f"SELECT step, agent_class, agent_id, call, request FROM calls WHERE run = :run AND {condition} "
            f"ORDER BY abs(step - :step), abs(agent_id - :agent), call LIMIT {_COMPARED}",
            {"run": run.number, "step": place.step, "agent": place.agent_id},
        ).fetchall()
        candidates = [
            (f"call {number_of_call(*at)}", recorded_request(stored, f"call {number_of_call(*at)}"))
            for *at, stored in rows
        ]
        if candidates:
            at, recorded = max(candidates, key=lambda candidate: _likeness(asked, _lines(candidate[1])))
            return which if place.agent_id != OUTSIDE else "made outside of steps too", at, recorded
    return None


def _likeness(one: list[str], other: list[str]) -> float:
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()


def _lines(request: dict[str, Any]) -> list[str]:
    """A request as it is read: its messages line by line, then all the rest. Long lines are broken after commas."""
    rest = (f"{name}: {json.dumps(value, ensure_ascii=False, sort_keys=True)}" for name, value in _rest_of(request))
    return [
        piece
        for line in (*_message_lines(request), *rest)
        for piece in ([line] if len(line) <= _WIDTH else line.replace(", ", ",\n  ").splitlines())
    ]


def _message_lines(request: dict[str, Any]) -> Iterator[str]:
    for message in request["messages"]:
        yield f"[{message['role']}]"
        yield from str(message.get("content") or "").splitlines()
        for call in message.get("tool_calls", ()):
            yield f"calls {call['function']['name']}({call['function']['arguments']})"


def _rest_of(request: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in sorted(request.items()):
        if name == "tools":
            for tool in value:
                yield f"tool {tool['function']['name']}", tool["function"]
        elif name != "messages":
            yield name, value


def _shortened(diff: list[str]) -> list[str]:
    left_out = len(diff) - _LINES
    shown = [line if len(line) <= _WIDTH else f"{line[:_WIDTH]} … ({len(line)} characters)" for line in diff[:_LINES]]
    return shown + ([f"… and {left_out} more lines"] if left_out > 0 else [])
