"""The base of all reasonings: one body for sync and async, and the turn point at its end."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate

from mesa_llm.activation import stage, step_of
from mesa_llm.activation.decisions import adecide, decide, in_thread
from mesa_llm.activation.method_pairs import nearer_method
from mesa_llm.activation.values import to_text
from mesa_llm.clients import ToolChoice
from mesa_llm.concurrency import calling_loop
from mesa_llm.errors import ConfigurationError
from mesa_llm.module_llm.dialogue import aconverse, converse
from mesa_llm.reasoning.observation import Observation
from mesa_llm.reasoning.plan import HeldPlans, Plan, Question, Thinking, check_ttl, names_of
from mesa_llm.reasoning.prompts import tool_calls_for

if TYPE_CHECKING:
    from mesa_llm.llm_agent import LLMAgent


def _decision[R: Reasoning, **P, T](
    plan: Callable[Concatenate[R, P], T],
) -> Callable[Concatenate[R, P], T]:
    """Put the turn point at the end of a `plan` method."""

    @functools.wraps(plan)
    def decided(self: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return decide(self.agent, plan, self, *args, **kwargs)

    return decided


def _adecision[R: Reasoning, **P, T](
    aplan: Callable[Concatenate[R, P], Awaitable[T]],
) -> Callable[Concatenate[R, P], Coroutine[Any, Any, T]]:
    """Put the turn point at the end of an `aplan` method."""

    @functools.wraps(aplan)
    async def decided(self: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await adecide(self.agent, aplan, self, *args, **kwargs)

    return decided


class Reasoning:
    """Base of strategies by which an agent decides.

    A strategy of your own implements `decide`: a generator that yields requests and returns a plan. It is written
    once; `plan` and `aplan` run it. In a parallel step both of them return when it is the agent's turn.

    ```python
    from mesa_llm.reasoning import Plan, Reasoning


    class Instinct(Reasoning):
        def decide(self, prompt, obs, *, ttl, selected_tools, tool_calls):
            request = self.agent.llm.request(
                prompt=[str(obs), prompt],
                tool_schema=self.agent.tool_manager.specs(selected_tools, agent=self.agent, seen=obs),
                tool_choice=tool_calls,
            )
            response = yield request
            return Plan(step=obs.step, llm_plan=response.message, ttl=ttl)
    ```

    A strategy that overrides `plan` or `aplan` instead works too: with only `plan`, `aplan` runs it in a thread.

    Args:
        agent: the agent that decides.
    """

    holds_plans = True
    """Whether a plan with a `ttl` above 1 is handed out again in the steps in which it holds."""

    def __init__(self, agent: LLMAgent) -> None:
        self.agent = agent
        self._held = HeldPlans()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {to_text(self.agent)}>"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "plan" in vars(cls):
            cls.plan = _decision(cls.plan)  # type: ignore[method-assign]
        if "aplan" in vars(cls):
            cls.aplan = _adecision(cls.aplan)  # type: ignore[method-assign]

    def decide(
        self,
        prompt: str,
        obs: Observation,
        *,
        ttl: int,
        selected_tools: list[str] | None,
        tool_calls: ToolChoice | None,
    ) -> Thinking:
        """Make a decision. Changes nothing but the agent's own memory.

        Args:
            prompt: what to decide.
            obs: what the agent sees.
            ttl: for how many steps the plan will hold.
            selected_tools: the names of the tools on offer, `None` for all that the agent has.
            tool_calls: whether the plan may, must not or must call tools.

        Returns:
            A generator: it yields requests, is sent the responses, and returns the plan.

        Raises:
            NotImplementedError: if the strategy has neither `decide` nor a `plan` of its own.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has none of decide(), plan() and aplan(): define one of them."
        )

    def unfinished_plan(self, ttl: int) -> Plan | None:
        """The rest of an earlier plan, to continue instead of deciding again; `None` if nothing is left.

        Args:
            ttl: the `ttl` of the decision that is to be made.
        """
        return None

    @_decision
    def plan(
        self,
        prompt: str | None = None,
        obs: Observation | None = None,
        ttl: int = 1,
        selected_tools: list[str] | None = None,
        tool_calls: ToolChoice | None = "auto",
    ) -> Plan:
        """Decide; blocks the calling thread until the decision is made and it is the agent's turn.

        Args:
            prompt: what to decide; the agent's `step_prompt` by default.
            obs: what the agent sees; a fresh observation by default.
            ttl: for how many steps the plan holds: in the `ttl - 1` steps that follow, the same question (prompt,
                tools) is not asked again, and the same plan is returned.
            selected_tools: names of the tools on offer, `None` for all, `[]` for none.
            tool_calls: `auto`, `required`, or `None` for the provider's default; with `none` the plan holds no calls,
                whatever the model answers.

        Returns:
            What the agent is going to do.

        Raises:
            ConfigurationError: if `ttl` is less than 1, there is neither a prompt nor a `step_prompt`, or a tool name
                is unknown.
            ModelCallError: if the model could not be asked.
            DecisionError: if its answer cannot be used.
            TurnError: on a thread whose event loop runs agents; use `await aplan(…)` there.
        """
        if self._means("aplan"):
            return calling_loop.run(self.aplan(prompt, obs, ttl, selected_tools, tool_calls))
        question = self._question(prompt, ttl, selected_tools, tool_calls)
        if isinstance(question, Plan):
            return question
        seen = self.agent.generate_obs() if obs is None else obs
        thinking = self.decide(question.prompt, seen, ttl=ttl, selected_tools=selected_tools, tool_calls=tool_calls)
        return self._made(question, converse(thinking, self.agent.llm.complete), seen)

    @_adecision
    async def aplan(
        self,
        prompt: str | None = None,
        obs: Observation | None = None,
        ttl: int = 1,
        selected_tools: list[str] | None = None,
        tool_calls: ToolChoice | None = "auto",
    ) -> Plan:
        """Decide, without blocking the event loop. Arguments and errors as for `plan`."""
        if self._means("plan"):
            planning = functools.partial(self.plan, prompt, obs, ttl, selected_tools, tool_calls)
            return await in_thread(planning)
        question = self._question(prompt, ttl, selected_tools, tool_calls)
        if isinstance(question, Plan):
            return question
        seen = await self.agent.agenerate_obs() if obs is None else obs
        thinking = self.decide(question.prompt, seen, ttl=ttl, selected_tools=selected_tools, tool_calls=tool_calls)
        return self._made(question, await aconverse(thinking, self.agent.llm.acomplete), seen)

    def execute_tool_call(
        self,
        chaining_message: str,
        selected_tools: list[str] | None = None,
        ttl: int = 1,
        tool_calls: ToolChoice | None = "auto",
    ) -> Plan:
        """Have the model turn a decision in words into tool calls: the second call of a strategy that overrides `plan`.

        Args:
            chaining_message: the decision in words.
            selected_tools: names of the tools on offer, `None` for all, `[]` for none.
            ttl: for how many steps the plan holds.
            tool_calls: `auto`, `none`, `required`, or `None` for the provider's default.

        Returns:
            The plan, with its tool calls.

        Raises:
            ConfigurationError: if a tool name is unknown.
            ModelCallError: if the model could not be asked.
        """
        thinking = tool_calls_for(
            self.agent, chaining_message, ttl=ttl, selected_tools=selected_tools, tool_calls=tool_calls
        )
        return converse(thinking, self.agent.llm.complete)

    async def aexecute_tool_call(
        self,
        chaining_message: str,
        selected_tools: list[str] | None = None,
        ttl: int = 1,
        tool_calls: ToolChoice | None = "auto",
    ) -> Plan:
        """Like `execute_tool_call`, without blocking the event loop."""
        thinking = tool_calls_for(
            self.agent, chaining_message, ttl=ttl, selected_tools=selected_tools, tool_calls=tool_calls
        )
        return await aconverse(thinking, self.agent.llm.acomplete)

    def _question(
        self, prompt: str | None, ttl: int, selected_tools: list[str] | None, tool_calls: ToolChoice | None
    ) -> Question | Plan:
        """What is to be decided; a plan if that has been decided in an earlier step and still holds."""
        check_ttl(ttl)
        if tool_calls != "none" and (unfinished := self.unfinished_plan(ttl)) is not None:
            return unfinished
        question = Question(self._prompt_or_default(prompt), names_of(selected_tools), tool_calls)
        return self._held.find(question, step_of(self.agent.model)) or question

    def _made(self, question: Question, plan: Plan, seen: Observation) -> Plan:
        """Complete a new plan, and keep it if it holds for longer than this step."""
        if plan.offered is None:
            plan.offered = question.selected_tools
        if plan.seen is None:
            plan.seen = seen
        if plan.ttl > 1 and self.holds_plans:
            stage(self.agent, lambda: self._held.keep(question, plan))
        return plan

    def _means(self, name: str) -> bool:
        """Whether the strategy consists of this method alone, and the base has been asked for its twin."""
        return nearer_method(type(self), "plan", "aplan", prefer_async=name == "plan") == name

    def _prompt_or_default(self, prompt: str | None) -> str:
        prompt = self.agent.step_prompt if prompt is None else prompt
        if prompt is None:
            raise ConfigurationError(
                f"{type(self.agent).__name__} {self.agent.unique_id} has nothing to decide: give plan() a prompt, or "
                "the agent a step_prompt."
            )
        return prompt
