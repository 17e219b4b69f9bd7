"""What an error of litellm really says.

litellm's classes cannot be trusted: a refused connection comes as `InternalServerError` with status 500, a `TypeError`
as `APIConnectionError`. What happened stands at the bottom of the chain of causes, so that is where we look.
"""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING, Any

from mesa_llm.clients.failures import (
    FailedCall,
    causes_of,
    error_code,
    error_message,
    is_half_json,
    sentence,
    set_key,
)
from mesa_llm.clients.masking import is_secret_variable
from mesa_llm.errors import MissingAPIKeyError, ModelCallError, UnknownModelError

if TYPE_CHECKING:
    import httpx

_LITELLM_PREFIX = re.compile(r"^(litellm\.)?(\w*(Error|Timeout|Timeout Error): )|^\w*(Exception|Error)( \w+)? - ")


def translate(error: Exception, *, litellm: Any, call: FailedCall, has_key: bool, timeout: float) -> ModelCallError:
    """The error of ours that says in one line what happened and what to do about it.

    Args:
        error: what litellm raised.
        litellm: the module.
        call: what was asked.
        has_key: whether a key was given.
        timeout: seconds that the call was given.
    """
    import httpx  # noqa: PLC0415 - comes with litellm, and only with it

    causes = list(causes_of(error))
    provider = call.model.partition("/")[0]

    answered = next((cause.response for cause in causes if isinstance(cause, httpx.HTTPStatusError)), None)
    if answered is not None:
        status, body = answered.status_code, _json_of(answered)
        return call.answered(
            status,
            _strip(str(error)) if body is None else error_message(body),
            code=error_code(body),
            headers=answered.headers,
            missing_keys=_missing_keys(litellm, call.model) if status in {401, 403} and not has_key else (),
        )
    if isinstance(error, litellm.BadRequestError) and "LLM Provider NOT provided" in str(error):
        return call.error(
            UnknownModelError,
            f"{call.model}: litellm has no provider {provider!r}. Write 'provider/model', e.g. 'openai/gpt-4o-mini'.",
        )
    if _is_a_missing_key(error, litellm) and not has_key:
        missing = _missing_keys(litellm, call.model) or [f"{provider.upper()}_API_KEY"]
        return call.error(MissingAPIKeyError, f"{call.where} needs an API key, and there is none. {set_key(missing)}")
    if any(isinstance(cause, httpx.TimeoutException | TimeoutError | litellm.Timeout) for cause in causes) and not any(
        isinstance(cause, httpx.ConnectTimeout) for cause in causes
    ):
        return call.timed_out(timeout)
    lost = next(
        (cause for cause in causes if isinstance(cause, httpx.TransportError | ConnectionError | socket.gaierror)), None
    )
    if lost is not None:
        return call.unreachable(lost)
    detail = _strip(str(error))
    broken = next((cause for cause in causes if isinstance(cause, json.JSONDecodeError)), None)
    if broken is not None:
        return call.unusable(f"sent an answer that is not JSON ({detail})", is_transient=is_half_json(broken.doc))
    root = causes[-1]
    if type(root).__module__.partition(".")[0] in {"litellm", "openai"}:
        return call.error(ModelCallError, f"{call.where}: {sentence(call.secrets.clean(detail))}")
    return call.unexpected(root)


def _json_of(answered: httpx.Response) -> Any:
    try:
        return answered.json()
    except (ValueError, RuntimeError):  # not JSON; or a stream that nobody read
        return None


def _strip(text: str) -> str:
    """Litellm's text without the names of the classes that it passed through, and without a traceback."""
    text = text.partition("\nTraceback")[0]
    while (shorter := _LITELLM_PREFIX.sub("", text, count=1)) != text:
        text = shorter
    return text


def _is_a_missing_key(error: Exception, litellm: Any) -> bool:
    if isinstance(error, litellm.AuthenticationError):
        return True
    return re.search(r"missing (credentials|\w* ?api[ _]key)", str(error), re.IGNORECASE) is not None


def _missing_keys(litellm: Any, model: str) -> list[str]:
    missing: list[str] = litellm.validate_environment(model)["missing_keys"]
    return [name for name in missing if is_secret_variable(name)]
