"""How a model is asked for tool calls: by the API's own means, or as JSON in its text."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal, get_args

from mesa_llm.activation.context import current_agent_step
from mesa_llm.clients import LLMRequest, LLMResponse
from mesa_llm.clients.model_list import listed_model
from mesa_llm.clients.server_errors import is_too_long, words_of
from mesa_llm.errors import (
    ConfigurationError,
    EndpointUnreachableError,
    MissingAPIKeyError,
    ModelCallError,
    ModelTimeoutError,
    RateLimitedError,
)
from mesa_llm.module_llm.calls_schema import read_calls, request_with_schema, response_with_calls
from mesa_llm.module_llm.dialogue import Dialogue, ask_until_read, has_form
from mesa_llm.module_llm.request_fields import with_plain_tools

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
_NO_REFUSALS = (EndpointUnreachableError, MissingAPIKeyError, ModelTimeoutError, RateLimitedError)


def check_tool_mode(mode: str) -> ToolMode:
    """Return the mode if there is such a one.

    Raises:
        ConfigurationError: otherwise.
    """
    for known in get_args(ToolMode.__value__):
        if mode == known:
            return known  # type: ignore[no-any-return]
    raise ConfigurationError(
        f"tool_mode must be 'native', 'json_schema' or 'auto', got {mode!r}. Use 'json_schema' for a model that has no "
        "tool calling."
    )


def ask_in_mode(request: LLMRequest, mode: ToolMode) -> Dialogue[LLMResponse]:
    """Have a request answered, with its tools called in this mode.

    Args:
        request: the request; without tools it is sent as it is.
        mode: how tools are called.

    Returns:
        The response, with tool calls as if they had been made natively. Calls that the model makes although the request
        forbids them (`tool_choice="none"`) are left out.

    Raises:
        ModelCallError: if the model could not be asked.
        DecisionError: if calls as JSON could not be read, asked again once.
        ConfigurationError: if calls as JSON are to go with a response format.
    """
    response = yield from _ask(request, mode)
    if request.tool_choice == "none" and response.message.tool_calls:
        return replace(response, message=replace(response.message, tool_calls=()))
    return response


def _ask(request: LLMRequest, mode: ToolMode) -> Dialogue[LLMResponse]:
    plain = with_plain_tools(request)
    if not request.tools or mode == "native":
        return (yield plain)
    if mode == "json_schema" or calls_no_tools(request.model):
        return (yield from _ask_with_schema(request))
    may_be_text = request.tool_choice != "required" or has_form(request)
    try:
        response = yield plain
    except ModelCallError as error:
        if not refuses_tools(error):
            raise
    else:
        if may_be_text or response.message.tool_calls:
            return response
    return (yield from _ask_with_schema(request))


def _ask_with_schema(request: LLMRequest) -> Dialogue[LLMResponse]:
    with_schema = request_with_schema(request)
    if with_schema.response_format is request.response_format:  # it asks for words
        return (yield with_schema)
    agent_step = current_agent_step()
    asker = request.model if agent_step is None else agent_step.agent
    calls, response = yield from ask_until_read(with_schema, lambda message: read_calls(message, request), asker=asker)
    return response_with_calls(response, calls)


def calls_no_tools(model: str) -> bool:
    """Whether a model is known to be without tool calling, by the list that litellm brings along.

    Args:
        model: `provider/model`. Of one that the list does not have, nothing is known.
    """
    listed = listed_model(model)
    return listed is not None and listed.calls_tools is False


def refuses_tools(error: ModelCallError) -> bool:
    """Whether a call failed because the server, or the model, takes no tools.

    What the model's name says does not count; nor do a prompt that is too long, with its tools, and a call that the
    model has written badly.
    """
    if error.status not in _REFUSALS or isinstance(error, _NO_REFUSALS) or error.bad_answer:
        return False
    words = words_of(error)
    return _ABOUT_TOOLS.search(words) is not None and not is_too_long(words)
