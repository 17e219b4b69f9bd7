"""The runs in a journal: how they are made, found and named."""

from __future__ import annotations

import itertools
import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesa_llm.errors import ConfigurationError, JournalError

_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """A run in a journal.

    Attributes:
        name: its name.
        started: when it was begun, in seconds since the epoch.
        metadata: what was given as such when it was begun.
        copy_of: the run whose model was copied or pickled, if a copy has gone on in this one.
        calls: how many calls are recorded, those without an answer included.
        steps: the last step of agents that has a call; 0 if none has.
    """

    name: str
    started: float
    metadata: Mapping[str, Any]
    copy_of: str | None
    calls: int
    steps: int


@dataclass(frozen=True, slots=True)
class RunId:
    """A run as it is referred to.

    Attributes:
        number: its id in the database.
        name: its name.
    """

    number: int
    name: str


def create_run(
    connection: sqlite3.Connection,
    path: Path,
    *,
    names: Iterable[str] | None = None,
    copy_of: str | None = None,
    metadata: Mapping[str, Any],
) -> RunId:
    """Make a new run.

    Args:
        connection: to the journal.
        path: the journal, for messages.
        names: names it may have, of which it gets the first that is free; by default the next number.
        copy_of: the run that it is a copy of.
        metadata: kept with it.

    Raises:
        ConfigurationError: if the metadata has no form in JSON.
        JournalError: if all of them are taken.
    """
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
        row = connection.execute(
            "INSERT INTO runs (name, copy_of, started, metadata) VALUES (?, ?, ?, ?)",
            (name, copy_of, time.time(), text),
        )
        assert row.lastrowid is not None
        return RunId(row.lastrowid, name)


def find_run(connection: sqlite3.Connection, path: Path, name: str | None) -> RunId:
    """A run by its name; by default the newest that is no copy.

    Raises:
        JournalError: if there is none.
    """
    condition, parameters = ("copy_of IS NULL", ()) if name is None else ("name = ?", (name,))
    query = f"SELECT id, name FROM runs WHERE {condition} ORDER BY id DESC LIMIT 1"
    found = connection.execute(query, parameters).fetchone()
    if found is None:
        there = names_of_runs(connection)
        if not there:
            raise JournalError(f"{path} holds no runs. Record one first.")
        raise JournalError(f"There is no run {name!r} in {path}. It holds {_told(there)}.")
    return RunId(*found)


def names_of_runs(connection: sqlite3.Connection) -> list[str]:
    """The names of all runs, newest first."""
    return [name for (name,) in connection.execute("SELECT name FROM runs ORDER BY id DESC")]


def _told(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} older ones" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more


def remove_if_empty(connection: sqlite3.Connection, run: RunId) -> None:
    """Remove a run in which no call has been made: it would be the newest, and hold nothing."""
    connection.execute(
        "DELETE FROM runs WHERE id = :run AND NOT EXISTS (SELECT 1 FROM calls WHERE run = :run)", {"run": run.number}
    )


def all_runs(connection: sqlite3.Connection) -> tuple[RecordedRun, ...]:
    """All runs, oldest first."""
    rows = connection.execute(
        "SELECT name, runs.started, metadata, copy_of, count(calls.id), coalesce(max(step), 0) FROM runs "
        "LEFT JOIN calls ON calls.run = runs.id GROUP BY runs.id ORDER BY runs.id"
    )
    return tuple(
        RecordedRun(
            name=name, started=started, metadata=json.loads(metadata), copy_of=copy_of, calls=calls, steps=steps
        )
        for name, started, metadata, copy_of, calls, steps in rows
    )
