"""Makes the report of a step that has ended, and hands it out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import step_of
from mesa_llm.activation.call import Tally
from mesa_llm.parallel_stepping.failures import described, name_of
from mesa_llm.parallel_stepping.report import AgentReport, Outcome, StepReport
from mesa_llm.parallel_stepping.turn import AgentTurn, State

if TYPE_CHECKING:
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
