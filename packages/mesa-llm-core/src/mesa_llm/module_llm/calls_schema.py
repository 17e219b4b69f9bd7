"""Tool calls as JSON in the answer's text, for models that have no tool calling.

The tools become one schema, which the server holds the answer to (llama.cpp, vLLM, SGLang, Ollama, LM Studio; OpenAI
follows it without `strict`, whose rules most tools break). So the schema keeps to what their converters have in common:
`anyOf` and not `oneOf`, definitions at the root, and bounds on texts and lists, which a small model would otherwise
extend without end. The server does not show the schema to the model, so the prompt does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from mesa_llm.clients import LLMRequest, Message, ResponseFormat, ToolCall, tool_call
from mesa_llm.clients.chat_completion import to_response
from mesa_llm.clients.messages import JSONSchema
from mesa_llm.errors import ConfigurationError
from mesa_llm.module_llm.dialogue import UnreadableAnswerError, as_model, has_form, read_object
from mesa_llm.module_llm.request_fields import narrowed_parameters, rebuilt

MOST_CALLS = 5
"""How many tools one answer can call, unless the request says it."""
LONGEST_TEXT = 500
"""The length of a text argument in characters, where the tool itself has no bound."""
MOST_CHARACTERS = 1999
"""The longest text argument: llama.cpp takes no bound of 2000 and more."""
MOST_ITEMS = 16
"""The length of a list argument, where the tool itself has no bound."""

_FORM = """\
Call tools by answering with one JSON object and nothing else:
{"calls": [{"tool": "name of the tool", "arguments": {"name of the argument": value}}]}
The calls are made in the order of the list."""
_NONE = "Do not call a tool yet. Answer in words."


class _Call(BaseModel):
    model_config = ConfigDict(defer_build=True)  # most programs never need it, and making it takes its time

    tool: str
    arguments: dict[str, Any] = {}


class _Calls(BaseModel):
    model_config = ConfigDict(defer_build=True)

    calls: list[_Call]


def request_with_schema(request: LLMRequest) -> LLMRequest:
    """A request for tool calls as one that asks for the same calls as JSON.

    Tools that have nothing to choose from are in the prompt, which so stays the same for all agents, and not in the
    schema. If there is no other tool, or no tool may be called, the request asks for words.
    """
    narrowed = {} if request.tool_choice == "none" else {tool.name: narrowed_parameters(tool) for tool in request.tools}
    arguments = {name: schema for name, schema in narrowed.items() if schema is not None}
    asked_for = request
    if arguments:
        if has_form(request):
            raise ConfigurationError(
                "A request with a response_format cannot ask for tool calls as JSON too. Give it tool_choice='none', "
                "or ask twice."
            )
        at_least = int(request.tool_choice == "required")
        call, definitions = _any_call(arguments, "tool")
        calls = {"type": "array", "items": call, "minItems": at_least, "maxItems": _most_calls(request)}
        form = ResponseFormat("tool_calls", _object({"calls": calls}) | definitions)
        asked_for = replace(request, response_format=form)
    return replace(asked_for, messages=_messages(request, bool(arguments)), tools=(), tool_choice=None)


def read_calls(text: str, model: str) -> tuple[ToolCall, ...]:
    """The tool calls in an answer's text; an `UnreadableAnswerError` if the JSON asked for is not in it."""

    def accept(value: dict[str, Any]) -> tuple[ToolCall, ...]:
        try:
            made = [tool_call(call.tool, **call.arguments) for call in as_model(value, _Calls).calls]
        except (ValueError, RecursionError) as error:
            raise UnreadableAnswerError("it holds a number too long, or values nested too deep") from error
        return to_response(made, model=model).message.tool_calls if made else ()

    return read_object(text, accept, [{"calls"}])


def _most_calls(request: LLMRequest) -> int:
    return MOST_CALLS if request.max_tool_calls is None else request.max_tool_calls


def _how_many(request: LLMRequest) -> str:
    most = _most_calls(request)
    if request.tool_choice == "required":
        return "Call exactly one tool." if most == 1 else f"Call at least one tool, and at most {most}."
    return f"Call at most {most}. To call none, give an empty list."


def _messages(request: LLMRequest, may_call: bool) -> tuple[Message, ...]:
    """The conversation in words, headed by the tools: they are the same for all agents that have them."""
    listed = [
        json.dumps(
            {"tool": tool.name, "description": tool.description, "arguments": _described(tool.parameters)},
            ensure_ascii=False,
        )
        for tool in request.tools
    ]
    how = [_FORM, _how_many(request)] if may_call else [_NONE]
    about_tools = "\n".join(["# Tools", *listed, "", *how])
    messages = tuple(_in_words(request.messages))
    if messages and messages[0].role == "system":
        first, *rest = messages
        return (replace(first, content=f"{about_tools}\n\n{first.content}".rstrip()), *rest)
    return (Message("system", about_tools), *messages)


def _described(parameters: JSONSchema) -> JSONSchema:
    """A tool's arguments for the prompt: each with its own schema, as short as possible."""
    return dict(parameters if "$defs" in parameters else parameters.get("properties", {}))


def _in_words(messages: Iterable[Message]) -> Iterator[Message]:
    """Earlier tool calls and their results as text; results that follow each other as one message."""
    results: list[str] = []
    for message in messages:
        if message.role == "tool":
            results.append(f"Result of call {message.tool_call_id}: {message.content}")
            continue
        if results and message.role == "user":  # in one message, since many models want the roles to alternate
            yield Message("user", "\n".join([*results, "", message.content]))
        else:
            if results:
                yield Message("user", "\n".join(results))
            yield _with_calls_as_text(message) if message.tool_calls else message
        results = []
    if results:
        yield Message("user", "\n".join(results))


def _with_calls_as_text(message: Message) -> Message:
    calls = [{"tool": call.name, "arguments": call.parsed_arguments(), "id": call.id} for call in message.tool_calls]
    text = json.dumps({"calls": calls}, ensure_ascii=False)
    return Message(message.role, f"{message.content}\n{text}".strip())


def choice_schema(actions: Mapping[str, JSONSchema]) -> dict[str, Any]:
    """The schema of `{"rationale": …, "action": {"name": …, "arguments": …}}`, the choice of exactly one action.

    The reason comes first: a model that has written it chooses better.
    """
    action, definitions = _any_call(actions, "name")
    return _object({"rationale": {"type": "string", "maxLength": LONGEST_TEXT}, "action": action}) | definitions


def _any_call(tools: Mapping[str, JSONSchema], named: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of a call of any of the tools, and the definitions that it refers to."""
    definitions: dict[str, Any] = {}
    alternatives = []
    for tool, parameters in tools.items():
        arguments = _fitted(parameters, tool)
        for name, definition in arguments.pop("$defs", {}).items():
            definitions[f"{tool}-{name}"] = definition
        alternatives.append(_object({named: {"type": "string", "enum": [tool]}, "arguments": arguments}))
    return {"anyOf": alternatives}, {"$defs": definitions} if definitions else {}


def _is_understood(pattern: str) -> bool:
    """Whether servers take a pattern: anchored at both ends, without look-around. Arguments are checked in any case."""
    return pattern.startswith("^") and pattern.endswith("$") and "(?" not in pattern


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _fitted(schema: JSONSchema, tool: str) -> dict[str, Any]:
    """A tool's schema as a part of a larger one: texts and lists bounded, references led to the root."""

    def fit(part: dict[str, Any]) -> dict[str, Any]:
        fitted = {"anyOf" if key == "oneOf" else key: value for key, value in part.items()}
        reference = fitted.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/$defs/"):
            fitted["$ref"] = f"#/$defs/{tool}-{reference.removeprefix('#/$defs/')}"
        if not _is_understood(str(fitted.get("pattern", "^$"))):
            del fitted["pattern"]
        if fitted.get("type") == "string" and not fitted.keys() & {"enum", "const", "pattern", "format"}:
            longest = max(fitted.get("maxLength", LONGEST_TEXT), fitted.get("minLength", 0))
            fitted["maxLength"] = min(longest, MOST_CHARACTERS)
            if fitted.get("minLength", 0) > fitted["maxLength"]:
                del fitted["minLength"]
        if fitted.get("type") == "array":
            fitted.setdefault("maxItems", max(MOST_ITEMS, fitted.get("minItems", 0)))
        return fitted

    fitted: dict[str, Any] = rebuilt(schema, fit)
    return fitted
