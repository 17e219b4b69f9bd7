"""Answers from the journal: all of a run in a replay, as far as it reaches in a resumed run."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import json
import os
import sqlite3
import threading
import weakref
from collections import Counter, deque
from pathlib import Path
from typing import Any

from mesa_llm.clients import LLMClient, LLMRequest, LLMResponse
from mesa_llm.clients.masking import without_secrets
from mesa_llm.errors import JournalMissError
from mesa_llm.journal import store
from mesa_llm.journal.recording import CallIndex, Recording
from mesa_llm.journal.schema import connect, sqlite_errors
from mesa_llm.journal.serialization import RecordedError, response_from_json
from mesa_llm.journal.steps import InterviewRow, StepRow, find_interview, read_step
from mesa_llm.journal.store import OUTSIDE, CallKey, Run, State, StoredCall, Write, call_label

GRACE = 5.0
"""Seconds by which a call that its agent cancelled waits longer to be cancelled again."""
_COMPARED = 40
"""The most requests that are compared in search of the nearest."""
_LINES = 60
"""The most lines of a diff that are shown."""
_WIDTH = 120
"""The most characters of a line that are shown."""


class Replay:
    """A run that is replayed: every call is answered from the journal, or raises."""

    def __init__(self, path: Path, run: Run) -> None:
        self.run = run
        self.replayed = 0
        """How many calls have been answered from the journal, also with an error if that was their outcome."""
        self._index = CallIndex(path, run.name)
        self._equal: Counter[tuple[int, bytes]] = Counter()
        """How often each agent has made each request, in a run of version 1."""
        self._asked: Counter[tuple[int, int, str]] = Counter()
        """How often each agent has been asked each question off the record, in each step of the model."""
        self._is_sound = False
        """Whether all calls of the run have been read, and none is damaged."""
        self._connection = connect(path, read_only=True)
        self._using = threading.Lock()  # protects _connection: `close` is called on another thread than `complete`
        self._close = weakref.finalize(self, _close, self._connection, self._using, os.getpid())

    async def complete(self, request: LLMRequest, inner: LLMClient | None) -> LLMResponse:
        """Answer a call as it was answered. Runs on the transport loop; `inner` is not asked."""
        key = self._index.next(request)
        call = self._find(key)
        if call is None:
            raise self._missed(key, request, None)
        return await self._again(key, request, call)

    def _find(self, key: CallKey) -> StoredCall | None:
        """The call that is recorded under a key. If it is not found, all calls of the run are checked for damage."""
        nth = 0
        if self.run.is_old:
            self._equal[key.agent_id, key.request_key] += 1
            nth = self._equal[key.agent_id, key.request_key]
        with self._using, sqlite_errors(f"{key} in {self.run} cannot be used"):
            call = store.find_call(self._connection, self.run, key, nth)
            if call is None and not self._is_sound:  # a row that is damaged, or that the index lost, may be this call
                deque(store.all_calls(self._connection, self.run), maxlen=0)
                self._is_sound = True
        return call

    async def _again(self, key: CallKey, request: LLMRequest, call: StoredCall) -> LLMResponse:
        """Return or raise the recorded outcome again."""
        if call.state == "answered":
            response = call.read(response_from_json, self.run)
            self.replayed += 1
            return response
        if call.state == "failed":
            error = call.read(lambda text: RecordedError.from_json(text).exception(), self.run)
            self.replayed += 1
            raise error
        if call.state == "cancelled":  # the agent had a deadline of its own, or took another answer
            await asyncio.sleep((call.duration or 0) + GRACE)
        raise self._missed(key, request, call)

    def _missed(self, key: CallKey, request: LLMRequest, call: StoredCall | None) -> JournalMissError:
        """The error of a call that is not recorded, or whose record has no outcome."""
        with self._using, sqlite_errors(f"{key} in {self.run} cannot be used"):
            return JournalMissError(_describe_miss(self._connection, self.run, key, request, call))

    def put(self, write: Write) -> None:
        """Write nothing: a replay leaves the file as it is."""

    def drain(self) -> None:
        """Wait for nothing."""

    def at_end(self, write: Write) -> None:
        """Write nothing."""

    def recorded_step(self, step: int) -> StepRow | None:
        """The step of the model as it was recorded; `None` if it is not."""
        with self._using, sqlite_errors(f"Step {step} of {self.run} cannot be read"):
            return read_step(self._connection, self.run, step)

    def recorded_interview(self, step: int, agent_id: int, question: str) -> InterviewRow | None:
        """The recorded answer of an agent to the question, each in its turn; `None` if it is not recorded."""
        self._asked[step, agent_id, question] += 1
        nth = self._asked[step, agent_id, question]
        with self._using, sqlite_errors(f"Interviews of {self.run} cannot be read"):
            return find_interview(self._connection, self.run, step, agent_id, question, nth)

    def close(self) -> None:
        """Close the file. A second time does nothing. Happens by itself, as in `JournaledClient.close`."""
        self._close()


def _close(connection: sqlite3.Connection, using: threading.Lock, process: int) -> None:
    if os.getpid() == process:  # a fork must not touch the connection
        with using:
            connection.close()


class Resumption(Replay):
    """A run that goes on where it was interrupted; `JournaledClient` says which calls are asked.

    In a step that the run had left behind, the model must make the recorded calls again: what follows depends on them.
    """

    def __init__(self, path: Path, run: Run) -> None:
        with contextlib.ExitStack() as on_error:
            self._recording = Recording(path, run)
            on_error.callback(self._recording.close)
            super().__init__(path, run)
            on_error.callback(super().close)
            with sqlite_errors(f"The {run} cannot be used"):
                _, self._last_model_step = store.totals(self._connection, run).get(run.number, (0, 0))
                self._last_steps = store.last_steps(self._connection, run)
            on_error.pop_all()

    async def complete(self, request: LLMRequest, inner: LLMClient | None) -> LLMResponse:
        """Answer a call from the journal, or have it answered and record it. Runs on the transport loop."""
        assert inner is not None
        key = self._index.next(request)
        last_step = self._last_steps.get(key.agent_id, -1)
        left_behind = key.agent_id != OUTSIDE and (key.model_step < self._last_model_step or key.step < last_step)
        is_new = key.step > last_step and key.model_step > self._last_model_step
        call = None if is_new else self._find(key)
        if call is None and left_behind:
            raise self._missed(key, request, None)
        if call is not None and self._stands(call, left_behind=left_behind):
            return await self._again(key, request, call)
        return await self._recording.ask(key, request, inner)

    def _stands(self, call: StoredCall, *, left_behind: bool) -> bool:
        """Whether the outcome of a call is given again, and the call is not asked again."""
        if call.state not in {"failed", "cancelled"}:
            return call.state == "answered"
        if left_behind or call.key.agent_id != OUTSIDE:
            return left_behind
        with self._using, sqlite_errors(f"The {self.run} cannot be used"):
            return store.agents_called_after(self._connection, self.run, call)

    def put(self, write: Write) -> None:
        """As of a new run."""
        self._recording.put(write)

    def drain(self) -> None:
        """As of a new run."""
        self._recording.drain()

    def at_end(self, write: Write) -> None:
        """As of a new run."""
        self._recording.at_end(write)

    def close(self) -> None:
        """Close the file, and release the run. A second time does nothing."""
        super().close()
        self._recording.close()


# From near to far; within each, the nearest steps first.
_NEIGHBOURHOODS = (
    ("of the same agent in the same step", "step = :step AND agent_id = :agent"),
    ("of the same agent", "agent_id = :agent"),
    ("of the run", "1"),
)
_UNANSWERED: dict[State, str] = {
    "started": "was in flight when the run was interrupted, and has no answer",
    "cancelled": "was cancelled by the agent itself, and has no answer",
}


def _describe_miss(
    connection: sqlite3.Connection, run: Run, key: CallKey, request: LLMRequest, call: StoredCall | None
) -> str:
    """The message for a call without an outcome (`call`), or without a record: with a diff to the nearest request."""
    if call is not None:
        return f"{key} {_UNANSWERED[call.state]}, in {run}."
    missing = f"{key} is not recorded in {run}"
    _, last = store.totals(connection, run).get(run.number, (0, 0))
    if key.model_step > last > 0:
        missing += f", which ends with step {last}"
    found = _nearest(connection, run, key, request)
    if found is None:
        return f"{missing}, which holds no calls."
    which, label, recorded = found
    diff = list(
        difflib.unified_diff(
            recorded, request_lines(request.as_dict()), f"recorded: call {label}", "asked now", "", "", 1, ""
        )
    )
    if not diff:
        return f"{missing}. The same request is recorded in another place: call {label}."
    shown = [line if len(line) <= _WIDTH else f"{line[:_WIDTH]} … ({len(line)} characters)" for line in diff[:_LINES]]
    more = [f"… and {len(diff) - _LINES} more lines"] if len(diff) > _LINES else []
    return "\n".join([f"{missing}. The nearest recorded request, {which}, differs:", *shown, *more])


def _nearest(
    connection: sqlite3.Connection, run: Run, key: CallKey, request: LLMRequest
) -> tuple[str, str, list[str]] | None:
    """In which neighbourhood the nearest recorded request is, the label of its call, and its lines."""
    request_of = store.requests_in(connection, run)
    matcher = difflib.SequenceMatcher(None, autojunk=False)
    matcher.set_seq2(request_lines(request.as_dict()))
    for which, condition in _NEIGHBOURHOODS:
        rows = connection.execute(
            f"SELECT step, agent_class, agent_id, call, request FROM calls WHERE run = :run AND {condition} "
            f"ORDER BY abs(step - :step), abs(agent_id - :agent), call LIMIT {_COMPARED}",
            {"run": run.number, "step": key.step, "agent": key.agent_id},
        ).fetchall()
        best, nearest = -1.0, None
        for *call, stored in rows:
            label = call_label(*call)
            recorded = request_lines(request_of(stored, label))
            matcher.set_seq1(recorded)
            if (likeness := matcher.ratio()) > best:
                best, nearest = likeness, (label, recorded)
        if nearest is not None:
            return which if key.agent_id != OUTSIDE else "made outside of steps too", *nearest
    return None


def request_lines(request: dict[str, Any]) -> list[str]:
    """A request as people read it: its messages line by line, then all the rest. Long lines are broken after commas."""
    lines: list[str] = []
    for message in request["messages"]:
        lines += [f"[{message['role']}]", *str(message.get("content") or "").splitlines()]
        for call in message.get("tool_calls", ()):
            lines.append(f"calls {call['function']['name']}({call['function']['arguments']})")
    options = {name: value for name, value in sorted(request.items()) if name not in {"messages", "tools"}}
    rest = list(without_secrets(options).items())
    for tool in request.get("tools") or ():
        match tool:
            case {"function": {"name": name} as function}:
                rest.append((f"tool {name}", function))
            case _:  # in a form that only the provider knows
                rest.append(("tool", tool))
    lines += [f"{name}: {json.dumps(value, ensure_ascii=False, sort_keys=True)}" for name, value in rest]
    return [
        piece
        for line in lines
        for piece in ([line] if len(line) <= _WIDTH else line.replace(", ", ",\n  ").splitlines())
    ]
