"""Whether an answer can be used: what was asked for is there, whole, and fits the tools on offer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from mesa_llm.clients import LLMRequest, LLMResponse, Message, ToolCall, ToolSpec
from mesa_llm.clients.rule_based import NOTHING
from mesa_llm.errors import ToolError
from mesa_llm.module_llm.call_reading import calls_in_text, matching_name, read_arguments
from mesa_llm.module_llm.calls_schema import read_calls
from mesa_llm.module_llm.dialogue import UnreadableAnswerError, has_form, why_stopped
from mesa_llm.module_llm.request_fields import OfferedTool


class UnusableAnswerError(UnreadableAnswerError):
    """An answer cannot be used; the text says why, as the end of a sentence.

    Args:
        text: why.
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
    """The response with its tool calls read, if it can be used.

    Args:
        request: what was asked, with its tools.
        response: the answer.
        as_json: whether tool calls were asked for as JSON in the answer's text, see `request_with_schema`.

    Raises:
        UnusableAnswerError: if it cannot.
    """
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
    """What is wrong with a tool call, for the model; `None` if it can be carried out.

    Args:
        call: the call, as it was read.
        tools: the tools on offer.
    """
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
