"""What is shown when a run has ended: the states of each step, and what the steps and the answers took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from mesa_llm_examples.simulation import figure
from mesa_llm_examples.words import answers_took, counted

if TYPE_CHECKING:
    from rich.console import Console

    from mesa_llm_examples.simulation import Run


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
        console.print(f"\n{result}", highlight=False, soft_wrap=not console.is_terminal)
    for line in _totals(run, in_parallel=in_parallel, replayed=replayed, simulated=simulated):
        console.print(line, highlight=False, soft_wrap=not console.is_terminal)


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
