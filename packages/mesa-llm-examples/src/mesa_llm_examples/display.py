"""What a run shows: a bar on a terminal or a line a step elsewhere, and at its end what came of it and what it took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mesa_llm_examples.simulation import figure
from mesa_llm_examples.words import answers_took, counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, RenderableType

    from mesa_llm.clients import CallCounts, MeteredClient
    from mesa_llm.parallel_stepping import StepProgress
    from mesa_llm_examples.simulation import Run, StepRecord


def say(console: Console, text: str, style: str = "") -> None:
    """Print a text as it is: nothing in it is markup, and only a terminal breaks its lines."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=not console.is_terminal)


class RunProgress:
    """Shows how far a run is, while its `with` block runs.

    Args:
        console: where.
        model: the Mesa model that is stepped.
        client: its agents' client, whose calls are shown.
        steps: how many steps the run has.
        title: what runs, where there are several runs; then steps get no lines.
    """

    def __init__(self, console: Console, model: Any, client: MeteredClient, steps: int, *, title: str = "") -> None:
        self.step = 1
        """The step that is running."""
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
        """Show that a step has ended; of one that failed there is nothing to show."""
        if not (record.step and record.states):
            return
        states = in_words(record)
        self.step = min(record.step + 1, self._steps)
        self._bar.update(self._task, completed=record.step, step=self.step, states=states)
        if self._has_lines:
            took = f"{counted(record.calls, 'model call')}, {record.seconds:.2f} s"
            say(self._console, f"Step {record.step}/{self._steps}: {states}. {took}")


class _Bars(Progress):
    """The bar of a run, with what happens right now below it; read each time it is drawn."""

    def __init__(self, model: Any, client: MeteredClient, **settings: Any) -> None:
        self._model = model  # first: the base draws itself at once
        self._client = client
        super().__init__(
            TextColumn("{task.description} {task.fields[step]}/{task.total}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            TimeRemainingColumn(),
            TextColumn("left"),
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
    """What happens right now: `45 of 72 decided, 12 acted, 1 failed; 27 calls in flight; 8,100 tokens, $0.0123`."""
    parts = []
    if now is not None:
        parts.append(f"{now.decided} of {now.agents} decided, {now.acted} acted, {now.failed} failed")
    parts.append(f"{counted(counts.in_flight, 'call')} in flight")
    if tokens := counts.prompt_tokens + counts.completion_tokens:
        parts.append(f"{tokens:,} tokens" + (f", ${counts.cost:,.4f}" if counts.cost else ""))
    return "; ".join(parts)


def in_words(record: StepRecord) -> str:
    """The states of a step: `active 4, quiet 56, jailed 0`."""
    return ", ".join(f"{name} {figure(value)}" for name, value in record.states.items())


def print_summary(
    console: Console, run: Run, *, in_parallel: bool, replayed: int = 0, simulated: str = "", result: str = ""
) -> None:
    """Print a run.

    Args:
        console: where.
        run: the run.
        in_parallel: whether all agents of a step decided at the same time.
        replayed: how many calls a journal has answered.
        simulated: what is said beside the times of answers that a rule gave; empty for those of a model.
        result: what came of it, in one line.
    """
    console.print(_table(run))
    if result:
        say(console, f"\n{result}")
    for line in _totals(run, in_parallel=in_parallel, replayed=replayed, simulated=simulated):
        say(console, line)


def _table(run: Run) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for heading in ("step", *run.records[0].states, "model calls", "seconds"):
        table.add_column(heading, justify="right")
    for record in run.records:
        taken = (str(record.calls), f"{record.seconds:.2f}") if record.step else ("", "")
        table.add_row(str(record.step), *map(figure, record.states.values()), *taken)
    return table


def _totals(run: Run, *, in_parallel: bool, replayed: int, simulated: str) -> list[str]:
    calls = run.calls
    tokens = calls.prompt_tokens + calls.completion_tokens
    used = f", {calls.prompt_tokens:,} tokens read and {calls.completion_tokens:,} written" if tokens else ""
    lines = ["", f"{counted(calls.calls, 'model call')}, up to {calls.peak_in_flight:,} at once{used}."]
    if replayed:
        asked = calls.calls - replayed
        lines.append(
            f"The journal had the answers to {replayed:,} of them; {asked:,} were asked."
            if asked
            else "The journal had the answers to all of them; nobody was asked."
        )
    how = "all agents of a step together" if in_parallel else "one agent at a time"
    lines.append(f"The steps took {run.seconds:.2f} s, {how}.")
    if calls.measured_calls:
        lines.append(f"{answers_took(calls.measured_calls, calls.waited_seconds, simulated=simulated)}.")
    return lines
