"""An agent's actions: it chooses one, waits for its turn, takes it, and remembers it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from mesa_llm.actions import ActionChoice, ActionManager, ActionPostCommitError, ActResult
from mesa_llm.actions.action_decorator import definition_of
from mesa_llm.actions.action_manager import ActionSelection
from mesa_llm.actions.action_result import is_by_model
from mesa_llm.actions.choosing import choose
from mesa_llm.activation import my_turn, wait_my_turn
from mesa_llm.activation.call import counter_of
from mesa_llm.activation.context import current_turn, turn_in
from mesa_llm.activation.mesa_model import steps_on
from mesa_llm.activation.once import log_error_once
from mesa_llm.activation.turn import adecide, decide
from mesa_llm.activation.values import Walk, without_addresses
from mesa_llm.concurrency import calling_loop
from mesa_llm.errors import ActionError, ConflictError, ToolError, ends_run
from mesa_llm.llm_agent.observe import observe as look_around
from mesa_llm.memory import Memory
from mesa_llm.module_llm.dialogue import aconverse, converse
from mesa_llm.reasoning.plan import remembered_and_seen, sight_of
from mesa_llm.spaces import legend_for
from mesa_llm.tools.tool_decorator import INHERIT, ToolSelection, names_of

if TYPE_CHECKING:
    from mesa_llm.clients import ToolChoice
    from mesa_llm.llm_agent.llm_agent import LLMAgent
    from mesa_llm.module_llm import ModuleLLM
    from mesa_llm.module_llm.dialogue import Dialogue
    from mesa_llm.reasoning import Observation, Plan, Reasoning
    from mesa_llm.tools import ToolManager

_KEPT = Walk(literal=True)
_logger = logging.getLogger(__name__)


class Acting:
    """The methods of `LLMAgent` that make plans, and that choose and execute actions."""

    model: Any
    unique_id: Any
    recorder: Any
    llm: ModuleLLM
    memory: Memory
    reasoning: Reasoning
    action_manager: ActionManager
    tool_manager: ToolManager
    generate_obs: Callable[[], Observation]
    agenerate_obs: Callable[[], Awaitable[Observation]]

    def plan(
        self,
        prompt: str | None = None,
        obs: Observation | None = None,
        ttl: int = 1,
        tools: ToolSelection = INHERIT,
        tool_calls: ToolChoice | None = None,
        selected_tools: ToolSelection = None,
    ) -> Plan:
        """Make a plan with the agent's reasoning, as `reasoning.plan()` does. The model sees no actions.

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
        return self.reasoning.plan(prompt, obs, ttl, **self._tool_options(tools, selected_tools, tool_calls))

    async def aplan(
        self,
        prompt: str | None = None,
        obs: Observation | None = None,
        ttl: int = 1,
        tools: ToolSelection = INHERIT,
        tool_calls: ToolChoice | None = None,
        selected_tools: ToolSelection = None,
    ) -> Plan:
        """Like `plan`."""
        return await self.reasoning.aplan(prompt, obs, ttl, **self._tool_options(tools, selected_tools, tool_calls))

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

        def choice() -> ActionChoice:
            obs = self.generate_obs() if observe else None
            return converse(self._choosing(prompt, actions, system_prompt, obs), self.llm.complete)

        return decide(self, choice)

    async def achoose_action(
        self,
        prompt: str | list[str],
        actions: ActionSelection = INHERIT,
        system_prompt: str | None = None,
        *,
        observe: bool = False,
    ) -> ActionChoice:
        """Like `choose_action`."""

        async def choice() -> ActionChoice:
            obs = await self.agenerate_obs() if observe else None
            return await aconverse(self._choosing(prompt, actions, system_prompt, obs), self.llm.acomplete)

        return await adecide(self, choice)

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
            seen = "\n\n".join(remembered_and_seen(agent, obs))
            prompt = [seen, *([f"# Task\n{prompt}"] if isinstance(prompt, str) else prompt)]
            legend = legend_for(agent) if agent.explains_positions else None
        return choose(
            self,
            prompt,
            actions=actions,
            system_prompt=system_prompt,
            legend=legend,
            obs=obs,
            look=lambda: sight_of(obs) or self._look(),
        )

    def _look(self) -> Observation:
        return look_around(self)  # type: ignore[arg-type]

    @steps_on
    def execute_action(
        self, action_choice: ActionChoice | Mapping[str, Any], actions: ActionSelection = INHERIT
    ) -> Any:
        """Take an action, and remember it: memory and recorder get the choice and the result.

        In a parallel step it waits for the agent's turn, and then checks the choice again. If the model made the choice
        and it is refused now, the refusal (`"Error: …"`) is the result, which the agent remembers; it counts as a
        conflict if the choice no longer fits or the action raises a `ConflictError`. An action refuses by a
        `ToolError`, such as `ActionError`, or by a `ValueError`. If your code made the choice, a refusal is raised.

        Args:
            action_choice: what to do: what `choose_action` returns, or a choice of your own, also as a dict.
            actions: the actions on offer, as for `choose_action`.

        Returns:
            What the action returns, the object itself. Memory and recorder get a copy of plain data, else its text.

        Raises:
            ActionError: a `ValueError`: if a choice of the code does not fit, or the action refuses it.
            TypeError: if it is not a choice, or the action is async: use `aexecute_action` then.
            ActionPostCommitError: if memory or recorder fail after the action.
            TurnError: in a parallel step before the agent's turn, on a thread whose event loop runs agents.
            Exception: what else the action raises; then nothing is remembered.
        """
        if turn_in(self.model) is not None:
            wait_my_turn()
        carried_out = self._carry_out(action_choice, actions, self.action_manager.call, self.memory.add_to_memory)
        return calling_loop.run_unsuspended(carried_out)

    @steps_on
    async def aexecute_action(
        self, action_choice: ActionChoice | Mapping[str, Any], actions: ActionSelection = INHERIT
    ) -> Any:
        """Like `execute_action`; async actions are awaited."""
        if turn_in(self.model) is not None:
            await my_turn()
        remember = getattr(self.memory, "aadd_to_memory", self.memory.add_to_memory)
        return await self._carry_out(action_choice, actions, self.action_manager.acall, remember)

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
        count = counter_of(self)
        count("tool_calls")
        by_model = is_by_model(given)
        choice: Any = given
        kept: dict[str, Any] | None = None
        try:
            choice = self._checked(given, actions)
            kept = _kept(choice)  # before the call: an action may change its arguments
            result = call(self, choice)
            if inspect.iscoroutine(result):
                result = await result
        except Exception as error:
            if ends_run(error):
                raise
            # A plain ValueError is how actions refuse that are written for mesa-llm.
            refuses = isinstance(error, ToolError | ValueError)
            count("refused" if refuses else "crashed")
            is_conflict = isinstance(error, ConflictError)
            if is_conflict and (turn := current_turn()) is not None:
                turn.conflicted(str(error))
            if not (refuses and (by_model or is_conflict)):
                raise
            if not isinstance(error, ToolError):
                text = (
                    f"{self}: the action {choice.name!r} was refused by a {type(error).__name__} (raise an ActionError "
                    f"to refuse without this warning): {error}"
                )
                log_error_once(_logger, logging.WARNING, text, error, model=self.model, kind=choice.name)
            result = without_addresses(f"Error: {error}")
        await self._keep(choice, {"action": kept or _kept(choice), "result": _KEPT.copy(result)}, result, remember)
        return result

    def _checked(self, given: ActionChoice | Mapping[str, Any], actions: ActionSelection) -> ActionChoice:
        """The choice, checked now. A model's choice was valid when it was made, so a failure is a conflict."""
        if not is_by_model(given):
            return self.action_manager.validate(self, given, actions)
        assert isinstance(given, ActionChoice)
        function = self.action_manager.actions.get(given.name)
        seen = self._look() if function is not None and definition_of(function).depends_on_sight else None
        try:
            return self.action_manager.validate(self, given, actions, seen=seen)
        except ActionError as error:
            raise ConflictError(f"{str(error).rstrip('.')}. It was possible when the agent chose it.") from error

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
        # A `Memory` gives its entries to a recorder that takes them.
        is_recorded = not errors and isinstance(self.memory, Memory) and hasattr(recorder, "record_entry")
        if recorder is not None and not is_recorded:
            metadata = {"source": "LLMAgent.execute_action"}
            try:
                recorder.record_event("action", _KEPT.copy(content), agent_id=self.unique_id, metadata=metadata)
            except Exception as error:
                errors["recorder"] = error
        if errors:
            raise ActionPostCommitError(choice, result, errors) from next(iter(errors.values()))

    def _tool_options(
        self, tools: ToolSelection, selected_tools: ToolSelection, tool_calls: ToolChoice | None
    ) -> dict[str, Any]:
        """The arguments that are given: a strategy of one's own may know only those of mesa-llm 0.3."""
        names = names_of(self.tool_manager.tools, tools, selected_tools)
        options: dict[str, Any] = {} if tool_calls is None else {"tool_calls": tool_calls}
        return options if names is None else options | {"selected_tools": names}


def _given(observe: bool) -> dict[str, Any]:
    """The argument, if it is given: a `choose_action` of the user's own may not take it."""
    return {"observe": True} if observe else {}


def _kept(choice: ActionChoice) -> dict[str, Any]:
    """A choice as memory and recorder get it."""
    return {"name": choice.name, "arguments": _KEPT.copy(choice.arguments), "rationale": choice.rationale}
