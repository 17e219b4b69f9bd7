"""Raises what SQLite and JSON say of a damaged journal as a `JournalError` that names the place and the way out."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from mesa_llm.errors import JournalError

_DAMAGED = "Restore the file from a copy, or record the run again."
_WRITABLE = "Give another file, or a folder that can be written to."
_HELD = "Another process holds it: try again when that one has ended."
_WAYS_OUT = {
    sqlite3.SQLITE_BUSY: _HELD,
    sqlite3.SQLITE_LOCKED: _HELD,
    sqlite3.SQLITE_CANTOPEN: _WRITABLE,
    sqlite3.SQLITE_PERM: _WRITABLE,
    sqlite3.SQLITE_READONLY: _WRITABLE,
    sqlite3.SQLITE_FULL: "Free space on the disk, then go on with mode='resume'.",
    sqlite3.SQLITE_IOERR: "Check the disk, then go on with mode='resume'.",
    sqlite3.SQLITE_NOTADB: "Give another file, or restore this one from a copy.",
}


ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What `sqlite3` raises of a damaged file; the second if damage is in the text of its error."""


def way_out(error: Exception) -> str:
    """What to do about an error of SQLite. What is neither busy, full nor forbidden is damaged.

    Args:
        error: as `sqlite3` raised it.
    """
    if isinstance(error, sqlite3.ProgrammingError):  # used after it was closed
        return "Make a new client to go on."
    return _WAYS_OUT.get(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF, _DAMAGED)


def damaged(what: str, why: object) -> JournalError:
    """The error of a journal that holds what nobody has recorded.

    Args:
        what: what is damaged, with its run and its file; begins the message.
        why: what shows it.
    """
    return JournalError(f"{what} is damaged: {why}. {_DAMAGED}")


@contextlib.contextmanager
def reading(what: object) -> Iterator[None]:
    """Raise errors of SQLite as `JournalError`.

    Args:
        what: what is read, with its file; begins the message.
    """
    try:
        yield
    except ERRORS as error:
        raise JournalError(f"{what} cannot be used: {str(error).rstrip('.')}. {way_out(error)}") from error


def decoded[Value](decode: Callable[[Any], Value], stored: object, what: Callable[[], str]) -> Value:
    """What is stored, decoded.

    Args:
        decode: does it.
        stored: what was read from the file.
        what: names it, with its run and its file.

    Raises:
        JournalError: if it cannot be decoded, for whatever reason.
    """
    try:
        return decode(stored)
    except Exception as error:
        raise damaged(what(), f"{type(error).__name__}: {error}") from error
