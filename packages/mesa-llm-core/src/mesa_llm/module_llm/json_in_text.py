"""Finding the JSON in what a language model has written.

Nothing is guessed. Strict JSON is read by the standard library (which also takes NaN and line breaks inside strings),
what is merely sloppy (single quotes, trailing commas, comments, Python's `True`, `None` and tuples) by json5, and of an
object that breaks off only those entries are kept that are there from beginning to end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from mesa_llm.clients.thoughts import without_thoughts

_OPENING = re.compile(r"[{\[]")
_SPACE = re.compile(r"\s*")
_ESCAPE = re.compile(r"\\(?:[\"'\\/bfnrtv0\n\r]|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2})?")
_NOT_IN_JSON = re.compile(r"[\x00-\x1f\ud800-\udfff]")  # to a strict reader
_PYTHON = re.compile(
    r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|//[^\n]*|(?P<word>\b(?:True|False|None)\b|[()])""", re.DOTALL
)
_AS_JSON = {"True": "true", "False": "false", "None": "null", "(": "[", ")": "]"}
_FIRST_NONCHARACTER = 0xFDD0  # the first of 32 code points that Unicode leaves to programs
_HIDDEN = {code: _FIRST_NONCHARACTER + code for code in range(32)}
_SHOWN = {hidden: f"\\u{code:04x}" for code, hidden in _HIDDEN.items()}
_MOST_OPENINGS = 100  # each may be read to the end of the text, which a hostile text would make expensive
_LONGEST_SLOPPY = 10_000  # characters: json5 reads some 100 a millisecond

_decoder = json.JSONDecoder(strict=False)


@dataclass(frozen=True, slots=True)
class FoundJSON:
    """A JSON object or array in a text, and where it ends."""

    value: Any
    end: int
    is_complete: bool = True
    """Whether it does end. If not, `value` holds the entries that are complete (of an array none)."""


def found_in(text: str) -> list[FoundJSON]:
    """The JSON objects and arrays in a text but its thoughts, in their order, none of them inside of another."""
    return list(_scan(with_known_escapes(without_thoughts(text)[0])))


def json_at(text: str, start: int) -> FoundJSON | None:
    """The JSON object or array that begins at a place in a text; `None` if no complete one does."""
    return _strictly(text, start) or _sloppily(text, start)[0]


def with_known_escapes(text: str) -> str:
    r"""A text in which a backslash before what JSON cannot escape, as in `C:\Users`, means itself."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda escape: escape[0] if len(escape[0]) > 1 else r"\\", text)


def _scan(text: str) -> Iterator[FoundJSON]:
    position = 0
    for _ in range(_MOST_OPENINGS):
        opening = _OPENING.search(text, position)
        if opening is None:
            return
        start = opening.start()
        found = _strictly(text, start)
        if found is None:
            problem = _problem(text, start)
            breaks_off = problem.startswith("EOF")
            if not breaks_off:
                found, ran_out = _sloppily(text, start)
                if ran_out:
                    return  # a value inside of it is a part of the answer, not the answer
                breaks_off = found is None and problem.startswith("expected `,`")
            if breaks_off:
                yield FoundJSON(_complete_entries(text, start), len(text), is_complete=False)
                return
        if found is not None:
            yield found
        position = start + 1 if found is None else found.end


def _strictly(text: str, start: int) -> FoundJSON | None:
    try:
        value, end = _decoder.raw_decode(text, start)
    except (ValueError, RecursionError):  # ValueError: no JSON, or an integer of more digits than Python reads
        return None
    return FoundJSON(value, end)


def _problem(text: str, start: int) -> str:
    """Why a strict reader cannot read the text from here on."""
    try:
        from_json(_NOT_IN_JSON.sub(" ", text[start:]))
    except ValueError as error:
        return str(error)
    return ""


def _sloppily(text: str, start: int) -> tuple[FoundJSON | None, bool]:
    """The value as JSON5 or as Python writes it, and whether the text ends inside of it."""
    import json5  # noqa: PLC0415 - slow to import, and few models are so sloppy

    json5_text = _PYTHON.sub(_as_json5, text[start : start + _LONGEST_SLOPPY])
    try:
        value, error, end = json5.parse(json5_text, consume_trailing=False)
        if error is not None:
            return None, "end of input" in error
        if any(character in json5_text for character in map(chr, _SHOWN)):
            value = json.loads(json.dumps(value, ensure_ascii=False).translate(_SHOWN))
    except (ValueError, RecursionError):
        return None, False
    return FoundJSON(value, start + end), False


def _as_json5(part: re.Match[str]) -> str:
    """A part of a Python literal as JSON5, of the same length."""
    word = part["word"]
    # JSON5 has no line breaks inside strings.
    return part[0].translate(_HIDDEN) if word is None else _AS_JSON[word]


def _complete_entries(text: str, start: int) -> dict[str, Any] | list[Any]:
    """Of an object that breaks off, the entries whose value is there to its last character."""
    if text[start] == "[":
        return []
    entries: dict[str, Any] = {}
    position = start + 1
    while True:
        try:
            key, position = _decoder.raw_decode(text, _after_space(text, position))
            position = _after_space(text, position)
            if text[position : position + 1] != ":":
                return entries
            entries.pop(key, None)  # written again
            value, end = _decoder.raw_decode(text, _after_space(text, position + 1))
        except (ValueError, RecursionError):
            return entries
        position = _after_space(text, end)
        digits_may_follow = end == len(text) and isinstance(value, int | float) and not isinstance(value, bool)
        if digits_may_follow or text[position : position + 1] not in {"", ","}:
            return entries
        entries[key] = value
        position += 1


def _after_space(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    assert space is not None  # it matches nothing too
    return space.end()
