"""The file: an SQLite database, marked as a journal. How it is opened, checked and upgraded; what its errors mean."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from mesa_llm.errors import JournalError

APPLICATION_ID = int.from_bytes(b"MLJ\x01")
"""Marks a database as a journal, in its header, where `file` and SQLite's own tools show it."""
VERSION = 3
"""The version of the tables below. Version 2 has runs and calls alone; it is upgraded when it is opened for writing.

Version 1, which is only read, has no digests either, and counts the steps of agent sets.
"""
PATIENCE = 30.0
"""Seconds that a write waits for the writes of another process to the same file."""
DIGEST_SIZE = 16
"""Bytes of a digest of a row or a text."""

_TABLES = (
    """CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        copy_of TEXT,             -- the run whose model was copied or pickled to begin this one
        started REAL NOT NULL,    -- seconds since the epoch
        metadata TEXT NOT NULL,   -- JSON, from the caller
        digest BLOB               -- of the row, see row_digest
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
        step INTEGER NOT NULL,    -- which of the agent's own steps
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
        digest BLOB,              -- of the row, see row_digest
        UNIQUE (run, step, agent_id, request_key, repeat)
    )""",
)
_TABLES_SINCE_3 = (
    """CREATE TABLE facts (
        run INTEGER NOT NULL REFERENCES runs (id),
        name TEXT NOT NULL,       -- identity: what was run; end: how it ended; opaque: what state hashes do not cover
        value TEXT NOT NULL,      -- JSON
        digest BLOB,              -- of the row, see row_digest
        PRIMARY KEY (run, name)
    )""",
    """CREATE TABLE steps (
        run INTEGER NOT NULL REFERENCES runs (id),
        step INTEGER NOT NULL,    -- the model's; 0 is the model before the first
        started REAL NOT NULL,    -- seconds since the epoch
        seconds REAL NOT NULL,
        state_hash TEXT,          -- at the end of the step; NULL if it failed
        state TEXT,               -- JSON, of which state_hash is the SHA-256: values and digests of attributes
        measures TEXT NOT NULL,   -- JSON: the last value of each variable of the data collector
        reports TEXT NOT NULL,    -- JSON: a report for each set of agents that stepped in parallel
        tallies TEXT NOT NULL,    -- JSON: what agents did that Mesa stepped one at a time, by class
        error TEXT,               -- how it failed
        digest BLOB,              -- of the row, see row_digest
        PRIMARY KEY (run, step)
    )""",
    """CREATE TABLE events (
        run INTEGER NOT NULL REFERENCES runs (id),
        number INTEGER NOT NULL,  -- in the order in which they happened, from 0
        time REAL NOT NULL,       -- seconds since the epoch
        step INTEGER NOT NULL,    -- the model's
        agent_id INTEGER,         -- NULL for events of the model
        type TEXT NOT NULL,
        content TEXT NOT NULL,    -- JSON
        metadata TEXT NOT NULL,   -- JSON
        digest BLOB,              -- of the row, see row_digest
        PRIMARY KEY (run, number)
    )""",
    """CREATE TABLE interviews (
        run INTEGER NOT NULL REFERENCES runs (id),
        number INTEGER NOT NULL,  -- from 1
        time REAL NOT NULL,       -- seconds since the epoch
        step INTEGER NOT NULL,    -- the model's
        agent_id INTEGER NOT NULL,
        agent_class TEXT NOT NULL,
        question TEXT NOT NULL,
        answer TEXT,              -- JSON; NULL if the agent gave no answer
        error TEXT,               -- why the agent gave no answer
        digest BLOB,              -- of the row, see row_digest
        PRIMARY KEY (run, number)
    )""",
)
_VERSION_1_AS_2 = (
    "CREATE TEMP VIEW IF NOT EXISTS runs AS SELECT *, NULL AS digest FROM main.runs",
    "CREATE TEMP VIEW IF NOT EXISTS calls AS SELECT *, outermost_step AS model_step, NULL AS digest FROM main.calls",
)
"""Shows tables of version 1 as those of version 2, and leaves the file unchanged."""

_DAMAGED = "Restore the file from a copy, or record the run again."
_HINTS = {
    **dict.fromkeys(
        (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED), "Another process holds it: try again when that one has ended."
    ),
    **dict.fromkeys(
        (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY),
        "Give another file, or a folder that can be written to.",
    ),
    sqlite3.SQLITE_FULL: "Free space on the disk, then go on with mode='resume'.",
    sqlite3.SQLITE_IOERR: "Check the disk, then go on with mode='resume'.",
    sqlite3.SQLITE_NOTADB: "Give another file, or restore this one from a copy.",
}


def hint(error: Exception) -> str:
    """What the user can do about an error that `sqlite3` raised; one without a code listed here means damage."""
    if isinstance(error, sqlite3.ProgrammingError):  # used after it was closed
        return "Make a new client to go on."
    return _HINTS.get(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF, _DAMAGED)


def damaged(what: str, why: object) -> JournalError:
    """The error of a journal of which a part (`what`, with its run and its file) is not as it was recorded."""
    return JournalError(f"{what} is damaged: {why}. {_DAMAGED}")


@contextlib.contextmanager
def sqlite_errors(message: str) -> Iterator[None]:
    """Raise errors of SQLite as `JournalError`, which says what cannot be done (`message`), why, and the way out."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the second where the damage is in SQLite's own message
        raise JournalError(f"{message}: {str(error).rstrip('.')}. {hint(error)}") from error


def decoded[Value](decode: Callable[[Any], Value], stored: object, what: Callable[[], str]) -> Value:
    """Decode a value as it is stored; an error becomes a `JournalError` that names the value."""
    try:
        return decode(stored)
    except Exception as error:
        raise damaged(what(), f"{type(error).__name__}: {error}") from error


def row_digest(*values: int | float | str | bytes | None) -> bytes:
    """The digest of a row's columns but its id, in their order. The row carries it. Also a function in SQL."""
    return hashlib.blake2b(ascii(values).encode(), digest_size=DIGEST_SIZE).digest()


def connect(path: Path, *, create: bool = False, read_only: bool = False) -> sqlite3.Connection:
    """Open a journal, or raise a `JournalError`. Any thread may use the connection, one at a time."""
    _check_place(path, create=create)
    with contextlib.ExitStack() as on_error, sqlite_errors(f"{path} cannot be used as a journal"):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}",
            uri=True,
            timeout=PATIENCE,
            isolation_level=None,
            check_same_thread=False,
        )
        on_error.callback(connection.close)
        connection.text_factory = _text
        connection.create_function("row_digest", -1, row_digest, deterministic=True)
        _patiently(lambda: _check_contents(connection, path, create=create, read_only=read_only))
        # A process that is killed loses nothing that was committed; a power failure may cost the last commits.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA query_only = {read_only:d}")
        on_error.pop_all()
    return connection


def _patiently(do: Callable[[], None]) -> None:
    """Retry while another process creates the file: SQLite's own timeout does not cover the change to WAL mode."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return do()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _text(stored: bytes) -> str | bytes:
    """Decode a text. A damaged one stays bytes, so that the code that uses it notices."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored


def _check_place(path: Path, *, create: bool) -> None:
    try:
        is_folder, exists, has_folder = path.is_dir(), path.exists(), path.parent.is_dir()
    except OSError as error:  # in a folder that this user cannot look into
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
    if version == 1:
        if not read_only:
            raise JournalError(
                f"{path} was recorded by an earlier version, which counted steps in another way: it can be read and "
                "replayed (mode='replay'), and not written. Record into another file."
            )
        connection.execute("PRAGMA temp_store = MEMORY")
        for statement in (*_VERSION_1_AS_2, *_as_temporary(_TABLES_SINCE_3)):
            connection.execute(statement)
        return
    tables = _TABLES if version == 2 else (*_TABLES, *_TABLES_SINCE_3)
    for table, column, *_ in sorted(_columns_of(tables) - _columns(connection)):
        raise damaged(str(path), f"its table {table} has no column {column}, or one of another type")
    if version == 2 and read_only:
        connection.execute("PRAGMA temp_store = MEMORY")
        for statement in _as_temporary(_TABLES_SINCE_3):
            connection.execute(statement)
    elif version == 2:
        _upgrade(connection)


def _as_temporary(tables: Iterable[str]) -> list[str]:
    """Statements that make tables empty beside a file, which stays unchanged."""
    return [table.replace("CREATE TABLE", "CREATE TEMP TABLE IF NOT EXISTS") for table in tables]


def _upgrade(connection: sqlite3.Connection) -> None:
    """Add what version 2 lacks, unless another process was faster."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:  # commits, or rolls back
        if _number(connection, "user_version") == 2:
            for statement in (*_TABLES_SINCE_3, f"PRAGMA user_version = {VERSION}"):
                connection.execute(statement)


def _columns(connection: sqlite3.Connection) -> set[tuple[str, str, str, int]]:
    """Table, name, type and place in the primary key of each column."""
    query = (
        "SELECT tables.name, columns.name, columns.type, columns.pk FROM main.sqlite_master AS tables, "
        "pragma_table_info(tables.name, 'main') AS columns WHERE tables.type = 'table'"
    )
    return set(connection.execute(query))


@functools.cache
def _columns_of(tables: tuple[str, ...]) -> set[tuple[str, str, str, int]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for table in tables:
            connection.execute(table)
        return _columns(connection)


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables, unless another process was faster."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    with connection:  # commits, or rolls back
        if _is_empty(connection):
            marks = f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {VERSION}"
            for statement in (*_TABLES, *_TABLES_SINCE_3, *marks):
                connection.execute(statement)


def _is_empty(connection: sqlite3.Connection) -> bool:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return tables == 0 and _number(connection, "application_id") == 0


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    (number,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(number)
