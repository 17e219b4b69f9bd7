"""What is shown while a model runs: a bar on a terminal, a line a step elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from mesa_llm_examples.simulation import figure
from mesa_llm_examples.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, RenderableType

    from mesa_llm.clients import CallCounts, MeteredClient
    from mesa_llm.parallel_stepping import StepProgress
    from mesa_llm_examples.simulation import StepRecord


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
            line = f"Step {record.step}/{self._steps}: {states}. {took}"
            self._console.print(line, highlight=False, soft_wrap=True)


class _Bars(Progress):
    """The bar of a run, with what happens right now below it; read anew each time it is drawn."""

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
