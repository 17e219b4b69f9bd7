"""Masks the secrets of a client in texts that people see or files keep."""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, unquote_plus

from mesa_llm.errors.shown_text import (
    ESCAPE_SEQUENCE,
    HIDDEN,
    is_control,
    masked,
    masked_address,
    printable,
    userinfo_span,
)

# All in characters.
_SHOWN = 500  # of a server's text, in errors
_READ = 20_000  # of a server's text, at all
_SHORTEST = 8  # secret that is looked for in texts: shorter ones ("none", "ollama") are also words
_PIECE = 4  # of a secret, recognised as its beginning where a text ends and may have been cut

_SECRET_VARIABLE = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")
_SECRET_NAME = re.compile(r"auth|cookie|credential|key|passw|secret|signature|token", re.IGNORECASE)
# The values of all other headers that users add may be secret.
_PUBLIC_HEADER = re.compile(r"accept.*|content-.*|connection|http-referer|referer|user-agent|x-title", re.IGNORECASE)

# One character of a text: as it is, or as JSON, Python, URLs and HTML write it, also nested.
_CHARACTER = re.compile(
    r"\\+u(?:\{(?P<braced>[0-9a-f]{1,6})\}|(?P<u>[0-9a-f]{4}))|\\+x(?P<x>[0-9a-f]{2})|%(?:25)*(?P<percent>[0-9a-f]{2})"
    r"|(?P<entity>&(?:amp;)*\#?\w{1,8};)|\\+(?P<escaped>.)|.",
    re.IGNORECASE | re.DOTALL,
)


def is_secret_variable(name: str) -> bool:
    """Whether an environment variable of this name holds a secret."""
    return _SECRET_VARIABLE.search(name) is not None


class Secrets:
    """Masks the secrets of a client (keys, passwords in addresses, values of headers) and those in the environment.

    All texts that leave a transport go through it. In the environment, values of variables that are named like keys and
    passwords in addresses are secret. Secrets are recognised as they are, decoded from an address, in the base64 of
    Basic authentication, escaped, and with white space or control codes in between. Those of less than 8 characters are
    masked in addresses only: elsewhere they may be ordinary words.
    """

    def __init__(
        self,
        *,
        keys: Iterable[str | None] = (),
        addresses: Iterable[str | None] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        values = {key.strip() for key in keys if key}
        values.update(value for address in addresses if address for value in _of_address(address))
        values.update(value for name, text in (headers or {}).items() for value in _of_header(name, text))
        self._values = frozenset(values)

    def __repr__(self) -> str:
        """Show none of them."""
        return f"{type(self).__name__}({HIDDEN})"

    def __or__(self, other: Secrets) -> Secrets:
        """The secrets of both."""
        both = Secrets()
        both._values = self._values | other._values
        return both

    def masked(self, text: str) -> str:
        """The text with `***` in place of every secret."""
        return masked(_without(text, _forms(self._values | _of_environment(tuple(os.environ.items())))))

    def clean(self, text: str) -> str:
        """The text as errors show it: without control codes and secrets, in one line, not too long."""
        # Masked before it is cut: a part of a secret across the cut would be left.
        line = " ".join(self.masked(printable(text[:_READ])).split())
        return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


def secrets_in_options(options: Mapping[str, Any]) -> Secrets:
    """The secrets among the options of a request: keys by name, and headers."""
    texts = {name: value for name, value in options.items() if isinstance(value, str)}
    headers = options.get("extra_headers") or options.get("headers")
    return Secrets(
        keys=[value for name, value in texts.items() if _SECRET_NAME.search(name)],
        addresses=[value for value in texts.values() if "//" in value],
        headers=({str(name): str(value) for name, value in headers.items()} if isinstance(headers, Mapping) else None),
    )


def without_secrets(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a request with `***` in place of keys, also of those in its headers and its extra body."""
    shown: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping) and name in {"headers", "extra_headers"}:
            shown[name] = {key: text if _PUBLIC_HEADER.fullmatch(str(key)) else HIDDEN for key, text in value.items()}
        elif isinstance(value, Mapping) and name == "extra_body":
            shown[name] = without_secrets(value)
        elif isinstance(value, str) and (_SECRET_NAME.search(name) or "//" in value):
            shown[name] = HIDDEN if _SECRET_NAME.search(name) else masked_address(value)
        else:
            shown[name] = value
    return shown


def _of_address(address: str) -> Iterator[str]:
    """User and password, together and each, as they are written and as they are sent; values of the query."""
    start, end = userinfo_span(address)
    if start < end:
        written = address[start:end]
        yield from (written, unquote(written), *_of_login(unquote(written)))
        for part in written.split(":", 1):
            yield from (part, unquote(part))
    for parameter, value in re.findall(r"([?&;#][^=&;#]+=)([^&#]+)", address):
        if masked(f"{parameter}x") != f"{parameter}x":
            yield from (value, unquote(value), unquote_plus(value))


def _of_login(login: str) -> Iterator[str]:
    yield from login.split(":", 1)
    for encoding in ("utf-8", "latin-1"):
        yield base64.b64encode(login.encode(encoding, "replace")).decode()


def _of_header(name: str, text: str) -> Iterator[str]:
    """The value, and the parts of one that is named as a secret: `Basic …`, `a=…; b=…`."""
    if _PUBLIC_HEADER.fullmatch(name):
        return
    yield text
    if _SECRET_NAME.search(name):
        for part in re.split(r"[\s;,\"]+", text):
            yield from (part, part.partition("=")[2])
            with suppress(ValueError):  # neither base64 nor a text
                yield from _of_login(base64.b64decode(part, validate=True).decode())


@lru_cache(maxsize=8)
def _of_environment(variables: tuple[tuple[str, str], ...]) -> frozenset[str]:
    addresses = (value for name, value in variables if "//" in value or name.upper().endswith("_PROXY"))
    secrets = {secret for address in addresses for secret in _of_address(address)}
    return frozenset(secrets | {value for name, value in variables if is_secret_variable(name)})


@lru_cache(maxsize=64)
def _forms(secrets: frozenset[str]) -> tuple[str, ...]:
    """All forms of the secrets that are looked for, the longest first: as they are, and decoded."""
    found = {secret for secret in secrets if len(secret) >= _SHORTEST}
    found |= {secret.encode().decode("latin-1") for secret in found if not secret.isascii()}  # byte by byte, as in URLs
    found |= {secret.replace(" ", "+") for secret in found}  # as in a query
    found |= {"".join(character for character, _, _ in _decoded(secret)) for secret in found}
    return tuple(sorted((form for form in found if len(form) >= _SHORTEST), key=len, reverse=True))


def _without(text: str, forms: tuple[str, ...]) -> str:
    for form in forms:
        text = text.replace(form, HIDDEN)
    characters = _decoded(text) if forms else []
    decoded = "".join(character for character, _, _ in characters)
    pieces, reached, at = [], 0, 0  # where the last secret ends, in `decoded` and in `text`
    for start, end in sorted(span for form in forms for span in _places(decoded, form)):
        if start >= reached:
            pieces += [text[at : characters[start][1]], HIDDEN]
        reached = max(reached, end)
        at = characters[reached - 1][2]
    return "".join([*pieces, text[at:]])


def _decoded(text: str) -> list[tuple[str, int, int]]:
    """The characters of a text, decoded and without white space and control codes, each with its start and end."""
    characters = [
        (character, *match.span()) for match in _CHARACTER.finditer(text) for character in _decoded_character(match)
    ]
    whole = "".join(character for character, _, _ in characters)
    steering = {at for match in ESCAPE_SEQUENCE.finditer(whole) for at in range(*match.span())}
    return [
        found
        for at, found in enumerate(characters)
        if at not in steering and not (found[0].isspace() or is_control(found[0]))
    ]


def _decoded_character(match: re.Match[str]) -> str:
    match match.lastgroup:
        case None:
            return match[0]
        case "escaped":
            return match["escaped"]
        case "entity":
            return html.unescape(re.sub("&(amp;)+", "&", match[0]) if match[0] != "&amp;" else match[0])
        case number:
            return chr(min(int(match[number], 16), 0x10FFFF))


def _places(text: str, form: str) -> Iterator[tuple[int, int]]:
    """The places of a secret in a text, and of its beginning at the end of the text."""
    for match in re.finditer(f"(?={re.escape(form)})", text):
        yield match.start(), match.start() + len(form)
    for length in range(min(len(form) - 1, len(text)), _PIECE - 1, -1):
        if text.endswith(form[:length]):
            yield len(text) - length, len(text)
            return
