"""What a failed exchange with a server becomes: the error's class, its one line, and whether asking again can help."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mesa_llm.clients.event_stream import is_event_stream
from mesa_llm.clients.masking import Secrets
from mesa_llm.clients.server_errors import (
    error_in,
    error_message,
    is_bad_answer,
    is_out_of_credit,
    is_too_long,
    may_pass,
    meaning_of,
    retry_after,
    retry_delay_in,
    status_of,
)
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

_MAY_PASS = frozenset({408, 409, 425, 429})  # and all from 500 on
_CUT_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
_SHORTEN = (
    "The prompt is too long for the model. What makes it shorter: a smaller max_tokens or capacity of the memory, a "
    "smaller vision, fewer tools; and a smaller max_tokens of the agent leaves more room for it."
)
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
        """An error with a text of its own. The cause is left out if a traceback of it would show a secret."""
        text = self.secrets.masked(printable(text))
        made = kind(text, model=self.model, endpoint=self.endpoint, **fields)
        if cause is not None:
            notes = (note for part in causes_of(cause) for note in (part, *getattr(part, "__notes__", ())))
            if all(self.secrets.masked(shown) == shown for shown in map(str, notes)):
                made.__cause__ = cause
        return made

    def answered(
        self,
        status: int,
        body: Any,
        headers: Mapping[str, str],
        missing_keys: Sequence[str] = (),
        *,
        names_status: bool = True,
    ) -> ModelCallError:
        """The server has answered with an error status, and the error as JSON or as a text.

        The `missing_keys` are environment variables in which a key was looked for and not found. `names_status` is
        false if the server has named no status, and its words stand for one.
        """
        is_redirection = 300 <= status < 400
        said = f"it redirects to {headers.get('Location', 'nowhere')}" if is_redirection else error_message(body)
        how = f"answered with status {status}" if names_status else "sent an error in place of a completion"
        text = f"{self.where} {how}: {self._said(said)}"
        wait = retry_after(headers, with_resets=status == 429)
        wait = retry_delay_in(body) if wait is None else wait
        kind, hint, is_transient = ModelCallError, "", status in _MAY_PASS or status >= 500
        bad_answer = status not in {401, 402, 403, 404, 429} and is_bad_answer(body)
        match status:
            case 401 | 403 if missing_keys:
                kind, hint = MissingAPIKeyError, f"No key was sent. {set_key(missing_keys)}"
            case 401 | 403:
                hint = "Check the API key, and that it may use this model."
            case 404:
                kind, hint = UnknownModelError, f"Check the model's name{' and api_base' * self.has_api_base}."
            case 402:
                hint = "Check the account's balance."
            case 408 | 504:
                kind = ModelTimeoutError
            case 429 if is_out_of_credit(body):
                kind, hint, is_transient = RateLimitedError, "Check the account's plan and balance.", False
            case 429:
                kind = RateLimitedError
                hint = f"Ask less often{'' if wait is None else f', next in {wait:g} s'}."
            case _ if bad_answer:
                hint = "The model's answer was unusable; it may be better when it is asked again."
                is_transient = False
            case _ if is_too_long(body):
                hint, is_transient = _SHORTEN, False
            case _ if status < 500 and is_out_of_credit(body):
                hint = "Check the account's plan and balance."
            case _ if is_redirection:
                hint = "Redirections are not followed: give the final address as api_base."
        text = f"{text} {hint}".rstrip()
        return self.error(kind, text, status=status, retry_after=wait, is_transient=is_transient, bad_answer=bad_answer)

    def timed_out(self, seconds: float) -> ModelCallError:
        """There was no answer in time."""
        text = f"{self.where} did not answer within {seconds:g} s. Give it a longer timeout."
        return self.error(ModelTimeoutError, text, is_transient=True)

    def unreachable(self, lost: BaseException) -> ModelCallError:
        """The connection could not be made, or was lost. The error's causes decide whether the failure is transient."""
        hint = "Is the server running, and is api_base right?" if self.has_api_base else "Check the network."
        passes = True
        for cause in causes_of(lost):
            if isinstance(cause, ssl.SSLError) and not isinstance(cause, _CUT_OFF):
                passes = False
                if isinstance(cause, ssl.SSLCertVerificationError):
                    hint = "A server with a certificate of its own needs verify='/path/of/its/ca.pem'."
            elif isinstance(cause, socket.gaierror):
                passes = cause.errno == socket.EAI_AGAIN
            elif isinstance(cause, OSError) and cause.errno in {errno.EMFILE, errno.ENFILE}:
                hint = "Raise the limit of open files (ulimit -n), or lower max_concurrency."
        # aiohttp prints the TLS context.
        reason = re.sub(r" ssl:(<[^>]*>|\w+)", "", self.secrets.clean(str(lost))) or type(lost).__name__
        text = f"{self.where} cannot be reached: {sentence(reason)} {hint}"
        return self.error(EndpointUnreachableError, text, is_transient=passes)

    def unusable(self, text: str, *, is_transient: bool = False) -> ModelCallError:
        """The server has answered with something that is not a completion: `text`, after the word for the server."""
        hint = " Is api_base right?" if self.has_api_base and not is_transient else ""
        return self.error(ModelCallError, f"{self.where} {self._said(text)}{hint}", is_transient=is_transient)

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
                # A proxy that restarts, or a connection that was mixed up, sends this for a moment.
                return self.unusable(f"sent what is not HTTP: {error.message}", is_transient=True)
            case aiohttp.ClientConnectionError() | OSError():
                return self.unreachable(error)
        return self.unexpected(error)

    def refused(
        self,
        status: int,
        reason: str | None,
        headers: Mapping[str, str],
        raw: bytes,
        body: Any,
        missing_keys: Sequence[str] = (),
    ) -> ModelCallError:
        """The server has sent a whole answer without a completion. Its `body` is `raw` as JSON, or `None`."""
        kind = headers.get("Content-Type", "no content type").partition(";")[0]
        text = raw[:20_000].decode("utf-8", "replace")
        shown = _MARKUP.sub(" ", text) if "html" in kind or text.lstrip()[:1] == "<" else text
        if not 200 <= status < 300:
            said = shown if body is None else body
            said = said if error_message(said).strip() else reason or ""
            return self.answered(status, said, headers, missing_keys)
        if body is None:
            if not raw.strip():
                return self.unusable("sent an empty answer", is_transient=True)
            is_transient = is_half_json(text) or may_pass(shown)
            return self.unusable(f"sent an answer that is not JSON ({kind}): {shown}", is_transient=is_transient)
        if (error := error_in(body)) is not None:  # as OpenRouter's, with status 200
            if (named := status_of(error)) is not None:
                return self.answered(named, error, headers, missing_keys)
            if (meant := meaning_of(error)) is not None:
                return self.answered(meant, error, headers, missing_keys, names_status=False)
            return self.unusable(f"sent an error in place of a completion: {error_message(error)}")
        if isinstance(body, dict) and "choices" in body:
            return self.unusable(f"sent a completion without choices: {shown}", is_transient=True)
        return self.unusable(f"sent JSON that is not a completion: {shown}")

    def _said(self, text: str) -> str:
        """The words of a server, clean, with a full stop."""
        return sentence(self.secrets.clean(text))


def is_half_json(text: str) -> bool:
    """Whether a text that is not JSON begins an object, or a stream of them, and broke off, or is empty."""
    return text.lstrip()[:1] in {"{", ""} or is_event_stream(text)


def set_key(names: Sequence[str]) -> str:
    """The way out where a key is missing."""
    return f"Set the environment variable {' or '.join(names)}, or pass api_key."


def sentence(text: str) -> str:
    """The text with a full stop at its end."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
