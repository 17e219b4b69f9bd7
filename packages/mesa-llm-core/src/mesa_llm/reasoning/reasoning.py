"""The base of all strategies: one body for sync and async, and a barrier at the end of a decision."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate

from mesa_llm.activation import stage, step_of
from mesa_llm.activation.context import AwaitedWrites
from mesa_llm.activation.method_pairs import nearer_method
from mesa_llm.activation.turn import adecide, decide, in_thread, is_off_record
from mesa_llm.activation.values import to_text
from mesa_llm.clients import ToolChoice
from mesa_llm.concurrency import calling_loop
from mesa_llm.errors import ConfigurationError
from mesa_llm.memory.observation import Observation
from mesa_llm.module_llm.dialogue import aconverse, converse
from mesa_llm.module_llm.request_fields import check_most_calls
from mesa_llm.reasoning.plan import HeldPlans, Plan, Question, Thinking, sight_of, tool_calls_for
from mesa_llm.tools.tool_decorator import INHERIT, ToolSelection, names_of

if TYPE_CHECKING:
    from mesa_llm.clients import LLMRequest, LLMResponse
    from mesa_llm.llm_agent import LLMAgent


def _decision[R: Reasoning, **P, T](plan: Callable[Concatenate[R, P], T]) -> Callable[Concatenate[R, P], T]:
    """A `plan` method that waits for the agent's turn at its end."""

    @functools.wraps(plan)
    def decided(self: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return decide(self.agent, plan, self, *args, **kwargs)

    return decided


def _adecision[R: Reasoning, **P, T](
    aplan: Callable[Concatenate[R, P], Awaitable[T]],
) -> Callable[Concatenate[R, P], Coroutine[Any, Any, T]]:
    """An `aplan` method that waits for the agent's turn at its end."""

    @inspect.markcoroutinefunction
    @functools.wraps(aplan)
    def decided(self: R, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return adecide(self.agent, aplan, self, *args, **kwargs)

    return decided


class Reasoning:
    """Base of strategies by which an agent decides.

    A strategy of your own implements `decide`, a generator that yields requests and returns a plan; `plan` and `aplan`
    run it. In a parallel step both of them return when it is the agent's turn. A strategy may override `plan` or
    `aplan` instead: with only `plan`, `aplan` runs it in a thread.

    Args:
        agent: the agent that decides.
    """

    holds_plans = True
    """Whether a plan with a `ttl` above 1 is returned again in the steps in which it holds."""

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
            ttl: for how many steps the plan holds.
            selected_tools: the names of the tools on offer, `None` for all that the agent has.
            tool_calls: whether the plan may, must not or must call tools.

        Returns:
            A generator that yields requests, is sent the responses, and returns the plan.

        Raises:
            NotImplementedError: if the strategy defines none of `decide`, `plan` and `aplan`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has none of decide(), plan() and aplan(): define one of them."
        )

    def unfinished_plan(self, ttl: int) -> Plan | None:
        """The rest of an earlier plan, to continue instead of deciding again; `None` if nothing is left.

        Args:
            ttl: the `ttl` of the decision to be made.
        """
        return None

    @_decision
    def plan(
        self,
        prompt: str | None = None,
        obs: Observation | Any | None = None,
        ttl: int = 1,
        selected_tools: ToolSelection = None,
        tool_calls: ToolChoice | None = None,
        *,
        tools: ToolSelection = INHERIT,
        max_tool_calls: int | None = None,
    ) -> Plan:
        """Decide; blocks the calling thread until the decision is made and it is the agent's turn.

        Args:
            prompt: what to decide; the agent's `step_prompt` by default.
            obs: what the agent sees; a fresh observation by default. Anything else, such as a text or a dict, is put
                into the prompt as a text; then nothing checks whether the agents that a call names are in sight.
            ttl: for how many steps the plan holds: in the `ttl - 1` steps that follow, the same question (prompt,
                tools) is not asked again, and the same plan is returned.
            selected_tools: the same as `tools` by its older name, where `None` means all.
            tool_calls: whether the plan may (`auto`), must (`required`) or must not (`none`) call tools; the agent's
                `tool_calls` by default.
            tools: the tools on offer, as functions or names: all of the agent's by default, none with `None` or `[]`.
            max_tool_calls: how many tools it may call at most; the agent's `max_tool_calls` by default.

        Returns:
            The decision.

        Raises:
            ConfigurationError: if `ttl` or `max_tool_calls` is less than 1, neither a prompt nor a `step_prompt` is
                given, a tool name is unknown, or `tools` and `selected_tools` are both given.
            ModelCallError: if the model could not be asked.
            DecisionError: if its answer cannot be used, asked for once more where that can help.
            TurnError: on a thread whose event loop runs agents; use `await aplan(…)` there.
        """
        names = names_of(self.agent.tool_manager.tools, tools, selected_tools)
        if self._means("aplan"):
            return calling_loop.run(
                self.aplan(prompt, obs, ttl, names, tool_calls, **_given(max_tool_calls=max_tool_calls))
            )
        question = self._question(prompt, ttl, names, tool_calls, max_tool_calls)
        if isinstance(question, Plan):
            return question
        seen = self.agent.generate_obs() if obs is None else obs
        thinking = self._thinking(question, seen, ttl, names)
        plan = converse(thinking, self.agent.llm.complete, max_tool_calls=question.max_tool_calls)
        return self._made(question, plan, seen)

    @_adecision
    async def aplan(
        self,
        prompt: str | None = None,
        obs: Observation | Any | None = None,
        ttl: int = 1,
        selected_tools: ToolSelection = None,
        tool_calls: ToolChoice | None = None,
        *,
        tools: ToolSelection = INHERIT,
        max_tool_calls: int | None = None,
    ) -> Plan:
        """Decide, without blocking the event loop. Arguments and errors as for `plan`."""
        names = names_of(self.agent.tool_manager.tools, tools, selected_tools)
        if self._means("plan"):
            given = _given(max_tool_calls=max_tool_calls)
            return await in_thread(functools.partial(self.plan, prompt, obs, ttl, names, tool_calls, **given))
        question = self._question(prompt, ttl, names, tool_calls, max_tool_calls)
        if isinstance(question, Plan):
            return question
        seen = await self.agent.agenerate_obs() if obs is None else obs
        thinking = self._thinking(question, seen, ttl, names)
        return self._made(question, await self._athink(thinking, question.max_tool_calls), seen)

    def execute_tool_call(
        self,
        chaining_message: str,
        selected_tools: ToolSelection = None,
        ttl: int = 1,
        tool_calls: ToolChoice | None = None,
        *,
        tools: ToolSelection = INHERIT,
    ) -> Plan:
        """Have the model turn a decision in words into tool calls: the second call of a strategy that overrides `plan`.

        Args:
            chaining_message: the decision in words.
            selected_tools: the same as `tools` by its older name, where `None` means all.
            ttl: for how many steps the plan holds.
            tool_calls: `auto`, `none` or `required`; the agent's `tool_calls` by default.
            tools: the tools on offer, as functions or names: all of the agent's by default, none with `None` or `[]`.

        Returns:
            The plan, with its tool calls.

        Raises:
            ConfigurationError: if a tool name is unknown, or `tools` and `selected_tools` are both given.
            ModelCallError: if the model could not be asked.
            DecisionError: if its answer cannot be used, asked for once more where that can help.
        """
        thinking = self._execution(chaining_message, tools, selected_tools, ttl, tool_calls)
        return converse(thinking, self.agent.llm.complete, max_tool_calls=self.agent.max_tool_calls)

    async def aexecute_tool_call(
        self,
        chaining_message: str,
        selected_tools: ToolSelection = None,
        ttl: int = 1,
        tool_calls: ToolChoice | None = None,
        *,
        tools: ToolSelection = INHERIT,
    ) -> Plan:
        """Like `execute_tool_call`, without blocking the event loop."""
        thinking = self._execution(chaining_message, tools, selected_tools, ttl, tool_calls)
        return await self._athink(thinking, self.agent.max_tool_calls)

    async def _athink(self, thinking: Thinking, max_tool_calls: int | None) -> Plan:
        def ask(request: LLMRequest) -> Awaitable[LLMResponse]:
            return self.agent.llm.acomplete(request)

        with AwaitedWrites() as writes:
            return await aconverse(thinking, ask, max_tool_calls=max_tool_calls, writes=writes)

    def _execution(
        self,
        decision: str,
        tools: ToolSelection,
        selected_tools: ToolSelection,
        ttl: int,
        tool_calls: ToolChoice | None,
    ) -> Thinking:
        names = names_of(self.agent.tool_manager.tools, tools, selected_tools)
        choice = self.agent.tool_calls if tool_calls is None else tool_calls
        return tool_calls_for(self.agent, decision, None, ttl, names, choice)

    def _thinking(self, question: Question, seen: Observation, ttl: int, selected_tools: list[str] | None) -> Thinking:
        return self.decide(
            question.prompt, seen, ttl=ttl, selected_tools=selected_tools, tool_calls=question.tool_calls
        )

    def _question(
        self,
        prompt: str | None,
        ttl: int,
        selected_tools: list[str] | None,
        tool_calls: ToolChoice | None,
        max_tool_calls: int | None,
    ) -> Question | Plan:
        """The question to ask; a plan if an earlier step has answered it and the plan still holds."""
        if ttl < 1:
            raise ConfigurationError(
                f"ttl must be at least 1 step, got {ttl!r}. With 1, the agent decides in each step."
            )
        tool_calls = self.agent.tool_calls if tool_calls is None else tool_calls
        max_tool_calls = check_most_calls(self.agent.max_tool_calls if max_tool_calls is None else max_tool_calls)
        asks_anyway = is_off_record()
        if not asks_anyway and tool_calls != "none" and (unfinished := self.unfinished_plan(ttl)) is not None:
            return unfinished
        names = None if selected_tools is None else tuple(selected_tools)
        question = Question(self._prompt(prompt), names, tool_calls, max_tool_calls)
        return question if asks_anyway else self._held.find(question, step_of(self.agent.model)) or question

    def _prompt(self, given: str | None) -> str:
        prompt = self.agent.step_prompt if given is None else given
        if prompt is None:
            raise ConfigurationError(
                f"{type(self.agent).__name__} {self.agent.unique_id} has nothing to decide: give plan() a prompt, or "
                "the agent a step_prompt."
            )
        return prompt

    def preview(self, prompt: str | None, obs: Observation) -> LLMRequest:
        """The first request of a decision, see `LLMAgent.preview_prompt`.

        Args:
            prompt: what to decide; the agent's `step_prompt` by default.
            obs: what the agent sees.

        Raises:
            ConfigurationError: if there is nothing to decide.
        """
        question = Question(self._prompt(prompt), None, self.agent.tool_calls)
        thinking = self._thinking(question, obs, 1, None)
        try:
            return next(thinking)
        finally:
            thinking.close()

    def _made(self, question: Question, plan: Plan, seen: Observation) -> Plan:
        """Complete a new plan, and keep it if it holds for longer than this step."""
        if plan.offered is None:
            names = question.selected_tools
            specs = self.agent.tool_manager.specs(names, agent=self.agent)
            # None means all of the agent's tools, later ones too; not so if a condition leaves some out.
            is_all = names is None and len(specs) == len(self.agent.tool_manager.tools)
            plan.offered = None if is_all else tuple([spec.name for spec in specs])
        if plan.seen is None:
            plan.seen = sight_of(seen)
        if plan.ttl > 1 and self.holds_plans:
            stage(self.agent, lambda: self._held.keep(question, plan))
        return plan

    def _means(self, name: str) -> bool:
        """Whether the strategy defines only this method, and the base was asked for the other one of the pair."""
        return nearer_method(type(self), "plan", "aplan", prefer_async=name == "plan") == name


def _given(**arguments: Any) -> dict[str, Any]:
    """The arguments that are given: a strategy of one's own may not know those that are new."""
    return {name: value for name, value in arguments.items() if value is not None}
