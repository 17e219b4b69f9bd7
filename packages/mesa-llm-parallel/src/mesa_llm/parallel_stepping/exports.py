"""Step reports for others to read: columns of Mesa's DataCollector, and a trace for Perfetto and chrome://tracing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import step_of
from mesa_llm.activation.call import Tally, one_at_a_time
from mesa_llm.errors import ConfigurationError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping.report import TOTALS, AgentReport, CallSpan, StepReport
from mesa_llm.parallel_stepping.runners import has_decision

if TYPE_CHECKING:
    from mesa import Agent, Model

_OF_AGENTS: dict[str, Callable[[Any], Any]] = {
    "decide_s": lambda agent: agent.seconds("decide"),
    "wait_s": lambda agent: agent.seconds("wait"),
    "act_s": lambda agent: agent.seconds("act"),
    "settle_s": lambda agent: agent.seconds("settle"),
    "failures": lambda agent: int(agent.failed),
    "conflicts": lambda agent: len(agent.conflicts),
    "decisions": lambda agent: agent.decisions,
    "without_call": lambda agent: agent.without_call,
    "asked_again": lambda agent: agent.asked_again,
    "tool_calls": lambda agent: agent.tool_calls,
    "refused_tool_calls": lambda agent: agent.refused_tool_calls,
    "crashed_tool_calls": lambda agent: agent.crashed_tool_calls,
    "calls": lambda agent: agent.calls,
    "calls_while_acting": lambda agent: agent.calls_while_acting,
    "failed_calls": lambda agent: agent.failed_calls,
    "prompt_tokens": lambda agent: agent.prompt_tokens,
    "completion_tokens": lambda agent: agent.completion_tokens,
    "tokens": lambda agent: agent.tokens,
    "cost": lambda agent: agent.cost,
    "retries": lambda agent: agent.retries,
    "latency_s": lambda agent: agent.latency_s,
    "measured_calls": lambda agent: agent.measured_calls,
    "replayed_calls": lambda agent: agent.replayed_calls,
    "shared_calls": lambda agent: agent.shared_calls,
}


_OF_TALLIES: dict[str, Callable[[Tally], float]] = {
    "decisions": lambda tally: tally.decisions,
    "without_call": lambda tally: tally.without_call,
    "asked_again": lambda tally: tally.asked_again,
    "tool_calls": lambda tally: tally.tool_calls,
    "refused_tool_calls": lambda tally: tally.refused,
    "crashed_tool_calls": lambda tally: tally.crashed,
    "calls": lambda tally: tally.calls,
    "failed_calls": lambda tally: tally.failed_calls,
    "prompt_tokens": lambda tally: tally.prompt_tokens,
    "completion_tokens": lambda tally: tally.completion_tokens,
    "tokens": lambda tally: tally.prompt_tokens + tally.completion_tokens,
    "cost": lambda tally: tally.cost,
    "retries": lambda tally: tally.retries,
    "latency_s": lambda tally: tally.latency_s,
    "measured_calls": lambda tally: tally.measured_calls,
    "replayed_calls": lambda tally: tally.replayed_calls,
    "shared_calls": lambda tally: tally.shared_calls,
    "conflicts": lambda tally: 0,
    "fallbacks": lambda tally: 0,
    "wasted_calls": lambda tally: 0,
    "wasted_tokens": lambda tally: 0,
    "wasted_cost": lambda tally: 0,
}
"""What is known of agents that step one at a time, too."""


def model_reporters(*names: str) -> dict[str, Callable[[Model[Any, Any]], float]]:
    """Reporters that sum over the current step of the model. Of `peak_concurrency` it is the highest.

    Agents that Mesa stepped one at a time count too. Numbers that only a parallel step has, such as `decide_s`, are
    NaN in a step of the model in which such agents have decided.

    Args:
        names: which numbers of a `StepReport`; by default all.

    Raises:
        ConfigurationError: if a name is unknown.
    """
    return {name: _MODEL_REPORTERS[name] for name in _known(names, TOTALS)}


def agent_reporters(*names: str) -> dict[str, Callable[[Agent[Any]], float]]:
    """Reporters that sum over the agent's steps within the current step of the model.

    Numbers that only a parallel step has, such as `decide_s`, are NaN for an agent that Mesa stepped one at a time.

    Args:
        names: which numbers of an `AgentReport`; by default all.

    Raises:
        ConfigurationError: if a name is unknown.
    """
    return {name: _AGENT_REPORTERS[name] for name in _known(names, tuple(_OF_AGENTS))}


def reports_of(model: Model[Any, Any]) -> list[StepReport]:
    """The reports of the model's current step, one a set of agents, in the order in which they stepped.

    Args:
        model: the Mesa model.
    """
    now = step_of(model)
    return [report for report in getattr(model, "parallel_reports", ()) if report.step == now]


def _known(names: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    if unknown := [name for name in names if name not in known]:
        raise ConfigurationError(f"Unknown reporter(s) {unknown}. There are: {', '.join(known)}.")
    return names or known


def _of_model(name: str) -> Callable[[Model[Any, Any]], float]:
    def reporter(model: Model[Any, Any]) -> float:
        reports, alone = reports_of(model), one_at_a_time(model)
        values: list[float] = [getattr(report, name) for report in reports]
        if name not in _OF_TALLIES:
            if alone.has_stepped:
                return math.nan
            return max(values, default=0) if name == "peak_concurrency" else sum(values)
        if any(_may_decide_unseen(agent, reports) for agent in model.agents):
            return math.nan
        return sum(values) + _OF_TALLIES[name](alone.tally)

    return _importable(reporter, f"model_{name}")


def _of_agent(name: str) -> Callable[[Agent[Any]], float]:
    def reporter(agent: Agent[Any]) -> float:
        reports, alone = reports_of(agent.model), one_at_a_time(agent)
        parts = [part for report in reports if (part := report.of_agent(agent.unique_id)) is not None]
        if _may_decide_unseen(agent, reports) or (alone.has_stepped and name not in _OF_TALLIES):
            return math.nan
        values: list[float] = [_OF_AGENTS[name](part) for part in parts]
        return sum(values) + (_OF_TALLIES[name](alone.tally) if name in _OF_TALLIES else 0)

    return _importable(reporter, f"agent_{name}")


def _may_decide_unseen(agent: Agent[Any], reports: Sequence[StepReport]) -> bool:
    """Whether an agent has a decision, and only a runner sees it: it is no `LLMAgent`, and nothing reports it."""
    if isinstance(agent, LLMAgent) or not has_decision(agent, in_threads=False):
        return False
    return all(report.of_agent(agent.unique_id) is None for report in reports)


def _importable[F: Callable[..., Any]](function: F, name: str) -> F:
    """Give a function a place in this module, where pickle finds it.

    A partial would pickle by itself, but Mesa 3.4 takes plain functions only.
    """
    function.__name__ = function.__qualname__ = name
    globals()[name] = function
    return function


_MODEL_REPORTERS = {name: _of_model(name) for name in TOTALS}
_AGENT_REPORTERS = {name: _of_agent(name) for name in _OF_AGENTS}


# Chrome's trace event format, in its JSON form: complete events ("X") with times in microseconds, nested by time within
# one thread id.

_STEPS_LANE = 0


def chrome_trace(reports: Iterable[StepReport]) -> dict[str, Any]:
    """The trace of some steps, as JSON could hold it.

    Each agent has a lane with its phases and, below them, its calls. Calls of one agent that overlap each other get
    lanes of their own next to it. A call is as long as its agent waited for it; its `latency_s` says how much of that
    the exchange with the model took.

    Args:
        reports: the reports of the steps.
    """
    reports = list(reports)
    began = min((report.started for report in reports), default=0.0)
    lanes: dict[str, int] = {}
    events = [event for report in reports for event in _events(report, report.started - began, lanes)]
    names = [_named("process_name", "parallel steps", 0), _named("thread_name", "steps", _STEPS_LANE)]
    for lane, number in lanes.items():
        names.append(_named("thread_name", lane, number))
        names.append({**_named("thread_sort_index", "", number), "args": {"sort_index": number}})
    return {"displayTimeUnit": "ms", "traceEvents": names + events}


def write_chrome_trace(path: str | Path, reports: Iterable[StepReport]) -> None:
    """Write the trace of some steps to a file, to be opened at ui.perfetto.dev.

    Args:
        path: the file; one that is there is replaced.
        reports: the reports of the steps.

    Raises:
        OSError: if the file cannot be written.
    """
    Path(path).write_text(json.dumps(chrome_trace(reports)), encoding="utf-8")


def _events(report: StepReport, offset: float, lanes: dict[str, int]) -> Iterator[dict[str, Any]]:
    yield _complete(f"step {report.step}", offset, 0.0, report.wall_s, _STEPS_LANE, {"error": report.error})
    for start, end in () if report.look_ahead is None else report.look_ahead.looks:
        yield _complete("look ahead", offset, start, end, _lane("looking ahead", lanes), {})
    for agent in report.agents:
        name = f"{agent.agent_class} {agent.agent_id}"
        lane = _lane(name, lanes)
        for span in agent.spans:
            yield _complete(span.phase, offset, span.start, span.end, lane, {"outcome": agent.outcome})
        for number, call in _side_by_side(agent):
            in_lane = lane if number == 0 else _lane(f"{name} ({number + 1})", lanes)
            yield _complete(
                "model call",
                offset,
                call.start,
                call.end,
                in_lane,
                {
                    "prompt_tokens": call.prompt_tokens,
                    "completion_tokens": call.completion_tokens,
                    "retries": call.retries,
                    "error": call.error,
                    "source": call.source,
                    "latency_s": call.latency_s,
                },
            )


def _side_by_side(agent: AgentReport) -> Iterator[tuple[int, CallSpan]]:
    """Each call with the first lane that is free when it starts.

    The agent's own lane is free for calls within one of its phases only: events of one lane must nest.
    """
    ends: list[float] = []
    for call in sorted(agent.model_calls, key=lambda call: call.start):
        nests = any(span.start <= call.start and call.end <= span.end for span in agent.spans)
        number = 0 if nests else 1
        while number < len(ends) and ends[number] > call.start:
            number += 1
        ends += [0.0] * (number + 1 - len(ends))
        ends[number] = call.end
        yield number, call


def _lane(name: str, lanes: dict[str, int]) -> int:
    return lanes.setdefault(name, len(lanes) + 1)


def _complete(name: str, offset: float, start: float, end: float, lane: int, details: dict[str, Any]) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": name,
        "cat": "mesa-llm",
        "ts": (offset + start) * 1e6,
        "dur": (end - start) * 1e6,
        "pid": 1,
        "tid": lane,
        "args": {key: value for key, value in details.items() if value is not None},
    }


def _named(kind: str, name: str, lane: int) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": 1, "tid": lane, "args": {"name": name}}
