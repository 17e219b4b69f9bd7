"""Repeats a request without an optional field that the server refuses."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mesa_llm.clients.messages import LLMRequest, LLMResponse, Message
from mesa_llm.clients.server_errors import is_about_request, is_too_long, words_of
from mesa_llm.errors import ModelCallError

_logger = logging.getLogger(__name__)

_MOST_CHANGES = 8
_REFUSALS = {400, 404, 422, 501}
_REFUSED = re.compile(
    r"support|unknown|unrecogni[sz]ed|unexpected|unavailable|not (allowed|permitted|accepted|available|implemented)|"
    r"not (valid|enabled|compatible|found)|cannot|can't|can not|extra|invalid|deprecated|\bonly\b|forbidden|no such|"
    r"incompatible|disabled|must be|reject",
    re.IGNORECASE,
)
# The field is known, and its value is the caller's mistake.
_OUT_OF_RANGE = re.compile(
    r"too (large|big|high|long|small|low)|at (most|least)|\brange\b|exceed|maximum|minimum|between|"
    r"must be (<|>|an? |less|greater|positive|non-negative|in )|(less|greater|larger|smaller|more) than",
    re.IGNORECASE,
)
_FORMAT = re.compile(
    r"response[_ ]?format|json[_ ]?(schema|mode|object|output)|structured[_ ]outputs?|response[_ ]?schema|"
    r"response[_ ]?mime[_ ]?type|output_(config|format)",
    re.IGNORECASE,
)
_ROLES = re.compile(
    r"system[_ ]?(role|message|prompt|instruction)|roles? .{0,60}\bsystem\b|\bsystem\b.{0,20} roles?|"
    r"developer instruction|roles must alternate|must alternate between",
    re.IGNORECASE,
)
_TOOLS = re.compile(r"\btools?\b|function[ -]?call|--(enable-auto-tool-choice|tool-call-parser|jinja)", re.IGNORECASE)
_ONE_OF_THEM = re.compile(r"\bboth\b|only one|mutually exclusive", re.IGNORECASE)
_OTHER_NAME = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_NEVER = {"extra_body", "response_format", "dimensions", "stream", "timeout"}


@dataclass(frozen=True, slots=True)
class _Change:
    """One thing that a request is sent without."""

    field: str
    """A field of the request's JSON, or `system role`."""
    instead: str | None = None
    """Another name for the field."""
    value: str | None = None
    """The value that is refused, where others are not."""

    def __str__(self) -> str:
        if self.field == _SYSTEM:
            return "with the system message at the beginning of the first user message"
        if self.instead is not None:
            return f"with {self.instead} in place of {self.field}"
        if self.field in {"response_format", "tool_choice"}:
            return f"without {self.field}, which is asked for in words"
        return f"without {self.field}"


_SYSTEM = "system role"


class OptionalFields:
    """Sends requests without the optional fields that a server has refused. Belongs to a transport.

    Optional are the sampling arguments and other options, `max_tokens` (sent as `max_completion_tokens`, or the other
    way round), `response_format` and `tool_choice` (asked for in words), and the system role (its text goes to the
    first user message, and messages of one role in a row become one). A server refuses a field if it answers 400, 404,
    422 or 501, or litellm does in its place, and its words name the field. Then the request is sent again, once for
    each answer that names another field, and `retries` counts that. Once a change has helped, it holds for all requests
    to the model, and is logged as a warning. A value out of its range is the caller's mistake and stays an error.
    """

    def __init__(self) -> None:
        self._changes: dict[str, tuple[_Change, ...]] = {}  # by model; touched on the transport loop only

    async def ask(self, request: LLMRequest, send: Callable[[LLMRequest], Awaitable[LLMResponse]]) -> LLMResponse:
        """Have a request answered, without the fields that are refused. Runs on the transport loop."""
        known = self._changes.get(request.model, ())
        made: dict[_Change, ModelCallError | None] = dict.fromkeys(known)
        sent_again = 0
        while True:
            asked = _changed(request, list(made)) if made else request
            try:
                response = await send(asked)
            except ModelCallError as error:
                refused = [change for change in _refused(error, asked, made) if change not in made]
                if not refused or len(made) + len(refused) > len(known) + _MOST_CHANGES:
                    error.retries += sent_again
                    raise
                made |= dict.fromkeys(refused, error)
                sent_again += 1
            else:
                if not sent_again:
                    return response
                self._remember(request.model, made)
                return replace(response, retries=response.retries + sent_again)

    def _remember(self, model: str, made: Mapping[_Change, ModelCallError | None]) -> None:
        known = self._changes.get(model, ())
        for change, error in made.items():
            if change not in known:
                known = self._changes[model] = (*known, change)
                _logger.warning("%s Requests to %s are sent %s from now on.", error, model, change)


def _refused(error: ModelCallError, request: LLMRequest, made: Mapping[_Change, Any]) -> Iterator[_Change]:
    """What to change about a request so that its server takes it, by the server's words."""
    if not is_about_request(error):
        return
    words = words_of(error)
    if is_too_long(words):
        return
    roles_are_refused = _ROLES.search(words) and (_REFUSED.search(words) or "alternate" in words)
    if error.status in {*_REFUSALS, 500} and roles_are_refused and _with_roles_that_alternate(request) != request:
        yield _Change(_SYSTEM)
        return
    if error.status is None and "support" not in words:  # litellm's own words for what it does not pass on
        return
    if error.status not in {None, *_REFUSALS} or not _REFUSED.search(words) or _OUT_OF_RANGE.search(words):
        return
    names_tools = bool(request.tools) and _TOOLS.search(words.replace("tool_choice", "")) is not None
    has_format = request.response_format is not None or "response_format" in request.options
    if has_format and _FORMAT.search(words) and not names_tools:
        yield _Change("response_format")
    if request.tools and request.tool_choice and not names_tools and re.search(r"tool[_ ]?choice", words, re.I):
        yield _Change("tool_choice", value=request.tool_choice)
    extra = request.options.get("extra_body")
    options = {**request.options, **(extra if isinstance(extra, Mapping) else {})}
    named = [name for name in options if name not in _NEVER and _names(words, name)]
    for name in named[1:] if _ONE_OF_THEM.search(words) else named:
        other = _OTHER_NAME.get(name)
        was_renamed = _Change(str(other), instead=name) in made
        yield _Change(name, instead=None if was_renamed else other)


def _names(words: str, name: str) -> bool:
    """Whether a server's words name an option. A name such as `stop` is a word too, so it counts where names stand."""
    escaped = re.escape(name)
    if "_" in name or name == "temperature":
        return re.search(rf"(?<![\w-]){escaped}(?![\w-])", words) is not None
    quoted = rf"['\"`\[.(]{escaped}['\"`\])]"
    before = rf"\b(parameters?|params?|arguments?|fields?|options?|keys?|names?|supplied|support\w*|body)\W+{escaped}\b"
    behind = rf"\b{escaped}\b\W*(=|:|parameter|param\b|argument|option|field|is\b|must\b|does|not\b|cannot)"
    return re.search(f"{quoted}|{before}|{behind}", words, re.IGNORECASE) is not None


def _changed(request: LLMRequest, changes: Sequence[_Change]) -> LLMRequest:
    for change in changes:
        if change.field == "response_format":
            request = _with_form_in_words(request)
        elif change.field == "tool_choice":
            if request.tools and request.tool_choice is not None and request.tool_choice == change.value:
                request = replace(_asking(request, _CHOICES[request.tool_choice]), tool_choice=None)
        elif change.field != _SYSTEM:
            request = replace(request, options=_without(request.options, change))
    return _with_roles_that_alternate(request) if any(change.field == _SYSTEM for change in changes) else request


_CHOICES = {"required": "Answer by calling at least one tool.", "none": "Do not call a tool.", "auto": ""}


def _without(options: Mapping[str, Any], change: _Change) -> dict[str, Any]:
    kept = {name: value for name, value in options.items() if name != change.field}
    if change.field in options and change.instead is not None:
        kept.setdefault(change.instead, options[change.field])
    extra = options.get("extra_body")
    if isinstance(extra, Mapping) and change.field in extra:
        kept["extra_body"] = _without(extra, change)
    return kept


def _with_form_in_words(request: LLMRequest) -> LLMRequest:
    options = dict(request.options)
    form = options.pop("response_format", None)
    if request.response_format is not None:
        form = request.response_format.as_dict()
    asked = replace(request, options=options, response_format=None)
    if not isinstance(form, Mapping) or form.get("type") == "text":
        return asked
    schema = (form.get("json_schema") or {}).get("schema")
    follows = "" if schema is None else f" that follows this JSON schema: {json.dumps(schema, ensure_ascii=False)}"
    return _asking(asked, f"Answer with one JSON object and nothing else{follows or '.'}")


def _asking(request: LLMRequest, sentence: str) -> LLMRequest:
    """The request with a sentence more in its system message, or else in its last user message."""
    messages = list(request.messages)
    for role in ("system", "user"):
        places = [place for place, message in enumerate(messages) if message.role == role]
        if places and sentence:
            place = places[0] if role == "system" else places[-1]
            messages[place] = replace(messages[place], content=_joined(messages[place].content, sentence))
            break
    return replace(request, messages=tuple(messages))


def _with_roles_that_alternate(request: LLMRequest) -> LLMRequest:
    """The request without system messages and without two messages of one role in a row."""
    system = _joined(*(message.content for message in request.messages if message.role == "system"))
    merged: list[Message] = []
    for message in request.messages:
        if message.role == "system":
            continue
        last = merged[-1] if merged else None
        if last is not None and message.role == last.role and message.role != "tool" and not last.tool_calls:
            merged[-1] = replace(message, content=_joined(last.content, message.content))
        else:
            merged.append(message)
    if system and merged and merged[0].role == "user":
        merged[0] = replace(merged[0], content=_joined(system, merged[0].content))
    elif system:
        merged.insert(0, Message("user", system))
    return replace(request, messages=tuple(merged))


def _joined(*texts: str) -> str:
    return "\n\n".join(text for text in texts if text)
