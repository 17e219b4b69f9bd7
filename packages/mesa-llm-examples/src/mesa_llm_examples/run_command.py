"""`mesa-llm-examples run NAME`."""

from __future__ import annotations

import gc
import random
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console

from mesa_llm.errors import ConfigurationError
from mesa_llm_examples.catalogue import Example
from mesa_llm_examples.journals import as_recorded, journal_setting
from mesa_llm_examples.options import (
    ApiBase,
    Latency,
    MaxAttempts,
    MaxWorkers,
    Model,
    Seed,
    Steps,
    Timeout,
    is_given,
    of_model,
)
from mesa_llm_examples.running import Setting, run
from mesa_llm_examples.stepping import Mode
from mesa_llm_examples.way import WayToModel

# The options of a run, besides those of the model, that show in its results, and how far and by which mode it went.
_RECORDED = ("steps", "seed", "mode", "model")


def run_command(
    example: Example,
    context: typer.Context,
    *,
    steps: Steps = 10,
    seed: Seed = None,
    mode: Annotated[Mode, typer.Option(help="How the agents decide; off: one after the other.")] = Mode.ASYNCIO,
    max_workers: MaxWorkers = None,
    model: Model = None,
    api_base: ApiBase = None,
    timeout: Timeout = None,
    max_attempts: MaxAttempts = None,
    latency: Latency = None,
    json_: Annotated[
        bool,
        typer.Option("--json", help="Write all that happens as lines of JSON, nothing else.", rich_help_panel="Output"),
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(help="New file for the same lines; see the command report.", rich_help_panel="Output"),
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(help="File in which all model calls are recorded.", rich_help_panel="Journal")
    ] = None,
    replay: Annotated[
        bool,
        typer.Option("--replay", help="Repeat a recorded run; nobody is asked.", rich_help_panel="Journal"),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with a recorded run that broke off; what was answered is not asked again.",
            rich_help_panel="Journal",
        ),
    ] = False,
    run_name: Annotated[
        str | None,
        typer.Option(
            "--run", help="Name of the run.", show_default="a new number; the newest run", rich_help_panel="Journal"
        ),
    ] = None,
) -> None:
    """Run an example; the context has the values of all options, those of the example included."""
    setting = journal_setting(journal, replay=replay, resume=resume, run=run_name)
    own = of_model(example, context)
    options: dict[str, Any] = own | {name: context.params[name] for name in _RECORDED}
    if setting is not None and setting.mode != "record":
        given = [name for name in options if is_given(context, name)]
        options = as_recorded(setting, example.name, options, given)
    options["mode"] = mode = Mode(options["mode"])
    if options["seed"] is None:
        options["seed"] = random.randrange(2**32)
    way = WayToModel(
        llm_model=options["model"], api_base=api_base, timeout=timeout, max_attempts=max_attempts, latency=latency
    )
    if max_workers is not None and mode is not Mode.THREADING:
        raise ConfigurationError("--max-workers needs --mode threading.")
    console = console_beside(json_)
    with ExitStack() as files:
        records: list[TextIO] = [sys.stdout] if json_ else []
        if record is not None:
            records.append(files.enter_context(_new_file(record)))
        with console.status("Loading Mesa ..."):
            make_model, policy = example.model_class(), example.policy()  # import Mesa, which takes seconds
        gc.freeze()  # half a million objects that stay; to look through them again and again takes a third of the time
        run(
            console,
            Setting(
                example=example.name,
                headline=example.headline_of(options),
                options=options,
                steps=options["steps"],
                mode=mode,
                max_workers=max_workers,
                way=way,
                journal=setting,
            ),
            policy,
            lambda client: make_model(
                **{name: options[name] for name in (*own, "seed")},
                llm_model=way.llm_model,
                client=client,
                parallel_stepping=mode is not Mode.OFF,
            ),
            records=records,
        )


def console_beside(json: bool) -> Console:
    """Where to show what happens: not on standard output if that is for JSON, and then only to who looks at it."""
    return Console(stderr=True, quiet=not sys.stderr.isatty()) if json else Console()


def _new_file(path: Path) -> TextIO:
    try:
        return path.open("x", encoding="utf-8")
    except FileExistsError:
        raise ConfigurationError(f"--record {path} exists already. Choose a name for a new file.") from None
    except OSError as error:
        raise ConfigurationError(f"--record {path} cannot be written: {error.strerror or error}.") from error
