"""An agent's actions: it chooses one, waits for its turn, takes it, and remembers it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mesa_llm.actions import ActionChoice, ActionManager, ActionPostCommitError, ActResult
from mesa_llm.actions.action_decorator import definition_of
from mesa_llm.actions.action_manager import INHERIT, ActionSelection, Inherit, is_by_model
from mesa_llm.actions.choosing import choose
from mesa_llm.activation import my_turn, wait_my_turn
from mesa_llm.activation.call import last_agent_step
from mesa_llm.activation.context import current_agent_step, current_turn, turn_in
from mesa_llm.activation.decisions import adecide, decide
from mesa_llm.activation.repeats import log_once
from mesa_llm.activation.values import Walk, without_addresses
from mesa_llm.concurrency import calling_loop
from mesa_llm.errors import ActionError, ConfigurationError, ConflictError, ToolError
from mesa_llm.errors.exceptions import ends_run
from mesa_llm.errors.tracebacks import place_of, shorten
from mesa_llm.llm_agent.observe import observe as look_around
from mesa_llm.module_llm.dialogue import Dialogue, aconverse, converse
from mesa_llm.reasoning.plan import sight_of
from mesa_llm.reasoning.reasoning import remembered_and_seen
from mesa_llm.spaces import legend_for

if TYPE_CHECKING:
    from mesa_llm.clients import ToolChoice
    from mesa_llm.llm_agent.llm_agent import LLMAgent
    from mesa_llm.memory import Memory
    from mesa_llm.module_llm import ModuleLLM
    from mesa_llm.reasoning import Observation, Plan, Reasoning

type ToolSelection = Iterable[Callable[..., Any] | str] | Callable[..., Any] | str | Inherit | None

_KEPT = Walk(literal=True)
_logger = logging.getLogger(__name__)


class Acting:
    """The part of `LLMAgent` that has to do with actions, and with plans that are made apart from them."""

    model: Any
    unique_id: Any
    recorder: Any
    llm: ModuleLLM
    memory: Memory
    reasoning: Reasoning
    action_manager: ActionManager
    generate_obs: Callable[[], Observation]
    agenerate_obs: Callable[[], Awaitable[Observation]]

    def plan(
        self,
        prompt: str | None = None,
        obs: Observation | None = None,
        ttl: int = 1,
        tools: ToolSelection = INHERIT,
        tool_calls: ToolChoice | None = None,
        selected_tools: list[str] | Inherit | None = INHERIT,
    ) -> Plan:
        """Make a plan with the agent's reasoning, as `reasoning.plan()` does; actions are no part of it.

        Args:
            prompt: what to decide; the agent's `step_prompt` by default.
            obs: what the agent sees; a fresh observation by default.
            ttl: for how many steps the plan holds.
            tools: the tools on offer, as functions or names: all of the agent's by default, none with `None` or `[]`.
            tool_calls: whether the plan may, must or must not call tools; the agent's `tool_calls` by default.
            selected_tools: the same as `tools` by its older name, where `None` means all.

        Returns:
            The plan.

        Raises:
            ConfigurationError: if `tools` and `selected_tools` are both given; and what `reasoning.plan` raises.
        """
        return self.reasoning.plan(prompt, obs, ttl, **_tool_options(tools, selected_tools, tool_calls))

    async def aplan(
        self,
        prompt: str | None = None,
        obs: Observation | None = None,
        ttl: int = 1,
        tools: ToolSelection = INHERIT,
        tool_calls: ToolChoice | None = None,
        selected_tools: list[str] | Inherit | None = INHERIT,
    ) -> Plan:
        """Like `plan`."""
        return await self.reasoning.aplan(prompt, obs, ttl, **_tool_options(tools, selected_tools, tool_calls))

    def choose_action(
        self,
        prompt: str | list[str],
        actions: ActionSelection = INHERIT,
        system_prompt: str | None = None,
        *,
        observe: bool = False,
    ) -> ActionChoice:
        """Have the model choose exactly one action. Nothing is done yet: look at the choice, or drop it.

        The prompt is all that the model gets besides the system prompt and the actions. With `observe=True` the agent's
        memory and what it sees now stand before it, as in a plan. A choice that does not fit is asked for again once.
        In a parallel step this is the decision: it returns when it is the agent's turn.

        Args:
            prompt: what to decide, in one text or several.
            actions: the actions on offer: all of the agent's by default, or some of them, as functions or names.
            system_prompt: in the place of the agent's own.
            observe: whether the agent observes first, see `generate_obs`.

        Returns:
            The choice, checked, with its arguments converted.

        Raises:
            ConfigurationError: if no action is on offer, or the agent does not have one of `actions`.
            TypeError: if the prompt is neither a text nor a list of texts.
            ModelCallError: if the model could not be asked.
            ActionChoiceError: a `DecisionError` and a `ValueError`: if the second choice does not fit either.
            TurnError: on a thread whose event loop runs agents; use `await achoose_action(…)` there.
        """
        return decide(self, self._choose, prompt, actions, system_prompt, observe)

    async def achoose_action(
        self,
        prompt: str | list[str],
        actions: ActionSelection = INHERIT,
        system_prompt: str | None = None,
        *,
        observe: bool = False,
    ) -> ActionChoice:
        """Like `choose_action`."""
        return await adecide(self, self._achoose, prompt, actions, system_prompt, observe)

    def _choose(
        self, prompt: str | list[str], actions: ActionSelection, system_prompt: str | None, observe: bool
    ) -> ActionChoice:
        obs = self.generate_obs() if observe else None
        return converse(self._choosing(prompt, actions, system_prompt, obs), self.llm.complete)

    async def _achoose(
        self, prompt: str | list[str], actions: ActionSelection, system_prompt: str | None, observe: bool
    ) -> ActionChoice:
        obs = await self.agenerate_obs() if observe else None
        return await aconverse(self._choosing(prompt, actions, system_prompt, obs), self.llm.acomplete)

    def _choosing(
        self,
        prompt: str | list[str],
        actions: ActionSelection,
        system_prompt: str | None,
        obs: Observation | None,
    ) -> Dialogue[ActionChoice]:
        agent: LLMAgent = self  # type: ignore[assignment] # of which this is a part
        legend = None
        if obs is not None and isinstance(prompt, str | list):
            seen = remembered_and_seen(agent, obs)
            prompt = "\n\n".join([*seen, f"# Task\n{prompt}"]) if isinstance(prompt, str) else [*seen, *prompt]
            legend = legend_for(agent) if agent.explains_positions else None
        return choose(
            self,
            self.llm,
            self.action_manager,
            prompt,
            actions=actions,
            system_prompt=system_prompt,
            legend=legend,
            obs=obs,
            look=lambda: sight_of(obs) or look_around(agent),
        )

    def execute_action(
        self, action_choice: ActionChoice | Mapping[str, Any], actions: ActionSelection = INHERIT
    ) -> Any:
        """Take an action, and remember it: memory and recorder get the choice and the result.

        In a parallel step it waits for the agent's turn, and checks the choice again as things are then. If a choice
        that the model has made is refused now, the refusal (`"Error: …"`) is the result, which the agent remembers; it
        counts as a conflict if the choice no longer fits or the action raises a `ConflictError`. An action refuses by a
        `ToolError`, such as `ActionError`, or by a `ValueError`. A refused choice that the code has made raises.

        Args:
            action_choice: what to do: what `choose_action` returns, or a choice of your own, also as a dict.
            actions: the actions on offer, as for `choose_action`.

        Returns:
            What the action returns, the object itself. Memory and recorder get a copy of plain data, else its text.

        Raises:
            ActionError: a `ValueError`: if a choice of the code does not fit, or the action refuses it.
            TypeError: if it is no choice, or the action is async: use `aexecute_action` then.
            ActionPostCommitError: if memory or recorder fail after the action.
            TurnError: in a parallel step before the agent's turn, on a thread whose event loop runs agents.
            Exception: what else the action raises; then nothing is remembered.
        """
        if turn_in(self.model) is not None:
            wait_my_turn()
        return calling_loop.run_unsuspended(
            self._carry_out(action_choice, actions, self.action_manager.call, self.memory.add_to_memory)
        )

    async def aexecute_action(
        self, action_choice: ActionChoice | Mapping[str, Any], actions: ActionSelection = INHERIT
    ) -> Any:
        """Like `execute_action`; async actions are awaited."""
        if turn_in(self.model) is not None:
            await my_turn()
        return await self._carry_out(action_choice, actions, self.action_manager.acall, self.memory.aadd_to_memory)

    def act(
        self,
        prompt: str | list[str],
        actions: ActionSelection = INHERIT,
        system_prompt: str | None = None,
        *,
        observe: bool = False,
    ) -> ActResult:
        """Choose an action, and take it.

        It is `choose_action`, then `execute_action`; in a parallel step, the agent's turn lies between the two.

        Args:
            prompt: what to decide, in one text or several; with all that the model needs to know, see `choose_action`.
            actions: the actions on offer: all of the agent's by default, or some of them, as functions or names.
            system_prompt: in the place of the agent's own.
            observe: whether the agent observes first: then its memory and what it sees stand before the prompt.

        Returns:
            The choice and its result.

        Raises:
            Exception: what `choose_action` and `execute_action` raise.
        """
        choice = self.choose_action(prompt, actions=actions, system_prompt=system_prompt, **_given(observe))
        return ActResult(choice, self.execute_action(choice, actions=actions))

    async def aact(
        self,
        prompt: str | list[str],
        actions: ActionSelection = INHERIT,
        system_prompt: str | None = None,
        *,
        observe: bool = False,
    ) -> ActResult:
        """Like `act`."""
        choice = await self.achoose_action(prompt, actions=actions, system_prompt=system_prompt, **_given(observe))
        return ActResult(choice, await self.aexecute_action(choice, actions=actions))

    async def _carry_out(
        self,
        given: ActionChoice | Mapping[str, Any],
        actions: ActionSelection,
        call: Callable[[Any, ActionChoice], Any],
        remember: Callable[[str, Mapping[str, Any]], Any],
    ) -> Any:
        agent_step = current_agent_step()
        if agent_step is None or agent_step.agent is not self:
            agent_step = last_agent_step(self)
        agent_step.count("tool_calls")
        by_model = is_by_model(given)
        choice: Any = given
        kept: dict[str, Any] | None = None
        try:
            choice = self._checked(given, actions, by_model=by_model)
            kept = _kept(choice)  # before the call: an action may change its arguments
            result = call(self, choice)
            if inspect.iscoroutine(result):
                result = await result
        except Exception as error:
            # A plain ValueError is how actions refuse that are written for mesa-llm.
            refuses = isinstance(error, ToolError | ValueError) and not ends_run(error)
            if not ends_run(error):
                agent_step.count("refused" if refuses else "crashed")
            is_conflict = isinstance(error, ConflictError)
            if is_conflict and (turn := current_turn()) is not None:
                turn.conflicted(str(error))
            if not (refuses and (by_model or is_conflict)):
                raise
            if not isinstance(error, ToolError):
                self._log(choice.name, error)
            result = without_addresses(f"Error: {error}")
        await self._keep(choice, {"action": kept or _kept(choice), "result": _KEPT.copy(result)}, result, remember)
        return result

    def _log(self, name: str, error: Exception) -> None:
        """Log a refusal that may be a mistake in the code, each kind once in a step."""
        shorten(error)
        log_once(
            _logger,
            logging.WARNING,
            f"{self}: the action {name!r} was refused by a {type(error).__name__} (raise an ActionError to refuse "
            f"without this warning): {error}",
            model=self.model,
            kind=(name, type(error), place_of(error)),
            exc_info=error,
        )

    def _checked(
        self, given: ActionChoice | Mapping[str, Any], actions: ActionSelection, *, by_model: bool
    ) -> ActionChoice:
        """The choice, checked as things are now. A model's choice did fit as it was made, so it is a conflict now."""
        if not by_model:
            return self.action_manager.validate(self, given, actions)
        assert isinstance(given, ActionChoice)
        function = self.action_manager.actions.get(given.name)
        depends = function is not None and definition_of(function).depends_on_sight
        try:
            return self.action_manager.validate(
                self,
                given,
                actions,
                seen=look_around(self) if depends else None,  # type: ignore[arg-type]
            )
        except ActionError as error:
            raise ConflictError(f"{error} It was possible when the agent chose it.") from error

    async def _keep(
        self,
        choice: ActionChoice,
        content: dict[str, Any],
        result: Any,
        remember: Callable[[str, Mapping[str, Any]], Any],
    ) -> None:
        """Give an action to memory and recorder; each gets it whether or not the other one fails."""
        errors: dict[str, Exception] = {}
        try:
            remembered = remember("action", content)
            if inspect.isawaitable(remembered):
                await remembered
        except Exception as error:
            errors["memory"] = error
        recorder = self.recorder
        # A memory's entries are recorded as they are kept, by a recorder that takes them.
        if recorder is not None and (errors or not hasattr(recorder, "record_entry")):
            try:
                recorder.record_event(
                    "action",
                    content=_KEPT.copy(content),
                    agent_id=self.unique_id,
                    metadata={"source": "LLMAgent.execute_action"},
                )
            except Exception as error:
                errors["recorder"] = error
        if errors:
            raise ActionPostCommitError(choice, result, errors) from next(iter(errors.values()))


def _given(observe: bool) -> dict[str, Any]:
    """The argument, if it is given: a `choose_action` of the user's own may not take it."""
    return {"observe": True} if observe else {}


def _kept(choice: ActionChoice) -> dict[str, Any]:
    """A choice as memory and recorder get it."""
    return {"name": choice.name, "arguments": _KEPT.copy(choice.arguments), "rationale": choice.rationale}


def _tool_options(
    tools: ToolSelection, selected_tools: list[str] | Inherit | None, tool_calls: ToolChoice | None
) -> dict[str, Any]:
    if not isinstance(tools, Inherit) and not isinstance(selected_tools, Inherit):
        raise ConfigurationError(
            f"tools and selected_tools mean the same, got {tools!r} and {selected_tools!r}. Give tools alone."
        )
    options: dict[str, Any] = {} if tool_calls is None else {"tool_calls": tool_calls}
    if not isinstance(selected_tools, Inherit):
        options["selected_tools"] = selected_tools
    elif not isinstance(tools, Inherit):
        several = [] if tools is None else [tools] if isinstance(tools, str) or callable(tools) else list(tools)
        options["selected_tools"] = [tool if isinstance(tool, str) else tool.__name__ for tool in several]
    return options
