"""Parallel stepping: settings, by hand, and what a step took."""

from typing import Any, assert_type

import mesa

from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import (
    AgentReport,
    ParallelStepError,
    ParallelStepping,
    StepReport,
    disable_automatic_parallel_stepping,
    enable_automatic_parallel_stepping,
    my_turn,
    reports_of,
    step_agents_multithreaded,
    step_agents_parallel,
    step_agents_parallel_sync,
    wait_my_turn,
)


def stay(agent: "mesa.Agent[Any]", error: Exception) -> None:
    """A fallback."""


SETTINGS = [
    ParallelStepping(),
    ParallelStepping(mode="threading", max_workers=8, activation="eager"),
    ParallelStepping(on_error="skip", max_failures=0.5, decide_timeout=30),
    ParallelStepping(on_error=stay),
]


def switches() -> None:
    """On and off."""
    enable_automatic_parallel_stepping()
    enable_automatic_parallel_stepping(mode="threading")
    disable_automatic_parallel_stepping()


async def by_hand(agents: list[LLMAgent]) -> None:
    """Without the switch."""
    await step_agents_parallel(agents)
    step_agents_parallel_sync(agents)
    step_agents_multithreaded(agents)
    await my_turn()
    wait_my_turn()


def reports(model: "mesa.Model[Any, Any]", error: ParallelStepError) -> None:
    """What a step took."""
    for report in reports_of(model):
        assert_type(report, StepReport)
        assert_type(report.calls, int)
        assert_type(report.cost, float)
        assert_type(report.as_dict(), dict[str, Any])
        assert_type(report.of_agent(3), AgentReport | None)
    assert_type(error.exceptions, tuple[Exception | ExceptionGroup[Exception], ...])


def misuse(agents: list[LLMAgent]) -> None:
    """What a type checker must find."""
    ParallelStepping(mode="fibres")  # type: ignore[arg-type]
    ParallelStepping("threading")  # type: ignore[call-arg]
    ParallelStepping(on_error="ignore")  # type: ignore[arg-type]
    ParallelStepping(max_workers="all")  # type: ignore[arg-type]
    enable_automatic_parallel_stepping(mode="fibres")  # type: ignore[arg-type]
    step_agents_parallel_sync(agents, "step")  # type: ignore[call-arg]
