"""The file: one SQLite database, marked as a journal, and what is checked before it is used."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from mesa_llm.errors import JournalError
from mesa_llm.journal.damage import ERRORS, damaged, way_out

APPLICATION_ID = int.from_bytes(b"MLJ\x01")
"""Marks a database as a journal, in its header, where `file` and SQLite's own tools show it."""
VERSION = 2
"""The version of the tables below. Those of version 1 have no digests, and count steps of sets of agents."""
PATIENCE = 30.0
"""Seconds that a write waits for those of another process on the same file."""

_TABLES = (
    """CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        copy_of TEXT,             -- the run whose model was copied or pickled to begin this one
        started REAL NOT NULL,    -- seconds since the epoch
        metadata TEXT NOT NULL,   -- JSON, given by whoever made the run
        digest BLOB               -- of the row, see row_digest; NULL in rows written by version 1
    )""",
    # Each prompt, system prompt and set of tools once: agents and steps share most of them.
    """CREATE TABLE texts (
        id INTEGER PRIMARY KEY,
        digest BLOB NOT NULL UNIQUE,
        text TEXT NOT NULL        -- JSON: a message, or a request without its messages
    )""",
    """CREATE TABLE calls (
        id INTEGER PRIMARY KEY,   -- grows in the order in which calls begin
        run INTEGER NOT NULL REFERENCES runs (id),
        step INTEGER NOT NULL,    -- which of the agent's own steps; in rows written by version 1, of its set
        agent_id INTEGER NOT NULL, -- 0 for calls that no agent makes
        request_key BLOB NOT NULL,
        repeat INTEGER NOT NULL,  -- of equal requests of this agent in this step, which one; from 1
        call INTEGER NOT NULL,
        model_step INTEGER NOT NULL,
        agent_class TEXT NOT NULL,
        request BLOB NOT NULL,    -- digests of texts: the request without its messages, then each message
        state TEXT NOT NULL CHECK (state IN ('started', 'answered', 'failed', 'cancelled')),
        started REAL NOT NULL,    -- seconds since the epoch
        duration REAL,            -- seconds
        outcome TEXT,             -- JSON: the response, or the error
        digest BLOB,              -- of the row, see row_digest; NULL in rows written by version 1
        UNIQUE (run, step, agent_id, request_key, repeat)
    )""",
)
_UPGRADE = (
    "ALTER TABLE runs ADD COLUMN digest BLOB",
    "ALTER TABLE calls ADD COLUMN digest BLOB",
    "ALTER TABLE calls RENAME COLUMN outermost_step TO model_step",
)
"""Makes tables of version 1 those of version 2."""
_UPGRADED_VIEWS = (
    "CREATE TEMP VIEW IF NOT EXISTS runs AS SELECT *, NULL AS digest FROM main.runs",
    "CREATE TEMP VIEW IF NOT EXISTS calls AS SELECT *, outermost_step AS model_step, NULL AS digest FROM main.calls",
)
"""Makes tables of version 1 look like those of version 2, and leaves the file as it is."""
_DIGEST = 16
"""Bytes of a digest."""


def row_digest(*values: int | float | str | bytes | None) -> bytes:
    """The digest of a row: what it must be if no byte of the row has changed. A function in SQL too.

    It is kept in the row itself. It tells damage from what was written, not somebody's intent from another's.

    Args:
        values: all of the row but its id, in the order of its columns.
    """
    return hashlib.blake2b(ascii(values).encode(), digest_size=_DIGEST).digest()


def connect(path: Path, *, create: bool = False, read_only: bool = False) -> sqlite3.Connection:
    """Open a journal. The connection may be used from any thread, by one at a time.

    Args:
        path: the file.
        create: whether to make it if it is not there.
        read_only: whether the connection is for reading alone.

    Raises:
        JournalError: if it is not there, is no journal, is one of a later version, or cannot be opened.
    """
    _check_place(path, create=create)
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}",
            uri=True,
            timeout=PATIENCE,
            isolation_level=None,
            check_same_thread=False,
        )
    except ERRORS as error:
        raise JournalError(_unusable(path, error)) from error
    try:
        connection.text_factory = _text
        connection.create_function("row_digest", -1, row_digest, deterministic=True)
        _patiently(lambda: _check_contents(connection, path, create=create, read_only=read_only))
        # A process that is killed loses nothing that was committed; a power failure may cost the last commits.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA query_only = {read_only:d}")
    except ERRORS as error:
        connection.close()
        raise JournalError(_unusable(path, error)) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _patiently(do: Callable[[], None]) -> None:
    """Try again while another process makes the file: SQLite's own patience does not cover the change to WAL mode."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return do()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _text(stored: bytes) -> str | bytes:
    """A text as it is read. One that is damaged stays bytes, so that it is noticed where it is used."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored


def _unusable(path: Path, error: Exception) -> str:
    return f"{path} cannot be used as a journal: {error}. {way_out(error)}"


def _check_place(path: Path, *, create: bool) -> None:
    try:
        is_folder, exists, has_folder = path.is_dir(), path.exists(), path.parent.is_dir()
    except OSError as error:  # in a folder that nobody may look into
        raise JournalError(f"{path} cannot be used as a journal: {error}. Give another file.") from error
    if is_folder:
        raise JournalError(f"{path} is a folder. Give a file for the journal, for example {path / 'run.db'}.")
    if not create and not exists:
        raise JournalError(f"There is no journal at {path}. Record a run first.")
    if not has_folder:
        raise JournalError(f"There is no folder {path.parent} for the journal {path.name}. Make it first.")


def _check_contents(connection: sqlite3.Connection, path: Path, *, create: bool, read_only: bool) -> None:
    if create and _is_empty(connection):
        _make_tables(connection)
    marked, version = _number(connection, "application_id"), _number(connection, "user_version")
    if marked != APPLICATION_ID:
        if _is_empty(connection):
            raise JournalError(f"{path} is empty. Record a run first, or restore the file from a copy.")
        raise JournalError(f"{path} is an SQLite database, but no journal. Give another file.")
    if version > VERSION:
        raise JournalError(
            f"{path} was written by a later mesa-llm-core (version {version} of its tables; this one knows {VERSION}). "
            "Upgrade mesa-llm-core, or give another file."
        )
    if version < 1:
        raise damaged(str(path), f"its tables have version {version}, which does not exist")
    there = _columns(connection)
    for table, column, *_ in sorted(_columns_of(version) - there):
        raise damaged(str(path), f"its table {table} has no column {column}, or one of another type")
    if version < VERSION:
        _upgrade(connection, read_only=read_only)


def _columns(connection: sqlite3.Connection) -> set[tuple[str, str, str, int]]:
    """Table, name and type of each column, and which of the primary key it is."""
    query = (
        "SELECT tables.name, columns.name, columns.type, columns.pk FROM main.sqlite_master AS tables, "
        "pragma_table_info(tables.name, 'main') AS columns WHERE tables.type = 'table'"
    )
    return set(connection.execute(query))


@functools.cache
def _columns_of(version: int) -> set[tuple[str, str, str, int]]:
    """The columns that a journal of a version has."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for table in _TABLES:
            connection.execute(table)
        columns = _columns(connection)
    if version == VERSION:
        return columns
    of_later_versions = {("runs", "digest"), ("calls", "digest"), ("calls", "model_step")}
    kept = {column for column in columns if column[:2] not in of_later_versions}
    return kept | {("calls", "outermost_step", "INTEGER", 0)}


def _upgrade(connection: sqlite3.Connection, *, read_only: bool) -> None:
    if read_only:
        connection.execute("PRAGMA temp_store = MEMORY")
        for view in _UPGRADED_VIEWS:
            connection.execute(view)
        return
    connection.execute("BEGIN IMMEDIATE")
    with connection:  # commits, or rolls back
        if _number(connection, "user_version") < VERSION:  # of two processes at once, the other has been first
            for change in _UPGRADE:
                connection.execute(change)
            connection.execute(f"PRAGMA user_version = {VERSION}")


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    with connection:  # commits, or rolls back
        if _is_empty(connection):  # of two processes at once, the other has been first
            for table in _TABLES:
                connection.execute(table)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")


def _is_empty(connection: sqlite3.Connection) -> bool:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return tables == 0 and _number(connection, "application_id") == 0


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    (number,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(number)
