"""What a report says about a run, in numbers and in words."""

from __future__ import annotations

from itertools import accumulate
from statistics import median, quantiles
from typing import TYPE_CHECKING

from mesa_llm_examples.words import RULE, answers_took, decisions_in_words, looked_ahead

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mesa_llm.parallel_stepping import AgentReport, CallSpan
    from mesa_llm_examples.reports.run_file import RecordedRun, StepLine

_STATUS = {
    "completed": "",
    "failed": "The run failed in step {next}: {error}",
    "interrupted": "The run was interrupted in step {next}.",
    "unfinished": "The record has no end: the run still goes on, or was killed after step {last}.",
}


def how_it_ended(run: RecordedRun) -> str:
    """How a run ended that did not complete; empty if it did."""
    last = max((line.step for line in run.steps if line.states), default=0)
    return _STATUS[run.status].format(next=last + 1, last=last, error=run.end.error if run.end else "")


def calls_in_words(run: RecordedRun) -> str:
    """The counts of the model calls."""
    ahead = looked_ahead(run.reports())
    ahead = f"; asked ahead: {ahead}" if ahead else ""
    if run.end is None:
        return f"{sum(line.calls for line in run.steps):,} so far{ahead}"
    return f"{run.end.calls:,}, up to {run.end.peak_in_flight:,} at once, {run.end.failures:,} failed{ahead}"


def decided_in_words(run: RecordedRun) -> str:
    """What the decisions were worth; empty if that was not counted, or nothing was decided."""
    return "" if run.decided is None else decisions_in_words(run.decided)


def is_simulated(run: RecordedRun) -> bool:
    """Whether a rule gave the answers, so that their times are made up."""
    return run.run.decisions == RULE


def time_in_words(run: RecordedRun) -> str:
    """The time of the steps, and the time of the answers where it was measured."""
    if run.end is None:
        seconds, waited = sum(line.seconds for line in run.steps), sum(report.latency_s for report in run.reports())
        answers = sum(report.measured_calls for report in run.reports())
    else:
        seconds, waited, answers = run.end.seconds, run.end.waited_s, run.end.measured_calls or 0
    if not answers:
        return f"{seconds:.2f} s"
    return f"{seconds:.2f} s; {answers_took(answers, waited, simulated='simulated' if is_simulated(run) else '')}"


def steps_in_parallel(run: RecordedRun) -> list[StepLine]:
    """The steps in which agents ran in parallel."""
    return [line for line in run.steps if any(report.agents for report in line.reports)]


def slowest_step(run: RecordedRun) -> StepLine | None:
    """The longest of the steps in which agents ran in parallel; `None` without such a step."""
    return max(steps_in_parallel(run), key=lambda line: line.seconds, default=None)


def agents_of(run: RecordedRun) -> list[tuple[int, AgentReport]]:
    """Each agent in each step, with the number of the step."""
    return [(line.step, agent) for line in run.steps for report in line.reports for agent in report.agents]


def calls_of(run: RecordedRun) -> list[CallSpan]:
    """All model calls in the reports."""
    return [call for _, agent in agents_of(run) for call in agent.model_calls]


def latencies(calls: Iterable[CallSpan]) -> list[float]:
    """The seconds that each answer took, where that was measured."""
    return [call.latency_s for call in calls if call.latency_s is not None]


def seconds_in_calls(agent: AgentReport) -> float:
    """The seconds that an agent waited for model calls; calls that overlap count once."""
    waited = end = 0.0
    for call in sorted(agent.model_calls, key=lambda call: call.start):
        waited += max(0.0, call.end - max(end, call.start))
        end = max(end, call.end)
    return waited


def percentile_95(values: Sequence[float]) -> float:
    """The 95th percentile."""
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def spread(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Shortest, median, 95th percentile and longest."""
    return min(values), median(values), percentile_95(values), max(values)


def has_tokens(run: RecordedRun) -> bool:
    """Whether the model reported how many tokens it read and wrote."""
    return any(report.tokens for report in run.reports())


def has_cost(run: RecordedRun) -> bool:
    """Whether the price of a call is known."""
    return any(report.cost for report in run.reports())


def lanes_of(line: StepLine) -> list[tuple[float, AgentReport]]:
    """The agents of a step in order, each with the seconds between the start of the step and that of its set."""
    began = min(report.started for report in line.reports)
    return [(report.started - began, agent) for report in line.reports for agent in report.agents]


def looks_of(line: StepLine) -> list[tuple[float, float]]:
    """Begin and end of each look ahead of a step, in seconds since the step began."""
    began = min(report.started for report in line.reports)
    return [
        (report.started - began + start, report.started - began + end)
        for report in line.reports
        if report.look_ahead is not None
        for start, end in report.look_ahead.looks
    ]


def duration_of(line: StepLine) -> float:
    """The seconds between the start of a step's first set and the end of its last one."""
    began = min(report.started for report in line.reports)
    return max(report.started - began + report.wall_s for report in line.reports)


def in_flight(line: StepLine) -> tuple[list[float], list[int]]:
    """The times in a step, in seconds, at which the number of model calls in flight changed, and the new numbers."""
    edges = sorted(
        (offset + at, change)
        for offset, agent in lanes_of(line)
        for call in agent.model_calls
        for at, change in ((call.start, 1), (call.end, -1))
    )
    return [at for at, _ in edges], list(accumulate(change for _, change in edges))


INCIDENTS = ("failed", "fell back", "failed to settle", "conflicts", "other refusals", "crashed")


def incidents(line: StepLine) -> dict[str, int]:
    """How often agents failed, fell back, failed to settle, or an action was refused or crashed, in a step."""
    reports = line.reports
    agents = [agent for report in reports for agent in report.agents]
    counts = (
        sum(report.failures - report.fallbacks for report in reports),
        sum(report.fallbacks for report in reports),
        sum(report.settle_failures for report in reports),
        sum(report.conflicts for report in reports),
        sum(map(other_refusals, agents)),
        sum(report.crashed_tool_calls for report in reports),
    )
    return dict(zip(INCIDENTS, counts, strict=True))


def other_refusals(agent: AgentReport) -> int:
    """How many actions of an agent were refused although no other agent had been first."""
    return max(agent.refused_tool_calls - len(agent.conflicts), 0)
