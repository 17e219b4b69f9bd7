"""What errors show.

Texts, values and addresses are short, without secrets and control codes; tracebacks are without the frames of this
library, which a user cannot change.
"""

from __future__ import annotations

import asyncio
import os
import re
import reprlib
import sys
import threading
import unicodedata
from collections.abc import Iterator
from concurrent import futures
from types import TracebackType
from urllib.parse import urlsplit

from mesa_llm.errors import MesaLLMError

HIDDEN = "***"
"""Replaces a secret."""

_CONTROL = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of control codes, marks of direction and zero width, surrogates, line separators."""

# ECMA-48: CSI sequences; strings such as the title of a window (OSC), with their content; all other escapes.
ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[PX\]^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)

_SECRET_PARAMETER = (
    r"(?:[?&;#]|\\u0026|%26)[\w.~%-]{0,100}?(?:key|token|secret|passw(?:or)?d|passphrase|pwd|sig|sign|signature|sas|auth|"
    r"authorization|credentials?|jwt|session|code)(?:=|\\u003d|%3d)"
)
_repr = reprlib.Repr(maxstring=100, maxlong=40, maxother=100, maxlevel=4)
_IN_ADDRESS = re.compile(rf"({_SECRET_PARAMETER})[^&#]+", re.IGNORECASE)
_IN_TEXT = (
    (re.compile(rf"({_SECRET_PARAMETER})[^&#\s\"'<>]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"((?:\\*/|%2f){2})[^\s/?#\"'<>]*@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    (re.compile(r"(?<=Bearer )\S+|(?<=Authorization: Basic )\S+"), HIDDEN),
    (re.compile(r"\b(?:sk|pk|gsk|xai)-[\w-]{8,}|\b(?:gsk|hf|ghp)_\w{16,}|\bAIza[\w-]{20,}"), HIDDEN),
)


def printable(text: str) -> str:
    """A text without control codes, escape sequences, marks of text direction and characters of zero width.

    Line feeds and tabs stay; other white space becomes a space.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character in "\n\t" or not is_control(character) else " " if character.isspace() else ""
        for character in ESCAPE_SEQUENCE.sub("", text)
    )


def is_control(character: str) -> bool:
    """Whether a character controls the display instead of being shown."""
    return unicodedata.category(character) in _CONTROL


def masked(text: str) -> str:
    """A text with `***` in place of keys of known forms, and of passwords in addresses."""
    for pattern, replacement in _IN_TEXT:
        text = pattern.sub(replacement, text)
    return text


def for_people(text: str) -> str:
    """A text for terminals, logs and pages: printable and masked."""
    return masked(printable(text))


def short_repr(value: object) -> str:
    """The `repr` of something that a language model wrote, cut to a length that does no harm in a prompt."""
    return _repr.repr(value)


def masked_address(address: str) -> str:
    """An address, or any text in its place, with `***` for user and password and for keys in the query."""
    start, end = userinfo_span(address)
    shown = f"{address[:start]}{HIDDEN}{address[end:]}" if start < end else address
    return printable(_IN_ADDRESS.sub(rf"\1{HIDDEN}", shown))


def userinfo_span(address: str) -> tuple[int, int]:
    """Start and end of user and password in an address: after `//`, up to the last `@` before the path.

    A password may contain `@`, and by mistake a character such as `/`, which ends it in a URL: then the address has no
    numeric port, and everything up to the last `@` counts. Without user and password, start and end are equal.
    """
    begin = re.match(r"\s*(?:(?:[a-z][\w+.-]*:)?[/\\]+)?", address, re.IGNORECASE)
    start = begin.end() if begin else 0
    authority = re.split(r"[/?#]", address[start:], maxsplit=1)[0]
    end = authority.rfind("@")
    if end == -1 and not _has_port_or_none(authority):
        end = address[start:].rfind("@")
    return (start, start) if end == -1 else (start, start + end)


def _has_port_or_none(authority: str) -> bool:
    try:
        _ = urlsplit(f"//{authority}").port
    except ValueError:
        return False
    return True


_MACHINERY = (os.path.dirname(asyncio.__file__), os.path.dirname(futures.__file__), threading.__file__)


def is_ours(filename: str) -> bool:
    """Whether a source file belongs to mesa-llm, or to asyncio and the thread pools under it."""
    return filename.startswith((*sys.modules["mesa_llm"].__path__, *_MACHINERY))


def shorten(error: BaseException) -> None:
    """Remove our frames from the tracebacks of an exception, its causes and the members of a group, in place.

    The frame in which the error was raised stays. If mesa-llm did not raise the error on purpose, all our frames after
    the user's last one stay too, because a bug report needs them.
    """
    for part in causes_of(error):
        frames = list(_frames(part.__traceback__))
        behind = len(frames)
        while behind and is_ours(frames[behind - 1].tb_frame.f_code.co_filename):
            behind -= 1
        last = frames[behind:]
        if isinstance(part, MesaLLMError) or not isinstance(part, Exception):
            last = last[-1:]
        kept = [frame for frame in frames[:behind] if not is_ours(frame.tb_frame.f_code.co_filename)]
        traceback = None
        for frame in reversed(kept + last):
            traceback = TracebackType(traceback, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
        part.__traceback__ = traceback


def place_of(error: BaseException) -> tuple[tuple[str, int], ...]:
    """Where an error was raised: file and line of each of the user's frames, and of the last frame."""
    frames = [(frame.tb_frame.f_code.co_filename, frame.tb_lineno) for frame in _frames(error.__traceback__)]
    return tuple([frame for frame in frames[:-1] if not is_ours(frame[0])] + frames[-1:])


def _frames(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that led to it, each once: causes before contexts before the members of groups."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        part = left.pop()
        if part is not None and id(part) not in seen:
            seen.add(id(part))
            yield part
            left += [*getattr(part, "exceptions", ()), part.__context__, part.__cause__]
