"""The file: one SQLite database, marked as a journal, and what is checked before it is used."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from mesa_llm.errors import JournalError

APPLICATION_ID = int.from_bytes(b"MLJ\x01")
"""Marks a database as a journal, in its header, where `file` and SQLite's own tools show it."""
VERSION = 1
"""The version of the tables below."""
PATIENCE = 30.0
"""Seconds that a write waits for those of another process on the same file."""

_TABLES = (
    """CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        copy_of TEXT,             -- the run whose model was copied or pickled to begin this one
        started REAL NOT NULL,    -- seconds since the epoch
        metadata TEXT NOT NULL    -- JSON, given by whoever made the run
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
        step INTEGER NOT NULL,    -- 0 outside of agents' steps
        agent_id INTEGER NOT NULL,
        request_key BLOB NOT NULL,
        repeat INTEGER NOT NULL,  -- of equal requests of this agent in this step, which one; from 1
        call INTEGER NOT NULL,
        outermost_step INTEGER NOT NULL,
        agent_class TEXT NOT NULL,
        request BLOB NOT NULL,    -- digests of texts: the request without its messages, then each message
        state TEXT NOT NULL CHECK (state IN ('started', 'answered', 'failed', 'cancelled')),
        started REAL NOT NULL,    -- seconds since the epoch
        duration REAL,            -- seconds
        outcome TEXT,             -- JSON: the response, or the error
        UNIQUE (run, step, agent_id, request_key, repeat)
    )""",
)


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
    except sqlite3.Error as error:
        raise JournalError(_unusable(path, error)) from error
    try:
        _patiently(lambda: _check_contents(connection, path, create=create))
        # A process that is killed loses nothing that was committed; a power failure may cost the last commits.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA query_only = {read_only:d}")
    except sqlite3.Error as error:
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


def _unusable(path: Path, error: sqlite3.Error) -> str:
    return f"{path} cannot be used as a journal: {error}. Give another file, or a folder that can be written to."


def _check_place(path: Path, *, create: bool) -> None:
    if path.is_dir():
        raise JournalError(f"{path} is a folder. Give a file for the journal, for example {path / 'run.db'}.")
    if not create and not path.exists():
        raise JournalError(f"There is no journal at {path}. Record a run first.")
    if not path.parent.is_dir():
        raise JournalError(f"There is no folder {path.parent} for the journal {path.name}. Make it first.")


def _check_contents(connection: sqlite3.Connection, path: Path, *, create: bool) -> None:
    if create and _is_empty(connection):
        _make_tables(connection)
    marked, version = _number(connection, "application_id"), _number(connection, "user_version")
    if marked != APPLICATION_ID:
        raise JournalError(f"{path} is an SQLite database, but no journal. Give another file.")
    if version > VERSION:
        raise JournalError(
            f"{path} was written by a later mesa-llm-core (version {version} of its tables; this one knows {VERSION}). "
            "Upgrade mesa-llm-core, or give another file."
        )


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
