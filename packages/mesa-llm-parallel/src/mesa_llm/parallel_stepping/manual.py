"""Step agents in parallel by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mesa_llm.activation.mesa_model import restorer, stepping_on
from mesa_llm.errors.tracebacks import shorten
from mesa_llm.parallel_stepping import patch
from mesa_llm.parallel_stepping.activations import make_step

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.parallel_stepping.activations.sequential import SequentialStep
    from mesa_llm.parallel_stepping.step import ParallelStep


async def step_agents_parallel(agents: Iterable[Agent[Any]]) -> None:
    """Step agents in parallel, as tasks of the event loop that is running. Settings as for `step_agents_parallel_sync`.

    Args:
        agents: who steps, in this order. Nothing is shuffled and no random number is drawn.

    Raises:
        ParallelStepError: if decisions failed; nobody has acted on them.
        Exception: whatever an agent raised while it acted, with a note that says who had acted.
    """
    step = _step(agents, mode="asyncio")
    try:
        await step.run()
    except BaseException as error:
        shorten(error)
        raise


def step_agents_parallel_sync(agents: Iterable[Agent[Any]]) -> None:
    """Step agents in parallel, whether or not their model sets `parallel_stepping`.

    The settings are those of the model's own `ParallelStepping`, if it has one, or else those of
    `enable_automatic_parallel_stepping` (asyncio by default).

    Returns when all have acted. In asyncio mode agents act in the calling thread; if that runs an event loop already,
    as in Jupyter, they act in a helper thread.

    ```python
    from mesa import Model
    from mesa_llm.llm_agent import LLMAgent
    from mesa_llm.parallel_stepping import step_agents_parallel_sync
    from mesa_llm.reasoning import CoTReasoning
    from mesa_llm.testing import ScriptedLLM

    llm = ScriptedLLM("Action: rest.", hold_until=3)  # answers when three are asking at once
    village = Model()
    agents = [LLMAgent(village, CoTReasoning, client=llm, step_prompt="What do you do?") for _ in range(3)]
    step_agents_parallel_sync(agents)
    print(llm.peak_in_flight)
    #> 3
    ```

    Args:
        agents: who steps, in this order. Nothing is shuffled and no random number is drawn.

    Raises:
        ParallelStepError: if decisions failed; nobody has acted on them.
        Exception: whatever an agent raised while it acted, with a note that says who had acted.
    """
    _step(agents).run_here()


def step_agents_multithreaded(agents: Iterable[Agent[Any]]) -> None:
    """Like `step_agents_parallel_sync`, always on threads.

    Raises:
        ConfigurationError: if their settings have the activation `sequential`, which has no threads.
    """
    _step(agents, mode="threading").run_here()


def _step(agents: Iterable[Agent[Any]], **changes: Any) -> ParallelStep | SequentialStep:
    agents = list(agents)
    with stepping_on(agents):
        patch.refuse_before_the_turn(agents)
        config = replace(patch.config_of(agents), **changes)
    return make_step(agents, config, restore=restorer(agents))
