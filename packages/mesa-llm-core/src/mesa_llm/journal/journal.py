"""Reads what has been recorded."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mesa_llm.journal.calls import RecordedCall, read_calls
from mesa_llm.journal.damage import reading
from mesa_llm.journal.runs import RecordedRun, all_runs, find_run, read_run
from mesa_llm.journal.schema import connect

if TYPE_CHECKING:
    import pandas as pd


class Journal:
    """A file that `JournaledClient` has written, or is just writing.

    Opens the file for each question and closes it again.

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
            JournalError: if the file is not there, no journal, or damaged.
        """
        with self._opened() as connection:
            return all_runs(connection, self.path)

    def run(self, name: str | None = None) -> RecordedRun:
        """One run.

        Args:
            name: its name; by default the newest that is not a copy of another.

        Raises:
            JournalError: if there is none, or it is damaged.
        """
        with self._opened() as connection:
            return read_run(connection, self.path, name)

    def calls(self, run: str | None = None) -> Iterator[RecordedCall]:
        """The calls of a run, in the order in which they began. One at a time is in memory.

        Args:
            run: the run's name; by default the newest that is not a copy of another.

        Raises:
            JournalError: if there is none, or it is damaged.
        """
        with self._opened() as connection:
            yield from read_calls(connection, find_run(connection, self.path, run))

    def to_dataframe(self, run: str | None = None) -> pd.DataFrame:
        """The calls of a run as a table, one row a call: who asked what when, and what came of it.

        Args:
            run: the run's name; by default the newest that is not a copy of another.

        Raises:
            JournalError: if there is none, or it is damaged.
        """
        import pandas as pd  # noqa: PLC0415 - slow to import

        return pd.DataFrame.from_records([_as_row(call) for call in self.calls(run)], columns=_COLUMNS)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        connection = connect(self.path, read_only=True)
        with contextlib.closing(connection), reading(f"The journal {self.path}"):
            yield connection


_COLUMNS = [
    "step",
    "model_step",
    "agent_id",
    "agent_class",
    "call",
    "model",
    "prompt",
    "state",
    "answer",
    "tool_calls",
    "error",
    "prompt_tokens",
    "completion_tokens",
    "cost",
    "retries",
    "started",
    "duration",
]


def _as_row(call: RecordedCall) -> dict[str, Any]:
    response, error = call.response, call.error
    message = response.message if response is not None else None
    return {
        "step": call.step,
        "model_step": call.model_step,
        "agent_id": call.agent_id,
        "agent_class": call.agent_class,
        "call": call.call,
        "model": call.request["model"],
        "prompt": call.request["messages"][-1]["content"] if call.request["messages"] else "",
        "state": call.state,
        "answer": message.content if message is not None else None,
        "tool_calls": len(message.tool_calls) if message is not None else 0,
        "error": f"{error.kind}: {error.message}" if error is not None else None,
        "prompt_tokens": response.usage.prompt_tokens if response is not None else 0,
        "completion_tokens": response.usage.completion_tokens if response is not None else 0,
        "cost": response.cost if response is not None else None,
        "retries": response.retries if response is not None else error.details.get("retries", 0) if error else 0,
        "started": call.started,
        "duration": call.duration,
    }
