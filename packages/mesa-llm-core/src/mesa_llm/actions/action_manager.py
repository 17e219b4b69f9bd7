"""The actions of an agent: which are on offer, whether a choice is valid, and its execution."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from mesa_llm.actions.action_decorator import _GLOBAL_ACTION_REGISTRY, Function, add_to, definition_of, schema_of
from mesa_llm.actions.action_result import ActionChoice
from mesa_llm.errors import ActionError, ConfigurationError
from mesa_llm.errors.shown_text import short_repr
from mesa_llm.tools.tool_decorator import INHERIT, Inherit
from mesa_llm.tools.visible import Seen, Sight

type ActionRef = Function | str
type ActionSelection = ActionRef | list[ActionRef] | tuple[ActionRef, ...] | Inherit | None
"""Which of an agent's actions are on offer: all by default, one, several in that order, or none (`None`, `[]`)."""


class ActionManager:
    """The actions of an agent, or of several. It checks and carries out; it remembers nothing.

    Args:
        actions: functions declared with `@action`, and names of such functions; a single one need not be in a list.
            By default, and with `None`, there are no actions.

    Attributes:
        actions: the functions by name, in the order in which they were registered.

    Raises:
        ConfigurationError: if a name is unknown, or two actions have the same name.
        TypeError: if something is neither a name nor declared with `@action`.
    """

    def __init__(self, actions: ActionRef | list[ActionRef] | tuple[ActionRef, ...] | None = None) -> None:
        self.actions: dict[str, Function] = {}
        if actions is not None:
            self.register_many(actions)

    def register(self, fn: Function) -> None:
        """Add an action. The same function again has no effect.

        Args:
            fn: a function declared with `@action`.

        Raises:
            ConfigurationError: if another action has its name.
            TypeError: if it was not declared with `@action`.
        """
        add_to(self.actions, {definition_of(fn).spec.name: fn})

    def register_many(self, actions: ActionRef | list[ActionRef] | tuple[ActionRef, ...]) -> None:
        """Add several actions, all or none.

        Args:
            actions: functions declared with `@action`, and names of actions of this manager or of those that are
                declared without a manager.

        Raises:
            ConfigurationError: if a name is unknown, or another action has the name of one.
            TypeError: if something is neither a name nor declared with `@action`.
        """
        known = {**_GLOBAL_ACTION_REGISTRY, **self.actions}
        added: dict[str, Function] = {}
        for given in _listed(actions):
            if isinstance(given, str):
                if given not in known:
                    raise ConfigurationError(
                        f"There is no action {given!r}. There are: {', '.join(sorted(known)) or 'none'}. Declare it "
                        "with @action, and import its module before its name is used."
                    )
                add_to(added, {given: known[given]})
            else:
                add_to(added, {definition_of(given).spec.name: given})
        add_to(self.actions, added)

    def has_action(self, name: str) -> bool:
        """Whether there is an action of this name.

        Args:
            name: its name.
        """
        return name in self.actions

    def available_actions(self, agent: Any = None, actions: ActionSelection = INHERIT) -> dict[str, Function]:
        """The actions that are on offer, by name, in the order of the selection.

        Args:
            agent: the agent that chooses; with one, actions whose condition does not hold are left out.
            actions: which of them; all by default, none with `None` or `[]`.

        Raises:
            ConfigurationError: if the manager does not have one.
            TypeError: if the selection is neither a name or function nor a list or tuple of them.
            Exception: what a condition raises.
        """
        chosen = dict(self.actions) if isinstance(actions, Inherit) else self._selected(actions)
        if agent is None:
            return chosen
        return {name: function for name, function in chosen.items() if definition_of(function).is_available(agent)}

    def _selected(self, actions: Any) -> dict[str, Function]:
        selected: dict[str, Function] = {}
        for given in () if actions is None else _listed(actions):
            if not isinstance(given, str) and not callable(given):
                raise TypeError(f"actions must hold names and functions, got {given!r}.")
            name = given if isinstance(given, str) else getattr(given, "__name__", repr(given))
            if name not in self.actions or not (given == name or self.actions[name] is given):
                raise ConfigurationError(
                    f"{name!r} is not one of the agent's actions: {', '.join(self.actions) or 'it has none'}. A "
                    "selection narrows what was given to LLMAgent(actions=[…])."
                )
            selected[name] = self.actions[name]
        return selected

    def get_actions_schema(
        self, agent: Any = None, actions: ActionSelection = INHERIT, *, seen: Seen | None = None
    ) -> list[dict[str, Any]]:
        """The actions on offer as JSON: `name`, `description`, `parameters`, and `returns` where it is known.

        Args:
            agent: the agent that chooses, as for `available_actions`.
            actions: which of them, as for `available_actions`.
            seen: what the agent sees; with it, arguments list the values that the agent can choose now.

        Raises:
            ConfigurationError: as for `available_actions`.
            TypeError: likewise.
            Exception: likewise.
        """
        schemas = []
        for function in self.available_actions(agent, actions).values():
            definition = definition_of(function)
            spec = definition.spec if agent is None or seen is None else definition.spec_for(agent, seen)
            if spec is not None:
                schemas.append(schema_of(spec, definition.returns))
        return schemas

    def validate(
        self,
        agent: Any,
        action_choice: ActionChoice | Mapping[str, Any],
        actions: ActionSelection = INHERIT,
        *,
        seen: Seen | None = None,
    ) -> ActionChoice:
        """Check a choice, and convert its arguments to the types of the annotations. Runs nothing.

        Args:
            agent: the agent that acts.
            action_choice: what to do, as an `ActionChoice` or as a dict of the same form.
            actions: the actions on offer, as for `available_actions`.
            seen: what the agent sees; with it, an argument must be one of the values that the agent can choose now.

        Returns:
            A new choice.

        Raises:
            ActionError: a `ValueError`: no such action is on offer, or its arguments do not fit.
            TypeError: if it is not a choice.
        """
        choice = _as_choice(action_choice)
        offered = self.available_actions(agent, actions)
        if choice.name not in offered:
            raise ActionError(
                f"There is no action {short_repr(choice.name)} on offer. There are: {', '.join(offered) or 'none'}."
            )
        definition = definition_of(offered[choice.name])
        arguments = definition.accept(choice.arguments, None if seen is None else Sight(agent, seen))
        return ActionChoice(name=choice.name, arguments=arguments, rationale=choice.rationale)

    def execute(
        self, agent: Any, action_choice: ActionChoice | Mapping[str, Any], actions: ActionSelection = INHERIT
    ) -> Any:
        """Check a choice and carry it out. The arguments are those of `validate`.

        Returns:
            What the action returns. Nothing is remembered: see `LLMAgent.execute_action`.
        """
        return self.call(agent, self.validate(agent, action_choice, actions))

    async def aexecute(
        self, agent: Any, action_choice: ActionChoice | Mapping[str, Any], actions: ActionSelection = INHERIT
    ) -> Any:
        """Await a choice being carried out. Arguments as for `validate`; a plain action runs on the loop's thread."""
        return await self.acall(agent, self.validate(agent, action_choice, actions))

    def call(self, agent: Any, choice: ActionChoice) -> Any:
        """Carry out a choice that `validate` has returned.

        Args:
            agent: the agent that acts.
            choice: what to do.

        Returns:
            What the action returns.

        Raises:
            TypeError: if the action is async, or returns a generator or an awaitable.
            Exception: what the action raises.
        """
        function = self.actions[choice.name]
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"The action {choice.name!r} is async: use aact() or aexecute_action() in an astep().")
        return _one_value(choice.name, function(**definition_of(function).keywords(agent, choice.arguments)))

    async def acall(self, agent: Any, choice: ActionChoice) -> Any:
        """Like `call`; what the action returns is awaited, once."""
        function = self.actions[choice.name]
        returned = function(**definition_of(function).keywords(agent, choice.arguments))
        return _one_value(choice.name, await returned if inspect.isawaitable(returned) else returned)


def _listed(actions: Any) -> list[Any]:
    if isinstance(actions, list | tuple):
        return list(actions)
    if isinstance(actions, str) or callable(actions):
        return [actions]
    raise TypeError(f"actions must be a list or tuple of actions and names, one of them, or None, got {actions!r}.")


def _as_choice(given: Any) -> ActionChoice:
    if isinstance(given, ActionChoice):
        return given
    if not isinstance(given, Mapping):
        raise TypeError(
            f"An action is chosen by an ActionChoice or a dict {{'name': …, 'arguments': {{…}}}}, got {given!r}."
        )
    try:
        return ActionChoice.model_validate(dict(given))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ActionError(f"{short_repr(given)} is not a choice of an action: {problems}.") from error


def _one_value(name: str, returned: Any) -> Any:
    """The result of an action; a `TypeError` if it is a generator or has to be awaited."""
    if inspect.isgenerator(returned) or inspect.iscoroutine(returned):
        returned.close()
    elif isinstance(returned, asyncio.Future):
        if returned is not _current_task():
            returned.cancel()
    elif not (inspect.isasyncgen(returned) or inspect.isawaitable(returned)):
        return returned
    raise TypeError(
        f"The action {name!r} has returned a {type(returned).__name__}, none of whose code has run. Return the result: "
        "a list of what a generator yields, what a coroutine gives when it is awaited."
    )


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
