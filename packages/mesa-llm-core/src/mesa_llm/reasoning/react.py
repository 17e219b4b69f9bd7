"""ReAct: one thought, one action, again at the next step.

After Yao et al. (2023), "ReAct: Synergizing Reasoning and Acting in Language Models", arXiv:2210.03629.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, ValidationError

from mesa_llm.errors import DecisionError
from mesa_llm.reasoning.executor import tool_calls_for
from mesa_llm.reasoning.prompts import system_prompt, user_prompt
from mesa_llm.reasoning.reasoning import Reasoning, Thinking

if TYPE_CHECKING:
    from mesa_llm.clients import ToolChoice
    from mesa_llm.reasoning.observation import Observation

_INSTRUCTIONS = """\
You are an agent in a simulation. Reason about your situation, using what you remember and what you observe, and decide
what to do next. Describe the action in words; do not call a tool yet.
Answer with a JSON object that has two texts: "reasoning" and "action"."""


class ReActOutput(BaseModel):
    """The form of a ReAct answer."""

    reasoning: str = Field(description="Step-by-step reasoning about the situation")
    action: str = Field(description="What to do now, in words", min_length=1)


class ReActReasoning(Reasoning):
    """Answers with a reason and an action as JSON, then turns the action into tool calls: two model calls.

    An answer that is not the JSON asked for is asked again once, with what is wrong about it.
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
        task = user_prompt(agent.memory.get_prompt_ready(), obs, prompt)
        questions = [task]
        for attempt in (1, 2):
            response = yield agent.llm.request(
                prompt=questions,
                tool_schema=agent.tool_manager.specs(selected_tools),
                tool_choice="none",
                response_format=ReActOutput,
                system_prompt=system_prompt(_INSTRUCTIONS, agent.system_prompt),
            )
            answer = response.message.content
            try:
                output = ReActOutput.model_validate_json(_json_object_in(answer))
                break
            except ValidationError as error:
                problem = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'answer'}: {e['msg']}" for e in error.errors())
                if attempt == 2:
                    raise DecisionError(
                        f"{type(agent).__name__} {agent.unique_id}: the model's answer is not the JSON asked for "
                        f"({problem}): {answer[:200]!r}"
                    ) from error
                questions = [task, f"Your last answer was {answer!r}. It cannot be read: {problem}. Answer again."]
        agent.memory.add_to_memory("plan", output.model_dump())
        return (
            yield from tool_calls_for(
                agent, output.action, step=obs.step, ttl=ttl, selected_tools=selected_tools, tool_calls=tool_calls
            )
        )


def _json_object_in(answer: str) -> str:
    """The JSON object in an answer that may be fenced or have text around it."""
    start, end = answer.find("{"), answer.rfind("}")
    return answer[start : end + 1] if 0 <= start < end else answer
