"""`mesa-llm-examples run NAME`: headline, progress, summary, and on request a record of the run."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mesa_llm.errors.shown_text import for_people
from mesa_llm_examples.catalogue import Example, is_given, options_of
from mesa_llm_examples.setting import Activation, Activations, JournalSetting, Mode, Seed, Setting, Steps, stepping
from mesa_llm_examples.simulation import RunInterruptedError, RunProgress, console_beside, print_summary, say, simulate

if TYPE_CHECKING:
    from mesa_llm.journal import RunJournal
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
        typer.Option("--json", help="Write all that happens as lines of JSON.", rich_help_panel="Output"),
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record",
            "--journal",
            help="File in which the run is recorded as a whole; see the command report, and mesa-llm runs.",
            rich_help_panel="Record",
        ),
    ] = None,
    replay: Annotated[
        bool,
        typer.Option("--replay", help="Repeat a recorded run; no LLM is called.", rich_help_panel="Record"),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with a recorded run that was interrupted; recorded answers are not paid for again.",
            rich_help_panel="Record",
        ),
    ] = False,
    run_name: Annotated[
        str | None,
        typer.Option(
            "--run", help="Name of the run.", show_default="a new number; the newest run", rich_help_panel="Record"
        ),
    ] = None,
) -> None:
    """Run an example.

    Raises:
        MesaLLMError: if the model cannot be made, or agents could not decide.
        RunInterruptedError: if Ctrl-C was pressed.
    """
    journaling = JournalSetting.of(record, replay=replay, resume=resume, run=run_name)
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

    with console.status("Loading Mesa ..."):
        if journaling is None or journaling.mode == "record":
            setting.connection.check()
        inner = setting.connection.client(setting.load())
    from mesa_llm.clients import MeteredClient  # noqa: PLC0415 - imports Mesa
    from mesa_llm_examples.reports.run_file import LineWriter  # noqa: PLC0415 - imports Mesa

    record_to = _journal(setting, decisions=setting.connection.decides, journaling=journaling)
    client = MeteredClient(inner if record_to is None else record_to.around(inner))
    progress: RunProgress | None = None
    try:
        with stepping(mode, setting.max_workers, setting.activation), ExitStack() as running:
            model = running.enter_context(_made(setting, client, mode, record_to))
            say(console, for_people(setting.headline), style="bold")
            say(console, for_people(decisions))
            lines = running.enter_context(LineWriter(sys.stdout, model, client, setting)) if json_ else None
            progress = watching = running.enter_context(RunProgress(console, model, client, steps))

            def ended(ended: StepRecord) -> None:
                if lines is not None:
                    lines.ended(ended)
                watching.ended(ended)

            run = simulate(model, client, steps, on_step=ended)
    except KeyboardInterrupt:
        go_on = " Go on with --resume." if journaling is not None and not is_replay else ""
        step = 1 if progress is None else progress.step
        raise RunInterruptedError(f"Interrupted in step {step} of {steps}.{go_on}") from None
    print_summary(
        console,
        run,
        in_parallel=mode is not Mode.OFF,
        replayed=record_to.replayed if record_to else 0,
        simulated=setting.connection.simulated,
        result=model.result(),
    )
    if record_to is not None and not is_replay:
        say(console, f"Recorded as run {record_to.run!r} in {record}. Repeat it with --replay.")


def _journal(setting: Setting, *, decisions: str, journaling: JournalSetting | None) -> RunJournal | None:
    """The file in which the run is recorded, or from which it is repeated."""
    if journaling is None:
        return None
    from mesa_llm.journal import RunJournal  # noqa: PLC0415 - imports Mesa

    metadata = {
        "example": setting.example.name,
        "options": setting.options,
        "headline": setting.headline,
        "decisions": decisions,
    }
    return RunJournal(journaling.path, mode=journaling.mode, run=journaling.run, metadata=metadata)


def _made(setting: Setting, client: Any, mode: Mode, record_to: RunJournal | None) -> AbstractContextManager[Any]:
    """The model, recorded if it is to be."""
    if record_to is None:
        return nullcontext(setting.model(client, mode))
    from mesa_llm.recording.record_model import recorded_in  # noqa: PLC0415 - imports Mesa

    model_class: Any = setting.example.model_class()
    return recorded_in(record_to, model_class, setting.arguments(client, mode))
