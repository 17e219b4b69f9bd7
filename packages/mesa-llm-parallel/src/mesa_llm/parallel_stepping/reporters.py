"""Step reports as columns of Mesa's DataCollector.

DataCollector(model_reporters={"calm": "calm"} | model_reporters(), agent_reporters=agent_reporters("calls"))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import step_of
from mesa_llm.errors import ConfigurationError
from mesa_llm.parallel_stepping.report import TOTALS, StepReport

if TYPE_CHECKING:
    from mesa import Agent, Model

_OF_AGENTS: dict[str, Callable[[Any], Any]] = {
    "decide_s": lambda agent: agent.seconds("decide"),
    "wait_s": lambda agent: agent.seconds("wait"),
    "act_s": lambda agent: agent.seconds("act"),
    "settle_s": lambda agent: agent.seconds("settle"),
    "failures": lambda agent: int(agent.failed),
    "conflicts": lambda agent: len(agent.conflicts),
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


def model_reporters(*names: str) -> dict[str, Callable[[Model[Any, Any]], float]]:
    """Reporters that sum over the parallel steps of the current model step; 0 if there was none.

    Of `peak_concurrency` it is the highest.

    Args:
        names: which numbers of a `StepReport`; by default all.

    Raises:
        ConfigurationError: if a name is unknown.
    """
    return {name: _MODEL_REPORTERS[name] for name in _known(names, TOTALS)}


def agent_reporters(*names: str) -> dict[str, Callable[[Agent[Any]], float]]:
    """Reporters that sum over the parallel steps of the current model step in which the agent took part.

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
        values: list[float] = [getattr(report, name) for report in reports_of(model)]
        return max(values, default=0) if name == "peak_concurrency" else sum(values)

    return _importable(reporter, f"model_{name}")


def _of_agent(name: str) -> Callable[[Agent[Any]], float]:
    def reporter(agent: Agent[Any]) -> float:
        parts = [report.of_agent(agent.unique_id) for report in reports_of(agent.model)]
        values: list[float] = [_OF_AGENTS[name](part) for part in parts if part is not None]
        return sum(values)

    return _importable(reporter, f"agent_{name}")


def _importable[F: Callable[..., Any]](function: F, name: str) -> F:
    """Give a function a place in this module, where pickle finds it.

    A partial would pickle by itself, but Mesa 3.4 takes plain functions only.
    """
    function.__name__ = function.__qualname__ = name
    globals()[name] = function
    return function


_MODEL_REPORTERS = {name: _of_model(name) for name in TOTALS}
_AGENT_REPORTERS = {name: _of_agent(name) for name in _OF_AGENTS}
