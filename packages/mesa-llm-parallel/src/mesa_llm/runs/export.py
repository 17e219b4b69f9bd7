"""A run as files for other programs: events as JSON Lines, tables, and a trace of its steps."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from mesa_llm.errors import ConfigurationError
from mesa_llm.errors.checks import check_word
from mesa_llm.journal import Journal, RecordedRun
from mesa_llm.parallel_stepping import write_chrome_trace
from mesa_llm.recording import recording_to_dataframe
from mesa_llm.recording.events import open_recording
from mesa_llm.recording.writer import as_line
from mesa_llm.runs.runs_in import reports_in, run_of

if TYPE_CHECKING:
    import pandas as pd

type Format = Literal["jsonl", "csv", "parquet", "trace"]

FORMATS: tuple[Format, ...] = get_args(Format.__value__)
"""The formats of `export_run`."""


def export_run(
    path: str | os.PathLike[str],
    format: Format = "jsonl",  # noqa: A002 - as on the command line
    *,
    to: str | os.PathLike[str] | None = None,
    run: str | None = None,
) -> Path:
    """Write a recorded run in another form.

    Args:
        path: the journal.
        format: `jsonl`: the events as the file of JSON Lines that `record_model` writes. `csv` and `parquet`: a folder
            with the tables `calls`, `steps`, `events` and `interviews`. `trace`: the steps for ui.perfetto.dev.
        to: the file, or the folder for tables; by default beside the journal.
        run: the name of the run; by default the newest that is not a copy of another.

    Returns:
        Where it was written.

    Raises:
        ConfigurationError: if there is no such format, what it takes is not installed, or `to` exists already.
        JournalError: if there is no such run, or it is damaged.
        OSError: if it cannot be written.
    """
    check_word("format", format, FORMATS)
    journal, recorded = run_of(path, run)
    endings = {"jsonl": ".jsonl", "trace": ".trace.json"}
    beside = journal.path.with_name(f"{journal.path.stem}-{recorded.name}{endings.get(format, f'-{format}')}")
    target = beside if to is None else Path(to)
    if target.exists():
        raise ConfigurationError(f"{target} exists already. Give another place, or remove it.")
    if format == "jsonl":
        recording = open_recording(journal.path, recorded.name)
        with target.open("wb") as file:
            file.write(as_line({"metadata": recording.metadata}))
            file.writelines(as_line(event.as_json()) for event in recording)
    elif format == "trace":
        reports = [report for step in journal.steps(recorded.name) for report in reports_in(step)]
        write_chrome_trace(target, reports)
    else:
        _write_tables(journal, recorded, format, target)
    return target


def _write_tables(journal: Journal, run: RecordedRun, format: Format, folder: Path) -> None:  # noqa: A002
    if format == "parquet" and find_spec("pyarrow") is None:
        raise ConfigurationError("Parquet needs pyarrow, which is not installed: pip install pyarrow")
    tables: dict[str, Callable[[], pd.DataFrame]] = {
        "calls": lambda: journal.to_dataframe(run.name),
        "steps": lambda: _steps(journal, run),
        "events": lambda: recording_to_dataframe(journal.path, run=run.name),
        "interviews": lambda: journal.interviews(run.name),
    }
    folder.mkdir(parents=True)
    for name, table in tables.items():
        frame = table()
        for column in frame.columns:
            if frame[column].dtype == object:
                frame[column] = [_cell(value) for value in frame[column]]
        if format == "csv":
            frame.to_csv(folder / f"{name}.csv", index=False)
        else:
            frame.to_parquet(folder / f"{name}.parquet", index=False)


def _cell(value: Any) -> Any:
    """A value that a table can hold: lists and dicts as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _steps(journal: Journal, run: RecordedRun) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - slow to import

    return pd.DataFrame(
        [
            {
                "step": step.step,
                "started": step.started,
                "seconds": step.seconds,
                "state_hash": step.state_hash,
                "error": step.error,
                **step.measures,
            }
            for step in journal.steps(run.name)
        ]
    )
