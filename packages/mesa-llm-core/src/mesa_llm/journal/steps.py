"""What a run did beside its calls: facts, steps, events and interviews in the file, how they are written and read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from mesa_llm.journal.schema import damaged, decoded, row_digest
from mesa_llm.journal.serialization import as_json
from mesa_llm.journal.store import Run, Write

type Fact = Literal["identity", "end", "opaque"]


class StepRow(NamedTuple):
    """A row of the table steps, see there. Its JSON is text."""

    step: int
    started: float
    seconds: float
    state_hash: str | None
    state: str | None
    measures: str
    reports: str
    tallies: str
    error: str | None


class EventRow(NamedTuple):
    """A row of the table events, see there. Its JSON is text."""

    number: int
    time: float
    step: int
    agent_id: int | None
    type: str
    content: str
    metadata: str


class InterviewRow(NamedTuple):
    """A row of the table interviews, see there, but for its number. Its JSON is text."""

    time: float
    step: int
    agent_id: int
    agent_class: str
    question: str
    answer: str | None
    error: str | None


def write_fact(run: Run, name: Fact, value: Mapping[str, Any] | None) -> Write:
    """Write what is known of a run, in the place of what was known before; `None` removes that."""
    if value is None:
        delete = "DELETE FROM facts WHERE run = ? AND name = ?"
        return lambda connection: connection.execute(delete, (run.number, name))
    row = (run.number, name, as_json(dict(value)))
    return lambda connection: _insert(connection, "facts", [row])


def write_step(run: Run, row: StepRow) -> Write:
    """Write a step, in the place of what an interrupted run has left there."""
    return lambda connection: _insert(connection, "steps", [(run.number, *row)])


def write_events(run: Run, rows: Iterable[EventRow]) -> Write:
    """Write events, in order, in the place of those that an interrupted run has left in the same steps."""
    rows = tuple(rows)

    def write(connection: sqlite3.Connection) -> None:
        first, last = rows[0], rows[-1]
        connection.execute(
            "DELETE FROM events WHERE run = ? AND number >= ? AND step <= ?", (run.number, first.number, last.step)
        )
        _insert(connection, "events", [(run.number, *row) for row in rows])

    return write


def write_interviews(run: Run, rows: Iterable[InterviewRow]) -> Write:
    """Write interviews after those that are there."""
    rows = tuple(rows)

    def write(connection: sqlite3.Connection) -> None:
        query = "SELECT coalesce(max(number), 0) FROM interviews WHERE run = ?"
        (last,) = connection.execute(query, (run.number,)).fetchone()
        _insert(connection, "interviews", [(run.number, number, *row) for number, row in enumerate(rows, last + 1)])

    return write


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    stored = [(*row, row_digest(*row)) for row in rows]
    if stored:
        places = ", ".join("?" * len(stored[0]))
        connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({places})", stored)


def read_fact(connection: sqlite3.Connection, run: Run, name: Fact) -> dict[str, Any] | None:
    """What is known of a run; `None` if it is not recorded."""
    for _, value in _rows(connection, run, "facts", "name = ?", name):
        fact: dict[str, Any] = decoded(json.loads, value, lambda: f"The {name} of {run}")
        return fact
    return None


def read_steps(connection: sqlite3.Connection, run: Run) -> Iterator[StepRow]:
    """The steps of a run, in order, one at a time."""
    return (StepRow(*row) for row in _rows(connection, run, "steps"))


def read_step(connection: sqlite3.Connection, run: Run, step: int) -> StepRow | None:
    """A step of a run; `None` if it is not recorded."""
    return next((StepRow(*row) for row in _rows(connection, run, "steps", "step = ?", step)), None)


def read_events(connection: sqlite3.Connection, run: Run) -> Iterator[EventRow]:
    """The events of a run, in order, one at a time."""
    return (EventRow(*row) for row in _rows(connection, run, "events"))


def read_interviews(connection: sqlite3.Connection, run: Run) -> Iterator[InterviewRow]:
    """The interviews of a run, in order, one at a time."""
    return (InterviewRow(*row[1:]) for row in _rows(connection, run, "interviews"))


def find_interview(
    connection: sqlite3.Connection, run: Run, step: int, agent_id: int, question: str, nth: int
) -> InterviewRow | None:
    """An agent's answer to the nth asking of a question in a step, from 1; `None` if the run has no such answer."""
    condition = "step = ? AND agent_id = ? AND question = ?"
    found = list(_rows(connection, run, "interviews", condition, step, agent_id, question))
    return InterviewRow(*found[nth - 1][1:]) if len(found) >= nth else None


def last_step(connection: sqlite3.Connection, run: Run) -> int:
    """The last step of the model that is recorded; 0 if none is."""
    (step,) = connection.execute("SELECT max(step) FROM steps WHERE run = ?", (run.number,)).fetchone()
    return step or 0


def _rows(
    connection: sqlite3.Connection, run: Run, table: str, condition: str = "true", *values: Any
) -> Iterator[tuple[Any, ...]]:
    """The rows of a table, without the run and the digest. A `JournalError` if one does not match its digest."""
    query = f"SELECT * FROM {table} WHERE run = ? AND {condition} ORDER BY 2"
    for *row, digest in connection.execute(query, (run.number, *values)):
        if digest != row_digest(*row):
            raise damaged(f"The {run}", f"row {row[1]!r} of the table {table} does not match its digest")
        yield tuple(row[1:])
