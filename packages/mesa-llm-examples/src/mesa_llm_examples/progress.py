"""What is shown while a model runs: a bar on a terminal, a line a step elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from mesa_llm_examples.simulation import figure

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Task

    from mesa_llm.clients import MeteredClient
    from mesa_llm_examples.simulation import StepRecord


class StepProgress:
    """Shows how far a run is, while its `with` block runs.

    Args:
        console: where.
        client: the client whose calls in flight are shown.
        steps: how many steps the run has.
    """

    def __init__(self, console: Console, client: MeteredClient, steps: int) -> None:
        self.step = 1
        """The step that is running."""
        self._console = console
        self._steps = steps
        self._bar = Progress(
            TextColumn("Step {task.fields[step]}/{task.total}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[states]}"),
            _CallsInFlight(client),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=steps, step=1, states="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bar.stop()

    def ended(self, record: StepRecord) -> None:
        """Show that a step has ended."""
        states = in_words(record)
        self.step = min(record.step + 1, self._steps)
        self._bar.update(self._task, completed=record.step, step=self.step, states=states)
        if not self._console.is_terminal:
            line = f"Step {record.step}/{self._steps}: {states}. {record.calls} model calls, {record.seconds:.2f} s"
            self._console.print(line, highlight=False, soft_wrap=True)


def in_words(record: StepRecord) -> str:
    """The states of a step: `active 4, quiet 56, jailed 0`."""
    return ", ".join(f"{name} {figure(value)}" for name, value in record.states.items())


class _CallsInFlight(ProgressColumn):
    """How many model calls are in flight; read anew each time the bar is drawn."""

    max_refresh = None

    def __init__(self, client: MeteredClient) -> None:
        super().__init__()
        self._client = client

    def render(self, task: Task) -> Text:
        """Draw the column."""
        return Text(f"{self._client.counts().in_flight} calls in flight", style="cyan")
