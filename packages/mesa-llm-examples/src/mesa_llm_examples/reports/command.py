"""`mesa-llm-examples report FILE`."""

from __future__ import annotations

import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from mesa_llm.errors import ConfigurationError

INSTALL = 'pip install "mesa-llm-examples[report]"'


def report_command(
    file: Annotated[Path, typer.Argument(help="What `run --record` has written.", metavar="FILE", show_default=False)],
    *,
    output: Annotated[Path | None, typer.Option(help="Folder for both files.", show_default="that of FILE")] = None,
    step: Annotated[
        int | None, typer.Option(help="Which step is drawn agent by agent.", show_default="the slowest")
    ] = None,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Whether a browser shows the page.")] = False,
) -> None:
    """Draw a run: an HTML page and a PNG. Needs the extra `report`."""
    if find_spec("matplotlib") is None:
        raise ConfigurationError(f"A report needs matplotlib, which is not installed. Install it: {INSTALL}")
    from mesa_llm_examples.reports.run_file import read_run  # noqa: PLC0415 - imports Mesa

    run = read_run(file)
    from mesa_llm_examples.reports import measures, report  # noqa: PLC0415 - imports matplotlib

    drawn = measures.steps_in_parallel(run)
    line = measures.slowest_step(run) if step is None else next((line for line in drawn if line.step == step), None)
    if step is not None and line is None:
        steps = f"Steps {drawn[0].step} to {drawn[-1].step} can." if drawn else "No step ran in parallel."
        raise ConfigurationError(f"--step {step} cannot be drawn agent by agent. {steps}")
    folder = file.parent if output is None else output
    paths = folder / f"{file.stem}.html", folder / f"{file.stem}.png"
    if any(path.exists() and path.samefile(file) for path in paths):
        raise ConfigurationError(f"The report would overwrite {file}. Rename that, or give another --output.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths[0].write_text(report.page(run, line), encoding="utf-8")
        report.save_png(run, line, paths[1])
    except OSError as error:
        raise ConfigurationError(f"{error.filename or folder} cannot be written: {error.strerror or error}.") from error
    for path in paths:
        print(path)  # noqa: T201 - this is a command
    if open_:
        webbrowser.open(paths[0].absolute().as_uri())
