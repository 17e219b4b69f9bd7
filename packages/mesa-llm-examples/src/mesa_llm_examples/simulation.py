"""A run: its steps, the bar or the lines that show its progress, and the summary at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mesa_llm_examples.words import answers_took, counted, decisions_in_words, figure, in_words, looked_ahead

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from mesa_llm.clients import CallCounts, MeteredClient
    from mesa_llm.parallel_stepping import StepProgress, StepReport


class RunInterruptedError(Exception):
    """Ctrl-C was pressed during a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionCounts:
    """What the decisions of some agents were worth.

    Attributes:
        decisions: decisions made with actions, or tools, on offer.
        failed_decisions: how often an agent of a parallel step could not decide.
        without_call: those of the decisions that hold no valid tool call.
        asked_again: how often a model was asked again because its answer could not be used.
        tool_calls: actions that were taken and tool calls that were made, whether or not they failed.
        refused_tool_calls: those of them that were refused.
        crashed_tool_calls: those of them that raised an exception of their own.
    """

    decisions: int = 0
    failed_decisions: int = 0
    without_call: int = 0
    asked_again: int = 0
    tool_calls: int = 0
    refused_tool_calls: int = 0
    crashed_tool_calls: int = 0

    def __add__(self, other: DecisionCounts) -> DecisionCounts:
        names = [part.name for part in fields(self)]
        return DecisionCounts(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @classmethod
    def of(cls, model: Any) -> Self:
        """The decisions of a model's current step, stepped in parallel or one at a time. Imports Mesa."""
        from mesa_llm.parallel_stepping import model_reporters, reports_of  # noqa: PLC0415 - imports Mesa

        failed = sum(
            agent.outcome in {"failed", "fell back"} for report in reports_of(model) for agent in report.agents
        )
        names = [part.name for part in fields(cls) if part.name != "failed_decisions"]
        counts = {name: int(reporter(model)) for name, reporter in model_reporters(*names).items()}
        return cls(failed_decisions=failed, **counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step of a run.

    Attributes:
        step: its number; 0 stands for the model before the first step.
        states: the values of the data collector at the end; `None` where nothing can be measured.
        calls: how many model calls the step made.
        seconds: its wall time.
        reports: a report for each set of agents that stepped in parallel.
        decided: what its decisions were worth.
    """

    step: int
    states: Mapping[str, float | None]
    calls: int = 0
    seconds: float = 0.0
    reports: tuple[StepReport, ...] = ()
    decided: DecisionCounts = field(default_factory=DecisionCounts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that has ended: its steps, with the state before the first one, and the counts of its model calls."""

    records: tuple[StepRecord, ...]
    calls: CallCounts

    @property
    def seconds(self) -> float:
        """The wall time of all steps."""
        return sum(record.seconds for record in self.records)

    @property
    def decided(self) -> DecisionCounts:
        """What the decisions of all steps were worth."""
        return sum((record.decided for record in self.records), DecisionCounts())


def simulate(
    model: Any,
    client: MeteredClient,
    steps: int,
    *,
    on_step: Callable[[StepRecord], None] = lambda record: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Run:
    """Step a model. Imports Mesa.

    Args:
        model: a Mesa model with a data collector.
        client: the client of the agents, which counts their calls.
        steps: how many steps.
        on_step: called with the state before the first step, and after each step; the record of a step that fails has
            no states.
        clock: the time in seconds.

    Raises:
        Exception: an error of a step.
    """
    from mesa_llm.parallel_stepping import reports_of  # noqa: PLC0415 - imports Mesa

    records = [StepRecord(step=0, states=_collected(model))]
    on_step(records[0])
    for step in range(1, steps + 1):
        calls_before, started = client.counts().calls, clock()
        states: Mapping[str, float | None] = {}
        try:
            model.step()
            states = _collected(model)
        finally:
            seconds, calls = clock() - started, client.counts().calls - calls_before
            record = StepRecord(
                step=step,
                states=states,
                calls=calls,
                seconds=seconds,
                reports=tuple(reports_of(model)),
                decided=DecisionCounts.of(model),
            )
            on_step(record)
        records.append(record)
    return Run(records=tuple(records), calls=client.counts())


def _collected(model: Any) -> dict[str, float | None]:
    """The last value of each variable of the model's data collector."""
    return {name: values[-1] for name, values in model.datacollector.model_vars.items()}


def console_beside(json: bool) -> Console:
    """The console for progress and summary: standard output, or a terminal on standard error beside JSON."""
    return Console(stderr=True, quiet=not sys.stderr.isatty()) if json else Console()


def say(console: Console, text: str, style: str = "") -> None:
    """Print a text literally: it holds no markup, and only a terminal breaks its lines."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def _cells(record: StepRecord) -> list[str]:
    """A step as a row of the table: its number, the states, the calls, the seconds."""
    taken = (f"{record.calls:,}", f"{record.seconds:.2f}") if record.step else ("", "")
    return [str(record.step), *map(figure, record.states.values()), *taken]


def _headings(record: StepRecord) -> list[str]:
    return ["step", *record.states, "calls", "seconds"]


def _line_of(cells: Sequence[str], headings: Sequence[str]) -> str:
    """A row of the table as a line that can be printed before the next one is known."""
    return " ".join(f"{cell:>{max(len(heading), 6)}}" for cell, heading in zip(cells, headings, strict=True)).rstrip()


class RunProgress:
    """Shows the progress of a run during its `with` block: a bar on a terminal, elsewhere a table, row by row.

    Args:
        console: where to show it.
        model: the Mesa model.
        client: the client of the agents, whose calls are shown.
        steps: how many steps the run has.
        title: the name of the run, if there are several; then steps get no lines.
    """

    def __init__(self, console: Console, model: Any, client: MeteredClient, steps: int, *, title: str = "") -> None:
        self.step = 1
        """The current step."""
        self._console = console
        self._steps = steps
        self._has_lines = not (title or console.is_terminal)
        self._bar = _Bars(model, client, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(f"{title}: step" if title else "Step", total=steps, step=1, states="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bar.stop()

    def ended(self, record: StepRecord) -> None:
        """Show a step that has ended; a step that failed has nothing to show."""
        if not record.states:
            return
        if self._has_lines:
            headings = _headings(record)
            if not record.step:
                say(self._console, _line_of(headings, headings))
            say(self._console, _line_of(_cells(record), headings))
        if record.step:
            self.step = min(record.step + 1, self._steps)
            self._bar.update(self._task, completed=record.step, step=self.step, states=in_words(record.states))


class _TimeLeft(TimeRemainingColumn):
    """The time that is left, once a step has shown how long one takes."""

    def render(self, task: Task) -> Text:
        """Draw."""
        if task.time_remaining is None:
            return Text("estimating the rest", style="progress.remaining")
        return super().render(task).append(" left")


class _Bars(Progress):
    """The bar of a run, with the state of the current step below it, which is read at each refresh."""

    def __init__(self, model: Any, client: MeteredClient, **settings: Any) -> None:
        self._model = model  # first: the base class draws itself at once
        self._client = client
        super().__init__(
            TextColumn("{task.description} {task.fields[step]}/{task.total}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            _TimeLeft(),
            **settings,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        """Draw."""
        from mesa_llm.parallel_stepping import progress_of  # noqa: PLC0415 - imports Mesa

        now = progress_of(self._model)
        for task in self.tasks:
            if now is not None and now.agents:
                # Within a long step, the bar moves as the agents decide.
                self.update(task.id, completed=task.fields["step"] - 1 + now.decided / now.agents)
            yield from super().get_renderables()
            if task.fields["states"]:
                yield Text(f"  {task.fields['states']}")
        yield Text(f"  {happening(now, self._client.counts())}", style="cyan")


def happening(now: StepProgress | None, counts: CallCounts) -> str:
    """The current step: `45 of 72 decided, 12 acted, 1 failed; 27 calls in flight; 8,100 tokens, $0.0123`."""
    parts = []
    if now is not None:
        parts.append(f"{now.decided} of {now.agents} decided, {now.acted} acted, {now.failed} failed")
    parts.append(f"{counted(counts.in_flight, 'call')} in flight")
    if tokens := counts.prompt_tokens + counts.completion_tokens:
        parts.append(f"{tokens:,} tokens" + (f", ${counts.cost:,.4f}" if counts.cost else ""))
    return "; ".join(parts)


def print_summary(
    console: Console, run: Run, *, in_parallel: bool, replayed: int = 0, simulated: str = "", result: str = ""
) -> None:
    """Print the outcome, and what the run took; on a terminal, where the bar is gone, also the states of each step.

    Args:
        console: where to print it.
        run: the run.
        in_parallel: whether all agents of a step decided at the same time.
        replayed: how many calls a journal answered.
        simulated: a remark beside the times of a rule's answers; empty for those of a model.
        result: the outcome in one line.
    """
    if console.is_terminal:
        table = Table(box=None, padding=(0, 1), header_style="bold")
        for heading in _headings(run.records[0]):
            table.add_column(heading, justify="right")
        for record in run.records:
            table.add_row(*_cells(record))
        console.print(table)
    if result:
        say(console, f"\n{result}")

    calls = run.calls
    used = ""
    if calls.prompt_tokens + calls.completion_tokens:
        used = f"; {calls.prompt_tokens:,} input tokens, {calls.completion_tokens:,} output tokens"
    say(console, f"\n{counted(calls.calls, 'call')}, up to {calls.peak_in_flight:,} at the same time{used}.")
    looked = looked_ahead(report for record in run.records for report in record.reports)
    if looked:
        say(console, f"Asked ahead: {looked}.")
    if decided := decisions_in_words(run.decided):
        say(console, f"{decided}.")
    asked = calls.calls - replayed
    if replayed and asked:
        say(console, f"The journal had the answers to {replayed:,} of them; {asked:,} were made now.")
    elif replayed:
        say(console, "The journal had the answers to all of them; no LLM was called.")
    how = "all agents of a step together" if in_parallel else "one agent at a time"
    if looked:
        how = "each agent in its turn, the LLM asked ahead"
    say(console, f"The steps took {run.seconds:.2f} s, {how}.")
    if calls.measured_calls:
        say(console, f"{answers_took(calls.measured_calls, calls.waited_seconds, simulated=simulated)}.")
