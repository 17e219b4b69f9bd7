"""What a failed exchange with a server becomes: the error's class, its one line, and whether asking again can help."""

from __future__ import annotations

import errno
import math
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from mesa_llm.clients.chat_completion import error_in
from mesa_llm.clients.masking import Secrets
from mesa_llm.errors import (
    EndpointUnreachableError,
    MissingAPIKeyError,
    ModelCallError,
    ModelTimeoutError,
    RateLimitedError,
    UnknownModelError,
)
from mesa_llm.errors.shown_text import masked_address, printable
from mesa_llm.errors.tracebacks import causes_of

if TYPE_CHECKING:
    import aiohttp

_MAY_PASS = frozenset({408, 409, 425, 429})  # and all from 500 on
_CUT_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
_MARKUP = re.compile(r"<(script|style).*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCall:
    """Makes the errors of one call, each in one line and cleaned: all that a server says enters errors here."""

    model: str
    endpoint: str | None
    """The base URL, `None` for the provider's own."""
    secrets: Secrets = field(default_factory=Secrets)
    has_api_base: bool = True
    """Whether the user chose the address, and so may have it wrong."""

    @property
    def where(self) -> str:
        """The model and its address, with which errors begin."""
        return f"{self.model} at {masked_address(self.endpoint)}" if self.endpoint else self.model

    def error(
        self, kind: type[ModelCallError], text: str, *, cause: BaseException | None = None, **fields: Any
    ) -> ModelCallError:
        """An error with a text of its own, in which the server's words are clean already.

        The cause is left out if a traceback of it would show a secret.
        """
        text = self.secrets.masked(printable(text))
        made = kind(text, model=self.model, endpoint=self.endpoint, **fields)
        if cause is not None:
            notes = (note for part in causes_of(cause) for note in (part, *getattr(part, "__notes__", ())))
            if all(self.secrets.masked(shown) == shown for shown in map(str, notes)):
                made.__cause__ = cause
        return made

    def answered(
        self, status: int, body: Any, headers: Mapping[str, str], missing_keys: Sequence[str] = ()
    ) -> ModelCallError:
        """The server has answered with an error status, and the error as JSON or as a text.

        The `missing_keys` are environment variables in which a key was looked for and not found.
        """
        is_redirection = 300 <= status < 400
        said = f"it redirects to {headers.get('Location', 'nowhere')}" if is_redirection else error_message(body)
        text = f"{self.where} answered with status {status}: {self._said(said)}"
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
            case 429 if _is_out_of_quota(body):  # no waiting helps
                kind, way_out, is_transient = RateLimitedError, "Check the account's plan and balance.", False
            case 429:
                kind = RateLimitedError
                way_out = f"Ask less often{'' if wait is None else f', next in {wait:g} s'}."
            case _ if is_redirection:
                way_out = "Redirections are not followed: give the final address as api_base."
        text = f"{text} {way_out}".rstrip()
        return self.error(kind, text, status=status, retry_after=wait, is_transient=is_transient)

    def timed_out(self, seconds: float) -> ModelCallError:
        """There was no answer in time."""
        text = f"{self.where} did not answer within {seconds:g} s. Give it a longer timeout."
        return self.error(ModelTimeoutError, text, is_transient=True)

    def unreachable(self, lost: BaseException) -> ModelCallError:
        """There is no connection, or no longer. The causes of its error decide whether the failure may pass."""
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
        # aiohttp prints the TLS context.
        reason = re.sub(r" ssl:(<[^>]*>|\w+)", "", self.secrets.clean(str(lost))) or type(lost).__name__
        text = f"{self.where} cannot be reached: {sentence(reason)} {way_out}"
        return self.error(EndpointUnreachableError, text, is_transient=passes)

    def unusable(self, text: str, *, is_transient: bool = False) -> ModelCallError:
        """The server has answered with something that is not a completion: `text`, after the word for the server."""
        way_out = " Is api_base right?" if self.has_api_base and not is_transient else ""
        return self.error(ModelCallError, f"{self.where} {self._said(text)}{way_out}", is_transient=is_transient)

    def unexpected(self, error: BaseException) -> ModelCallError:
        """An error of the program, as when the request could not be written."""
        text = f"{self.where}: {type(error).__name__}: {self.secrets.clean(str(error))}"
        return self.error(ModelCallError, text, cause=error)

    def interrupted(self, error: Exception, timeout: float) -> ModelCallError:
        """The direct client raised an error before it had the whole answer."""
        import aiohttp  # noqa: PLC0415 - slow to import; here it has been

        match error:
            case aiohttp.ClientHttpProxyError():
                said = f"the proxy answered with status {error.status}: {self._said(error.message)}"
                text = f"{self.where} cannot be reached: {said}"
                return self.error(EndpointUnreachableError, text, is_transient=error.status >= 500)
            case TimeoutError() if not isinstance(error, aiohttp.ConnectionTimeoutError):
                return self.timed_out(timeout)
            case aiohttp.ClientPayloadError():
                return self.unusable(f"broke off in the middle of its answer ({error})", is_transient=True)
            case aiohttp.ClientResponseError():
                return self.unusable(f"sent what is not HTTP: {error.message}")
            case aiohttp.ClientConnectionError() | OSError():
                return self.unreachable(error)
        return self.unexpected(error)

    def refused(
        self, answer: aiohttp.ClientResponse, raw: bytes, body: Any, missing_keys: Sequence[str]
    ) -> ModelCallError:
        """The direct client has got a whole answer without a completion. Its `body` is `raw` as JSON, or `None`."""
        kind = answer.headers.get("Content-Type", "no content type").partition(";")[0]
        text = raw[:20_000].decode("utf-8", "replace")
        shown = _MARKUP.sub(" ", text) if "html" in kind else text
        if answer.status != 200:
            said = shown if body is None else body
            said = said if error_message(said).strip() else answer.reason or ""
            return self.answered(answer.status, said, answer.headers, missing_keys)
        if body is None:
            if not raw.strip():
                return self.unusable("sent an empty answer", is_transient=True)
            return self.unusable(f"sent an answer that is not JSON ({kind}): {shown}", is_transient=is_half_json(text))
        if (error := error_in(body)) is not None:  # as OpenRouter's, with status 200
            code = error.get("code")
            if isinstance(code, int) and 400 <= code < 600:
                return self.answered(code, error, {})
            return self.unusable(f"sent an error in place of a completion: {error_message(error)}")
        if isinstance(body, dict) and body.get("choices") == []:
            return self.unusable(f"sent a completion without choices: {shown}", is_transient=True)
        return self.unusable(f"sent JSON that is no completion: {shown}")

    def _said(self, text: str) -> str:
        """The words of a server, clean, with a full stop."""
        return sentence(self.secrets.clean(text))


def retry_after(headers: Mapping[str, str], *, now: Callable[[], float] = time.time) -> float | None:
    """Seconds from now after which the server wants to be asked again; `None` if it does not say.

    Reads `Retry-After-Ms` (milliseconds, as OpenAI and Azure send it) and `Retry-After` in both forms of
    [RFC 9110, section 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3): seconds, here with fractions,
    and a date. A date that has passed means now. The mapping has to ignore the case of names.
    """
    for name, parts_of_a_second in (("Retry-After-Ms", 1000), ("Retry-After", 1)):
        with suppress(ValueError):
            seconds = float(headers.get(name, "")) / parts_of_a_second
            if 0 <= seconds < math.inf:
                return seconds
    with suppress(ValueError, OverflowError):
        date = parsedate_to_datetime(headers.get("Retry-After", ""))
        return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now())
    return None


def error_message(body: Any) -> str:
    """The message in an error's JSON: OpenAI's form, or one of those that others use. It is not clean."""
    for key in ("error", "message", "detail"):
        if isinstance(body, dict) and key in body:
            body = body[key]
    return body if isinstance(body, str) else str(body)


def _is_out_of_quota(body: Any) -> bool:
    """Whether it is OpenAI's error for an account without credit."""
    error = body.get("error") if isinstance(body, dict) else None
    return isinstance(error, dict) and (error.get("code") or error.get("type")) == "insufficient_quota"


def is_half_json(text: str) -> bool:
    """Whether a text that is not JSON begins an object and broke off, or is empty."""
    return text.lstrip()[:1] in {"{", ""}


def set_key(names: Sequence[str]) -> str:
    """The way out where a key is missing."""
    return f"Set the environment variable {' or '.join(names)}, or pass api_key."


def sentence(text: str) -> str:
    """The text with a full stop at its end."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
