"""ReAct: one thought, one action, again at the next step.

After Yao et al. (2023), "ReAct: Synergizing Reasoning and Acting in Language Models", arXiv:2210.03629.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from mesa_llm.clients.questions import instructions_for, register_question
from mesa_llm.memory.memory import remember
from mesa_llm.memory.observation import Observation
from mesa_llm.module_llm.dialogue import ask_structured
from mesa_llm.reasoning.plan import (
    Thinking,
    first_request,
    own_prompt,
    remembered_and_seen,
    system_prompt_of,
    tool_calls_for,
)
from mesa_llm.reasoning.reasoning import Reasoning

if TYPE_CHECKING:
    from mesa_llm.clients import ToolChoice

_INSTRUCTIONS = """\
You are an agent in a simulation. Reason about your situation, using what you remember and what you observe, and decide
what to do next. Describe the action in words; do not call a tool yet.
Answer with a JSON object that has two texts: "reasoning" and "action"."""
register_question("decide", _INSTRUCTIONS, in_words=True, name="ReActReasoning")


class ReActOutput(BaseModel):
    """The form of a ReAct answer."""

    model_config = ConfigDict(defer_build=True)  # built on the first use

    reasoning: str = Field(description="Step-by-step reasoning about the situation")
    action: str = Field(description="What to do now, in words", min_length=1)


class ReActReasoning(Reasoning):
    """Answers with a reason and an action as JSON, then turns the action into tool calls: two model calls.

    If the answer is not the JSON asked for, the model is asked again once, with the problem.
    """

    def get_react_system_prompt(self) -> str:
        """The system prompt, for a subclass to override: instructions and who the agent is."""
        return system_prompt_of(self.agent, instructions_for(self.agent, "ReActReasoning"))

    def get_react_prompt(self, obs: Observation) -> list[str]:
        """The texts before the task, for a subclass to override: the agent's memory, and what it sees.

        Args:
            obs: what the agent sees.

        Returns:
            The texts, each a message of its own.
        """
        return remembered_and_seen(self.agent, obs)

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
        texts = own_prompt(self.get_react_prompt, ReActReasoning.get_react_prompt, obs)
        request = first_request(
            self.agent,
            instructions_for(self.agent, "ReActReasoning"),
            prompt,
            obs,
            selected_tools,
            "none",
            ReActOutput,
            prompt=None if texts is None else [*([texts] if isinstance(texts, str) else texts), prompt],
            system_prompt=own_prompt(self.get_react_system_prompt, ReActReasoning.get_react_system_prompt),
        )
        output = yield from ask_structured(request, ReActOutput, asker=self.agent)
        remember(self.agent.memory, "plan", output.model_dump())
        return (yield from tool_calls_for(self.agent, output.action, obs, ttl, selected_tools, tool_calls))
