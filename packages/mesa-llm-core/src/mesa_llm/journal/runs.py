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
from mesa_llm.journal.damage import damaged, decoded
from mesa_llm.journal.schema import row_digest

type _Row = tuple[RunId, str | None, float, str]

_SHOWN = 10

_ROW = "name, copy_of, started, metadata"
_SELECT = f"SELECT id, {_ROW}, digest FROM runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """A run in a journal.

    Attributes:
        name: its name.
        started: when it was begun, in seconds since the epoch.
        metadata: what was given as such when it was begun.
        copy_of: the run whose model was copied or pickled, if a copy has gone on in this one.
        calls: how many calls are recorded, those without an answer included.
        steps: the last step of the model that has a call; 0 if none has.
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
        path: the journal.
        is_old: whether version 1 has recorded it, which counted steps in another way.
    """

    number: int
    name: str
    path: Path
    is_old: bool = False

    def __str__(self) -> str:
        return f"run {self.name!r} of {self.path}"


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
        # Nor does it take over calls of a run whose row is lost.
        (number,) = connection.execute(
            "SELECT 1 + max((SELECT coalesce(max(id), 0) FROM runs), (SELECT coalesce(max(run), 0) FROM calls))"
        ).fetchone()
        connection.execute(
            f"INSERT INTO runs (id, {_ROW}, digest) VALUES (:id, :name, :copy_of, :started, :metadata, "
            "row_digest(:name, :copy_of, :started, :metadata))",
            {"id": number, "name": name, "copy_of": copy_of, "started": time.time(), "metadata": text},
        )
        return RunId(number, name, path)


def find_run(connection: sqlite3.Connection, path: Path, name: str | None) -> RunId:
    """A run by its name; by default the newest that is no copy.

    Raises:
        JournalError: if there is none, or it is damaged.
    """
    run, *_ = _find(connection, path, name)
    return run


def _find(connection: sqlite3.Connection, path: Path, name: str | None) -> _Row:
    condition, parameters = ("copy_of IS NULL", ()) if name is None else ("name = ?", (name,))
    stored = connection.execute(f"{_SELECT} WHERE {condition} ORDER BY id DESC LIMIT 1", parameters).fetchone()
    if stored is None:
        there = [run.name for run, *_ in _rows(connection, path)]  # it may be what a damaged row was before
        if not there:
            raise JournalError(f"{path} holds no runs. Record one first.")
        raise JournalError(f"There is no run {name!r} in {path}. It holds {_told(there[::-1])}.")
    row = _checked(path, stored)
    if name is None:
        _check_rows(connection, path, "run = (SELECT max(run) FROM calls)")
    return row


def _checked(path: Path, stored: tuple[Any, ...]) -> _Row:
    """The row of a run, if it is what was written: the run, what it is a copy of, when it began, its metadata.

    Raises:
        JournalError: if it is not.
    """
    number, *row, digest = stored
    name, copy_of, started, metadata = row
    run = RunId(number, name, path, is_old=digest is None)
    if digest is not None and digest != row_digest(*row):
        raise damaged(f"The {run}", f"row {number} of the table runs does not match its digest")
    for value, type_ in zip(row, (str, str | None, float, str), strict=True):
        if not isinstance(value, type_):
            raise damaged(f"The {run}", f"row {number} of the table runs holds {value!r}")
    return run, copy_of, started, metadata


def _check_rows(connection: sqlite3.Connection, path: Path, which: str) -> None:
    """Refuse a journal in which calls are there and the row of their run is not.

    Args:
        connection: to the journal.
        path: the journal, for messages.
        which: condition of the calls that are looked at, in SQL.
    """
    query = f"SELECT run, count(*) FROM calls WHERE {which} AND run NOT IN (SELECT id FROM runs) GROUP BY run LIMIT 1"
    for number, calls in connection.execute(query):
        raise damaged(str(path), f"the row of run number {number} is missing, and {calls} calls of it are there")


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


def all_runs(connection: sqlite3.Connection, path: Path) -> tuple[RecordedRun, ...]:
    """All runs, oldest first.

    Raises:
        JournalError: if one of them is damaged.
    """
    return tuple(_read_run(connection, row) for row in _rows(connection, path))


def _rows(connection: sqlite3.Connection, path: Path) -> list[_Row]:
    """The rows of all runs, oldest first, if all of them are there and are what was written.

    Raises:
        JournalError: if one is not.
    """
    rows = [_checked(path, stored) for stored in connection.execute(f"{_SELECT} ORDER BY id")]
    _check_rows(connection, path, "true")
    return rows


def read_run(connection: sqlite3.Connection, path: Path, name: str | None) -> RecordedRun:
    """A run by its name; by default the newest that is no copy.

    Raises:
        JournalError: if there is none, or it is damaged.
    """
    return _read_run(connection, _find(connection, path, name))


def _read_run(connection: sqlite3.Connection, row: _Row) -> RecordedRun:
    run, copy_of, started, metadata = row
    calls, steps = connection.execute(
        "SELECT count(*), coalesce(max(model_step), 0) FROM calls WHERE run = ?", (run.number,)
    ).fetchone()
    return RecordedRun(
        name=run.name,
        started=started,
        metadata=decoded(_metadata_from_json, metadata, lambda: f"The metadata of {run}"),
        copy_of=copy_of,
        calls=calls,
        steps=steps,
    )


def _metadata_from_json(text: str) -> dict[str, Any]:
    metadata = json.loads(text)
    if not isinstance(metadata, dict):
        raise TypeError(f"expected a JSON object, got {metadata!r}")
    return metadata
