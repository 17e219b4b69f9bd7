"""What a tool's docstring tells the model."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_INDENTED_SECTION = re.compile(r"^[ \t]+(?:Args|Arguments|Parameters|Params|Returns):[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ToolDocstring:
    """The parts of a docstring that a model reads.

    Attributes:
        description: what the tool does and what it returns; empty without a docstring.
        parameters: what each described parameter means.
    """

    description: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


def read(function: Callable[..., Any]) -> ToolDocstring:
    """Read a function's docstring: Google style, or any other that docstring-parser knows.

    A docstring that cannot be parsed is taken as a description from beginning to end.
    """
    import docstring_parser  # noqa: PLC0415 - slow to import, and a program that has no tools yet does not need it

    text = inspect.cleandoc(function.__doc__ or "") if inspect.isroutine(function) else ""
    # mesa-llm 0.3 read sections that are indented under the summary; docstring-parser does not.
    if indented := _INDENTED_SECTION.search(text):
        text = text[: indented.start()] + textwrap.dedent(text[indented.start() :])
    try:
        parsed = docstring_parser.parse(text)
    except docstring_parser.ParseError:
        return ToolDocstring(description=text)
    description = (parsed.description or "").strip()
    if parsed.returns is not None and parsed.returns.description:
        description = f"{description}\nReturns: {_one_line(parsed.returns.description)}".strip()
    parameters = {item.arg_name: _one_line(item.description) for item in parsed.params if item.description}
    return ToolDocstring(description, parameters)


def _one_line(text: str) -> str:
    return " ".join(text.split())
