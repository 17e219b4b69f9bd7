"""Finding the JSON in what a language model has written.

Nothing is guessed. Strict JSON is read by the standard library (which also takes NaN and line breaks inside strings),
what is merely sloppy (single quotes, trailing commas, comments) by json5, and of an object that breaks off only those
entries are kept that are there from beginning to end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

_OPENING = re.compile(r"[{\[]")
_THOUGHT = re.compile(r"\s*<(think|thinking|thought|reasoning)>(?:.*?</\1>|.*)", re.DOTALL | re.IGNORECASE)
_END_OF_THOUGHT = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_SPACE = re.compile(r"\s*")
_MOST_OPENINGS = 100  # each may be read to the end of the text, which a hostile text would make expensive
_LONGEST_SLOPPY = 10_000  # characters: json5 reads some 100 a millisecond

_decoder = json.JSONDecoder(strict=False)


@dataclass(frozen=True, slots=True)
class FoundJSON:
    """A JSON value that stands in a text.

    Attributes:
        value: an object or an array.
        start: where it begins in the text.
        end: where it ends.
        is_complete: whether it does end. If not, `value` holds the entries that are complete (of an array none).
    """

    value: Any
    start: int
    end: int
    is_complete: bool = True


def found_in(text: str) -> list[FoundJSON]:
    """The JSON objects and arrays in a text, in their order, none of them inside of another.

    What stands in a `<think>` block, or before a lone `</think>`, is no answer and is left out. Of a text whose
    thoughts have no end, nothing is left.
    """
    text = _without_thoughts(text)
    found = list(_scan(text))
    ends_of_thought = [
        tag.end()
        for tag in _END_OF_THOUGHT.finditer(text)
        if not any(value.start < tag.start() < value.end for value in found if value.is_complete)
    ]
    return [value for value in found if value.start >= max(ends_of_thought, default=0)]


def answer_in(text: str) -> str:
    """What a text that is no JSON answers, without thoughts as `found_in` has them, and without space around it."""
    text = _without_thoughts(text)
    *_, answer = _END_OF_THOUGHT.split(text)
    return answer.strip()


def _without_thoughts(text: str) -> str:
    while thought := _THOUGHT.match(text):
        text = text[thought.end() :]
    return text


def _scan(text: str) -> Iterator[FoundJSON]:
    position = 0
    for _ in range(_MOST_OPENINGS):
        opening = _OPENING.search(text, position)
        if opening is None:
            return
        start = opening.start()
        found = _strictly(text, start)
        if found is None and _breaks_off(text, start):
            yield FoundJSON(_complete_entries(text, start), start, len(text), is_complete=False)
            return
        if found is None:
            found, ran_out = _sloppily(text, start)
            if ran_out:
                return  # what stands inside of it is a part of the answer, not the answer
        if found is not None:
            yield found
        position = start + 1 if found is None else found.end


def _strictly(text: str, start: int) -> FoundJSON | None:
    try:
        value, end = _decoder.raw_decode(text, start)
    except (ValueError, RecursionError):  # ValueError: no JSON, or an integer of more digits than Python reads
        return None
    return FoundJSON(value, start, end)


def _breaks_off(text: str, start: int) -> bool:
    """Whether the text from here on is the beginning of a JSON value."""
    try:
        from_json(text[start:], allow_partial=True)
    except (ValueError, TypeError):  # TypeError: the text has half a surrogate pair
        return False
    return True


def _sloppily(text: str, start: int) -> tuple[FoundJSON | None, bool]:
    """The value as JSON5, and whether the text ends inside of it."""
    import json5  # noqa: PLC0415 - slow to import, and few models are so sloppy

    try:
        value, error, end = json5.parse(text[start : start + _LONGEST_SLOPPY], consume_trailing=False)
    except (ValueError, RecursionError):
        return None, False
    if error is not None:
        return None, "end of input" in error
    return FoundJSON(value, start, start + end), False


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
