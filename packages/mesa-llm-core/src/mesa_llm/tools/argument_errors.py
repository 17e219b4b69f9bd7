"""What is wrong with the arguments of a tool call, in one line that a model can act on."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

_MOST_PROBLEMS = 5
_short = reprlib.Repr(maxstring=100, maxother=100, maxlong=40, maxlevel=4)


def shortened(value: Any) -> str:
    """The `repr` of a value, cut to a length that does no harm in a prompt."""
    return _short.repr(value)


def describe(error: ValidationError, arguments: Mapping[str, Any], accepted: Collection[str]) -> str:
    """Say which arguments are wrong: what was given, and what is expected.

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
            unknown.append(shortened(where[0]))
        elif what == "missing":
            path = ".".join([*_steps(where, arguments), str(where[-1])])
            problems.setdefault(f"argument {shortened(path)} is missing", [])
        else:
            path = ".".join(_steps(where, arguments))
            given = f"argument {shortened(path)} is {shortened(problem['input'])}"
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
    """The way to a value through what was given. Skips what pydantic adds, such as the alternatives of a union."""
    steps: list[str] = []
    here: Any = arguments
    for step in where:
        inside = here if isinstance(here, Mapping) else range(len(here)) if isinstance(here, list) else ()
        if step in inside:
            steps.append(str(step))
            here = here[step]
    return steps
