"""A function as a tool: its schema for the model, and the check of what the model sends."""

from __future__ import annotations

import functools
import inspect
import json
import re
import threading
import types
import weakref
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, NotRequired, Optional

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import to_json, to_jsonable_python

from mesa_llm.clients.messages import ToolSpec
from mesa_llm.errors import ConfigurationError, ToolError
from mesa_llm.module_llm.call_reading import matching_name, read_arguments, unwrapped
from mesa_llm.module_llm.json_in_text import json_at
from mesa_llm.module_llm.request_fields import OfferedTool
from mesa_llm.tools.signatures import (
    GENERATOR,
    Arguments,
    Condition,
    check_condition,
    describe_problems,
    evaluated,
    field,
    innermost,
    is_generator,
    read_docstring,
    warn_at,
    warn_of_gaps,
)
from mesa_llm.tools.visible import Sight

# Coerce numbers to strings and numeric strings to numbers, only where lossless.
_CONFIG = ConfigDict(extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False)
_NAME = re.compile(r"[\w-]{1,64}")
_NULLS = {"", "null", "none"}


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A function as a tool: how and when it is offered to a model, and whether it gets the calling agent as `agent`."""

    spec: ToolSpec
    injects_agent: bool
    _arguments: Arguments
    available: Condition | None = None
    _renamed: dict[str, ToolSpec] = dataclass_field(default_factory=dict)

    def spec_as(self, name: str) -> ToolSpec:
        """The tool as offered under a name; for each name always the same object."""
        if name == self.spec.name:
            return self.spec
        return self._renamed.setdefault(name, ToolSpec(name, self.spec.description, self.spec.parameters))

    def spec_for(self, name: str, sight: Sight) -> ToolSpec:
        """The tool as offered to an agent: with a check of its calls, and the choices that the agent has now."""
        narrow = None
        if self._arguments.marked is not None:
            narrow = functools.partial(self._arguments.narrowed, sight.agent, sight.seen)
        spec = self.spec_as(name)
        check = functools.partial(self.accept, sight=sight)
        return OfferedTool(spec.name, spec.description, spec.parameters, spec, narrow, check)

    def accept(
        self, arguments: Mapping[str, Any], sight: Sight | None = None
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The arguments for the function, and the names of those that are left out because no parameter has them.

        Lists, objects and `null` that the model sent as text are read; `null` for a parameter that cannot be `None`
        means its default. A `ToolError` names the arguments that are missing, of a wrong type or, with `sight`, those
        that name an agent out of sight.
        """
        parameters: Mapping[str, Any] = self.spec.parameters["properties"]
        given = {name: value for name, value in arguments.items() if not (self.injects_agent and name == "agent")}
        given = _with_known_names(unwrapped(given, parameters), parameters)
        left_out: tuple[str, ...] = ()
        while True:
            try:
                return self._arguments.adapter.validate_json(to_json(given), context=sight), left_out
            except ValidationError as error:
                better = self._repaired(given, error)
                if better is None:
                    raise ToolError(describe_problems(error, given, parameters)) from error
            left_out += tuple(name for name in given if name not in better and name not in parameters)
            given = better

    def _repaired(self, given: dict[str, Any], error: ValidationError) -> dict[str, Any] | None:
        """The arguments with those that are wrong in a better form; `None` if nothing can be done about them."""
        parameters = self.spec.parameters["properties"]
        wrong = {str(problem["loc"][0]) for problem in error.errors(include_url=False, include_context=False)}
        if wrong.isdisjoint(parameters):
            return {name: value for name, value in given.items() if name in parameters}
        better = dict(given)
        for name in wrong & given.keys() & parameters.keys():
            value, is_optional = given[name], name not in self.spec.parameters["required"]
            if value is None and is_optional:
                del better[name]
            elif isinstance(value, str):
                better[name] = _read_text(value, may_be_null=is_optional or _takes_null(parameters[name]))
        return None if better == given else better


_defining = threading.RLock()  # protects the making of a definition, so that a tool has only one
# By the function under a callable, and how it is wrapped.
_definitions: weakref.WeakKeyDictionary[Callable[..., Any], dict[Hashable, ToolDefinition]]
_definitions = weakref.WeakKeyDictionary()


def definition_of(function: Callable[..., Any], name: str | None = None) -> ToolDefinition:
    """A function's definition as a tool, made once; all bound methods of one function share it."""
    lasting, how = (function, None) if type(function) is types.FunctionType else _made_from(function)
    definition = _definitions.get(lasting, {}).get(how)
    if definition is None:
        with _defining:
            definition = _definitions.get(lasting, {}).get(how) or define(function, name=name)
    return definition


def _made_from(function: Callable[..., Any]) -> tuple[Callable[..., Any], Hashable]:
    """The function under a bound method or a `partial`, and how it is wrapped: the wrappers are short-lived."""
    if isinstance(function, types.MethodType):
        return function.__func__, "bound"
    if isinstance(function, functools.partial) and not function.keywords:
        lasting, how = _made_from(function.func)
        return lasting, (how, len(function.args))
    return function, None


def define(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    ignore_agent: bool = True,
    available: Condition | None = None,
    local_names: Mapping[str, Any] | None = None,
) -> ToolDefinition:
    """Make a function's definition as a tool, which replaces an earlier one.

    `local_names` are names besides the function's globals that annotations given as text may use.
    """
    name = check_name(getattr(function, "__name__", None) if name is None else name, function)
    if is_generator(function) or is_generator(getattr(function, "__call__", None)):  # noqa: B004 - an object's method
        raise ConfigurationError(f"Tool {name!r} {GENERATOR}")
    if available is not None:
        check_condition(name, available)
    try:
        parameters = dict(inspect.signature(function).parameters)
    except ValueError as error:
        raise ConfigurationError(f"{function!r} tells nothing about its parameters: wrap it in a function.") from error
    injects_agent = ignore_agent and "agent" in parameters
    if injects_agent:
        del parameters["agent"]
    description, returned, meanings = read_docstring(function)
    if returned:
        description = f"{description}\nReturns: {returned}".strip()
    fields: dict[str, Any] = {}
    for parameter in parameters.values():
        _refuse_unnameable(name, parameter)
        annotation = _annotation(name, function, parameter, local_names)
        fields[parameter.name] = _field(parameter, annotation, meanings.get(parameter.name))
    arguments = Arguments.of(name, fields, _CONFIG)
    definition = ToolDefinition(ToolSpec(name, description, arguments.schema), injects_agent, arguments, available)
    warn_of_gaps(function, definition.spec)
    lasting, how = _made_from(function)
    _definitions.setdefault(lasting, {})[how] = definition
    return definition


def check_name(name: Any, function: Callable[..., Any]) -> str:
    """The name, if a model can call a tool by it; otherwise a `ConfigurationError`."""
    if not callable(function):
        raise ConfigurationError(f"A tool is a function, got {function!r}.")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{function!r} has no name that a model can call it by, got {name!r} (1 to 64 letters, digits, - or _). "
            "Define it with def, or give it a name in ToolManager(extra_tools={'name': function})."
        )
    return name


def _refuse_unnameable(tool: str, parameter: inspect.Parameter) -> None:
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        hint = "Name each argument, or take one list or dict."
    elif parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
        hint = "Remove the / from its signature."
    elif parameter.name == "self":
        hint = "Make it a function outside of the class that takes agent, or register the bound method."
    else:
        return
    raise ConfigurationError(f"Tool {tool!r} takes {parameter}, which a model cannot give by name. {hint}")


def _annotation(
    tool: str, function: Callable[..., Any], parameter: inspect.Parameter, local_names: Mapping[str, Any] | None
) -> Any:
    """A parameter's type; `Any`, with a warning, if it cannot be evaluated or has no JSON schema."""
    if parameter.annotation is parameter.empty:
        return Any
    try:  # evaluating an annotation may raise anything
        annotation = evaluated(parameter, getattr(innermost(function), "__globals__", {}), local_names)
        if parameter.default is None:
            annotation = Optional[annotation]  # noqa: UP045 - of a type that is known at run time only
        TypeAdapter(annotation).json_schema()
    except Exception as error:
        warn_at(
            function,
            f"Tool {tool!r}: the model does not see the type of {parameter.name!r}, because its annotation "
            f"{parameter.annotation!r} has no JSON schema ({type(error).__name__}: {str(error).splitlines()[0]}). "
            "Annotate it with what a model can write, e.g. int, str, list[float] or Literal['a', 'b'].",
        )
        return Any
    return annotation


def _field(parameter: inspect.Parameter, annotation: Any, description: str | None) -> Any:
    if parameter.default is parameter.empty:
        return field(annotation, description)
    try:
        default = to_jsonable_python(parameter.default)
        json.dumps(default, allow_nan=False)
    except ValueError:
        return NotRequired[field(annotation, description)]
    return NotRequired[field(annotation, description, default=default)]


def _with_known_names(given: dict[str, Any], parameters: Collection[str]) -> dict[str, Any]:
    """The arguments, with names such as `Amount` or `unit-price` as the parameters have them."""
    unknown = [name for name in given if name.strip() and name not in parameters]
    for name in unknown:
        meant = matching_name(name, [parameter for parameter in parameters if parameter not in given])
        if meant is not None:
            given = {meant if other == name else other: value for other, value in given.items()}
    return given


def _read_text(text: str, *, may_be_null: bool) -> Any:
    """The list, tuple, object or `null` that a text holds; the text itself if it holds nothing of these."""
    stripped = text.strip()
    if stripped.casefold() in _NULLS:
        return None if may_be_null else text
    if stripped[0] == "(" and stripped[-1] == ")":
        stripped = f"[{stripped[1:-1]}]"
    found = json_at(stripped, 0) if stripped[0] in "[{" else None
    if found is None or found.end < len(stripped):
        return text
    try:
        return read_arguments({"value": found.value})["value"]
    except ToolError:  # a number that is not finite
        return text


def _takes_null(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "null" or any(_takes_null(kind) for kind in schema.get("anyOf", ()))
