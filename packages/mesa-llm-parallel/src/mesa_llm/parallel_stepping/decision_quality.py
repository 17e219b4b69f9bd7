"""What the decisions of a run were worth, by class of agents."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mesa import Model

from mesa_llm.activation.call import one_at_a_time
from mesa_llm.errors import ConfigurationError
from mesa_llm.parallel_stepping.exports import reports_of
from mesa_llm.parallel_stepping.report import StepReport

if TYPE_CHECKING:
    import pandas as pd

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
