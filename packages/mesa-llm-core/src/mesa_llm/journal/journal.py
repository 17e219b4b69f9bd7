"""Reads what has been recorded."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mesa_llm.clients import LLMResponse, ToolCall
from mesa_llm.journal import store
from mesa_llm.journal.schema import connect, decoded, sqlite_errors
from mesa_llm.journal.serialization import RecordedError, response_from_json
from mesa_llm.journal.steps import EventRow, StepRow, last_step, read_events, read_fact, read_interviews, read_steps
from mesa_llm.journal.store import OUTSIDE, Run, State

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """A run in a journal.

    Attributes:
        name: its name.
        started: when it began, in seconds since the epoch.
        metadata: as given when it began.
        copy_of: the run whose model was copied or pickled, if this is the run of a copy.
        calls: how many calls are recorded, with or without an outcome.
        steps: the last step of the model that is recorded, or has a call; 0 if none has.
        identity: what was run, see `record_run`; empty for a run of a `JournaledClient`, which knows nothing but calls.
        opaque: the attributes that hold something that state hashes do not cover, of which only the class is known,
            such as `"Citizen.socket"`.
        end: how it ended: `status`, `step`, `time`, `events`, `error` and `result`; `None` as long as it has not.
    """

    name: str
    started: float
    metadata: Mapping[str, Any]
    copy_of: str | None
    calls: int
    steps: int
    identity: Mapping[str, Any] = field(default_factory=dict)
    opaque: tuple[str, ...] = ()
    end: Mapping[str, Any] | None = None

    @property
    def status(self) -> str:
        """`completed`, `failed` or `interrupted`; `unfinished` if it still goes on or was killed; or `unknown`."""
        if self.end is not None:
            return str(self.end["status"])
        return "unfinished" if self.identity else "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedStep:
    """A step of a model in a journal.

    Attributes:
        step: the model's step; 0 stands for the model before the first.
        started: when it began, in seconds since the epoch.
        seconds: how long it took.
        state_hash: the `state_hash` of the model at its end; `None` if it failed.
        state: what the hash is made of, `{"agents": {"Citizen 3": {attribute: value}}, "model": {attribute: value}}`;
            in the place of a long value there is its digest, which begins with `#`.
        measures: the last value of each variable of the model's data collector.
        reports: a report for each set of agents that stepped in parallel, as `StepReport.from_dict` takes it.
        tallies: what agents did that Mesa stepped one at a time, by class.
        error: how it failed; `None` if it did not.
    """

    step: int
    started: float
    seconds: float
    state_hash: str | None
    state: Mapping[str, Any]
    measures: Mapping[str, Any]
    reports: Sequence[Mapping[str, Any]]
    tallies: Mapping[str, Mapping[str, Any]]
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """A model call in a journal.

    Attributes:
        run: the name of its run.
        step: which of the agent's own steps it belongs to; `None` for a call that no agent makes. In runs of earlier
            versions, which step of a set of agents.
        model_step: the model's step, as `step_of` counts it.
        agent_id: the agent's `unique_id`; `None` for a call that no agent makes.
        agent_class: the name of the agent's class.
        call: its number among the agent's calls in this step, from 1.
        request_key: the request's digest, see `request_key`.
        request: the request, as JSON of the chat completions API.
        state: `answered`; `failed`; `cancelled` by the agent itself; or `started`: in flight when the run was
            interrupted.
        response: the answer of an answered call.
        error: how a failed call failed.
        started: when it was sent, in seconds since the epoch.
        duration: seconds until its outcome; `None` without one.
    """

    run: str
    step: int | None
    model_step: int
    agent_id: int | None
    agent_class: str
    call: int
    request_key: str
    request: dict[str, Any]
    state: State
    response: LLMResponse | None
    error: RecordedError | None
    started: float
    duration: float | None


class Journal:
    """A file that `JournaledClient` has written, or is writing.

    Opens the file for each method call, and closes it again.

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Journal({str(self.path)!r})"

    def runs(self) -> tuple[RecordedRun, ...]:
        """The runs in it, oldest first.

        Raises:
            JournalError: if the file does not exist, is not a journal, or is damaged.
        """
        with self._opened() as connection:
            totals = store.totals(connection)
            return tuple(_recorded(connection, run, totals) for run in store.all_runs(connection, self.path))

    def run(self, name: str | None = None) -> RecordedRun:
        """One run.

        Args:
            name: its name; by default the newest that is not a copy of another.

        Raises:
            JournalError: if the file does not hold the run, or is damaged.
        """
        with self._opened() as connection:
            run = store.find_run(connection, self.path, name)
            return _recorded(connection, run, store.totals(connection, run))

    def calls(self, run: str | None = None) -> Iterator[RecordedCall]:
        """The calls of a run, in the order in which they began. One at a time is in memory.

        Args:
            run: the run's name; by default the newest that is not a copy of another.

        Raises:
            JournalError: if the file does not hold the run, or is damaged.
        """
        with self._opened() as connection:
            found = store.find_run(connection, self.path, run)
            request_of = store.requests_in(connection, found)
            for call in store.all_calls(connection, found):
                key, is_outside = call.key, call.key.agent_id == OUTSIDE
                yield RecordedCall(
                    run=found.name,
                    step=None if is_outside else key.step,
                    model_step=key.model_step,
                    agent_id=None if is_outside else key.agent_id,
                    agent_class=key.agent_class,
                    call=key.call,
                    request_key=key.request_key.hex(),
                    request=request_of(call.request, key.label),
                    state=call.state,
                    response=call.read(response_from_json, found) if call.state == "answered" else None,
                    error=call.read(RecordedError.from_json, found) if call.state == "failed" else None,
                    started=call.started,
                    duration=call.duration,
                )

    def steps(self, run: str | None = None) -> Iterator[RecordedStep]:
        """The steps of a run, in order. One at a time is in memory.

        Args:
            run: the run's name; by default the newest that is not a copy of another.

        Raises:
            JournalError: if the file does not hold the run, or is damaged.
        """
        with self._opened() as connection:
            found = store.find_run(connection, self.path, run)
            for row in read_steps(connection, found):
                label = f"Step {row.step} of {found}"
                yield RecordedStep(**decoded(_step_from, row, lambda label=label: label))  # type: ignore[misc]

    def events(self, run: str | None = None) -> Iterator[EventRow]:
        """The events of a run as they are stored, in order; `load_recording` makes `SimulationEvent`s of them.

        Args:
            run: the run's name; by default the newest that is not a copy of another.

        Raises:
            JournalError: if the file does not hold the run, or is damaged.
        """
        with self._opened() as connection:
            yield from read_events(connection, store.find_run(connection, self.path, run))

    def interviews(self, run: str | None = None) -> pd.DataFrame:
        """What agents were asked off the record, see `ask`.

        Args:
            run: the run's name; by default the newest that is not a copy of another.

        Returns:
            A frame with a row for each answer: `step`, `agent_id`, `agent_class`, `question`, the fields of the answers
            and `error`.

        Raises:
            JournalError: if the file does not hold the run, or is damaged.
        """
        import pandas as pd  # noqa: PLC0415 - slow to import

        with self._opened() as connection:
            rows = [
                {
                    **{name: getattr(row, name) for name in ("step", "agent_id", "agent_class", "question")},
                    **json.loads(row.answer or "{}"),
                    "error": row.error,
                }
                for row in read_interviews(connection, store.find_run(connection, self.path, run))
            ]
        return pd.DataFrame(rows, columns=None if rows else ["step", "agent_id", "agent_class", "question", "error"])

    def to_dataframe(self, run: str | None = None) -> pd.DataFrame:
        """The calls of a run as a table, one row a call: who asked what when, and what came of it.

        Args:
            run: the run's name; by default the newest that is not a copy of another.

        Returns:
            A frame of shape (calls, 22), in the order in which the calls began. `prompt` is the last message. `tools`
            has the names of the tools on offer, `called` those that the answer calls, `arguments` a dictionary for
            each of these calls, and `options` the sampling arguments.

        Raises:
            JournalError: if the file does not hold the run, or is damaged.
        """
        import pandas as pd  # noqa: PLC0415 - slow to import

        rows = [[column(call) for column in _COLUMNS.values()] for call in self.calls(run)]
        return pd.DataFrame.from_records(rows, columns=list(_COLUMNS))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        connection = connect(self.path, read_only=True)
        with contextlib.closing(connection), sqlite_errors(f"The journal {self.path} cannot be used"):
            yield connection


def _step_from(row: StepRow) -> dict[str, Any]:
    parsed = {name: json.loads(getattr(row, name) or "{}") for name in ("state", "measures", "reports", "tallies")}
    return row._asdict() | parsed


def _recorded(connection: sqlite3.Connection, run: Run, totals: Mapping[int, tuple[int, int]]) -> RecordedRun:
    calls, steps = totals.get(run.number, (0, 0))
    return RecordedRun(
        name=run.name,
        started=run.started,
        metadata=decoded(json.loads, run.metadata, lambda: f"The metadata of {run}"),
        copy_of=run.copy_of,
        calls=calls,
        steps=max(steps, last_step(connection, run)),
        identity=read_fact(connection, run, "identity") or {},
        opaque=tuple((read_fact(connection, run, "opaque") or {}).get("attributes", ())),
        end=read_fact(connection, run, "end"),
    )


def _retries(call: RecordedCall) -> int:
    if call.response is not None:
        return call.response.retries
    return call.error.details.get("retries", 0) if call.error is not None else 0


def _system_prompt(call: RecordedCall) -> str:
    return "\n\n".join(message["content"] for message in call.request["messages"] if message["role"] == "system")


def _name_of(tool: Any) -> Any:
    """The name of a tool on offer; `None` where it has one in a form that only its provider knows."""
    function = tool.get("function") if isinstance(tool, dict) else None
    return function.get("name") if isinstance(function, dict) else None


def _tool_calls(call: RecordedCall) -> Sequence[ToolCall]:
    return call.response.message.tool_calls if call.response else ()


_NO_OPTIONS = frozenset({"model", "messages", "tools", "tool_choice", "response_format"})

_COLUMNS: dict[str, Callable[[RecordedCall], Any]] = {
    "step": lambda call: call.step,
    "model_step": lambda call: call.model_step,
    "agent_id": lambda call: call.agent_id,
    "agent_class": lambda call: call.agent_class,
    "call": lambda call: call.call,
    "model": lambda call: call.request["model"],
    "options": lambda call: {name: value for name, value in call.request.items() if name not in _NO_OPTIONS},
    "tools": lambda call: [name for tool in call.request.get("tools", ()) if (name := _name_of(tool))],
    "system_prompt": _system_prompt,
    "prompt": lambda call: call.request["messages"][-1]["content"] if call.request["messages"] else "",
    "state": lambda call: call.state,
    "answer": lambda call: call.response.message.content if call.response else None,
    "tool_calls": lambda call: len(_tool_calls(call)),
    "called": lambda call: [called.name for called in _tool_calls(call)],
    "arguments": lambda call: [called.parsed_arguments() for called in _tool_calls(call)],
    "error": lambda call: f"{call.error.kind}: {call.error.message}" if call.error else None,
    "prompt_tokens": lambda call: call.response.usage.prompt_tokens if call.response else 0,
    "completion_tokens": lambda call: call.response.usage.completion_tokens if call.response else 0,
    "cost": lambda call: call.response.cost if call.response else None,
    "retries": _retries,
    "started": lambda call: call.started,
    "duration": lambda call: call.duration,
}
"""The columns of `Journal.to_dataframe`."""
