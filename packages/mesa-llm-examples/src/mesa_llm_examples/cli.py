"""The command `mesa-llm-examples`.

Mesa takes seconds to import, so only running an example does it.
"""

from __future__ import annotations

import gc
import inspect
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from mesa_llm.errors import ConfigurationError, MesaLLMError
from mesa_llm_examples.apps.serving import app_command
from mesa_llm_examples.catalogue import EXAMPLES, Example, Option
from mesa_llm_examples.failures import RunInterruptedError, in_one_line, lines_below
from mesa_llm_examples.journals import as_recorded, journal_setting
from mesa_llm_examples.running import Mode, Setting, run

NAME = "mesa-llm-examples"
LATENCY = 0.05
ATTEMPTS = 6

# The options of a run, besides those of the model, that show in its results, and how far and by which mode it went.
_RECORDED = ("steps", "seed", "mode", "model")

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
    width = max(map(len, EXAMPLES))
    for example in EXAMPLES.values():
        console.print(f"[bold]{example.name:{width}}[/]  {example.summary}", soft_wrap=True)
    console.print(f"\nRun it: {NAME} run {next(iter(EXAMPLES))}", soft_wrap=True)


def _run(
    example: Example,
    context: typer.Context,
    *,
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
    of_example = [option.name for option in example.options]
    options: dict[str, Any] = {name: context.params[name] for name in (*of_example, *_RECORDED)}
    if setting is not None and setting.mode != "record":
        given = [name for name in options if _is_given(context, name)]
        options = as_recorded(setting, example.name, options, given)
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
        make_model, policy = example.model_class(), example.policy()  # import Mesa, which takes seconds
    gc.freeze()  # half a million objects that stay; to look through them again and again takes a third of the time
    of_model = {name: options[name] for name in (*of_example, "seed")}
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
            metadata={"example": example.name, "options": options},
        ),
        policy,
        lambda client: make_model(
            **of_model,
            llm_model=model,
            client=client,
            parallel_stepping=mode is not Mode.OFF,
        ),
        f"{example.headline.format_map(options)}, seed {seed}",
    )


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _command_of(example: Example) -> Callable[..., None]:
    """The command that runs an example: a function whose parameters are the options of the example and of any run."""

    def command(context: typer.Context, **options: Any) -> None:
        of_run = {name: value for name, value in options.items() if name in shared}
        _run(example, context, **of_run)

    shared = dict(inspect.signature(_run, eval_str=True).parameters)
    context = shared.pop("context")
    del shared["example"]
    shared["steps"] = shared["steps"].replace(default=example.steps)
    own = [_parameter(option) for option in example.options]
    parameters = [context.replace(kind=context.KEYWORD_ONLY), *own, *shared.values()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _parameter(option: Option) -> inspect.Parameter:
    shown = option.shown_default
    declared = typer.Option(help=option.help, show_default=True if shown is None else shown, rich_help_panel="Model")
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=option.default,
        annotation=Annotated[option.type, declared],
    )


for _example in EXAMPLES.values():
    run_app.command(_example.name, help=_example.summary)(_command_of(_example))
