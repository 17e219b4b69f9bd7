"""What a failed call says, whichever library has made it: the error's class, its one line, and whether to ask again."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mesa_llm.clients.masking import Secrets
from mesa_llm.clients.retry_after import retry_after
from mesa_llm.errors import (
    EndpointUnreachableError,
    MissingAPIKeyError,
    ModelCallError,
    ModelTimeoutError,
    RateLimitedError,
    UnknownModelError,
)
from mesa_llm.errors.shown_text import masked_address, printable

_MAY_PASS = frozenset({408, 409, 425, 429})  # and all from 500 on
_CUT_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCall:
    """Makes the errors of one call, each in one line, and cleaned: what a server says enters them here and only here.

    Attributes:
        model: the model that was asked, `provider/model`.
        endpoint: the base URL, `None` for the provider's own.
        secrets: what must not be shown.
        has_api_base: whether the user chose the address, and so may have it wrong.
    """

    model: str
    endpoint: str | None
    secrets: Secrets = field(default_factory=Secrets)
    has_api_base: bool = True

    @property
    def where(self) -> str:
        """Who was asked, as errors begin."""
        return f"{self.model} at {masked_address(self.endpoint)}" if self.endpoint else self.model

    def error(
        self,
        kind: type[ModelCallError],
        text: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        is_transient: bool = False,
        cause: BaseException | None = None,
    ) -> ModelCallError:
        """An error with a text of its own.

        Args:
            kind: its class.
            text: what happened, and the way out. What a server says in it has been cleaned.
            status: the HTTP status.
            retry_after: seconds after which the server wants to be asked again.
            is_transient: whether the same request may succeed later.
            cause: what led to it; left out if it shows a secret, or anything that led to it does.
        """
        made = kind(
            self.secrets.masked(printable(text)),
            model=self.model,
            endpoint=self.endpoint,
            status=status,
            retry_after=retry_after,
            is_transient=is_transient,
        )
        if cause is not None and all(self.secrets.masked(shown) == shown for shown in _texts_of(cause)):
            made.__cause__ = cause
        return made

    def answered(
        self,
        status: int,
        message: str,
        *,
        code: str = "",
        headers: Mapping[str, str] | None = None,
        missing_keys: Sequence[str] = (),
    ) -> ModelCallError:
        """The server has answered with an error status.

        Args:
            status: the HTTP status.
            message: what the server says.
            code: what the server calls the error, as in `insufficient_quota`.
            headers: the headers of the answer.
            missing_keys: environment variables in which a key was looked for and not found.
        """
        headers = headers or {}
        if 300 <= status < 400:
            message = f"it redirects to {headers.get('Location', 'nowhere')}"
        text = f"{self.where} answered with status {status}: {sentence(self.secrets.clean(message))}"
        wait = retry_after(headers)
        kind, way_out, is_transient = ModelCallError, "", status in _MAY_PASS or status >= 500
        match status:
            case 401 | 403 if missing_keys:
                kind, way_out = MissingAPIKeyError, f"No key was sent. {set_key(missing_keys)}"
            case 401 | 403:
                way_out = "Check the API key, and that it may use this model."
            case 404:
                kind, way_out = UnknownModelError, f"Check the model's name{' and api_base' * self.has_api_base}."
            case 402:
                way_out = "Check the account's balance."
            case 408 | 504:
                kind = ModelTimeoutError
            case 429 if code == "insufficient_quota":  # OpenAI's: no waiting helps
                kind, way_out, is_transient = RateLimitedError, "Check the account's plan and balance.", False
            case 429:
                kind = RateLimitedError
                way_out = f"Ask less often{'' if wait is None else f', next in {wait:g} s'}."
            case _ if 300 <= status < 400:
                way_out = "Redirections are not followed: give the final address as api_base."
        return self.error(
            kind, f"{text} {way_out}".rstrip(), status=status, retry_after=wait, is_transient=is_transient
        )

    def timed_out(self, seconds: float) -> ModelCallError:
        """There was no answer in time."""
        return self.error(
            ModelTimeoutError,
            f"{self.where} did not answer within {seconds:g} s. Give it a longer timeout.",
            is_transient=True,
        )

    def unreachable(self, lost: BaseException) -> ModelCallError:
        """There is no connection, or no longer.

        Args:
            lost: the error of the connection. What lies below it in its chain tells whether it may pass.
        """
        way_out = "Is the server running, and is api_base right?" if self.has_api_base else "Check the network."
        passes = True
        for cause in causes_of(lost):
            if isinstance(cause, ssl.SSLError) and not isinstance(cause, _CUT_OFF):
                passes = False
                if isinstance(cause, ssl.SSLCertVerificationError):
                    way_out = "A server with a certificate of its own needs verify='/path/of/its/ca.pem'."
            elif isinstance(cause, socket.gaierror):
                passes = cause.errno == socket.EAI_AGAIN
            elif isinstance(cause, OSError) and cause.errno in {errno.EMFILE, errno.ENFILE}:
                way_out = "Raise the limit of open files (ulimit -n), or lower max_concurrency."
        return self.error(
            EndpointUnreachableError,
            f"{self.where} cannot be reached: {sentence(self._of_the_socket(lost))} {way_out}",
            is_transient=passes,
        )

    def unusable(self, text: str, *, is_transient: bool) -> ModelCallError:
        """The server has answered, with something that is no completion.

        Args:
            text: what came, as the end of a sentence that begins with who sent it.
            is_transient: whether the same request may succeed later.
        """
        way_out = " Is api_base right?" if self.has_api_base and not is_transient else ""
        said = sentence(self.secrets.clean(text))
        return self.error(ModelCallError, f"{self.where} {said}{way_out}", is_transient=is_transient)

    def unexpected(self, error: BaseException) -> ModelCallError:
        """An error of the program: the request could not be written, say."""
        text = f"{self.where}: {type(error).__name__}: {self.secrets.clean(str(error))}"
        return self.error(ModelCallError, text, cause=error)

    def _of_the_socket(self, error: BaseException) -> str:
        """The text of an error of the connection, without the TLS context that aiohttp prints in it."""
        return re.sub(r" ssl:(<[^>]*>|\w+)", "", self.secrets.clean(str(error))) or type(error).__name__


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it, outermost first, each once."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        cause = left.pop()
        if cause is not None and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            left += [*getattr(cause, "exceptions", ()), cause.__context__, cause.__cause__]


def _texts_of(error: BaseException) -> Iterator[str]:
    """All that a traceback of an error may show of what was said."""
    for cause in causes_of(error):
        yield str(cause)
        yield from map(str, getattr(cause, "__notes__", ()))


def error_message(body: Any) -> str:
    """The message in an error's JSON: OpenAI's form, or one of those that others use. It is not clean."""
    for key in ("error", "message", "detail"):
        if isinstance(body, dict) and key in body:
            body = body[key]
    return body if isinstance(body, str) else str(body)


def error_code(body: Any) -> str:
    """What an error's JSON calls the error; empty if it does not say."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return ""
    return str(error.get("code") or error.get("type") or "")


def is_half_json(text: str | bytes) -> bool:
    """Whether a text that is not JSON is at least the beginning of an object: an answer that broke off, or is empty."""
    begin = text.lstrip()[:1]
    return begin in {"{", b"{", "", b""}


def set_key(names: Sequence[str]) -> str:
    """The way out where a key is missing."""
    return f"Set the environment variable {' or '.join(names)}, or pass api_key."


def sentence(text: str) -> str:
    """The text with a full stop at its end."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
