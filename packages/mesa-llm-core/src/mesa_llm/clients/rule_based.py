"""A client that needs no model: a policy written in Python answers, in the form that a request asks for."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from mesa_llm.clients.chat_completion import Answer, to_response, tool_call
from mesa_llm.clients.client import AsyncClient
from mesa_llm.clients.messages import LLMRequest, LLMResponse, ToolCall
from mesa_llm.clients.questions import QUESTIONS, Instructions, Question, instructions_of
from mesa_llm.errors import ConfigurationError, DecisionError, ModelCallError
from mesa_llm.errors.checks import check_number

type Latency[Q] = float | Callable[[Q], float]
"""Scripted waiting: the seconds until an answer, or a function that gives them for a request."""

NOTHING = "nothing"
"""The `finish_reason` of a rule's empty answer: it decides to do nothing. A model's empty answer is a failure."""
MIDDLE_GRADE = 5
"""The grade that each memory gets: the middle of the scale from 1 to 10."""
LONGEST_SUMMARY = 600
"""The length of a summary in characters."""

_CALLS = ("calls",)  # the properties of the form that asks for tool calls as JSON
_REACT = ("reasoning", "action")
_ACTION = ("rationale", "action")  # of the form that asks for the choice of one action
_NO_TOOL = "I call no tool."
_TOOLS = "I call these tools:"  # a text that is nothing but calls would be taken for calls
_SHOWN = 200  # characters of an answer in an error


def check_latency[Q](latency: Latency[Q]) -> Latency[Q]:
    """The latency; raises a `ConfigurationError` if it is a number of seconds below zero."""
    if not callable(latency):
        check_number("latency", latency, unit="seconds", zero=True, hint="Use 0 to answer at once.")
    return latency


async def pause[Q](latency: Latency[Q], request: Q) -> float:
    """Sleep for the seconds of a request's latency, and return them; with zero, do not even yield to the loop."""
    seconds = latency(request) if callable(latency) else latency
    check_latency(seconds)
    if seconds:
        await asyncio.sleep(seconds)
    return seconds


class RuleBasedClient(AsyncClient):
    """Answers by a policy, without a network and without a key.

    For a first contact, for examples, and as a baseline to compare a model with. The policy is a pure function of the
    request: it has no agent and no Mesa model to look at, so it knows what a language model would know, and the same
    request gets the same answer in any order. It runs on the transport loop, so it must be quick. Its answers cost
    nothing (`LLMResponse.cost` is 0.0), except a full `LLMResponse`, which keeps its own cost. All have
    `source="rule"`, so that their simulated latency (`LLMResponse.latency_s`) is not taken for a measured one.

    ```python
    from mesa_llm.clients import LLMRequest, Message, RuleBasedClient


    def policy(request):
        return "Rest." if "tired" in request.messages[-1].content else "Work."


    client = RuleBasedClient(policy)
    request = LLMRequest(model="any/model", messages=(Message(role="user", content="You are tired. What do you do?"),))
    print(client.generate(request).message.content)
    #> Rest.
    ```

    One policy works with every reasoning and every memory. `question_of` tells what a request asks for:

    `decide`
        The policy answers. Tool calls that it gives where a decision in words is asked for (`CoTReasoning`,
        `ReActReasoning`, `ReWOOReasoning`) are written as words. Where an action is to be chosen, one tool call is the
        choice.
    `call tools`
        If the words are tool calls that the policy gave, the client answers with these. Other words go to the policy.
    `sum up`
        The client answers, with the last lines of what has happened, up to 600 characters.
    `grade`
        The client answers, with 5 for each entry, the middle of the scale.

    Args:
        policy: gives the answer to a request: a text, one or several tool calls (see `tool_call`), a `Message`, or a
            full `LLMResponse`; an empty text or list decides to do nothing. What it raises reaches the caller with its
            traceback, and names the question: a `DecisionError` in its text, others in a note.
        latency: seconds until the answer, or a function that gives them for a request. Waiting overlaps, as with a
            model.
        answers: the questions that the policy answers: `decide`, and perhaps others. Without `call tools`, its words
            call no tools. With `sum up` and `grade`, it answers memories too.

    Raises:
        ConfigurationError: if `latency` is below zero, or `answers` has another question or lacks `decide`.
    """

    def __init__(
        self,
        policy: Callable[[LLMRequest], Answer],
        *,
        latency: Latency[LLMRequest] = 0.0,
        answers: Iterable[Question] = ("decide", "call tools"),
    ) -> None:
        self.policy = policy
        self.latency = check_latency(latency)
        self.answers = frozenset(answers)
        if "decide" not in self.answers or not self.answers.issubset(QUESTIONS):
            raise ConfigurationError(
                f"answers must have 'decide' and may have {', '.join(map(repr, QUESTIONS[1:]))}, got {answers!r}."
            )

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer a request. Runs on the transport loop.

        Raises:
            DecisionError: if the policy's answer is not in the form asked for.
        """
        seconds = await pause(self.latency, request)
        asked = instructions_of(request)
        answer = answer_instead(asked.question, request, self.answers)
        try:
            if answer is None:
                answer = self.policy(request)
            response = fitted(to_response(answer, model=request.model, cost=0.0, latency_s=seconds), request, asked)
        except ModelCallError:  # a model's failure, shown on purpose
            raise
        except Exception as error:
            asked_to, hint = self._asked_to(asked.question)
            if type(error) is DecisionError:
                raise DecisionError(f"{asked_to}: {error}{hint}") from error
            error.add_note(f"{asked_to}.{hint}")
            raise
        if response.source != "model":
            return response
        message, reason = response.message, response.finish_reason
        if reason == "stop" and not message.content and not message.tool_calls:
            reason = NOTHING
        return replace(response, source="rule", finish_reason=reason)

    def _asked_to(self, question: Question) -> tuple[str, str]:
        """What the policy was asked, and, where it may not have expected that, what to do about it."""
        name = getattr(self.policy, "__name__", type(self.policy).__name__)
        hint = (
            " It is asked because it has decided in words. Let it decide by tool calls ([] for none), or answer this "
            "question too (see question_of); or give answers={'decide'}: then words call no tools."
        )
        return f"The rule was asked to {question!r} ({name})", hint if question == "call tools" else ""


def answer_instead(question: Question, request: LLMRequest, answers: frozenset[Question]) -> Answer | None:
    """The answer to a question that a rule is not to be asked; `None` for one that it is."""
    if question == "call tools":
        calls = calls_in_words(_prompt(request))
        return None if calls is None and question in answers else calls or _NO_TOOL
    if question in answers:
        return None
    if question == "sum up":
        return _summary(_prompt(request))
    return json.dumps(dict.fromkeys(_form(request) or (), MIDDLE_GRADE))


def calls_in_words(text: str) -> list[ToolCall] | None:
    """The tool calls that `fitted` has written into a text; `None` if there are none."""
    line = text.strip().rpartition("\n")[-1]
    if not line.startswith('{"calls": ['):
        return None
    try:
        return [_call(**call) for call in json.loads(line)["calls"]]
    except (ValueError, TypeError, RecursionError):  # a text of the rule's own that looks like it
        return None


def fitted(response: LLMResponse, request: LLMRequest, asked: Instructions) -> LLMResponse:
    """A rule's answer in the form that a request asks for: tool calls as words where it takes words only."""
    message = response.message
    text = message.content
    if response.finish_reason not in {"stop", "tool_calls"}:  # a model's failure, shown on purpose
        return response
    form = _form(request)
    if form == _CALLS:
        if message.tool_calls or '"calls"' in text:
            return response
        return _with_text(response, f'{{"calls": []}}\n\n{text}'.strip())
    if form == _ACTION and len(message.tool_calls) == 1:
        (call,) = message.tool_calls
        action = {"name": call.name, "arguments": _arguments(call)}
        return _with_text(response, _dumped({"rationale": text, "action": action}))
    if message.tool_calls:
        if asked.question in {"sum up", "grade"}:
            raise DecisionError(f"it called the tool {message.tool_calls[0].name!r}, where a text was asked for.")
        is_known = asked.in_words is not None or form is not None
        if request.tool_choice != "none" and (request.tools or not is_known):
            return response
        text = f"{text or _TOOLS}\n{_in_words(message.tool_calls)}"
        if not (request.tools or asked.in_words or form is not None):
            # Both: tools that are not on offer refuse the calls, and where none may be made, the words are left.
            return replace(response, message=replace(message, content=text))
    elif not text and asked.question == "decide" and asked.in_words is not None:
        text = f"{_NO_TOOL}\n{_in_words(())}" if asked.in_words else _NO_TOOL
    may_be_react = "{" in text and re.search("[\"'](reasoning|action)[\"']", text) is not None
    if form == _REACT and (message.tool_calls or not may_be_react):
        text = _dumped({"reasoning": message.content or "A rule has decided.", "action": text})
    elif form is not None and (message.tool_calls or "{" not in text):
        raise DecisionError(
            f"its answer is not the JSON object asked for, with {', '.join(map(repr, form)) or 'any names'}: "
            f"{text[:_SHOWN]!r}. Let it answer with that JSON as a text."
        )
    return response if text == message.content else _with_text(response, text)


def _form(request: LLMRequest) -> tuple[str, ...] | None:
    """The names in the object that a request asks for; `None` if it asks for a text."""
    if request.response_format is not None:
        schema = request.response_format.schema
    else:
        given = request.options.get("response_format")
        if not isinstance(given, Mapping) or given.get("type") not in {"json_schema", "json_object"}:
            return None
        schema = (given.get("json_schema") or {}).get("schema") or {}
    return tuple(schema.get("properties") or ())


def _with_text(response: LLMResponse, text: str) -> LLMResponse:
    message = replace(response.message, content=text, tool_calls=())
    finish_reason = "stop" if response.message.tool_calls else response.finish_reason
    return replace(response, message=message, finish_reason=finish_reason)


def _in_words(calls: tuple[ToolCall, ...]) -> str:
    """Tool calls as one line of text, from which `calls_in_words` gets the same calls."""
    return _dumped({"calls": [{"tool": call.name, "arguments": _arguments(call)} for call in calls]})


def _arguments(call: ToolCall) -> Any:
    """The arguments as a JSON object; as the text that they are, where that would not lead back to it."""
    arguments = call.parsed_arguments()
    is_same = isinstance(arguments, dict) and json.dumps(arguments, ensure_ascii=False) == call.arguments
    return arguments if is_same else call.arguments


def _call(*, tool: str, arguments: dict[str, Any] | str) -> ToolCall:
    if isinstance(arguments, dict):
        return tool_call(tool, **arguments)
    return replace(tool_call(tool), arguments=arguments)


def _dumped(value: object) -> str:
    # Without "<": an argument such as "</think>" would be taken for the end of a model's thoughts.
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def _prompt(request: LLMRequest) -> str:
    """The question itself, without what was said when it was asked again."""
    first = itertools.takewhile(lambda message: message.role != "assistant", request.messages)
    return "\n\n".join(message.content for message in first if message.role == "user")


def _summary(prompt: str) -> str:
    """The last lines under the last heading, which is what has happened lately, as many as fit."""
    _, heading, news = f"\n{prompt}".rpartition("\n# ")
    text = (news.partition("\n")[2] if heading else prompt).strip()
    lines: list[str] = []
    room = LONGEST_SUMMARY
    for line in reversed(text.splitlines()):
        room -= len(line) + 1
        if room < 0:
            break
        lines.insert(0, line)
    return "\n".join(lines) or text[-LONGEST_SUMMARY:] or "Nothing has happened."
