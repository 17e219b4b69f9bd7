"""Runs and calls in the file: how they are written, found, checked and read."""

from __future__ import annotations

import itertools
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mesa_llm.errors import ConfigurationError, JournalError
from mesa_llm.journal.schema import damaged, decoded, row_digest
from mesa_llm.journal.serialization import request_from, text_digest

type Write = Callable[[sqlite3.Connection], object]
"""Writes something, on the writer's thread and within a transaction."""
type State = Literal["started", "answered", "failed", "cancelled"]

_RUN = "name, copy_of, started, metadata"
_SELECT_RUNS = f"SELECT id, {_RUN}, digest FROM runs"
_HAPPENED = ("calls", "steps", "events", "interviews")
_OF_RUNS = ("facts", *_HAPPENED)
"""The tables whose rows belong to a run."""
_RUNS_NAMED = 10
"""How many runs a message names."""


@dataclass(frozen=True, slots=True)
class Run:
    """A row of the table runs."""

    path: Path
    number: int
    name: str
    copy_of: str | None
    started: float
    metadata: str
    is_old: bool = False
    """Whether version 1 recorded it: without digests, and with the steps of agent sets."""

    def __str__(self) -> str:
        return f"run {self.name!r} of {self.path}"


def create_run(
    connection: sqlite3.Connection,
    path: Path,
    *,
    names: Iterable[str] | None = None,
    copy_of: str | None = None,
    metadata: Mapping[str, Any],
) -> Run:
    """Create a run, with the first of some names that is free (a `JournalError` if none is), or the next number."""
    try:
        text = json.dumps(dict(metadata), ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"metadata must have a form in JSON, got {dict(metadata)!r}: {error}.") from None
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        taken = names_of_runs(connection)
        for name in map(str, itertools.count(len(taken) + 1)) if names is None else names:
            if name not in taken:
                break
        else:
            raise JournalError(
                f"Run {name!r} is in {path} already. Give another name, or mode='resume' to go on with it."
            )
        # A number that no other row has: the row of an earlier run may be lost.
        numbers = " UNION ALL ".join(f"SELECT max(run) FROM {table}" for table in _OF_RUNS)
        (number,) = connection.execute(
            f"SELECT 1 + coalesce(max(number), 0) FROM (SELECT max(id) AS number FROM runs UNION ALL {numbers})"
        ).fetchone()
        run = Run(path, number, name, copy_of, time.time(), text)
        values = (name, copy_of, run.started, text)
        connection.execute(
            f"INSERT INTO runs (id, {_RUN}, digest) VALUES (?, ?, ?, ?, ?, ?)", (number, *values, row_digest(*values))
        )
        return run


def find_run(connection: sqlite3.Connection, path: Path, name: str | None) -> Run:
    """A run by its name; by default the newest that is not a copy. A `JournalError` if it is missing or damaged."""
    condition, parameters = ("copy_of IS NULL", ()) if name is None else ("name = ?", (name,))
    stored = connection.execute(f"{_SELECT_RUNS} WHERE {condition} ORDER BY id DESC LIMIT 1", parameters).fetchone()
    if stored is None:
        names = [run.name for run in all_runs(connection, path)][::-1]  # raises if a damaged row may have been this one
        if not names:
            raise JournalError(f"{path} holds no runs. Record one first.")
        more = f" and {len(names) - _RUNS_NAMED} older ones" if len(names) > _RUNS_NAMED else ""
        raise JournalError(
            f"There is no run {name!r} in {path}. It holds {', '.join(map(repr, names[:_RUNS_NAMED]))}{more}."
        )
    run = _checked_run(path, stored)
    if name is None:
        _check_runs_of_calls(connection, path, "run = (SELECT max(run) FROM calls)")
    return run


def all_runs(connection: sqlite3.Connection, path: Path) -> list[Run]:
    """All runs, oldest first. A `JournalError` if one of them is damaged, or its row is lost."""
    runs = [_checked_run(path, stored) for stored in connection.execute(f"{_SELECT_RUNS} ORDER BY id")]
    _check_runs_of_calls(connection, path, "true")
    return runs


def _checked_run(path: Path, stored: tuple[Any, ...]) -> Run:
    number, *row, digest = stored
    name, copy_of, started, metadata = row
    run = Run(path, number, name, copy_of, started, metadata, is_old=digest is None)
    if not run.is_old and digest != row_digest(*row):
        raise damaged(f"The {run}", f"row {number} of the table runs does not match its digest")
    return run


def _check_runs_of_calls(connection: sqlite3.Connection, path: Path, which: str) -> None:
    """Raise if the file holds calls without the row of their run, among the calls for which an SQL condition holds."""
    query = f"SELECT run, count(*) FROM calls WHERE {which} AND run NOT IN (SELECT id FROM runs) GROUP BY run LIMIT 1"
    for number, calls in connection.execute(query):
        raise damaged(str(path), f"the row of run number {number} is missing, and {calls} calls of it are there")


def names_of_runs(connection: sqlite3.Connection) -> list[str]:
    """The names of all runs."""
    return [name for (name,) in connection.execute("SELECT name FROM runs")]


def remove_if_empty(connection: sqlite3.Connection, run: Run) -> None:
    """Remove a run in which nothing happened: `replay` would take it for the newest."""
    for table in _HAPPENED:
        if connection.execute(f"SELECT 1 FROM {table} WHERE run = ? LIMIT 1", (run.number,)).fetchone():
            return
    connection.execute("DELETE FROM facts WHERE run = ?", (run.number,))
    connection.execute("DELETE FROM runs WHERE id = ?", (run.number,))


OUTSIDE = 0
"""Stands for the agent of a call that no agent makes; agents are counted from 1."""


class CallKey(NamedTuple):
    """What identifies a call in its run: `step`, `agent_id`, `request_key` and `repeat`; the rest is for people.

    `step` is the agent's own (see `CallOrigin`), 0 before the first; `agent_id` is 0 without an agent. `repeat` counts
    equal requests of the agent in this step from 1, `call` all of its calls, which concurrent ones make arbitrary.
    `texts` are those of `texts_of`; of a stored call they are not read.
    """

    step: int
    agent_id: int
    request_key: bytes
    repeat: int
    call: int
    model_step: int
    agent_class: str
    texts: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The call as messages name it, after the word."""
        return call_label(self.step, self.agent_class, self.agent_id, self.call)

    def __str__(self) -> str:
        nth = f" (equal request number {self.repeat})" if self.repeat > 1 else ""
        return f"Call {self.label}{nth}"


def call_label(step: int, agent_class: str, agent_id: int, call: int) -> str:
    """A call as messages name it, after the word."""
    if agent_id == OUTSIDE:
        return f"{call} outside of agents' steps"
    return f"{call} of {agent_class} {agent_id} in step {step}"


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A row of the table calls."""

    id: int
    key: CallKey
    request: bytes
    state: State
    started: float
    duration: float | None
    outcome: str | None

    def read[T](self, decode: Callable[[str], T], run: Run) -> T:
        """The outcome, decoded. Raises a `JournalError` that names the call if that cannot be done."""
        what = "answer to" if self.state == "answered" else "error of"
        return decoded(decode, self.outcome, lambda: f"The {what} call {self.key.label} in {run}")


_KEY = CallKey._fields[:-1]
_FIELDS = ("run", *_KEY, "request", "state", "started", "duration", "outcome")
"""The columns that the digest covers."""
_CALL = ", ".join(_FIELDS)
_VALUES = ", ".join(f":{name}" for name in _FIELDS)
_FINISHED = ", ".join(f":{name}" if name in {"state", "duration", "outcome"} else name for name in _FIELDS)
_SELECT_CALLS = f"SELECT id, {_CALL}, digest FROM calls"
_SAME_REQUEST = "run = :run AND agent_id = :agent_id AND request_key = :request_key"
_BY_KEY = f"{_SAME_REQUEST} AND step = :step AND repeat = :repeat"
_TEXTS_KNOWN = 10_000
"""How many texts are remembered as stored."""


def begin(run: Run, key: CallKey, known: set[bytes]) -> Write:
    """Write that a call begins, and its texts that are not `known`. Replaces what an interrupted run left there."""
    begun = {"run": run.number, "state": "started", "started": time.time(), "duration": None, "outcome": None}

    def write(connection: sqlite3.Connection) -> None:
        texts = [(text_digest(text), text) for text in key.texts]
        new = [(digest, text) for digest, text in texts if digest not in known]
        if new:
            connection.executemany("INSERT INTO texts (digest, text) VALUES (?, ?) ON CONFLICT DO NOTHING", new)
            if len(known) > _TEXTS_KNOWN:
                known.clear()
            known.update(digest for digest, _ in new)
        connection.execute(
            f"INSERT OR REPLACE INTO calls ({_CALL}, digest) VALUES ({_VALUES}, row_digest({_VALUES}))",
            key._asdict() | begun | {"request": b"".join(digest for digest, _ in texts)},
        )

    return write


def finish(run: Run, key: CallKey, state: State, seconds: float, outcome: str | None = None) -> Write:
    """Write the outcome of a call."""
    finished = {"run": run.number, "state": state, "duration": seconds, "outcome": outcome}

    def write(connection: sqlite3.Connection) -> None:
        written = connection.execute(
            f"UPDATE calls SET state = :state, duration = :duration, outcome = :outcome, "
            f"digest = row_digest({_FINISHED}) WHERE {_BY_KEY}",
            key._asdict() | finished,
        )
        if written.rowcount != 1:
            raise damaged(f"The {run}", f"the row of {key} is not there any more")

    return write


def forget(run: Run, key: CallKey) -> Write:
    """Remove a call that has no outcome, such as one that an exhausted budget refused."""
    values = key._asdict() | {"run": run.number}
    return lambda connection: connection.execute(f"DELETE FROM calls WHERE {_BY_KEY}", values)


def _checked_call(run: Run, stored: tuple[Any, ...]) -> StoredCall:
    number, *row, digest = stored
    key, rest = CallKey(*row[1 : 1 + len(_KEY)]), row[1 + len(_KEY) :]
    if not run.is_old and digest != row_digest(*row):
        raise damaged(f"Call {key.label} in {run}", f"row {number} of the table calls does not match its digest")
    return StoredCall(number, key, *rest)


def find_call(connection: sqlite3.Connection, run: Run, key: CallKey, nth: int) -> StoredCall | None:
    """The call that is recorded under a key. In a run of version 1, the `nth` of the agent's equal requests, from 1."""
    which = f"{_SAME_REQUEST} ORDER BY step, repeat LIMIT 1 OFFSET :nth - 1" if run.is_old else _BY_KEY
    values = key._asdict() | {"run": run.number, "nth": nth}
    found = connection.execute(f"{_SELECT_CALLS} WHERE {which}", values).fetchone()
    return None if found is None else _checked_call(run, found)


def all_calls(connection: sqlite3.Connection, run: Run) -> Iterator[StoredCall]:
    """All calls of a run, in the order in which they began, one at a time. A `JournalError` if they are damaged."""
    connection.execute("BEGIN")  # both queries see the same calls
    with connection:
        (indexed,) = connection.execute("SELECT count(*) FROM calls WHERE run = ?", (run.number,)).fetchone()
        n_read = 0
        # The plus keeps SQLite from using the index: it reads the rows themselves, without sorting.
        for stored in connection.execute(f"{_SELECT_CALLS} WHERE +run = ? ORDER BY id", (run.number,)):
            yield _checked_call(run, stored)
            n_read += 1
        if n_read != indexed:
            raise damaged(f"The {run}", f"{n_read} calls can be read, and its index has {indexed}")


def totals(connection: sqlite3.Connection, run: Run | None = None) -> dict[int, tuple[int, int]]:
    """By each run's number, or by that of one run: how many calls it has, and the last step of the model among them."""
    # Counts the rows themselves: an index may be damaged.
    query = "SELECT run, count(*), max(model_step) FROM calls NOT INDEXED WHERE :run IS NULL OR run = :run GROUP BY run"
    rows = connection.execute(query, {"run": None if run is None else run.number})
    return {number: (calls, last_model_step) for number, calls, last_model_step in rows}


def last_steps(connection: sqlite3.Connection, run: Run) -> dict[int, int]:
    """By each agent's id, the last of its own steps that has a call."""
    # Reads the rows themselves: calls that a damaged index hides are not asked again.
    query = "SELECT agent_id, max(step) FROM calls NOT INDEXED WHERE run = ? GROUP BY agent_id"
    return dict(connection.execute(query, (run.number,)))


def agents_called_after(connection: sqlite3.Connection, run: Run, call: StoredCall) -> bool:
    """Whether agents have made calls after a call."""
    query = "SELECT 1 FROM calls WHERE run = ? AND id > ? AND agent_id > ? LIMIT 1"
    return connection.execute(query, (run.number, call.id, OUTSIDE)).fetchone() is not None


def requests_in(connection: sqlite3.Connection, run: Run) -> Callable[[bytes, str], dict[str, Any]]:
    """A function that reads a request as it is stored, given its call's label for errors; it keeps the last texts."""

    @lru_cache(maxsize=1000)
    def text(digest: bytes) -> str:
        row = connection.execute("SELECT text FROM texts WHERE digest = ?", (digest,)).fetchone()
        if row is None:
            raise LookupError("a text of it is missing")
        if not isinstance(row[0], str) or text_digest(row[0]) != digest:
            raise ValueError("a text of it does not match its digest")
        return row[0]

    def request(stored: bytes, label: str) -> dict[str, Any]:
        return decoded(
            lambda digests: request_from(digests, text), stored, lambda: f"The request of call {label} in {run}"
        )

    return request
