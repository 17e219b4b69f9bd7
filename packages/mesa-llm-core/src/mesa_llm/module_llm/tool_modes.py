"""How a model is asked for tool calls, by the API's own means or as JSON in its text, until its answer can be used.

Usable is an answer that is whole, holds what was asked for, and fits the tools on offer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

from mesa_llm.activation.context import current_agent_step
from mesa_llm.clients import LLMRequest, LLMResponse, Message, ToolCall, ToolSpec
from mesa_llm.clients.providers import listed_model
from mesa_llm.clients.rule_based import NOTHING
from mesa_llm.clients.server_errors import is_about_request, is_too_long, words_of
from mesa_llm.errors import DecisionError, ModelCallError, ToolError
from mesa_llm.errors.checks import check_word
from mesa_llm.module_llm.call_reading import calls_in_text, matching_name, read_arguments
from mesa_llm.module_llm.calls_schema import read_calls, request_with_schema
from mesa_llm.module_llm.dialogue import (
    Dialogue,
    UnreadableAnswerError,
    asked_again,
    count_asked_again,
    has_form,
    why_stopped,
)
from mesa_llm.module_llm.request_fields import OfferedTool, with_plain_tools

type ToolMode = Literal["native", "json_schema", "auto"]
"""How tools are called.

`native`: as the API has it. `json_schema`: as JSON that a schema describes, for models that have no tool calling.
`auto`: natively, unless the model is known to have no tool calling; and if the server refuses the tools, or the answer
calls none although one must be called, this one call is made again with a schema. Nothing is remembered from call to
call, so that what comes of a call depends on nothing but its answers.
"""

_ABOUT_TOOLS = re.compile(r"\btools?\b|tool_choice|tool[ -]?(use|call)|function[ -]?call", re.IGNORECASE)
# 500: llama.cpp without its --jinja. None: refused by litellm, which knows the provider, before anything was sent.
_REFUSALS = {None, 400, 404, 422, 500, 501}


def check_tool_mode(mode: ToolMode) -> ToolMode:
    """The mode; raises a `ConfigurationError` if it is not one."""
    hint = "Use 'json_schema' for a model that has no tool calling."
    return check_word("tool_mode", mode, get_args(ToolMode.__value__), hint=hint)


def ask_in_mode(request: LLMRequest, mode: ToolMode, *, asker: object = None) -> Dialogue[LLMResponse]:
    """Have a request answered, with its tools called in this mode, by an answer that can be used.

    An answer that cannot be used is asked for again once, with what is wrong about it: it holds neither words nor
    calls, calls a tool that is not on offer, gives arguments that do not fit, or calls none or too many although the
    request says how many. So is a bad generation that the server refused itself (`ModelCallError.bad_answer`).

    In the response, tool calls are as if they had been made natively, under the tools' names, with arguments as JSON
    objects. Calls that the request forbids (`tool_choice="none"`) are left out. Calls that do not fit in the second
    answer either stay, as long as no call is required: they are refused when they are carried out. Otherwise, and for
    an answer that was cut off or filtered, it raises a `DecisionError`.
    """
    as_json = bool(request.tools) and (mode == "json_schema" or (mode == "auto" and calls_no_tools(request.model)))
    asked = request_with_schema(request) if as_json else _natively(request)
    is_last = False
    while True:
        try:
            response = yield asked
        except ModelCallError as error:
            if mode == "auto" and not as_json and request.tools and refuses_tools(error):
                as_json, asked = True, request_with_schema(request)
                continue
            if not error.bad_answer:
                raise
            if is_last:
                raise _unusable(request, error, asker) from error
        else:
            try:
                in_words = as_json and asked.response_format is request.response_format  # nothing can be called now
                wanted = replace(request, tool_choice="none") if in_words else request
                usable = usable_answer(wanted, response, as_json=as_json)
                _count(request, is_valid=bool(usable.message.tool_calls))
                return usable
            except UnusableAnswerError as problem:
                if is_last or not problem.can_be_mended:
                    if problem.best is None:
                        raise _unusable(request, problem, asker) from problem
                    _count(request, is_valid=problem.n_valid > 0)
                    return problem.best
                if mode == "auto" and not as_json and problem.calls_none:
                    as_json, asked = True, request_with_schema(request)
                else:
                    asked = asked_again(asked, response, problem, as_json=as_json)
        count_asked_again()
        is_last = True


def _natively(request: LLMRequest) -> LLMRequest:
    plain = with_plain_tools(request)
    most = request.max_tool_calls
    if most is None or not request.tools or request.tool_choice == "none":
        return plain
    least = "exactly" if most == 1 and request.tool_choice == "required" else "at most"
    limit = f"Call {least} {'one tool' if most == 1 else f'{most} tools'}."
    first, *rest = plain.messages
    if first.role != "system":
        return replace(plain, messages=(Message("system", limit), *plain.messages))
    return replace(plain, messages=(replace(first, content=f"{first.content}\n\n{limit}".strip()), *rest))


def _unusable(request: LLMRequest, problem: Exception, asker: object) -> DecisionError:
    agent_step = current_agent_step()
    asker = asker or (request.model if agent_step is None else agent_step.agent)
    return DecisionError(f"{asker}: the model's answer cannot be used: {str(problem).removesuffix('.')}.")


def _count(request: LLMRequest, *, is_valid: bool) -> None:
    """Count a decision that may call tools in the tally of the calling agent."""
    agent_step = current_agent_step()
    if agent_step is not None and request.tools and request.tool_choice != "none":
        agent_step.count("decisions")
        if not is_valid:
            agent_step.count("without_call")


def calls_no_tools(model: str) -> bool:
    """Whether a model is known to be without tool calling, by the list that litellm brings along."""
    listed = listed_model(model)
    return listed is not None and listed.calls_tools is False


def refuses_tools(error: ModelCallError) -> bool:
    """Whether a call failed because the server, or the model, takes no tools; not because a prompt is too long."""
    if error.status not in _REFUSALS or not is_about_request(error):
        return False
    words = words_of(error)
    return _ABOUT_TOOLS.search(words) is not None and not is_too_long(words)


class UnusableAnswerError(UnreadableAnswerError):
    """An answer cannot be used; the text says why, as the end of a sentence.

    Attributes:
        best: what can be used of it after all, if a second answer is no better; `None` for nothing.
        can_be_mended: whether asking again can help.
        calls_none: whether all that is wrong is that it calls no tool.
        n_valid: how many of its tool calls can be carried out.
    """

    def __init__(
        self,
        text: str,
        *,
        best: LLMResponse | None = None,
        can_be_mended: bool = True,
        calls_none: bool = False,
        n_valid: int = 0,
    ) -> None:
        super().__init__(text)
        self.best = best
        self.n_valid = n_valid
        self.can_be_mended = can_be_mended
        self.calls_none = calls_none


def usable_answer(request: LLMRequest, response: LLMResponse, *, as_json: bool = False) -> LLMResponse:
    """The response with its tool calls read; an `UnusableAnswerError` if it cannot be used."""
    if not request.tools or request.tool_choice == "none":
        return _usable_words(request, response)
    read = _with_calls(request, response, as_json=as_json)
    calls = read.message.tool_calls
    problems = [problem for call in calls if (problem := problem_with(call, request.tools)) is not None]
    n_valid = len(calls) - len(problems)
    if (problems or not calls) and not has_form(request) and (why := why_stopped(request, response)) is not None:
        raise UnusableAnswerError(why, can_be_mended=bool(calls) or response.finish_reason == "error")
    if request.max_tool_calls is not None and len(calls) > request.max_tool_calls:
        most = request.max_tool_calls
        raise UnusableAnswerError(f"it calls {len(calls)} tools, and at most {most} may be called")
    if problems:
        is_enough = n_valid > 0 or request.tool_choice != "required"
        raise UnusableAnswerError("; ".join(problems), best=read if is_enough else None, n_valid=n_valid)
    if calls:
        return read
    if request.tool_choice == "required" and not has_form(request):
        raise UnusableAnswerError("it calls no tool, and one must be called", calls_none=True)
    if has_form(request) or as_json:  # as JSON, an empty list of calls is an answer
        return read
    if response.finish_reason in {"tool_calls", "function_call"}:
        raise UnusableAnswerError("it says that it calls a tool, and holds no call that can be read")
    if _is_empty(read):
        raise UnusableAnswerError("it is empty")
    return read


def _with_calls(request: LLMRequest, response: LLMResponse, *, as_json: bool) -> LLMResponse:
    message, names = response.message, [tool.name for tool in request.tools]
    calls, content = message.tool_calls, message.content
    if not calls and as_json:
        try:
            calls, content = read_calls(content, request.model), ""
        except UnreadableAnswerError as error:
            why = why_stopped(request, response)
            raise UnusableAnswerError(why or str(error)) from error
    elif not calls and (found := calls_in_text(content, names)) is not None:
        calls, content = found, ""
    if not calls and content == message.content:
        return response
    message = Message("assistant", content, tool_calls=tuple([_read(call, request.tools) for call in calls]))
    return replace(response, message=message, finish_reason="tool_calls" if calls else response.finish_reason)


def _usable_words(request: LLMRequest, response: LLMResponse) -> LLMResponse:
    if request.tools and response.message.tool_calls:
        response = replace(response, message=replace(response.message, tool_calls=()))
    if has_form(request):  # `ask_structured` reads the form, and asks again
        return response
    is_empty = _is_empty(response)
    if (is_empty or request.tools) and (why := why_stopped(request, response)) is not None:
        raise UnusableAnswerError(why, can_be_mended=response.finish_reason == "error")
    if is_empty:
        raise UnusableAnswerError("it is empty")
    return response


def _is_empty(response: LLMResponse) -> bool:
    message = response.message
    return not message.content.strip() and not message.tool_calls and response.finish_reason != NOTHING


def _read(call: ToolCall, tools: Sequence[ToolSpec]) -> ToolCall:
    """The call under the name of the tool that it means, with its arguments as a JSON object if they can be read."""
    name = matching_name(call.name, [tool.name for tool in tools])
    if name is None:
        return call
    try:
        arguments = read_arguments(call.arguments)
    except ToolError:
        return replace(call, name=name)
    return replace(call, name=name, arguments=json.dumps(arguments, ensure_ascii=False))


def problem_with(call: ToolCall, tools: Sequence[ToolSpec]) -> str | None:
    """What is wrong with a tool call, for the model; `None` if it can be carried out."""
    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        return f"there is no tool {call.name[:100]!r}; on offer: {', '.join(tool.name for tool in tools)}"
    try:
        arguments = read_arguments(call.arguments)
        if isinstance(tool, OfferedTool):
            tool.check(arguments)
    except ToolError as error:
        return f"{call.name}: {error}"
    return None
