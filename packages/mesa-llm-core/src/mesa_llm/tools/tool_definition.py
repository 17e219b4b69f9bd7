"""A function as a tool: its schema for the model, and the check of what the model sends."""

from __future__ import annotations

import functools
import inspect
import json
import re
import textwrap
import threading
import types
import typing
import warnings
import weakref
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired, Optional

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import to_json, to_jsonable_python

from mesa_llm.clients.messages import ToolSpec
from mesa_llm.errors import ConfigurationError, ToolError
from mesa_llm.errors.shown_text import short_repr
from mesa_llm.module_llm.call_reading import matching_name, read_arguments, unwrapped
from mesa_llm.module_llm.json_in_text import json_at
from mesa_llm.module_llm.request_fields import OfferedTool, rebuilt
from mesa_llm.tools.visible import Sight, narrowed, without_marks

# Coerce numbers to strings and numeric strings to numbers, only where lossless.
_CONFIG = ConfigDict(extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False)
_NAME = re.compile(r"[\w-]{1,64}")
_NULLS = {"", "null", "none"}
_MOST_PROBLEMS = 5
_NOT_COMMON = {"title", "discriminator", "const", "prefixItems"}
_INDENTED_SECTION = re.compile(r"^[ \t]+(?:Args|Arguments|Parameters|Params|Returns):[ \t]*$", re.MULTILINE)


type Condition = Callable[[Any], object]
"""Takes an agent, and says whether a tool is on offer to it at the moment."""


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A function as a tool: how and when it is offered to a model, and whether it gets the calling agent as `agent`."""

    spec: ToolSpec
    injects_agent: bool
    _arguments: TypeAdapter[dict[str, Any]]
    available: Condition | None = None
    _marked_parameters: Mapping[str, Any] | None = None
    _renamed: dict[str, ToolSpec] = field(default_factory=dict)

    def spec_as(self, name: str) -> ToolSpec:
        """The tool as offered under a name; for each name always the same object."""
        if name == self.spec.name:
            return self.spec
        return self._renamed.setdefault(name, ToolSpec(name, self.spec.description, self.spec.parameters))

    def spec_for(self, name: str, sight: Sight) -> ToolSpec:
        """The tool as offered to an agent: with a check of its calls, and the choices that the agent has now."""
        narrow = None
        if self._marked_parameters is not None:
            narrow = functools.partial(narrowed, self._marked_parameters, sight.agent, sight.seen)
        return OfferedTool.of(self.spec_as(name), narrow, functools.partial(self.validate, sight=sight))

    def validate(self, arguments: Mapping[str, Any], sight: Sight | None = None) -> dict[str, Any]:
        """Check the arguments of a model, and convert them to the types of the function's annotations.

        See `accept`, which also tells which arguments were left out.

        Raises:
            ToolError: if arguments are missing, of a wrong type, or name an agent out of sight. The text names them.
        """
        accepted, _left_out = self.accept(arguments, sight)
        return accepted

    def accept(
        self, arguments: Mapping[str, Any], sight: Sight | None = None
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The arguments for the function, and the names of those that are left out because no parameter has them.

        Lists, objects and `null` that the model sent as text are read; `null` for a parameter that cannot be `None`
        means its default. Without `sight`, it is not checked whether agents are in sight.

        Raises:
            ToolError: if arguments are missing, of a wrong type, or name an agent out of sight. The text names them.
        """
        parameters: Mapping[str, Any] = self.spec.parameters["properties"]
        given = {name: value for name, value in arguments.items() if not (self.injects_agent and name == "agent")}
        given = _with_known_names(unwrapped(given, parameters), parameters)
        left_out: tuple[str, ...] = ()
        while True:
            try:
                return self._arguments.validate_json(to_json(given), context=sight), left_out
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


def holds(condition: Condition, name: str, agent: Any) -> bool:
    """Whether the condition of a tool holds for an agent.

    Raises:
        Exception: what the condition raises, with a note that names the tool.
    """
    try:
        return bool(condition(agent))
    except Exception as error:
        error.add_note(
            f"Raised by the condition `available` of the tool {name!r}, for agent {getattr(agent, 'unique_id', agent)}."
        )
        raise


def check_condition(name: str, condition: Any) -> None:
    """Raise a `ConfigurationError` if something cannot be the condition of a tool."""
    if not callable(condition) or inspect.iscoroutinefunction(condition):
        raise ConfigurationError(
            f"available of the tool {name!r} must be a plain function that takes an agent and returns True or False, "
            f"got {condition!r}."
        )


_defining = threading.RLock()  # protects the making of a definition, so that a tool has only one
# By the function that lasts, and how a callable is made from it.
_definitions: weakref.WeakKeyDictionary[Callable[..., Any], dict[Hashable, ToolDefinition]]
_definitions = weakref.WeakKeyDictionary()


def definition_of(function: Callable[..., Any], name: str | None = None) -> ToolDefinition:
    """A function's definition as a tool, made once; for all bound methods of one function, whatever they are bound to.

    Raises:
        ConfigurationError: if the function cannot be a tool, or has no name and is given none.
    """
    lasting, how = _made_from(function)
    definition = _definitions.get(lasting, {}).get(how)
    if definition is None:
        with _defining:
            definition = _definitions.get(lasting, {}).get(how) or define(function, name=name)
    return definition


def _made_from(function: Callable[..., Any]) -> tuple[Callable[..., Any], Hashable]:
    """The function that lasts, and how the callable is made from it: each agent may bring new bound methods."""
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
    """Make a function's definition as a tool; it replaces an earlier one.

    Warns about missing descriptions and types. `local_names` are names besides the function's globals that annotations
    given as text may use.

    Raises:
        ConfigurationError: if the function cannot be a tool.
    """
    name = check_name(getattr(function, "__name__", None) if name is None else name, function)
    _refuse_generator(name, function)
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
    # Not a pydantic model: there, parameters called "copy" or "_x" would be in the way.
    typed_dict: Any = typing.TypedDict  # the type checker wants a literal
    arguments = typed_dict(name, fields)
    arguments.__pydantic_config__ = _CONFIG
    adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(arguments)
    marked = parameters_schema(adapter)
    sent = without_marks(marked)
    definition = ToolDefinition(
        ToolSpec(name, description, sent), injects_agent, adapter, available, None if sent == marked else marked
    )
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


def _refuse_generator(name: str, function: Callable[..., Any]) -> None:
    for called in (function, getattr(function, "__call__", None)):  # noqa: B004 - the method of an object
        if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
            raise ConfigurationError(
                f"Tool {name!r} is a generator: it has a `yield`, so a call would run none of its code. Return the "
                "result instead, for instance a list of what it yields."
            )


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
    # One by one, so that a name which only the type checker knows does not affect the other parameters.
    holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    global_names = getattr(_innermost(function), "__globals__", {})
    try:  # evaluating an annotation may raise anything
        annotation = typing.get_type_hints(holder, global_names, local_names, include_extras=True)[parameter.name]
        if parameter.default is None:
            annotation = Optional[annotation]  # noqa: UP045 - of a type that is known at run time only
        TypeAdapter(annotation).json_schema()
    except Exception as error:
        _warn(
            function,
            f"Tool {tool!r}: the model is not told the type of {parameter.name!r}, because its annotation "
            f"{parameter.annotation!r} has no JSON schema ({type(error).__name__}: {str(error).splitlines()[0]}). "
            "Annotate it with what a model can write, e.g. int, str, list[float] or Literal['a', 'b'].",
        )
        return Any
    return annotation


def _field(parameter: inspect.Parameter, annotation: Any, description: str | None) -> Any:
    details: dict[str, Any] = {} if description is None else {"description": description}
    if parameter.default is parameter.empty:
        return Annotated[annotation, Field(**details)]
    try:
        default = to_jsonable_python(parameter.default)
        json.dumps(default, allow_nan=False)
    except ValueError:
        return NotRequired[Annotated[annotation, Field(**details)]]
    return NotRequired[Annotated[annotation, Field(**details, json_schema_extra={"default": default})]]


def read_docstring(function: Callable[..., Any]) -> tuple[str, str, dict[str, str]]:
    """What a function's docstring says of it, of what it returns and of its parameters, in any style that is known.

    A text that cannot be parsed is all description.
    """
    import docstring_parser  # noqa: PLC0415 - slow to import, and a program without own tools does not need it

    text = inspect.cleandoc(function.__doc__ or "") if inspect.isroutine(function) else ""
    # mesa-llm 0.3 read sections that are indented under the summary; docstring-parser does not.
    if indented := _INDENTED_SECTION.search(text):
        text = text[: indented.start()] + textwrap.dedent(text[indented.start() :])
    try:
        parsed = docstring_parser.parse(text)
    except docstring_parser.ParseError:
        return text, "", {}
    returned = "" if parsed.returns is None else " ".join((parsed.returns.description or "").split())
    parameters = {item.arg_name: " ".join(item.description.split()) for item in parsed.params if item.description}
    return (parsed.description or "").strip(), returned, parameters


class _RecursiveTypeError(Exception):
    """A type contains itself, so its schema needs references."""


def parameters_schema(arguments: TypeAdapter[Any]) -> dict[str, Any]:
    """The JSON schema of a tool's arguments, without titles, which cost tokens, and without what servers refuse.

    Some servers do not follow references. A type that contains itself keeps them.
    """
    schema = arguments.json_schema()
    definitions = schema.get("$defs", {})
    try:
        slim = _slim({key: value for key, value in schema.items() if key != "$defs"}, definitions)
    except _RecursiveTypeError:
        slim = _slim(schema, {})
    return {"type": "object", "properties": {}, "required": []} | slim


def _slim(schema: dict[str, Any], definitions: dict[str, Any], within: tuple[str, ...] = ()) -> dict[str, Any]:
    """The schema in keywords that all servers take, and with references resolved if there are definitions."""

    def slimmed(part: dict[str, Any]) -> dict[str, Any]:
        part = _in_common_keywords(part)
        if not definitions or "$ref" not in part:
            return part
        name = part.pop("$ref").rpartition("/")[2]
        if name in within:
            raise _RecursiveTypeError
        return _slim(definitions[name], definitions, (*within, name)) | part

    slim: dict[str, Any] = rebuilt(schema, slimmed)
    return slim


def _in_common_keywords(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without titles, in keywords that every server takes: several refuse `prefixItems`, `const` and `oneOf`.

    A tuple becomes an array of what its items can be, and its length tells the rest.
    """
    common = {"anyOf" if key == "oneOf" else key: value for key, value in schema.items() if key not in _NOT_COMMON}
    if "const" in schema:
        common["enum"] = [schema["const"]]
    if "prefixItems" in schema:
        kinds = [*schema["prefixItems"], *([schema["items"]] if schema.get("items") else [])]
        kinds = [{key: value for key, value in kind.items() if key != "default"} for kind in kinds]
        different = [kind for i, kind in enumerate(kinds) if kind not in kinds[:i]]
        common["items"] = different[0] if len(different) == 1 else {"anyOf": different} if different else {}
    elif schema.get("type") == "array":
        common.setdefault("items", {})
    return common if common.keys() <= schema.keys() else dict(sorted(common.items()))


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


def describe_problems(error: ValidationError, arguments: Mapping[str, Any], accepted: Collection[str]) -> str:
    """Which arguments are wrong, and what is expected, in one line for the model. At most 5 problems are named."""
    problems: dict[str, list[str]] = {}
    unknown: list[str] = []
    for problem in error.errors(include_url=False, include_context=False):
        where, what = problem["loc"], problem["type"]
        if what == "extra_forbidden" and len(where) == 1:
            unknown.append(short_repr(where[0]))
        elif what == "missing":
            path = ".".join([*_steps(where, arguments), str(where[-1])])
            problems.setdefault(f"argument {short_repr(path)} is missing", [])
        else:
            path = ".".join(_steps(where, arguments))
            given = f"argument {short_repr(path)} is {short_repr(problem['input'])}"
            # Of a union, pydantic reports each alternative on its own.
            expected = problem["msg"].removeprefix("Input ").removeprefix("Value error, ")
            problems.setdefault(given, []).append(expected)
    lines = [
        f"{given}: {' or '.join(dict.fromkeys(wanted))}" if wanted else given for given, wanted in problems.items()
    ]
    if unknown:
        names = ", ".join(repr(name) for name in accepted) if accepted else "none"
        some = ", ".join(unknown[:_MOST_PROBLEMS])
        lines.append(f"unknown argument{'s' if len(unknown) > 1 else ''} {some} (accepted: {names})")
    if len(lines) > _MOST_PROBLEMS:
        lines[_MOST_PROBLEMS:] = [f"{len(lines) - _MOST_PROBLEMS} more"]
    return " ".join("; ".join(lines).split())


def _steps(where: tuple[int | str, ...], arguments: Mapping[str, Any]) -> list[str]:
    """The path to a value in the arguments, without what pydantic adds, such as the alternatives of a union."""
    steps: list[str] = []
    here: Any = arguments
    for step in where:
        inside = here if isinstance(here, Mapping) else range(len(here)) if isinstance(here, list) else ()
        if step in inside:
            steps.append(str(step))
            here = here[step]
    return steps


def _innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    innermost: Callable[..., Any] = inspect.unwrap(function)
    return innermost


def warn_of_gaps(function: Callable[..., Any], spec: ToolSpec, kind: str = "Tool") -> None:
    """Warn about what the model has to guess: a missing docstring, and parameters that it does not describe."""
    properties = spec.parameters["properties"]
    silent = [name for name, schema in properties.items() if not schema.get("description")]
    if not spec.description:
        _warn(function, f"{kind} {spec.name!r} has no docstring: the model has to guess what it does from its name.")
    elif silent:
        text = f"{kind} {spec.name!r} does not describe {silent} in its docstring's Args: the model has to guess."
        _warn(function, text)


def _warn(function: Callable[..., Any], message: str) -> None:
    """Warn at the place where the function is defined."""
    code = getattr(_innermost(function), "__code__", None)
    if code is None:
        warnings.warn(message, stacklevel=2)
    else:
        warnings.warn_explicit(message, UserWarning, code.co_filename, code.co_firstlineno, module=function.__module__)
