"""Decide and act in one call: half the cost and the waiting of strategies that think first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesa_llm.reasoning.plan import Plan, Thinking
from mesa_llm.reasoning.prompts import first_request
from mesa_llm.reasoning.reasoning import Reasoning

if TYPE_CHECKING:
    from mesa_llm.clients import ToolChoice
    from mesa_llm.reasoning.observation import Observation

_INSTRUCTIONS = """\
You are an agent in a simulation. Decide what to do next, and do it by calling tools, in the order in which they are to
be carried out. Say in one or two sentences why. If nothing is to be done, call no tool."""


class OneCallReasoning(Reasoning):
    """Decides and calls tools in a single model call.

    The model sees memory, observation and task as with the other strategies, and answers with its reason and the tool
    calls at once. Models that think before they answer lose nothing by it; others may decide better with
    `CoTReasoning`.

    ```python
    from mesa import Model
    from mesa_llm.llm_agent import LLMAgent
    from mesa_llm.reasoning import OneCallReasoning
    from mesa_llm.testing import ScriptedLLM

    llm = ScriptedLLM("I rest.")
    agent = LLMAgent(Model(), OneCallReasoning, client=llm, step_prompt="What do you do?")
    plan = agent.reasoning.plan(obs=agent.generate_obs())
    print(len(llm.requests), str(plan))
    #> 1 I rest.
    ```
    """

    def decide(
        self,
        prompt: str,
        obs: Observation,
        *,
        ttl: int,
        selected_tools: list[str] | None,
        tool_calls: ToolChoice | None,
    ) -> Thinking:
        """Decide."""
        agent = self.agent
        response = yield first_request(
            agent, _INSTRUCTIONS, prompt, obs, selected_tools=selected_tools, tool_choice=tool_calls
        )
        plan = Plan(step=obs.step, llm_plan=response.message, ttl=ttl)
        agent.memory.add_to_memory("plan", {"content": str(plan)})
        return plan
