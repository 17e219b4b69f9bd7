"""The command `mesa-llm-examples`.

Mesa takes seconds to import, so only the commands that run an example import it.
"""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from mesa_llm.errors import ConfigurationError, MesaLLMError
from mesa_llm.errors.shown_text import for_people
from mesa_llm_examples.apps.serving import app_command
from mesa_llm_examples.catalogue import EXAMPLES, command_for
from mesa_llm_examples.compare import STEPS, compare_command
from mesa_llm_examples.run import run_command
from mesa_llm_examples.simulation import RunInterruptedError
from mesa_llm_examples.sweep import sweep_command
from mesa_llm_examples.words import in_one_line, lines_below

NAME = "mesa-llm-examples"
EXIT_STATUS = (
    "Exit status: 0 if all went well; 1 if the reader of the output stopped reading; 2 after one line on standard "
    "error that says what did not work; 3 if compare finds modes that differ and should not; 130 after Ctrl-C."
)

# Typer contains click, or depends on it, and exports only this subclass of click's error.
_UsageError: Any = typer.BadParameter.__base__

app = typer.Typer(
    help="Mesa models whose agents decide by asking a language model.", epilog=EXIT_STATUS, add_completion=False
)
run_app = typer.Typer(help="Run an example. Without --model, a rule decides on the same prompts; no model is asked.")
compare_app = typer.Typer(
    help="Run an example one agent at a time, on threads and on asyncio: time, calls, and whether the results agree."
)
app.add_typer(run_app, name="run")
app.add_typer(compare_app, name="compare")
app.command("app")(app_command)
app.command("sweep")(sweep_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit, see `EXIT_STATUS`.

    Args:
        arguments: the arguments; by default those of the process.
    """
    sys.exit(_status(list(sys.argv[1:] if arguments is None else arguments)))


def _status(arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        status = command.main(arguments or ["--help"], prog_name=NAME, standalone_mode=False)
    except _UsageError as error:
        where = error.ctx.command_path if error.ctx else NAME
        return _say(f"{error.format_message().rstrip('.')}. See: {where} --help", 2)
    except MesaLLMError as error:
        status = _say(in_one_line(error), 2)
        for line in lines_below(error):
            print(line, file=sys.stderr)  # noqa: T201 - this is a command
        return status
    except RunInterruptedError as error:
        return _say(str(error), 130)
    except (typer.Abort, KeyboardInterrupt):
        status = 130
    return _say("Interrupted.", 130) if status == 130 else status or 0


def _say(text: str, status: int) -> int:
    print(f"{NAME}: {' '.join(for_people(text).split())}", file=sys.stderr)  # noqa: T201 - this is a command
    return status


@app.command("list")
def list_examples() -> None:
    """List the examples."""
    console = Console(highlight=False)
    width = max(map(len, EXAMPLES))
    for example in EXAMPLES.values():
        console.print(f"[bold]{example.name:{width}}[/]  {example.summary}", soft_wrap=True)
    console.print(f"\nRun it: {NAME} run {next(iter(EXAMPLES))}", soft_wrap=True)


@app.command("report")
def report_command(
    file: Annotated[
        Path,
        typer.Argument(
            help="What `run --record` or `record_run` has written; FILE:RUN for a run that is not the newest.",
            metavar="FILE",
            show_default=False,
        ),
    ],
    *,
    output: Annotated[Path | None, typer.Option(help="Folder for both files.", show_default="that of FILE")] = None,
    step: Annotated[
        int | None, typer.Option(help="Which step is drawn agent by agent.", show_default="the slowest")
    ] = None,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Whether a browser shows the page.")] = False,
) -> None:
    """Draw a run: an HTML page and a PNG. Needs the extra `report`."""
    if find_spec("matplotlib") is None:
        install = 'pip install "mesa-llm-examples[report]"'
        raise ConfigurationError(f"A report needs matplotlib, which is not installed. Install it: {install}")
    from mesa_llm_examples.reports.run_file import read_run  # noqa: PLC0415 - imports Mesa

    run = read_run(file)
    from mesa_llm_examples.reports import measures, report  # noqa: PLC0415 - imports matplotlib

    drawable = measures.steps_in_parallel(run)
    line = measures.slowest_step(run) if step is None else next((line for line in drawable if line.step == step), None)
    if step is not None and line is None:
        steps = f"Steps {drawable[0].step} to {drawable[-1].step} can." if drawable else "No step ran in parallel."
        raise ConfigurationError(f"--step {step} cannot be drawn agent by agent. {steps}")
    folder = file.parent if output is None else output
    paths = folder / f"{file.stem}.html", folder / f"{file.stem}.png"
    if file.exists() and any(path.exists() and path.samefile(file) for path in paths):
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


for _example in EXAMPLES.values():
    run_app.command(_example.name, help=_example.summary)(command_for(_example, run_command, steps=_example.steps))
    compare_app.command(_example.name, help=_example.summary)(command_for(_example, compare_command, steps=STEPS))
