"""The command `mesa-llm-examples`.

Mesa takes seconds to import, so only running an example does it.
"""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from mesa_llm.errors import ConfigurationError, MesaLLMError
from mesa_llm_examples.apps.serving import app_command
from mesa_llm_examples.failures import RunInterruptedError, in_one_line, lines_below
from mesa_llm_examples.journals import as_recorded, journal_setting
from mesa_llm_examples.running import Mode, Setting, run

NAME = "mesa-llm-examples"
LATENCY = 0.05
ATTEMPTS = 6
EXAMPLES = {"civil-violence": "Citizens rebel or keep quiet, cops arrest those who rebel (Epstein 2002)."}

# The options of a run that show in its results, and how far and by which mode it went.
_RECORDED = (
    "citizens",
    "cops",
    "steps",
    "seed",
    "mode",
    "model",
    "legitimacy",
    "citizen_vision",
    "cop_vision",
    "max_jail_term",
    "width",
    "height",
    "movement",
)

# Typer comes with click inside, or stands on it, and exports nothing but this child of it.
_UsageError: Any = typer.BadParameter.__base__

app = typer.Typer(help="Mesa models whose agents decide by asking a language model.", add_completion=False)
run_app = typer.Typer(help="Run an example. Without --model no model is asked: a rule decides, on the same prompts.")
app.add_typer(run_app, name="run")
app.command("app")(app_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 if all went well, 2 after one line about what did not, 130 after Ctrl-C.

    Args:
        arguments: by default those of the command line.
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
    print(f"{NAME}: {' '.join(text.split())}", file=sys.stderr)  # noqa: T201 - this is a command
    return status


@app.command("list")
def list_examples() -> None:
    """List the examples."""
    console = Console(highlight=False)
    for name, what in EXAMPLES.items():
        console.print(f"[bold]{name}[/]  {what}", soft_wrap=True)
    console.print(f"\nRun it: {NAME} run {next(iter(EXAMPLES))}", soft_wrap=True)


@run_app.command("civil-violence", help=EXAMPLES["civil-violence"])
def civil_violence(
    context: typer.Context,
    *,
    citizens: Annotated[int, typer.Option(help="How many citizens.")] = 60,
    cops: Annotated[int, typer.Option(help="How many cops.")] = 12,
    steps: Annotated[int, typer.Option(min=1, help="How many steps.")] = 10,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same run.", show_default="drawn")] = None,
    mode: Annotated[Mode, typer.Option(help="How the agents decide; off: one after the other.")] = Mode.ASYNCIO,
    max_workers: Annotated[
        int | None, typer.Option(min=1, help="In mode threading: how many threads may run at once.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Language model, as provider/name; any of litellm's.")] = None,
    api_base: Annotated[str | None, typer.Option(help="Base URL of the model's server.")] = None,
    timeout: Annotated[
        float | None, typer.Option(min=1, help="With --model: seconds to wait for an answer.", show_default="60")
    ] = None,
    max_attempts: Annotated[
        int | None,
        typer.Option(min=1, help="With --model: how often a request is sent at most.", show_default=str(ATTEMPTS)),
    ] = None,
    latency: Annotated[
        float | None, typer.Option(min=0, help="Without --model: seconds until an answer.", show_default=str(LATENCY))
    ] = None,
    legitimacy: Annotated[float, typer.Option(help="How legitimate the regime seems, 0 to 1.")] = 0.5,
    citizen_vision: Annotated[int, typer.Option(help="How many cells far citizens see.")] = 2,
    cop_vision: Annotated[int, typer.Option(help="How many cells far cops see.")] = 2,
    max_jail_term: Annotated[int, typer.Option(help="The longest jail term, in steps.")] = 5,
    width: Annotated[int | None, typer.Option(help="Width of the grid, in cells.", show_default="as needed")] = None,
    height: Annotated[int | None, typer.Option(help="Height of the grid, in cells.", show_default="as needed")] = None,
    movement: Annotated[bool, typer.Option(help="Whether anybody moves.")] = True,
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
    """Run civil violence."""
    setting = journal_setting(journal, replay=replay, resume=resume, run=run_name)
    options: dict[str, Any] = {name: context.params[name] for name in _RECORDED}
    if setting is not None and setting.mode != "record":
        given = [name for name in options if _is_given(context, name)]
        options = as_recorded(setting, "civil-violence", options, given)
    options["mode"] = mode = Mode(options["mode"])
    if options["seed"] is None:
        options["seed"] = random.randrange(2**32)
    model, seed = options["model"], options["seed"]
    if model is not None and latency is not None:
        raise ConfigurationError("--latency is for runs without --model: a model takes the time it takes.")
    if model is None and api_base is not None:
        raise ConfigurationError("--api-base needs --model, for example --model openai/NAME.")
    if model is None and max_attempts is not None:
        raise ConfigurationError("--max-attempts needs --model: without it nothing is sent.")
    if model is None and timeout is not None:
        raise ConfigurationError("--timeout needs --model: without it nobody is waited for.")
    if max_workers is not None and mode is not Mode.THREADING:
        raise ConfigurationError("--max-workers needs --mode threading.")
    console = Console()
    with console.status("Loading Mesa ..."):
        from mesa_llm_examples.civil_violence import CivilViolence, policy  # noqa: PLC0415 - takes seconds
    gc.freeze()  # half a million objects that stay; to look through them again and again takes a third of the time
    of_model = {name: value for name, value in options.items() if name not in {"model", "mode", "steps"}}
    run(
        console,
        Setting(
            steps=options["steps"],
            mode=mode,
            max_workers=max_workers,
            llm_model=model,
            api_base=api_base,
            timeout=60.0 if timeout is None else timeout,
            max_attempts=ATTEMPTS if max_attempts is None else max_attempts,
            latency=LATENCY if latency is None else latency,
            journal=setting,
            metadata={"example": "civil-violence", "options": options},
        ),
        policy,
        lambda client: CivilViolence(
            **of_model,
            llm_model=model,
            client=client,
            parallel_stepping=mode is not Mode.OFF,
        ),
        f"Civil violence (Epstein 2002): {options['citizens']} citizens, {options['cops']} cops, seed {seed}",
    )


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
