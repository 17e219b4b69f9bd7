"""`mesa-llm-examples run NAME`: headline, progress, summary, and on request a record of the run."""

from __future__ import annotations

import sys
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from mesa_llm.errors import ConfigurationError, RecordingError
from mesa_llm.errors.shown_text import for_people
from mesa_llm_examples.catalogue import Example, is_given, options_of
from mesa_llm_examples.setting import Activation, Activations, JournalSetting, Mode, Seed, Setting, Steps, stepping
from mesa_llm_examples.simulation import RunInterruptedError, RunProgress, console_beside, print_summary, say, simulate

if TYPE_CHECKING:
    from mesa_llm.clients import LLMClient
    from mesa_llm.journal import JournaledClient
    from mesa_llm_examples.simulation import StepRecord


def run_command(
    example: Example,
    context: typer.Context,
    *,
    steps: Steps,
    seed: Seed = None,
    mode: Annotated[Mode, typer.Option(help="How the agents decide; off: one after the other.")] = Mode.ASYNCIO,
    activation: Activations = Activation.SIMULTANEOUS,
    json_: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Write the run log to standard output, and nothing else.",
            rich_help_panel="Output",
        ),
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(help="New file for the run log, from which the command report draws.", rich_help_panel="Output"),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(help="File that records every call to the LLM.", rich_help_panel="Journal"),
    ] = None,
    replay: Annotated[
        bool,
        typer.Option("--replay", help="Repeat a recorded run; no LLM is called.", rich_help_panel="Journal"),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with a recorded run that was interrupted; recorded answers are not paid for again.",
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
    """Run an example.

    Raises:
        MesaLLMError: if the model cannot be made, or agents could not decide.
        RunInterruptedError: if Ctrl-C was pressed.
    """
    journaling = JournalSetting.of(journal, replay=replay, resume=resume, run=run_name)
    options: Any = options_of(example, context, "steps", "seed", "mode", "activation", "model")
    if journaling is not None:
        given = [name for name in options if is_given(context, name)]
        options = journaling.as_recorded(example.name, options, given)
    steps, mode = options["steps"], Mode(options["mode"])
    setting = Setting.of(example, context, options, [mode])
    console = console_beside(json_)
    is_replay = journaling is not None and journaling.mode == "replay"
    decisions = str(setting.connection)
    if journaling is not None and is_replay:
        decisions = f"Decisions: those recorded in {journaling.path}. No LLM is called."

    with ExitStack() as files:
        streams: list[TextIO] = [sys.stdout] if json_ else []
        if record is not None:
            streams.append(files.enter_context(_new_file(record)))
        with console.status("Loading Mesa ..."):
            if journaling is None or journaling.mode == "record":
                setting.connection.check()
            inner = setting.connection.client(setting.load())
        from mesa_llm.clients import MeteredClient  # noqa: PLC0415 - imports Mesa
        from mesa_llm_examples.reports.run_file import RunWriter  # noqa: PLC0415 - imports Mesa

        with _journaled(inner, setting, journaling) as journaled, ExitStack() as writing:
            client = MeteredClient(inner if journaled is None else journaled)
            model = setting.model(client, mode)
            say(console, for_people(setting.headline), style="bold")
            say(console, for_people(decisions))
            writers = [
                writing.enter_context(
                    RunWriter(
                        stream,
                        model,
                        client,
                        example=example.name,
                        headline=setting.headline,
                        options=setting.options,
                        decisions=setting.connection.decides,
                    )
                )
                for stream in streams
            ]
            with (
                stepping(mode, setting.max_workers, setting.activation),
                RunProgress(console, model, client, steps) as progress,
            ):

                def ended(record: StepRecord) -> None:
                    for writer in writers:
                        writer.ended(record)
                    progress.ended(record)

                try:
                    run = simulate(model, client, steps, on_step=ended)
                except KeyboardInterrupt:
                    go_on = " Go on with --resume." if journaling is not None and not is_replay else ""
                    raise RunInterruptedError(f"Interrupted in step {progress.step} of {steps}.{go_on}") from None
        print_summary(
            console,
            run,
            in_parallel=mode is not Mode.OFF,
            replayed=journaled.replayed if journaled else 0,
            simulated=setting.connection.simulated,
            result=model.result(),
        )
        for writer in writers:
            if writer.error is not None:
                raise RecordingError(
                    f"The record breaks off, since it could not be written: {writer.error}. The run itself is complete."
                )
        if journaled is not None and not is_replay:
            say(console, f"Recorded as run {journaled.run!r} in {journal}. Repeat it with --replay.")


def _new_file(path: Path) -> TextIO:
    try:
        return path.open("x", encoding="utf-8")
    except FileExistsError:
        raise ConfigurationError(f"--record {path} exists already. Choose a name for a new file.") from None
    except OSError as error:
        raise ConfigurationError(f"--record {path} cannot be written: {error.strerror or error}.") from error


def _journaled(
    inner: LLMClient, setting: Setting, journal: JournalSetting | None
) -> JournaledClient | nullcontext[None]:
    if journal is None:
        return nullcontext()
    from mesa_llm.journal import JournaledClient  # noqa: PLC0415 - imports Mesa

    return JournaledClient(
        None if journal.mode == "replay" else inner,
        journal.path,
        mode=journal.mode,
        run=journal.run,
        metadata={"example": setting.example.name, "options": setting.options},
    )
