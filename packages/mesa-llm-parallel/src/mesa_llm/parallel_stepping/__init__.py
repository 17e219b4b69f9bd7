"""All agents of a Mesa step decide at once, then act one by one in Mesa's seeded order.

Its modules, from the outside in:

    patch               Mesa's agent sets step in parallel where a model asks for it
    manual              step agents in parallel by hand
    parallel_step       one step: order, decide, act
    turns               one agent's place in it
    asyncio_runner      agents run as tasks
    thread_pool_runner  agents run on threads
    config              mode and number of threads
    generators          the random state, put back when a step is called off
"""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.activation import my_turn, wait_my_turn
from mesa_llm.parallel_stepping.config import ParallelStepping
from mesa_llm.parallel_stepping.failures import ParallelStepError
from mesa_llm.parallel_stepping.manual import (
    step_agents_multithreaded,
    step_agents_parallel,
    step_agents_parallel_sync,
)
from mesa_llm.parallel_stepping.patch import disable_automatic_parallel_stepping, enable_automatic_parallel_stepping

__all__ = [
    "ParallelStepError",
    "ParallelStepping",
    "disable_automatic_parallel_stepping",
    "enable_automatic_parallel_stepping",
    "my_turn",
    "step_agents_multithreaded",
    "step_agents_parallel",
    "step_agents_parallel_sync",
    "wait_my_turn",
]
