"""`@action`, which declares a function as an action; how the action is described, and its arguments are checked."""

from __future__ import annotations

import inspect
import sys
import typing
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NotRequired, overload

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from mesa_llm.actions.values import readable
from mesa_llm.clients.messages import ToolSpec
from mesa_llm.errors import ActionError, ConfigurationError, MesaLLMError
from mesa_llm.tools.signatures import (
    GENERATOR,
    Arguments,
    Condition,
    check_condition,
    describe_problems,
    evaluated,
    field,
    holds,
    is_generator,
    read_docstring,
    warn_of_gaps,
)
from mesa_llm.tools.visible import Seen, Sight

if TYPE_CHECKING:
    from mesa_llm.actions.action_manager import ActionManager

type Function = Callable[..., Any]

_GLOBAL_ACTION_REGISTRY: dict[str, Function] = {}
"""Actions without a manager of their own, by name: what names in `LLMAgent(actions=[…])` mean."""

_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)
_definitions: weakref.WeakKeyDictionary[Function, ActionDefinition] = weakref.WeakKeyDictionary()


class ActionAnnotationContractError(MesaLLMError, TypeError):
    """An object cannot be an action, or a parameter of it has no annotation that a model can write a value for."""


class ActionAnnotationResolutionError(ConfigurationError):
    """An annotation of an action names something that is not defined."""


class ActionSignatureError(ConfigurationError):
    """The parameters of a function cannot be those of an action, or a default does not fit its annotation."""


@dataclass(frozen=True)
class ActionMetadata:
    """The description of an action, in words and as a schema.

    Attributes:
        name: the name by which it is chosen.
        description: what it does.
        parameters: the JSON schema of each parameter that a model gives, with its description, by name.
        required: the parameters without a default.
        return_description: what it returns; `None` if its docstring does not say.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    required: list[str]
    return_description: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ActionDefinition:
    """A function as an action: how and when it is offered to a model, and how it is called."""

    spec: ToolSpec
    agent_parameter: str | None
    """The parameter that gets the agent, if the function takes it."""
    returns: str
    available: Condition | None
    _arguments: Arguments

    @property
    def depends_on_sight(self) -> bool:
        """Whether what can be chosen depends on what the agent sees."""
        return self._arguments.marked is not None

    def accept(self, arguments: Mapping[str, Any], sight: Sight | None = None) -> dict[str, Any]:
        """The arguments, converted to the types of the annotations; defaults are not filled in.

        An `ActionError` names those that are missing, unknown, of a wrong type or, with `sight`, not available now.
        """
        try:
            return self._arguments.adapter.validate_python(dict(arguments), context=sight)
        except ValidationError as error:
            problems = describe_problems(error, arguments, self.spec.parameters["properties"])
            raise ActionError(f"{self.spec.name}: {problems}") from error

    def without_nulls(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a model, without the `null`s by which it leaves out parameters that have a default."""
        optional = self.spec.parameters["properties"].keys() - set(self.spec.parameters["required"])
        return {name: value for name, value in arguments.items() if value is not None or name not in optional}

    def keywords(self, agent: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What the function is called with."""
        return dict(arguments) if self.agent_parameter is None else {**arguments, self.agent_parameter: agent}

    def is_available(self, agent: Any) -> bool:
        """Whether it is on offer to an agent at the moment. What the condition raises gets a note with its name."""
        return self.available is None or holds(self.available, self.spec.name, agent)

    def spec_for(self, agent: Any, seen: Seen) -> ToolSpec | None:
        """The action with the choices that an agent has now; `None` if an argument has nothing to choose from."""
        if not self.depends_on_sight:
            return self.spec
        parameters = self._arguments.narrowed(agent, seen)
        return None if parameters is None else ToolSpec(self.spec.name, self.spec.description, parameters)


def schema_of(spec: ToolSpec, returns: str) -> dict[str, Any]:
    """An action as JSON."""
    described = {"name": spec.name, "description": spec.description, "parameters": dict(spec.parameters)}
    return described | ({"returns": returns} if returns else {})


def definition_of(function: Any) -> ActionDefinition:
    """The definition of a function that was declared with `@action`."""
    try:
        return _definitions[function]
    except (KeyError, TypeError):
        raise ActionAnnotationContractError(
            f"{function!r} is not an action. Declare a function with @action, or give the name of one."
        ) from None


@overload
def action[F: Callable[..., Any]](
    fn: F, *, action_manager: ActionManager | None = None, ignore_agent: bool = True, available: Condition | None = None
) -> F: ...


@overload
def action[F: Callable[..., Any]](
    fn: None = None,
    *,
    action_manager: ActionManager | None = None,
    ignore_agent: bool = True,
    available: Condition | None = None,
) -> Callable[[F], F]: ...


def action(
    fn: Callable[..., Any] | None = None,
    *,
    action_manager: ActionManager | None = None,
    ignore_agent: bool = True,
    available: Condition | None = None,
) -> Any:
    """Declare an action: `@action`, or `@action(action_manager=manager)`.

    A parameter `agent`, in upper or lower case, gets the agent that acts. A model gives the others: it sees their
    types, their descriptions under `Args:`, and the first part of the docstring. Parameters with a default are
    optional. The function may be async. It is returned unchanged.

    Declaring an action offers it to nobody: give it, or its name, to `LLMAgent(actions=[…])`. A function that is
    defined again in the same place, as when a notebook's cell runs twice, replaces the first one.

    Args:
        fn: the function.
        action_manager: the manager that gets the action; then its name is not known elsewhere.
        ignore_agent: accepted for models written for mesa-llm, and always true.
        available: a condition, `available(agent)`: the action is on offer to an agent only while it is true. It is
            evaluated when the agent chooses, and again when it acts.

    Returns:
        The function itself; the decorator if only options are given.

    Raises:
        ConfigurationError: if the parameters cannot be those of an action, or another action has the name.
        TypeError: if a parameter has no annotation, or one that a model can write no value for.
    """
    if not ignore_agent:
        raise ConfigurationError(
            "ignore_agent must be True, got False: the agent that acts is always passed on, and no model gives it."
        )
    if fn is not None:
        return _declare(fn, action_manager, available, sys._getframe(1).f_locals)

    def decorate(function: Callable[..., Any]) -> Any:
        return _declare(function, action_manager, available, sys._getframe(1).f_locals)

    return decorate


def _declare(
    function: Any, action_manager: ActionManager | None, available: Condition | None, local_names: Mapping[str, Any]
) -> Any:
    definition = _definitions.get(function) if inspect.isfunction(function) else None
    if definition is None:
        definition = _define(function, available, local_names)
    table = _GLOBAL_ACTION_REGISTRY if action_manager is None else action_manager.actions
    add_to(table, {definition.spec.name: function})
    parameters = definition.spec.parameters
    _definitions[function] = definition
    function.__action_schema__ = schema_of(definition.spec, definition.returns)
    function.__action_metadata__ = ActionMetadata(
        definition.spec.name,
        definition.spec.description,
        dict(parameters["properties"]),
        list(parameters["required"]),
        definition.returns or None,
    )
    return function


def add_to(table: dict[str, Function], added: Mapping[str, Function]) -> None:
    """Add actions to a table, all or none; a `ConfigurationError` if another function has the name of one.

    The same function again, or a redefinition of it, is not a conflict.
    """
    for name, function in added.items():
        known = table.get(name)
        if known is not None and _place_of(known) != _place_of(function):
            raise ConfigurationError(
                f"Two actions have the name {name!r}: {_place_of(known)} and {_place_of(function)}. Rename one of "
                "them, or give it a manager of its own: @action(action_manager=ActionManager())."
            )
    table.update(added)


def _place_of(function: Function) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def _define(function: Any, available: Condition | None, local_names: Mapping[str, Any]) -> ActionDefinition:
    if not inspect.isfunction(function):
        raise ActionAnnotationContractError(f"An action is a function defined with def, got {function!r}.")
    name = function.__name__
    if is_generator(function):
        raise ActionSignatureError(f"Action {name!r} {GENERATOR}")
    if available is not None:
        check_condition(name, available)
    parameters = dict(inspect.signature(function).parameters)
    for parameter in parameters.values():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY}:
            raise ActionSignatureError(
                f"Action {name!r} takes {parameter}, which a model cannot give by name. Name each argument."
            )
    agents = [parameter for parameter in parameters if parameter.casefold() == "agent"]
    if len(agents) > 1:
        raise ActionSignatureError(f"Action {name!r} takes the agent twice, as {agents}. Keep one of them.")
    for agent in agents:
        del parameters[agent]
    description, returns, meanings = read_docstring(function)
    fields = {
        parameter.name: _field(name, function, parameter, local_names, meanings.get(parameter.name))
        for parameter in parameters.values()
    }
    arguments = Arguments.of(name, fields, _CONFIG)
    spec = ToolSpec(name, description, {**arguments.schema, "additionalProperties": False})
    warn_of_gaps(function, spec, "Action")
    return ActionDefinition(spec, agents[0] if agents else None, returns, available, arguments)


def _field(
    name: str, function: Function, parameter: inspect.Parameter, local_names: Mapping[str, Any], description: str | None
) -> Any:
    annotation = readable(_annotation(name, function, parameter, local_names))
    where = f"Action {name!r}: the annotation {parameter.annotation!r} of {parameter.name!r}"
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=None if _has_config(annotation) else _CONFIG)
        schema = adapter.json_schema()
    except Exception as error:  # evaluating what stands in an annotation may raise anything
        raise ActionAnnotationContractError(
            f"{where} is nothing that a model can write ({type(error).__name__}: {str(error).splitlines()[0]}). Take "
            "int, float, str, bool, Literal['a', 'b'], or lists, tuples and dicts of them."
        ) from error
    if not schema.keys() - {"title"}:
        raise ActionAnnotationContractError(
            f"{where} does not say what a model is to write. Take int, float, str, bool, Literal['a', 'b'], or lists, "
            "tuples and dicts of them."
        )
    if parameter.default is parameter.empty:
        return field(annotation, description)
    if not _fits(adapter, parameter.default):
        raise ActionSignatureError(f"{where} does not allow its default {parameter.default!r}. Change one of them.")
    return NotRequired[field(annotation, description, default=to_jsonable_python(parameter.default))]


def _annotation(name: str, function: Function, parameter: inspect.Parameter, local_names: Mapping[str, Any]) -> Any:
    if parameter.annotation is parameter.empty:
        raise ActionAnnotationContractError(
            f"Action {name!r} has no annotation for {parameter.name!r}. Write its type: {parameter.name}: int."
        )
    try:
        return evaluated(parameter, {**vars(typing), **function.__globals__}, dict(local_names))
    except (NameError, SyntaxError, AttributeError) as error:
        raise ActionAnnotationResolutionError(
            f"Action {name!r}: the annotation {parameter.annotation!r} of {parameter.name!r} cannot be evaluated "
            f"({error}). Import what it names, also at run time."
        ) from error
    except TypeError as error:
        raise ActionAnnotationContractError(
            f"Action {name!r}: the annotation {parameter.annotation!r} of {parameter.name!r} is not a type ({error})."
        ) from error


def _has_config(annotation: Any) -> bool:
    """Whether a type has a configuration of its own, which pydantic does not let us replace."""
    return (
        hasattr(annotation, "__pydantic_config__")
        or hasattr(annotation, "model_config")
        or (isinstance(annotation, type) and hasattr(annotation, "__dataclass_fields__"))
        or typing.is_typeddict(annotation)
    )


def _fits(adapter: TypeAdapter[Any], default: Any) -> bool:
    """Whether a default is a value of its annotation without any conversion."""
    try:
        read = adapter.validate_python(default)
    except ValidationError:
        return False
    return type(read) is type(default) and bool(read == default)
