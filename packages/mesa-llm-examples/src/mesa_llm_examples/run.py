"""`mesa-llm-examples run NAME`: headline, progress, summary; and on request, a file of all that happened."""

from __future__ import annotations

import gc
import random
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.console import Console

from mesa_llm.errors import ConfigurationError, RecordingError
from mesa_llm.errors.shown_text import for_people
from mesa_llm_examples.catalogue import Example
from mesa_llm_examples.display import RunProgress, print_summary, say
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
from mesa_llm_examples.setting import Mode, ModelConnection, as_recorded, journal_setting, stepping
from mesa_llm_examples.simulation import simulate
from mesa_llm_examples.words import RunInterruptedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mesa_llm.clients import Answer, LLMClient, LLMRequest
    from mesa_llm.journal import JournaledClient
    from mesa_llm_examples.setting import JournalSetting
    from mesa_llm_examples.simulation import StepRecord


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
    connection = ModelConnection(
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
                connection=connection,
                journal=setting,
            ),
            policy,
            lambda client: make_model(
                **{name: options[name] for name in (*own, "seed")},
                llm_model=connection.llm_model,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How an example is run, whichever it is.

    Attributes:
        example: its name.
        headline: what is run, in words.
        options: all options that show in the results, by name.
        steps: how many steps, at least 1.
        mode: how the agents of a step decide.
        max_workers: in mode `threading`, how many threads may run at once; `None` for no limit.
        connection: who decides.
        journal: where the calls are recorded, or come from; `None` for nowhere.
    """

    example: str
    headline: str
    options: Mapping[str, Any]
    steps: int
    mode: Mode = Mode.ASYNCIO
    max_workers: int | None = None
    connection: ModelConnection = field(default_factory=ModelConnection)
    journal: JournalSetting | None = None


def run(
    console: Console,
    setting: Setting,
    policy: Callable[[LLMRequest], Answer],
    make_model: Callable[[LLMClient], Any],
    *,
    records: Sequence[TextIO] = (),
) -> None:
    """Run an example and show it.

    Args:
        console: where.
        setting: how.
        policy: decides if no model is to be asked.
        make_model: makes the Mesa model, given its client; its `result()` says what came of it.
        records: text streams to which all that happens is written, as lines of JSON.

    Raises:
        MesaLLMError: if the model cannot be made, or agents could not decide.
        RunInterruptedError: if Ctrl-C was pressed.
    """
    from mesa_llm.clients import MeteredClient  # noqa: PLC0415 - imports Mesa
    from mesa_llm_examples.reports.run_file import RunWriter  # noqa: PLC0415 - imports Mesa

    inner = setting.connection.client(policy)
    with _journaled(inner, setting) as journaled, ExitStack() as writing:
        client = MeteredClient(inner if journaled is None else journaled)
        model = make_model(client)
        say(console, for_people(setting.headline), style="bold")
        say(console, for_people(_who_decides(setting)))
        writers = [writing.enter_context(RunWriter(stream, setting, model, client)) for stream in records]
        with (
            stepping(setting.mode, setting.max_workers),
            RunProgress(console, model, client, setting.steps) as progress,
        ):

            def ended(record: StepRecord) -> None:
                for writer in writers:
                    writer.ended(record)
                progress.ended(record)

            try:
                run = simulate(model, client, setting.steps, on_step=ended)
            except KeyboardInterrupt:
                raise RunInterruptedError(_interrupted(setting, progress.step)) from None
    print_summary(
        console,
        run,
        in_parallel=setting.mode is not Mode.OFF,
        replayed=journaled.replayed if journaled else 0,
        simulated=setting.connection.simulated,
        result=model.result(),
    )
    for writer in writers:
        if writer.error is not None:
            raise RecordingError(
                f"The record of the run breaks off, since it could not be written: {writer.error}. The run did not."
            )
    if journaled is not None and setting.journal is not None and setting.journal.mode != "replay":
        line = f"Recorded as run {journaled.run!r} in {setting.journal.path}. Repeat it with --replay."
        say(console, line)


@contextmanager
def _journaled(inner: LLMClient, setting: Setting) -> Iterator[JournaledClient | None]:
    if setting.journal is None:
        yield None
        return
    from mesa_llm.journal import JournaledClient  # noqa: PLC0415 - imports Mesa

    journal = setting.journal
    with JournaledClient(
        None if journal.mode == "replay" else inner,
        journal.path,
        mode=journal.mode,
        run=journal.run,
        metadata={"example": setting.example, "options": setting.options},
    ) as client:
        yield client


def _interrupted(setting: Setting, step: int) -> str:
    resume = setting.journal is not None and setting.journal.mode != "replay"
    return f"Interrupted in step {step} of {setting.steps}." + (" Go on with --resume." if resume else "")


def _who_decides(setting: Setting) -> str:
    if setting.journal is not None and setting.journal.mode == "replay":
        return f"Decisions: those recorded in {setting.journal.path}. Nobody is asked."
    return str(setting.connection)
