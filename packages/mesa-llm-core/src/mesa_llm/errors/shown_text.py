"""Texts, values and addresses made safe to show: short, without secrets and control codes."""

from __future__ import annotations

import re
import reprlib
import unicodedata
from urllib.parse import urlsplit

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
