"""Makes the report of a step that has ended, hands it out, and says what the decisions of a run were worth."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from mesa import Model

from mesa_llm.activation import step_of
from mesa_llm.activation.call import Tally, one_at_a_time
from mesa_llm.errors import ConfigurationError
from mesa_llm.parallel_stepping.exports import reports_of
from mesa_llm.parallel_stepping.failures import described, name_of
from mesa_llm.parallel_stepping.report import AgentReport, Outcome, StepReport
from mesa_llm.parallel_stepping.turn import AgentTurn, State

if TYPE_CHECKING:
    import pandas as pd

    from mesa_llm.parallel_stepping.step import ParallelStep

_logger = logging.getLogger(__name__)

MOST_KEPT = 1000
"""How many reports of one model step are kept: the newest."""


def report_of(
    step: ParallelStep, model: Any, *, started: float, wall_s: float, failure: BaseException | None
) -> StepReport:
    """The report of a step's agents in one model.

    Args:
        step: a step that has ended.
        model: whose agents are reported.
        started: when the step began, in seconds since 1970.
        wall_s: seconds that it took.
        failure: what it has failed with.
    """
    logs_agents = _logger.isEnabledFor(logging.DEBUG)
    return StepReport(
        step=step_of(model),
        started=started,
        mode=step.config.mode,
        activation=step.config.activation,
        wall_s=wall_s,
        decide_s=step.phase_s["decide"],
        act_s=step.phase_s["act"],
        settle_s=step.phase_s["settle"],
        agents=tuple(
            [_agent_report(step, turn, logs_agents=logs_agents) for turn in step.turns if turn.agent.model is model]
        ),
        error=None if failure is None else described(failure),
    )


def publish(report: StepReport, model: Any, on_report: Callable[[StepReport], object] | None) -> None:
    """Put a report into `model.parallel_reports`, and pass it to `on_report`.

    What the callback raises is logged: who watches a step cannot make it fail.
    """
    kept = [other for other in getattr(model, "parallel_reports", ()) if other.step == report.step]
    model.parallel_reports = [*kept[1 - MOST_KEPT :], report]
    if _logger.isEnabledFor(logging.DEBUG):  # counting takes time
        n_agents, n_calls = len(report.agents), report.calls
        _logger.debug("Step %d: %d agents, %d calls, %.3f s.", report.step, n_agents, n_calls, report.wall_s)
    if on_report is not None:
        try:
            on_report(report)
        except Exception:
            _logger.exception("on_report failed; the step stands.")


def _agent_report(step: ParallelStep, turn: AgentTurn, *, logs_agents: bool) -> AgentReport:
    fallback = step.fallbacks.get(turn) if step.fallbacks else None
    in_order = (turn,) if fallback is None else (turn, fallback)
    report = AgentReport(
        agent_id=turn.agent.unique_id,
        agent_class=type(turn.agent).__name__,
        outcome=_outcome(turn, fallback),
        error=next((described(part.error) for part in in_order if part.error is not None), None),
        spans=turn.spans if fallback is None else turn.spans + fallback.spans,
        model_calls=tuple([call for part in in_order for call in tuple(part.calls)]),
        conflicts=turn.conflicts if fallback is None else turn.conflicts + fallback.conflicts,
        settle_error=None if turn.settle_error is None else described(turn.settle_error),
        **({} if turn.agent_step is None else worth(turn.agent_step.tally)),
    )
    if logs_agents:
        _logger.debug(
            "%s %s: decided in %.3f s, acted in %.3f s, %d calls.",
            name_of(turn.agent),
            report.outcome,
            report.seconds("decide"),
            report.seconds("act"),
            report.calls,
        )
    return report


def worth(tally: Tally) -> dict[str, int]:
    """What decisions were worth, as the fields of an `AgentReport`."""
    return {
        "decisions": tally.decisions,
        "without_call": tally.without_call,
        "asked_again": tally.asked_again,
        "tool_calls": tally.tool_calls,
        "refused_tool_calls": tally.refused,
        "crashed_tool_calls": tally.crashed,
    }


def _outcome(turn: AgentTurn, fallback: AgentTurn | None) -> Outcome:
    if fallback is not None:
        return "failed acting" if fallback.error is not None else "fell back" if fallback.acted else "failed"
    if turn.left:
        return "left"
    if turn.error is not None:
        return "failed acting" if turn.failed_acting else "failed"
    if turn.called_off or turn.state is State.NOT_STARTED:
        return "called off"
    return "acted" if turn.acted else "ended"


_COUNTS = {
    "decisions": "decisions",
    "without_call": "without_call",
    "asked_again": "asked_again",
    "tool_calls": "tool_calls",
    "refused_tool_calls": "refused",
    "crashed_tool_calls": "crashed",
}
"""The names of the counts in reports, and those in tallies."""

_SHARES = {
    "share_without_call": ("without_call", "decisions"),
    "share_refused": ("refused_tool_calls", "tool_calls"),
    "share_crashed": ("crashed_tool_calls", "tool_calls"),
}


def decision_quality(reports: Iterable[StepReport] | StepReport | Model) -> pd.DataFrame:
    """What decisions were worth, by class of agents.

    Args:
        reports: the reports of any number of steps, for example those of a whole run, collected by `on_report`; or one
            of them; or a model, for its current step. Of a model, decisions that Mesa made one agent at a time count
            too.

    Returns:
        A frame with a row for each class of agents that was reported, indexed by `agent_class`: `decisions` (made with
        tools on offer); `failed_decisions` (an agent could not decide, whatever `on_error` did about it), NaN where
        Mesa stepped agents of the class, which an exception reports; `without_call` (decisions without a valid tool
        call), `asked_again`, `tool_calls`, `refused_tool_calls`, `crashed_tool_calls`; and the shares
        `share_without_call` of the decisions, `share_refused` and `share_crashed` of the tool calls, NaN if there were
        none.

    Raises:
        ConfigurationError: if it is none of these.
    """
    import pandas as pd  # noqa: PLC0415 - only who asks for a frame waits for the import

    alone = None
    if isinstance(reports, Model):
        alone, reports = one_at_a_time(reports), reports_of(reports)
    elif isinstance(reports, StepReport):
        reports = [reports]
    elif not isinstance(reports, Iterable):
        raise ConfigurationError(f"decision_quality takes step reports or a model, got {reports!r}.")
    rows: dict[str, dict[str, float]] = {}

    def row_of(agent_class: str) -> dict[str, float]:
        return rows.setdefault(agent_class, dict.fromkeys((*_COUNTS, "failed_decisions"), 0))

    for report in reports:
        if not isinstance(report, StepReport):
            raise ConfigurationError(f"decision_quality takes step reports or a model, got {report!r} among them.")
        for agent in report.agents:
            row = row_of(agent.agent_class)
            for name in _COUNTS:
                row[name] += getattr(agent, name)
            row["failed_decisions"] += agent.outcome in {"failed", "fell back"}
    for agent_class, tally in ({} if alone is None else alone.tallies).items():
        row = row_of(agent_class)
        for name, counted in _COUNTS.items():
            row[name] += getattr(tally, counted)
        if alone is not None and alone.has_stepped:
            row["failed_decisions"] = math.nan
    columns = ["decisions", "failed_decisions", *list(_COUNTS)[1:]]
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("agent_class").sort_index()
    return frame.assign(**{share: frame[part] / frame[whole] for share, (part, whole) in _SHARES.items()})
