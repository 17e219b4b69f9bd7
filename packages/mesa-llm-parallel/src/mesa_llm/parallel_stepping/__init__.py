"""All agents of a Mesa step decide at once, then act one by one in Mesa's seeded order.

Its modules, from the outside in:

    patch               Mesa's agent sets step in parallel where a model asks for it
    manual              step agents in parallel by hand
    config              mode, activation, what to do about failures
    activations         the regimes: simultaneous and eager, each one coroutine; sequential, around Mesa's own loop
    step                one step: what a regime does with its turns, and what becomes of failures
    turn                one agent's turn, from state to state
    runners             how an agent's step is run: as a task, on a thread, in its place
    board               what turns share: clock, event loop, counts, claims
    consolidate         memory maintenance after the acts
    report, reporting   what a step took; exports makes columns and traces of it
    decision_quality    what decisions were worth, by class of agents
    answers, memo       sequential: what answers agents, at their turns and on copies; the calls of one step
    look_ahead          sequential: the rest of a step, run on a throw-away copy without a trace
    world_copy          sequential: the copies
    verify              a model's run in sequential activation against plain Mesa's
    progress            how far a step has come, while it runs
    diagnostics         warnings: results that depend on timing, steps that do not overlap or do not get on
    failures            agents that fail alike, as one error
    relaxed_gc          the garbage collector left to wait while a step runs
"""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.activation import my_turn, wait_my_turn
from mesa_llm.parallel_stepping.config import ParallelStepping
from mesa_llm.parallel_stepping.exports import (
    agent_reporters,
    chrome_trace,
    model_reporters,
    reports_of,
    write_chrome_trace,
)
from mesa_llm.parallel_stepping.failures import ParallelStepError
from mesa_llm.parallel_stepping.manual import (
    step_agents_multithreaded,
    step_agents_parallel,
    step_agents_parallel_sync,
)
from mesa_llm.parallel_stepping.patch import disable_automatic_parallel_stepping, enable_automatic_parallel_stepping
from mesa_llm.parallel_stepping.progress import StepProgress, progress_of
from mesa_llm.parallel_stepping.report import AgentReport, CallSpan, LookAheadReport, Span, StepReport
from mesa_llm.parallel_stepping.reporting import decision_quality
from mesa_llm.parallel_stepping.verify import Verification, VerificationError, verify_sequential

__all__ = [
    "AgentReport",
    "CallSpan",
    "LookAheadReport",
    "ParallelStepError",
    "ParallelStepping",
    "Span",
    "StepProgress",
    "StepReport",
    "Verification",
    "VerificationError",
    "agent_reporters",
    "chrome_trace",
    "decision_quality",
    "disable_automatic_parallel_stepping",
    "enable_automatic_parallel_stepping",
    "model_reporters",
    "my_turn",
    "progress_of",
    "reports_of",
    "step_agents_multithreaded",
    "step_agents_parallel",
    "step_agents_parallel_sync",
    "verify_sequential",
    "wait_my_turn",
    "write_chrome_trace",
]
