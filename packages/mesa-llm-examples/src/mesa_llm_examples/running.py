"""Running an example on a console: headline, progress, summary; and on request, a file of all that happened."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mesa_llm.errors import RecordingError
from mesa_llm.errors.shown_text import for_people
from mesa_llm_examples.failures import RunInterruptedError
from mesa_llm_examples.progress import RunProgress
from mesa_llm_examples.simulation import simulate
from mesa_llm_examples.stepping import Mode, stepping
from mesa_llm_examples.summary import print_summary
from mesa_llm_examples.way import WayToModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TextIO

    from rich.console import Console

    from mesa_llm.clients import Answer, LLMClient, LLMRequest
    from mesa_llm.journal import JournaledClient
    from mesa_llm_examples.journals import JournalSetting
    from mesa_llm_examples.simulation import StepRecord


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
        way: who decides.
        journal: where the calls are recorded, or come from; `None` for nowhere.
    """

    example: str
    headline: str
    options: Mapping[str, Any]
    steps: int
    mode: Mode = Mode.ASYNCIO
    max_workers: int | None = None
    way: WayToModel = field(default_factory=WayToModel)
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
        make_model: makes the Mesa model, given the way to the language model; its `result()` says what came of it.
        records: text streams to which all that happens is written, as lines of JSON.

    Raises:
        MesaLLMError: if the model cannot be made, or agents could not decide.
        RunInterruptedError: if Ctrl-C was pressed.
    """
    from mesa_llm.clients import MeteredClient  # noqa: PLC0415 - imports Mesa
    from mesa_llm_examples.reports.writing import RunWriter  # noqa: PLC0415 - imports Mesa

    inner = setting.way.client(policy)
    with _journaled(inner, setting) as journaled, ExitStack() as writing:
        client = MeteredClient(inner if journaled is None else journaled)
        model = make_model(client)
        for line, style in ((setting.headline, "bold"), (_who_decides(setting), "")):
            console.print(
                for_people(line), style=style, markup=False, highlight=False, soft_wrap=not console.is_terminal
            )
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
        simulated=setting.way.simulated,
        result=model.result(),
    )
    for writer in writers:
        if writer.error is not None:
            raise RecordingError(
                f"The record of the run breaks off, since it could not be written: {writer.error}. The run did not."
            )
    if journaled is not None and setting.journal is not None and setting.journal.mode != "replay":
        line = f"Recorded as run {journaled.run!r} in {setting.journal.path}. Repeat it with --replay."
        console.print(line, highlight=False, soft_wrap=not console.is_terminal)


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
    return str(setting.way)
