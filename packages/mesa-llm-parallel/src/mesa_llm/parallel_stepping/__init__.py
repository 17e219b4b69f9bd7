"""All agents of a Mesa step decide at once, then act one by one in Mesa's seeded order.

Its modules, from the outside in:

    patch               Mesa's agent sets step in parallel where a model asks for it
    manual              step agents in parallel by hand
    config              mode, activation, what to do about failures
    parallel_step       one step: order, decide, act, settle; eager_step lets agents act at once
    seating             who runs how
    turns, passage      one agent's place in it, as the agent and as the step see it
    asyncio_runner      agents run as tasks
    thread_pool_runner  agents run on threads
    settle              what agents owe to themselves after acting
    report              what a step took; reporters and chrome_trace make columns and pictures of it
    progress            how far a step has come, while it runs
    watchdog, draws     say so when a step does not get on, or depends on how fast the model answers
    collector           the garbage collector left to wait while a step runs
    generators, rearm   the random state put back, and Mesa kept stepping, when a step has failed
"""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.activation import my_turn, wait_my_turn
from mesa_llm.parallel_stepping.chrome_trace import chrome_trace, write_chrome_trace
from mesa_llm.parallel_stepping.config import ParallelStepping
from mesa_llm.parallel_stepping.failures import ParallelStepError
from mesa_llm.parallel_stepping.manual import (
    step_agents_multithreaded,
    step_agents_parallel,
    step_agents_parallel_sync,
)
from mesa_llm.parallel_stepping.patch import disable_automatic_parallel_stepping, enable_automatic_parallel_stepping
from mesa_llm.parallel_stepping.progress import StepProgress, progress_of
from mesa_llm.parallel_stepping.report import AgentReport, CallSpan, Span, StepReport
from mesa_llm.parallel_stepping.reporters import agent_reporters, model_reporters, reports_of

__all__ = [
    "AgentReport",
    "CallSpan",
    "ParallelStepError",
    "ParallelStepping",
    "Span",
    "StepProgress",
    "StepReport",
    "agent_reporters",
    "chrome_trace",
    "disable_automatic_parallel_stepping",
    "enable_automatic_parallel_stepping",
    "model_reporters",
    "my_turn",
    "progress_of",
    "reports_of",
    "step_agents_multithreaded",
    "step_agents_parallel",
    "step_agents_parallel_sync",
    "wait_my_turn",
    "write_chrome_trace",
]
