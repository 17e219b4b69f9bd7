"""ReAct: one thought, one action, again at the next step.

After Yao et al. (2023), "ReAct: Synergizing Reasoning and Acting in Language Models", arXiv:2210.03629.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from mesa_llm.module_llm.dialogue import ask_structured
from mesa_llm.reasoning.plan import Thinking
from mesa_llm.reasoning.prompts import first_request, tool_calls_for
from mesa_llm.reasoning.reasoning import Reasoning

if TYPE_CHECKING:
    from mesa_llm.clients import ToolChoice
    from mesa_llm.reasoning.observation import Observation

_INSTRUCTIONS = """\
You are an agent in a simulation. Reason about your situation, using what you remember and what you observe, and decide
what to do next. Describe the action in words; do not call a tool yet.
Answer with a JSON object that has two texts: "reasoning" and "action"."""


class ReActOutput(BaseModel):
    """The form of a ReAct answer."""

    model_config = ConfigDict(defer_build=True)  # by the first who asks in this form

    reasoning: str = Field(description="Step-by-step reasoning about the situation")
    action: str = Field(description="What to do now, in words", min_length=1)


class ReActReasoning(Reasoning):
    """Answers with a reason and an action as JSON, then turns the action into tool calls: two model calls.

    An answer that is not the JSON asked for is asked again once, with what is wrong about it.

    ```python
    from mesa import Model
    from mesa_llm.llm_agent import LLMAgent
    from mesa_llm.reasoning import ReActReasoning
    from mesa_llm.testing import ScriptedLLM

    llm = ScriptedLLM(['{"reasoning": "I am tired.", "action": "rest"}', "Done."])
    agent = LLMAgent(Model(), ReActReasoning, client=llm, step_prompt="What do you do?")
    plan = agent.reasoning.plan(obs=agent.generate_obs())
    print(len(llm.requests), str(plan))
    #> 2 Done.
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
        """Reason, then turn the action into tool calls.

        Raises:
            DecisionError: if the second answer cannot be read either.
        """
        agent = self.agent
        request = first_request(
            agent,
            _INSTRUCTIONS,
            prompt,
            obs,
            selected_tools=selected_tools,
            tool_choice="none",
            response_format=ReActOutput,
        )
        output = yield from ask_structured(request, ReActOutput, asker=agent)
        agent.memory.add_to_memory("plan", output.model_dump())
        return (
            yield from tool_calls_for(
                agent, output.action, obs, ttl=ttl, selected_tools=selected_tools, tool_calls=tool_calls
            )
        )
