"""What an error of litellm really says.

litellm's classes cannot be trusted: a refused connection comes as `InternalServerError` with status 500, a `TypeError`
as `APIConnectionError`. What happened stands at the bottom of the chain of causes, so that is where we look.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mesa_llm.errors import (
    EndpointUnreachableError,
    MissingAPIKeyError,
    ModelCallError,
    ModelTimeoutError,
    RateLimitedError,
    UnknownModelError,
)

if TYPE_CHECKING:
    import httpx

_LONGEST = 500  # characters of a server's message
_SECRET_VARIABLE = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")
_SECRET_LOOK = re.compile(r"\b(sk|pk|gsk|xai)-[\w-]{8,}|(?<=[?&]key=)[^&\s]+|(?<=//)[^/@\s]+(?=@)|(?<=Bearer )\S+")
_LITELLM_PREFIX = re.compile(r"^(litellm\.)?(\w*(Error|Timeout|Timeout Error): )|^\w*(Exception|Error)( \w+)? - ")


def translate(
    error: Exception, *, litellm: Any, model: str, endpoint: str | None, api_key: str | None, timeout: float
) -> ModelCallError:
    """The error of ours that says in one line what happened and what to do about it.

    Args:
        error: what litellm raised.
        litellm: the module.
        model: the model that was asked, `provider/model`.
        endpoint: the base URL, `None` for the provider's own.
        api_key: the key that was given, if any; never part of the message.
        timeout: seconds that the call was given.
    """
    import httpx  # noqa: PLC0415 - comes with litellm, and only with it

    causes = list(_causes(error))
    answered = next((cause.response for cause in causes if isinstance(cause, httpx.HTTPStatusError)), None)
    status = answered.status_code if answered is not None else None
    detail = _server_message(answered) or _strip(str(error))
    where = f"{model} at {endpoint}" if endpoint else model
    provider = model.partition("/")[0]

    def failure(kind: type[ModelCallError], text: str, cause: BaseException | None = None) -> ModelCallError:
        masked = _masked(text, api_key)
        made = kind(masked, model=model, endpoint=endpoint, status=status)
        made.__cause__ = cause if masked == text else None  # a cause with a key in it would show it
        return made

    if answered is not None:
        text = f"{where} answered with status {status}: {_sentence(detail)}"
        if status in {401, 403}:
            missing = [] if api_key else _missing_keys(litellm, model)
            if missing:
                return failure(MissingAPIKeyError, f"{text} No key was sent. {_set_key(missing)}")
            return failure(ModelCallError, f"{text} Check the API key, and that it may use this model.")
        if status == 404:
            return failure(UnknownModelError, f"{text} Check the model's name{' and api_base' if endpoint else ''}.")
        if status == 429:
            wait = answered.headers.get("Retry-After")
            return failure(RateLimitedError, f"{text} Ask less often{f', next in {wait} s' if wait else ''}.")
        if status in {408, 504}:
            return failure(ModelTimeoutError, text)
        return failure(ModelCallError, text)

    if isinstance(error, litellm.BadRequestError) and "LLM Provider NOT provided" in str(error):
        return failure(
            UnknownModelError,
            f"{model}: litellm has no provider {provider!r}. Write 'provider/model', e.g. 'openai/gpt-4o-mini'.",
        )
    if _is_a_missing_key(error, litellm) and not api_key:
        missing = _missing_keys(litellm, model) or [f"{provider.upper()}_API_KEY"]
        return failure(MissingAPIKeyError, f"{where} needs an API key, and there is none. {_set_key(missing)}")
    if any(isinstance(cause, httpx.TimeoutException | TimeoutError | litellm.Timeout) for cause in causes) and not any(
        isinstance(cause, httpx.ConnectTimeout) for cause in causes
    ):
        return failure(ModelTimeoutError, f"{where} did not answer within {timeout:g} s. Give it a longer timeout.")
    lost = next(
        (cause for cause in causes if isinstance(cause, httpx.TransportError | ConnectionError | socket.gaierror)), None
    )
    if lost is not None:
        way_out = "Is the server running, and is api_base right?" if endpoint else "Check the network."
        return failure(
            EndpointUnreachableError, f"{where} cannot be reached: {_sentence(_of_the_socket(lost))} {way_out}"
        )
    if any(isinstance(cause, json.JSONDecodeError) for cause in causes):
        way_out = " Is api_base right?" if endpoint else ""
        return failure(ModelCallError, f"{where} sent an answer that is not JSON.{way_out} ({detail})")
    root = causes[-1]
    if type(root).__module__.partition(".")[0] in {"litellm", "openai"}:
        return failure(ModelCallError, f"{where}: {_sentence(detail)}")
    return failure(ModelCallError, f"{where}: {type(root).__name__}: {_one_line(str(root))}", root)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it, outermost first, each once."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        cause = left.pop()
        if cause is not None and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            left += [cause.__context__, cause.__cause__]


def _server_message(answered: httpx.Response | None) -> str:
    """The message in the body of an error response; OpenAI's form, or one of those that others use."""
    if answered is None:
        return ""
    try:
        body: Any = answered.json()
    except (ValueError, RuntimeError):  # not JSON; or a stream that nobody read
        return ""
    for key in ("error", "message", "detail"):
        if isinstance(body, dict) and key in body:
            body = body[key]
    return _one_line(body if isinstance(body, str) else str(body))


def _strip(text: str) -> str:
    """Litellm's text without the names of the classes that it passed through, and without a traceback."""
    text = text.partition("\nTraceback")[0]
    while (shorter := _LITELLM_PREFIX.sub("", text, count=1)) != text:
        text = shorter
    return _one_line(text)


def _of_the_socket(error: BaseException) -> str:
    """The text of an error of the connection, without the TLS context that aiohttp prints in it."""
    return re.sub(r" ssl:(<[^>]*>|\w+)", "", _one_line(str(error))) or type(error).__name__


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _masked(text: str, api_key: str | None) -> str:
    secrets = {value for name, value in os.environ.items() if _SECRET_VARIABLE.search(name) and len(value) >= 8}
    for secret in sorted(secrets | ({api_key} if api_key else set()), key=len, reverse=True):
        text = text.replace(secret, "***")
    return _SECRET_LOOK.sub("***", text)


def _is_a_missing_key(error: Exception, litellm: Any) -> bool:
    if isinstance(error, litellm.AuthenticationError):
        return True
    return re.search(r"missing (credentials|\w* ?api[ _]key)", str(error), re.IGNORECASE) is not None


def _missing_keys(litellm: Any, model: str) -> list[str]:
    missing: list[str] = litellm.validate_environment(model)["missing_keys"]
    return [name for name in missing if _SECRET_VARIABLE.search(name)]


def _set_key(names: list[str]) -> str:
    return f"Set the environment variable {' or '.join(names)}, or pass api_key."
