"""What a server's error says: its words, the status it stands for, when to ask again, and what kind of error it is."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from mesa_llm.errors import (
    EndpointUnreachableError,
    MissingAPIKeyError,
    ModelCallError,
    ModelTimeoutError,
    RateLimitedError,
)

_WORDS = (
    *("message", "msg", "detail", "status_msg", "error_msg", "error_message", "errorMessage", "error_description"),
    "title",
)
_CODES = ("code", "type", "status", "status_code", "error_code", "errorCode", "param")
_HOLDERS = ("error", "errors", "base_resp")

# An account that has to be paid for, or a limit that is zero. Waiting does not help.
_NO_CREDIT = re.compile(
    r"insufficient_(user_)?(quota|balance|credits?)|billing_(hard_limit|not_active)|exceeded_current_quota_error|"
    r"account_deactivated|insufficient (balance|credit|funds)|billing hard limit|credit balance is too low|"
    r"limit: 0(?![.\d])|PerDay",
    re.IGNORECASE,
)
_BAD_ANSWER = re.compile(
    r"tool_use_failed|json_validate_failed|failed_generation|Failed to (call a function|generate JSON|validate JSON)|"
    r"arguments\S* .{0,40}must be in JSON|tool call validation failed|(error|failed) (parsing|to parse) (the )?tool[ _]"
    r"call|MALFORMED_FUNCTION_CALL",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|(maximum|max|model'?s?|available|the) context[ _](length|size|window)"
    r"|"
    r"context[ _](length|size|window)\b.{0,40}\bexceed|exceeds? .{0,40}context|(prompt|input) (is )?too long|"
    r"too many (input |prompt )?tokens|request[ _](entity )?too[ _]large|"
    r"(exceeds?|over) the maximum (size|number of (input )?tokens)|input token count .{0,60}exceeds|"
    r"(reduce|shorten) (the length of )?(your|the) (messages?|prompt|input)|maximum (prompt|input) length",
    re.IGNORECASE | re.DOTALL,
)
# The first that is found in the codes, and then in the words, of an error without a status.
_MEANINGS = (
    (_NO_CREDIT, 429),
    (_BAD_ANSWER, 400),
    (re.compile(r"rate[ _-]?limit|too[ _]many[ _]requests|resource[ _]?exhausted|throttl|slow[ _]?down", re.I), 429),
    (re.compile(r"overload|unavailable|\bbusy\b|\bloading\b|over capacity|no capacity|try again|temporar", re.I), 503),
    (re.compile(r"time[d_ ]*out|deadline[ _]exceeded", re.I), 504),
    (re.compile(r"authenticat|unauthori[sz]ed|invalid[ _]api[ _]key|invalid[ _]token", re.I), 401),
    (re.compile(r"permission[ _]?(denied|error)|forbidden|moderation", re.I), 403),
    (re.compile(r"model_not_found|not_found_error|model .{0,80}(not found|does not exist)", re.I), 404),
    (re.compile(r"invalid[ _]?(request|argument)|bad[ _]?request", re.I), 400),
    (re.compile(r"(server|internal|api)_?error|^internal$|internal server error|upstream|bad gateway", re.I), 500),
)


def error_in(body: Any) -> Mapping[str, Any] | None:
    """The error in the JSON of an answer with a status of success, in place of an answer or beside a part of one."""
    body = only_object(body)
    if isinstance(body, str):
        return {"message": body}
    if not isinstance(body, dict):
        return None
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    for holder in (body, first):
        error = holder.get("error") if isinstance(holder, dict) else None
        if error is True or (error and isinstance(error, list)):  # the message is beside it, or in it
            return body
        if isinstance(error, str) and error.strip():
            beside: dict[str, Any] = {name: body[name] for name in _CODES if name in body}
            return {"message": error} | beside
        if isinstance(error, dict) and any(error.values()):
            return error
    if choices:
        return None
    if isinstance(body.get("base_resp"), dict) and body["base_resp"].get("status_code"):  # MiniMax
        return dict(body["base_resp"])
    if body.get("errors"):
        return body
    return body if any(isinstance(body.get(name), str | list) and body[name] for name in _WORDS) else None


def only_object(body: Any) -> Any:
    """A body, or the object in a list of one, as Gemini sends its errors."""
    return body[0] if isinstance(body, list) and body and isinstance(body[0], dict) else body


def error_message(body: Any) -> str:
    """The message in an error's JSON: OpenAI's form, or one of those that others use. It is not clean."""
    if isinstance(body, str):
        inner = _inner_json(body)
        return body if inner is None else error_message(inner)
    if isinstance(body, list):
        return "; ".join(problem for problem in map(_problem, body) if problem)
    if not isinstance(body, dict):
        return "" if body is None else str(body)
    for name in (*_HOLDERS, *_WORDS):
        value = body.get(name)
        if value and value is not True and (said := error_message(value)):
            metadata = body.get("metadata")
            raw = metadata.get("raw") if isinstance(metadata, dict) else None  # OpenRouter's, of the provider behind
            said = f"{said} ({error_message(raw)})" if raw else said
            param = body.get("param")
            return f"{said} (param: {param})" if isinstance(param, str) and param not in said else said
    return "" if set(body) <= set(_HOLDERS) else str(dict(body))


def _problem(item: Any) -> str:
    """One of several errors; FastAPI's name the place in the body."""
    if not (isinstance(item, dict) and "loc" in item):
        return error_message(item)
    where = ".".join(str(part) for part in item["loc"]) if isinstance(item["loc"], list) else str(item["loc"])
    return f"{where}: {item.get('msg', '')}"


def _inner_json(text: str) -> Any:
    if text.lstrip()[:1] in {"{", "["}:
        with suppress(ValueError, RecursionError):
            return json.loads(text)
    return None


def is_about_request(error: ModelCallError) -> bool:
    """Whether the server may have refused what the request asks for, and not the caller, the load or the answer."""
    others = EndpointUnreachableError | MissingAPIKeyError | ModelTimeoutError | RateLimitedError
    return not (error.bad_answer or isinstance(error, others))


def words_of(error: ModelCallError) -> str:
    """The text of an error without the names of its model and address, in which there may be any words."""
    names = [error.endpoint, error.model, error.model and error.model.partition("/")[2]]
    text = str(error)
    for name in names:
        if name:
            text = re.sub(rf"(?<![\w/.-]){re.escape(name)}(?![\w-])", "…", text)
    return text


def status_of(error: Mapping[str, Any]) -> int | None:
    """The HTTP status that an error inside an answer names, as a number or as digits."""
    for name in _CODES:
        value = error.get(name)
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
            return value
    return None


def meaning_of(error: Any) -> int | None:
    """The HTTP status that an error's codes mean, or else its words; `None` if neither names one."""
    for text in (" ".join(_codes_in(error)), error_message(error)):
        for pattern, status in _MEANINGS:
            if pattern.search(text):
                return status
    return None


def may_pass(page: str) -> bool:
    """Whether a text in place of a completion, such as a gateway's, says that its server is busy or gone."""
    return _BUSY_PAGE.search(page[:500]) is not None


_BUSY_PAGE = re.compile(
    r"\b(429|50[0234])\b|upstream|unavailable|bad gateway|time[d-]?[ -]?out|too many requests|rate limit|overload",
    re.IGNORECASE,
)


def _codes_in(body: Any) -> Iterator[str]:
    """All codes and types in an error, of quotas that were exceeded too."""
    if isinstance(body, list):
        for item in body:
            yield from _codes_in(item)
    elif isinstance(body, dict):
        for name, value in body.items():
            if name in (*_CODES, "quotaId") and isinstance(value, str):
                yield value
            elif name in (*_HOLDERS, "details", "violations"):
                yield from _codes_in(value)


def _all_said(body: Any) -> str:
    return " ".join((*_codes_in(body), error_message(body)))


def is_out_of_credit(body: Any) -> bool:
    """Whether an account has to be paid for, or its limit is used up for the day, so that waiting is of no use."""
    return _NO_CREDIT.search(_all_said(body)) is not None


def is_bad_answer(body: Any) -> bool:
    """Whether the server has refused what the model itself has written, such as a tool call that it cannot read."""
    return _BAD_ANSWER.search(" ".join((_all_said(body), *_fields_of(body)))) is not None


def _fields_of(body: Any) -> Iterator[str]:
    """The names of what an error holds: Groq adds the `failed_generation`."""
    body = only_object(body)
    if isinstance(body, dict):
        yield from body
        yield from _fields_of(body.get("error"))


def is_too_long(body: Any) -> bool:
    """Whether prompt and answer do not fit into the model's context, by an error's JSON or its text."""
    return _TOO_LONG.search(_all_said(body)) is not None


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)(?:ec|econd|in|inute|our|ay)?s?(?![a-z])"
_DURATION = re.compile(rf"(?:{_PART}\s*)+", re.IGNORECASE)
_AGAIN_IN = re.compile(rf"(?:try(?: it)? again|retry)(?: again)? (?:in|after) ((?:{_PART}\s*)+)", re.IGNORECASE)
_RESET = re.compile(r"(?:x-|anthropic-)?ratelimit-(?:reset(?:-(?P<kind>.+))?|(?P<kind_of_anthropic>.+)-reset)")
_YEAR = 365 * 86400.0


def retry_after(
    headers: Mapping[str, str], *, with_resets: bool = True, now: Callable[[], float] = time.time
) -> float | None:
    """Seconds from now after which the server allows another request; `None` if it does not say.

    Reads `Retry-After-Ms` (milliseconds, as OpenAI and Azure send it) and `Retry-After`: in both forms of RFC 9110,
    section 10.2.3, seconds and a date, and in those that servers make up: fractions, `1m30s`, ISO dates, a time since
    1970, and several, of which the longest counts. A date that has passed means now. Else, with `with_resets`, it reads
    when a rate limit is reset, if that is clear: of several limits, the one that has nothing remaining counts.

    The mapping of headers has to ignore the case of names. `now` gives seconds since 1970.
    """
    with suppress(ValueError):
        milliseconds = float(headers.get("Retry-After-Ms", ""))
        if 0 <= milliseconds < math.inf:
            return milliseconds / 1000
    wait = _seconds(headers.get("Retry-After", ""), now())
    return _until_reset(headers, now()) if wait is None and with_resets else wait


def _seconds(text: str, now: float) -> float | None:
    """The seconds that a text says, as a number, a duration or a point in time."""
    text = text.strip()
    with suppress(ValueError):
        value = float(text)
        if not 0 <= value < math.inf:
            return None
        for since_1970 in (value, value / 1000):
            if abs(since_1970 - now) < _YEAR:
                return max(0.0, since_1970 - now)
        return value
    if _DURATION.fullmatch(text):
        return _duration(text)
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        with suppress(ValueError, OverflowError, TypeError):
            date = read(text)
            return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)
    if "," in text:
        several = [_seconds(part, now) for part in text.split(",")]
        known = [seconds for seconds in several if seconds is not None]
        return max(known) if len(known) == len(several) else None
    return None


def _duration(text: str) -> float:
    return sum(float(number) * _UNITS[unit.lower()] for number, unit in re.findall(_PART, text, re.IGNORECASE))


def _until_reset(headers: Mapping[str, str], now: float) -> float | None:
    waits: dict[str, float] = {}
    for name, value in headers.items():
        if (found := _RESET.fullmatch(name.lower())) and (seconds := _seconds(value, now)) is not None:
            waits[found["kind"] or found["kind_of_anthropic"] or ""] = seconds
    used_up = [kind for kind in waits if _remaining(headers, kind) == 0]
    if used_up:
        return max(waits[kind] for kind in used_up)
    return next(iter(waits.values())) if len(waits) == 1 else None


def _remaining(headers: Mapping[str, str], kind: str) -> float | None:
    names = (f"x-ratelimit-remaining-{kind}", f"ratelimit-remaining-{kind}", f"anthropic-ratelimit-{kind}-remaining")
    for name in names if kind else ("x-ratelimit-remaining", "ratelimit-remaining"):
        with suppress(ValueError):
            return float(headers.get(name, ""))
    return None


def retry_delay_in(body: Any) -> float | None:
    """Seconds after which the server allows another request, by its error: Gemini's `RetryInfo`, or its words."""
    error = only_object(body)
    error = error.get("error", error) if isinstance(error, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(delay := detail.get("retryDelay"), str):
            return _seconds(delay, math.inf)
    words = _AGAIN_IN.search(error_message(body))
    return None if words is None else _duration(words[1])
