"""What a function's signature and docstring tell a model: shared by tools and actions."""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
import types
import typing
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from mesa_llm.clients.messages import ToolSpec
from mesa_llm.errors import ConfigurationError
from mesa_llm.errors.shown_text import short_repr
from mesa_llm.module_llm.request_fields import rebuilt
from mesa_llm.tools.visible import Seen, narrowed, without_marks

_MOST_PROBLEMS = 5
_NOT_COMMON = {"title", "discriminator", "const", "prefixItems"}
_INDENTED_SECTION = re.compile(r"^[ \t]+(?:Args|Arguments|Parameters|Params|Returns):[ \t]*$", re.MULTILINE)

type Condition = Callable[[Any], object]
"""Takes an agent, and says whether a tool or an action is on offer to it at the moment."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments that a model writes: how they are checked, and their schema.

    If values depend on what the agent sees, `marked` is the schema with marks that stand for them.
    """

    adapter: TypeAdapter[dict[str, Any]]
    schema: dict[str, Any]
    marked: Mapping[str, Any] | None

    @classmethod
    def of(cls, name: str, fields: Mapping[str, Any], config: ConfigDict) -> Arguments:
        """The arguments of a function, from the annotations that `field` makes."""
        # Not a pydantic model: there, parameters called "copy" or "_x" would be in the way.
        typed_dict: Any = typing.TypedDict  # the type checker wants a literal
        arguments = typed_dict(name, fields)
        arguments.__pydantic_config__ = config
        adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(arguments)
        marked = parameters_schema(adapter)
        sent = without_marks(marked)
        return cls(adapter, sent, None if sent == marked else marked)

    def narrowed(self, agent: Any, seen: Seen) -> dict[str, Any] | None:
        """The schema with the choices that an agent has now; `None` if an argument has nothing to choose from."""
        return self.schema if self.marked is None else narrowed(self.marked, agent, seen)


def field(annotation: Any, description: str | None, **default: Any) -> Any:
    """The annotation of an argument with what the model gets to read about it: a description, a `default` as JSON."""
    details: dict[str, Any] = {} if description is None else {"description": description}
    if default:
        details["json_schema_extra"] = default
    return Annotated[annotation, Field(**details)]


def evaluated(parameter: inspect.Parameter, global_names: dict[str, Any], local_names: Mapping[str, Any] | None) -> Any:
    """The annotation of one parameter: a name that only the type checker knows does not affect the others."""
    holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    return typing.get_type_hints(holder, global_names, local_names, include_extras=True)[parameter.name]


def is_generator(function: Any) -> bool:
    """Whether a call would run none of the function's code, because it has a `yield`."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


GENERATOR = (
    "is a generator: it has a `yield`, so a call would run none of its code. Return the result instead, for instance a "
    "list of what it yields."
)


def holds(condition: Condition, name: str, agent: Any) -> bool:
    """Whether a condition holds for an agent; what it raises gets a note with the name of the tool or action."""
    try:
        return bool(condition(agent))
    except Exception as error:
        error.add_note(
            f"Raised by the condition `available` of {name!r}, for agent {getattr(agent, 'unique_id', agent)}."
        )
        raise


def check_condition(name: str, condition: Any) -> None:
    """Raise a `ConfigurationError` if something cannot be a condition."""
    if not callable(condition) or inspect.iscoroutinefunction(condition):
        raise ConfigurationError(
            f"available of {name!r} must be a plain function that takes an agent and returns True or False, "
            f"got {condition!r}."
        )


def read_docstring(function: Callable[..., Any]) -> tuple[str, str, dict[str, str]]:
    """What a function's docstring says of it, of what it returns and of its parameters, in any known style."""
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

    References are resolved, since some servers do not follow them; a type that contains itself keeps them.
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


def innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function inside of decorators and `functools.partial`."""
    while isinstance(function, functools.partial):
        function = function.func
    innermost: Callable[..., Any] = inspect.unwrap(function)
    return innermost


def warn_of_gaps(function: Callable[..., Any], spec: ToolSpec, kind: str = "Tool") -> None:
    """Warn about what the model has to guess: a missing docstring, and parameters that it does not describe."""
    properties = spec.parameters["properties"]
    silent = [name for name, schema in properties.items() if not schema.get("description")]
    if not spec.description:
        warn_at(function, f"{kind} {spec.name!r} has no docstring: the model has to guess what it does from its name.")
    elif silent:
        text = f"{kind} {spec.name!r} does not describe {silent} in its docstring's Args: the model has to guess."
        warn_at(function, text)


def warn_at(function: Callable[..., Any], message: str) -> None:
    """Warn at the place where the function is defined."""
    code = getattr(innermost(function), "__code__", None)
    if code is None:
        warnings.warn(message, stacklevel=2)
    else:
        warnings.warn_explicit(message, UserWarning, code.co_filename, code.co_firstlineno, module=function.__module__)
