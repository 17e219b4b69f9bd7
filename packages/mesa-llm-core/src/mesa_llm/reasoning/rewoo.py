"""ReWOO: plan several steps ahead, then carry them out without looking again.

After Xu et al. (2023), "ReWOO: Decoupling Reasoning from Observations for Efficient Augmented Language Models",
arXiv:2305.18323.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mesa_llm.activation import stage, step_of
from mesa_llm.clients import Message
from mesa_llm.clients.questions import instructions_for, register_question
from mesa_llm.memory.observation import Observation
from mesa_llm.reasoning.plan import (
    Plan,
    Thinking,
    decision_in_words,
    own_prompt,
    system_prompt_of,
    tool_calls_for,
)
from mesa_llm.reasoning.reasoning import Reasoning

if TYPE_CHECKING:
    from mesa_llm.clients import ToolChoice
    from mesa_llm.llm_agent import LLMAgent

_INSTRUCTIONS = """\
You are an agent in a simulation that plans several steps ahead and does not look again while it carries the plan out.
Make a plan of one to five actions that leads to your goal, and say what to do if things go differently. Answer in this
form:
Plan: your strategy and why
Step 1: the first action
Step 2: the next action, if any, and so on up to Step 5
Contingency: what to do if things go differently"""
register_question("decide", _INSTRUCTIONS, in_words=True, name="ReWOOReasoning")


class ReWOOReasoning(Reasoning):
    """Plans up to five actions with two model calls; carries out one tool call a step, without asking again.

    Each call of a plan is made once. A `ttl` above 1 bounds the steps for which a plan is followed: then the rest of it
    is dropped, and the agent makes a new plan.

    Args:
        agent: the agent that decides.
    """

    holds_plans = False

    def __init__(self, agent: LLMAgent) -> None:
        super().__init__(agent)
        self._n_left = 0
        self._whole: Plan | None = None

    @property
    def remaining_tool_calls(self) -> int:
        """How many tool calls of the current plan are still to be made."""
        return 0 if self._whole is None else self._n_left

    @remaining_tool_calls.setter
    def remaining_tool_calls(self, n: int) -> None:
        self._n_left = n

    @property
    def current_plan(self) -> Message | None:
        """The model's message with all tool calls of the current plan; `None` before the first."""
        return None if self._whole is None else self._whole.llm_plan

    @current_plan.setter
    def current_plan(self, message: Message | None) -> None:
        seen = self.current_obs
        self._whole = None if message is None else Plan(step_of(self.agent.model), message, seen=seen)

    @property
    def current_obs(self) -> Observation | None:
        """What the agent saw when it made the current plan."""
        return None if self._whole is None else self._whole.seen

    @current_obs.setter
    def current_obs(self, obs: Observation | None) -> None:
        if self._whole is not None:
            self._whole = replace(self._whole, seen=obs)

    def unfinished_plan(self, ttl: int) -> Plan | None:
        """The next tool call of the current plan, `None` when all have been made."""
        step = step_of(self.agent.model)
        whole = self._whole
        if whole is None or not self._n_left or (ttl > 1 and step >= whole.step + ttl):
            return None
        remaining = tuple(whole.tool_calls[-self._n_left :])
        return self._next_of(replace(whole, llm_plan=Message("assistant", tool_calls=remaining), step=step, ttl=ttl))

    def get_rewoo_system_prompt(self, obs: Observation) -> str:
        """The system prompt, for a subclass to override as `CoTReasoning.get_cot_system_prompt`.

        Args:
            obs: what the agent sees.

        Returns:
            The system prompt.
        """
        return system_prompt_of(self.agent, instructions_for(self.agent, "ReWOOReasoning"), obs)

    def decide(
        self,
        prompt: str,
        obs: Observation,
        *,
        ttl: int,
        selected_tools: list[str] | None,
        tool_calls: ToolChoice | None,
    ) -> Thinking:
        """Make a new plan and begin it."""
        agent = self.agent
        own = own_prompt(self.get_rewoo_system_prompt, ReWOOReasoning.get_rewoo_system_prompt, obs)
        instructions = instructions_for(agent, "ReWOOReasoning")
        text = yield from decision_in_words(agent, instructions, prompt, obs, selected_tools, own)
        plan = yield from tool_calls_for(agent, text, obs, ttl, selected_tools, tool_calls)
        stage(agent, lambda: setattr(self, "_whole", plan))
        return self._next_of(plan)

    def _next_of(self, plan: Plan) -> Plan:
        first, rest = plan.llm_plan.tool_calls[:1], plan.llm_plan.tool_calls[1:]
        stage(self.agent, lambda: setattr(self, "_n_left", len(rest)))
        return replace(plan, llm_plan=replace(plan.llm_plan, tool_calls=first))
