"""The numbers of a run, as they stand on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mesa_llm.errors.shown_text import for_people
from mesa_llm_examples.words import answers_took, counted

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
    step = f"Step {reports[-1].step}"
    agents = [agent for report in reports for agent in report.agents]
    failures = sum(report.failures for report in reports)
    if failures and all(agent.outcome in {"failed", "called off"} for agent in agents):
        error = next(agent.error for agent in agents if agent.error is not None)
        return (
            f"{step}: {failures:,} of {counted(len(agents), 'agent')} failed. Nothing has changed. {for_people(error)}"
        )
    text = f"{step}: {counted(len(agents), 'agent')} in {sum(report.wall_s for report in reports):.2f} s"
    if answers := sum(report.measured_calls for report in reports):
        is_simulated = any(call.source == "rule" for agent in agents for call in agent.model_calls)
        waited = sum(report.latency_s for report in reports)
        text += f"; {answers_took(answers, waited, simulated='simulated' if is_simulated else '')}"
    text += "."
    if failures:
        text += f" {counted(failures, 'agent')} failed."
    if conflicts := sum(report.conflicts for report in reports):
        text += f" {counted(conflicts, 'conflict')}."
    return text
