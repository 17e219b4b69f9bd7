"""What is shown when a run has ended: the states of each step, and what waiting together has saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from mesa_llm_examples.simulation import figure

if TYPE_CHECKING:
    from rich.console import Console

    from mesa_llm_examples.simulation import Run


def print_summary(console: Console, run: Run, *, in_parallel: bool, replayed: int = 0, result: str = "") -> None:
    """Print a run.

    Args:
        console: where.
        run: the run.
        in_parallel: whether all agents of a step decided at the same time.
        replayed: how many calls a journal has answered.
        result: what came of it, in one line.
    """
    console.print(_table(run))
    if result:
        console.print(f"\n{result}", highlight=False, soft_wrap=not console.is_terminal)
    for line in _totals(run, in_parallel=in_parallel, replayed=replayed):
        console.print(line, highlight=False, soft_wrap=not console.is_terminal)


def _table(run: Run) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for heading in ("step", *run.records[0].states, "model calls", "seconds"):
        table.add_column(heading, justify="right")
    for record in run.records:
        taken = (str(record.calls), f"{record.seconds:.2f}") if record.step else ("", "")
        table.add_row(str(record.step), *map(figure, record.states.values()), *taken)
    return table


def _totals(run: Run, *, in_parallel: bool, replayed: int) -> list[str]:
    calls = run.calls
    tokens = calls.prompt_tokens + calls.completion_tokens
    used = f", {calls.prompt_tokens:,} tokens read and {calls.completion_tokens:,} written" if tokens else ""
    lines = ["", f"{calls.calls:,} model calls, up to {calls.peak_in_flight:,} at once{used}."]
    if replayed:
        asked = calls.calls - replayed
        lines.append(
            f"The journal had the answers to {replayed:,} of them; {asked:,} were asked."
            if asked
            else "The journal had the answers to all of them; nobody was asked."
        )
    if replayed == calls.calls:
        return [*lines, f"{run.seconds:.1f} s in all."]
    took, waited = f"{run.seconds:.1f} s", f"{calls.waited_seconds:.1f} s"
    if not in_parallel:
        lines.append(f"One agent at a time: {took} in all, {waited} of it waiting for answers.")
    elif calls.waited_seconds > run.seconds:
        times = f"{calls.waited_seconds / run.seconds:.0f} times as long"
        lines.append(f"The agents of a step waited together: {took} in all.")
        lines.append(f"One agent at a time would have waited {waited}, {times}.")
        if tokens:
            lines.append(
                "(The sum of all calls' times. A server that is slower the more it is asked at once saves less.)"
            )
    else:
        lines.append(f"{took} in all. There was little to wait for: the answers took {waited}.")
    return lines
