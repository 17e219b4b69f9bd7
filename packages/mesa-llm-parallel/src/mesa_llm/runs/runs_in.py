"""The runs in files and folders, and their steps as reports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mesa_llm.errors import JournalError
from mesa_llm.journal import Journal, RecordedRun, RecordedStep
from mesa_llm.parallel_stepping import StepReport

BEGINNING = b"SQLite format 3\0"
"""With what a journal begins, as every SQLite database does."""


def run_of(path: str | os.PathLike[str], run: str | None = None) -> tuple[Journal, RecordedRun]:
    """A run in a journal.

    Args:
        path: the file; or, as on the command line, `FILE:RUN`.
        run: the name of the run; by default the newest that is not a copy of another.

    Raises:
        JournalError: if there is no such file or run, or it is damaged.
    """
    file, name = split_name(path)
    journal = Journal(file)
    return journal, journal.run(name if run is None else run)


def split_name(path: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """A file and the name of a run in it, of `FILE:RUN`; of a file that exists no name."""
    file = Path(path)
    before, colon, name = str(path).rpartition(":")
    return (Path(before), name) if colon and not file.exists() and Path(before).exists() else (file, None)


def journals_in(folder: str | os.PathLike[str]) -> Iterator[Journal]:
    """The journals in a folder and in those below it, or the one that is given, in the order of their names."""
    folder = Path(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else [folder]
    for file in files:
        with file.open("rb") as stream:
            if stream.read(len(BEGINNING)) != BEGINNING:
                continue
        journal = Journal(file)
        try:
            journal.runs()
        except JournalError as error:
            if "but no journal" in str(error):  # another SQLite database
                continue
            raise
        yield journal


def reports_in(step: RecordedStep) -> list[StepReport]:
    """The reports of the sets of agents that stepped in parallel in a step."""
    return [StepReport.from_dict(report) for report in step.reports]


def label_of(journal: Journal, run: RecordedRun) -> str:
    """How the command line names a run."""
    return f"{journal.path}:{run.name}"
