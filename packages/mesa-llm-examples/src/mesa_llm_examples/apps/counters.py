"""The numbers of a run, as they stand on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mesa_llm.clients import CallCounts


class Counter(NamedTuple):
    """One number.

    Attributes:
        name: what is counted.
        value: as it is shown.
    """

    name: str
    value: str


def call_counters(counts: CallCounts) -> list[Counter]:
    """What the calls of a run have come to, those in flight included."""
    return [
        Counter("calls in flight", f"{counts.in_flight:,}"),
        Counter("most at once", f"{counts.peak_in_flight:,}"),
        Counter("calls", f"{counts.calls:,}"),
        Counter("failed calls", f"{counts.failures:,}"),
        Counter("tokens read", f"{counts.prompt_tokens:,}"),
        Counter("tokens written", f"{counts.completion_tokens:,}"),
        Counter("cost", f"${counts.cost:,.4f}"),
    ]


def last_step(reports: Sequence[Any]) -> str:
    """What the last step took, in words; empty if it did not run in parallel.

    Args:
        reports: `model.parallel_reports`.
    """
    if not reports:
        return ""
    agents = sum(len(report.agents) for report in reports)
    failures = sum(report.failures for report in reports)
    conflicts = sum(report.conflicts for report in reports)
    waited = sum(report.latency_s for report in reports)
    wall = sum(report.wall_s for report in reports)
    text = f"Step {reports[-1].step}: {_of(agents, 'agent')} in {wall:.2f} s; calls one at a time: {waited:.2f} s."
    if failures:
        text += f" {_of(failures, 'agent')} failed."
    if conflicts:
        text += f" {_of(conflicts, 'conflict')}."
    return text


def _of(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
