"""The calls of tools: reading what a model has written, saying what is wrong with it, and the result."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from mesa_llm.clients.messages import ToolCall
from mesa_llm.errors import ToolError
from mesa_llm.spaces.coordinates import short_repr

_MOST_PROBLEMS = 5
_NAMELESS = "unknown"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of one tool call.

    Attributes:
        call_id: the identifier of the call that this answers.
        name: the name that was called; of a tool, unless the model invented it.
        arguments: the arguments as the model wrote them, before validation; empty if they are not a JSON object.
        response: the text that goes back to the model.
        ok: whether the tool ran to its end. If not, `response` begins with `Error: `.
    """

    call_id: str
    name: str
    arguments: dict[str, Any]
    response: str
    ok: bool

    def as_dict(self) -> dict[str, str]:
        """The result in the form of mesa-llm 0.3: `tool_call_id`, `role`, `name`, `response`."""
        return {"tool_call_id": self.call_id, "role": "tool", "name": self.name, "response": self.response}


def read_call(call: Any) -> tuple[str, str, Any]:
    """Identifier, name and raw arguments of a call: a `ToolCall`, or an object in the form of the OpenAI API."""
    if isinstance(call, ToolCall):
        return call.id, call.name, call.arguments
    function = getattr(call, "function", call)
    return (
        str(getattr(call, "id", None) or _NAMELESS),
        str(getattr(function, "name", None) or _NAMELESS),
        getattr(function, "arguments", None),
    )


def parse_arguments(raw: Any) -> dict[str, Any]:
    """Parse the arguments of a call. No text, and `null`, mean no arguments.

    Args:
        raw: a JSON object as text, or already parsed, as some servers send it.

    Raises:
        ToolError: if it is not valid JSON, or not an object.
    """
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        return {}
    try:
        text = raw.encode(errors="surrogatepass") if isinstance(raw, str) else to_json(raw, inf_nan_mode="constants")
        arguments = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise ToolError(f"the arguments are not valid JSON, {error}: {short_repr(raw)}") from error
    if arguments is None:
        return {}
    if not isinstance(arguments, dict):
        raise ToolError(f'the arguments must be a JSON object such as {{"name": "value"}}, got {short_repr(raw)}')
    return arguments


def no_such_tool(name: str, on_offer: Collection[str]) -> ToolError:
    """The error for a call of a tool that is not there, or not on offer."""
    if not on_offer:
        return ToolError(f"there is no tool {short_repr(name)}; no tools are on offer")
    closest = difflib.get_close_matches(name[:100], on_offer, n=1)
    hint = f" (did you mean {closest[0]!r}?)" if closest else ""
    return ToolError(f"there is no tool {short_repr(name)}{hint}; on offer: {', '.join(on_offer)}")


def describe_problems(error: ValidationError, arguments: Mapping[str, Any], accepted: Collection[str]) -> str:
    """Which arguments are wrong, in one line that a model can act on: what was given, and what is expected.

    Args:
        error: what pydantic found.
        arguments: the arguments as the model wrote them.
        accepted: the names of all arguments that the tool takes.

    Returns:
        One line. Of more than 5 problems, the first 5.
    """
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
            problems.setdefault(given, []).append(_expectation(problem["msg"]))
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


def _expectation(message: str) -> str:
    return message.removeprefix("Input ").removeprefix("Value error, ")


def _steps(where: tuple[int | str, ...], arguments: Mapping[str, Any]) -> list[str]:
    """The path to a value in the arguments as given. Skips what pydantic adds, such as the alternatives of a union."""
    steps: list[str] = []
    here: Any = arguments
    for step in where:
        inside = here if isinstance(here, Mapping) else range(len(here)) if isinstance(here, list) else ()
        if step in inside:
            steps.append(str(step))
            here = here[step]
    return steps
