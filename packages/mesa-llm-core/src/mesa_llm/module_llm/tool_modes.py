"""How a model is asked for tool calls: by the API's own means, or as JSON in its text."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal, get_args

from mesa_llm.activation.context import current_agent_step
from mesa_llm.clients import LLMRequest, LLMResponse, Message
from mesa_llm.clients.model_list import listed_model
from mesa_llm.clients.server_errors import is_about_request, is_too_long, words_of
from mesa_llm.errors import DecisionError, ModelCallError
from mesa_llm.errors.checks import check_word
from mesa_llm.module_llm.answers import UnusableAnswerError, usable_answer
from mesa_llm.module_llm.calls_schema import request_with_schema
from mesa_llm.module_llm.dialogue import Dialogue, asked_again, count_asked_again
from mesa_llm.module_llm.request_fields import with_plain_tools

type ToolMode = Literal["native", "json_schema", "auto"]
"""How tools are called.

`native`: as the API has it. `json_schema`: as JSON that a schema describes, for models that have no tool calling.
`auto`: natively, unless the model is known to have no tool calling; and if the server refuses the tools, or the answer
calls none although one must be called, this one call is made again with a schema. Nothing is remembered from call to
call, so that what comes of a call depends on nothing but its answers.
"""

_MODES: tuple[ToolMode, ...] = get_args(ToolMode.__value__)
_ABOUT_TOOLS = re.compile(r"\btools?\b|tool_choice|tool[ -]?(use|call)|function[ -]?call", re.IGNORECASE)
# 500: llama.cpp without its --jinja. None: refused by litellm, which knows the provider, before anything was sent.
_REFUSALS = {None, 400, 404, 422, 500, 501}


def check_tool_mode(mode: ToolMode) -> ToolMode:
    """The mode; raises a `ConfigurationError` if it is not one."""
    way_out = "Use 'json_schema' for a model that has no tool calling."
    return check_word("tool_mode", mode, _MODES, way_out=way_out)


def ask_in_mode(request: LLMRequest, mode: ToolMode, *, asker: object = None) -> Dialogue[LLMResponse]:
    """Have a request answered, with its tools called in this mode, by an answer that can be used.

    An answer that cannot be used is asked for again once, with what is wrong about it: it holds neither words nor
    calls, calls a tool that is not on offer, gives arguments that do not fit, or calls none or too many although the
    request says how many. So is a bad generation that the server refused itself (`ModelCallError.bad_answer`).

    Returns:
        The response, with tool calls as if they had been made natively, under the tools' names, and with arguments as
        JSON objects. Calls that the model makes although the request forbids them (`tool_choice="none"`) are left out.
        Calls that do not fit in the second answer either stay, as long as no call is required: they are refused when
        they are carried out.

    Raises:
        ModelCallError: if the model could not be asked.
        DecisionError: if the second answer cannot be used either, or was cut off, or stopped by a content filter.
        ConfigurationError: if calls as JSON are to go with a response format.
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
    """Whether a call failed because the server, or the model, takes no tools.

    What the model's name says does not count; nor do a prompt that is too long, with its tools, and a call that the
    model has written badly.
    """
    if error.status not in _REFUSALS or not is_about_request(error):
        return False
    words = words_of(error)
    return _ABOUT_TOOLS.search(words) is not None and not is_too_long(words)
