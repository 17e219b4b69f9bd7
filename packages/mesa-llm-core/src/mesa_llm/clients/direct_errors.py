"""What goes wrong between a direct client and its server, as errors of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mesa_llm.clients.chat_completion import NoCompletionError
from mesa_llm.clients.failures import FailedCall, error_code, error_message, is_half_json, sentence
from mesa_llm.clients.http_post import BodyTooLargeError, HTTPAnswer
from mesa_llm.errors import EndpointUnreachableError, ModelCallError

_MARKUP = re.compile(r"<(script|style).*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)


def not_answered(error: Exception, call: FailedCall, timeout: float) -> ModelCallError:
    """The error for a request that got no whole answer.

    Args:
        error: what was raised while it was written, sent or its answer read.
        call: what was asked.
        timeout: seconds that the call was given.
    """
    import aiohttp  # noqa: PLC0415 - slow to import; here it has been

    match error:
        case BodyTooLargeError():
            return call.unusable(f"{error}. max_response_bytes can be raised", is_transient=False)
        case aiohttp.ClientHttpProxyError():
            return call.error(
                EndpointUnreachableError,
                f"{call.where} cannot be reached: the proxy answered with status {error.status}: "
                f"{sentence(call.secrets.clean(error.message))}",
                is_transient=error.status >= 500,
            )
        case aiohttp.ConnectionTimeoutError():
            return call.unreachable(error)
        case TimeoutError():
            return call.timed_out(timeout)
        case aiohttp.ClientPayloadError():
            return call.unusable(f"broke off in the middle of its answer ({error})", is_transient=True)
        case aiohttp.ClientResponseError():
            return call.unusable(f"sent what is not HTTP: {error.message}", is_transient=False)
        case aiohttp.ClientConnectionError() | OSError():
            return call.unreachable(error)
    return call.unexpected(error)


def refused(answer: HTTPAnswer, body: Any, call: FailedCall, missing_keys: tuple[str, ...]) -> ModelCallError:
    """The error for an answer with a status that is not 200.

    Args:
        answer: the answer.
        body: its JSON, `None` if it is none.
        call: what was asked.
        missing_keys: the variables of the key, if none was sent.
    """
    message = (error_message(body) if body is not None else _shown(answer)).strip() or answer.reason
    return call.answered(
        answer.status, message, code=error_code(body), headers=answer.headers, missing_keys=missing_keys
    )


def told(error: Mapping[str, Any], call: FailedCall) -> ModelCallError:
    """The error for a completion that says it has failed, as OpenRouter's do, with status 200."""
    message, code = error_message(error), error.get("code")
    if isinstance(code, int) and 400 <= code < 600:
        return call.answered(code, message)
    return call.unusable(f"sent an error in place of a completion: {message}", is_transient=False)


def not_json(answer: HTTPAnswer, call: FailedCall) -> ModelCallError:
    """The error for an answer with status 200 that is no JSON."""
    if not answer.body.strip():
        return call.unusable("sent an empty answer", is_transient=True)
    kind = answer.headers.get("Content-Type", "no content type").partition(";")[0]
    text = f"sent an answer that is not JSON ({kind}): {_shown(answer)}"
    return call.unusable(text, is_transient=is_half_json(answer.body))


def no_completion(error: NoCompletionError, answer: HTTPAnswer, call: FailedCall) -> ModelCallError:
    """The error for an answer that is JSON and no completion."""
    return call.unusable(f"sent {error}: {_shown(answer)}", is_transient=error.is_transient)


def _shown(answer: HTTPAnswer) -> str:
    """The beginning of an answer's text, without markup. It is not clean."""
    text = answer.body[:20_000].decode("utf-8", "replace")
    return _MARKUP.sub(" ", text) if "html" in answer.headers.get("Content-Type", "") else text
