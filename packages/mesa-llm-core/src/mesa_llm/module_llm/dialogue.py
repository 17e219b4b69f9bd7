"""Dialogues with a model, for sync and async callers alike: answers in a form, and asking again for a better one."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping
from dataclasses import replace
from typing import Any, overload

from pydantic import BaseModel, ValidationError

from mesa_llm.activation.context import AwaitedWrites, current_agent_step
from mesa_llm.clients import LLMRequest, LLMResponse, Message, ResponseFormat
from mesa_llm.concurrency import calling_loop
from mesa_llm.errors import ConfigurationError, DecisionError
from mesa_llm.module_llm.json_in_text import found_in
from mesa_llm.module_llm.request_fields import response_format_fields

type Dialogue[T] = Generator[LLMRequest, LLMResponse, T]
"""Yields each request to the model, is sent its response or thrown the error, and returns what came of it."""

type Form = type[BaseModel] | ResponseFormat | Mapping[str, Any]
"""What an answer must look like: a pydantic model, or the JSON schema of an object."""

_SHOWN = 200  # characters of an answer in an error
_REPEATED = 2000  # characters of an answer that the model is shown again
_MOST_PROBLEMS = 5
_STOPPED = {
    "content_filter": "the provider's content filter stopped it",
    "refusal": "the model refused to answer",
    "error": "the server broke off with an error",
}


async def aconverse[T](
    dialogue: Dialogue[T],
    ask: Callable[[LLMRequest], Awaitable[LLMResponse]],
    *,
    max_tool_calls: int | None = None,
    writes: AwaitedWrites | None = None,
) -> T:
    """Have a dialogue with a model, and return its result. Errors of `ask` are raised in the dialogue.

    `max_tool_calls` bounds the tool calls of each answer; `writes` are flushed before each request and at the end.
    """
    try:
        request = next(dialogue)
        while True:
            if max_tool_calls is not None and request.tools and request.tool_choice != "none":
                request = replace(request, max_tool_calls=max_tool_calls)
            try:
                if writes:
                    await writes.flush()
                response = await ask(request)
            except Exception as error:
                request = dialogue.throw(error)
            else:
                request = dialogue.send(response)
    except StopIteration as end:
        result: T = end.value
    if writes:
        await writes.flush()
    return result


def converse[T](
    dialogue: Dialogue[T], ask: Callable[[LLMRequest], LLMResponse], *, max_tool_calls: int | None = None
) -> T:
    """Like `aconverse`, with an `ask` that blocks."""

    async def ask_and_block(request: LLMRequest) -> LLMResponse:
        return ask(request)

    return calling_loop.run_unsuspended(aconverse(dialogue, ask_and_block, max_tool_calls=max_tool_calls))


class UnreadableAnswerError(Exception):
    """An answer is not what was asked for; the text says in what respect, as the end of a sentence."""


@overload
def read_structured[M: BaseModel](text: str, form: type[M]) -> M: ...
@overload
def read_structured(text: str, form: ResponseFormat | Mapping[str, Any]) -> dict[str, Any]: ...
def read_structured(text: str, form: Form) -> Any:
    """Read the JSON object that a model has answered.

    It may be fenced, have text around it, follow a `<think>` block, be the only element of an array, or be as
    sloppy as JSON5 allows (single quotes, trailing commas). Of several objects, the first that has the form counts. An
    object that breaks off is taken if everything that the form has is there, complete: then only the end was lost, and
    no default fills a gap.

    Args:
        text: the answer.
        form: a pydantic model, or the JSON schema of an object.

    Returns:
        The answer as an instance of the model; a dict for a schema.

    Raises:
        DecisionError: if there is no such object in the text.
        ConfigurationError: if the form is not one of an object.
    """
    try:
        return _reader(form)(text)
    except UnreadableAnswerError as error:
        raise DecisionError(f"The answer is not the JSON asked for ({error}): {_shown(text)}") from error


@overload
def ask_structured[M: BaseModel](request: LLMRequest, form: type[M], *, asker: object) -> Dialogue[M]: ...
@overload
def ask_structured(
    request: LLMRequest, form: ResponseFormat | Mapping[str, Any], *, asker: object
) -> Dialogue[dict[str, Any]]: ...
def ask_structured(request: LLMRequest, form: Form, *, asker: object) -> Any:
    """Ask for an answer in a form; use in a strategy's `decide` with `yield from`.

        mood = yield from ask_structured(self.agent.llm.request(prompt), Mood, asker=self.agent)

    An answer that cannot be read (see `read_structured`) is asked again once, with what is wrong about it.

    Args:
        request: the question; its `response_format` is set to the form if it has none.
        form: a pydantic model, or the JSON schema of an object.
        asker: who asks, for the error.

    Returns:
        The answer as an instance of the model; a dict for a schema.

    Raises:
        DecisionError: if the second answer cannot be read either.
        ConfigurationError: if the form is not one of an object.
    """
    if not has_form(request):
        request = replace(request, response_format=_response_format(form))
    return (yield from ask_read(request, _reader(form), asker=asker))


def ask_read[T](request: LLMRequest, read: Callable[[str], T], *, asker: object) -> Dialogue[T]:
    """Ask for JSON, and ask again once, with what is wrong, if `read` raises an `UnreadableAnswerError`.

    A `DecisionError`, which names the `asker`, if the second answer cannot be read either.
    """
    response = yield request
    try:
        return read(response.message.content)
    except UnreadableAnswerError as error:
        again = asked_again(request, response, error, as_json=True)
    count_asked_again()
    response = yield again
    try:
        return read(response.message.content)
    except UnreadableAnswerError as error:
        problem = why_stopped(request, response) or _called(response) or str(error)
        shown = _shown(response.message.content)
        raise DecisionError(f"{asker}: the model's answer is not the JSON asked for ({problem}): {shown}") from error


def has_form(request: LLMRequest) -> bool:
    """Whether a request asks for a form of the answer's text already."""
    return request.response_format is not None or "response_format" in request.options


def asked_again(request: LLMRequest, response: LLMResponse, problem: Exception, *, as_json: bool = False) -> LLMRequest:
    """The question with the bad answer and what is wrong about it, as a conversation in which the roles alternate."""
    calls = ", ".join(f"{call.name}({call.arguments})" for call in response.message.tool_calls)
    said = f"{response.message.content.strip()} {calls}".strip()[:_REPEATED]
    said = said or "(nothing)"  # some servers refuse an empty message
    wrong = "it was cut off, so be brief" if response.finish_reason == "length" else str(problem)
    how = ", with nothing but the JSON object" if as_json else ""
    complaint = f"Your answer cannot be read: {wrong}. Answer again{how}."
    return replace(request, messages=(*request.messages, Message("assistant", said), Message("user", complaint)))


def count_asked_again() -> None:
    """Count in the calling agent's tally that its model is asked again."""
    if (agent_step := current_agent_step()) is not None:
        agent_step.count("asked_again")


def why_stopped(request: LLMRequest, response: LLMResponse) -> str | None:
    """Why an answer ended before it was whole; `None` if it did not."""
    if response.finish_reason == "length":
        bound = request.options.get("max_tokens") or request.options.get("max_completion_tokens")
        tokens = response.usage.completion_tokens or bound
        return f"the answer was cut off{f' at {tokens} tokens' if tokens else ''}; raise max_tokens"
    return _STOPPED.get(response.finish_reason)


def _called(response: LLMResponse) -> str | None:
    if response.message.tool_calls and not response.message.content.strip():
        return f"the model called the tool {response.message.tool_calls[0].name!r} instead of answering"
    return None


def read_object[T](text: str, accept: Callable[[Any], T], expected: Collection[Collection[str]]) -> T:
    """The first JSON object in a text that `accept` takes; else an `UnreadableAnswerError`, as `accept` raises it.

    `expected` has the names of each entry of the form; of an object that breaks off, each must be there under one.
    """
    problem: UnreadableAnswerError | None = None
    for found in found_in(text):
        value = found.value
        if isinstance(value, list) and len(value) == 1:  # never of an array that breaks off
            (value,) = value
        try:
            if not isinstance(value, dict):
                raise UnreadableAnswerError("it is a JSON array, not an object")
            if not found.is_complete and not all(any(name in value for name in names) for names in expected):
                raise UnreadableAnswerError("it breaks off before the end of the JSON object")
            return accept(value)
        except UnreadableAnswerError as error:
            problem = problem or error
    if problem is None:
        problem = UnreadableAnswerError("there is no JSON object in it" if text.strip() else "it is empty")
    raise problem


def _reader(form: Form) -> Callable[[str], Any]:
    if isinstance(form, type) and issubclass(form, BaseModel):
        names = [{name, field.alias or name} for name, field in form.model_fields.items()]
        if form.__pydantic_root_model__:  # not asked of RootModel, whose import takes its time
            _refuse_other_than_object(form.model_json_schema())
        return lambda text: read_object(text, lambda value: as_model(value, form), names)
    schema = _response_format(form).schema
    _refuse_other_than_object(schema)
    properties = [{name} for name in schema.get("properties", ())]
    return lambda text: read_object(text, lambda value: _as_schema_says(value, schema), properties)


def _response_format(form: Form) -> ResponseFormat:
    given = response_format_fields(form).get("response_format")
    if not isinstance(given, ResponseFormat):
        raise ConfigurationError(f"{form!r} has no JSON schema. Give a pydantic model or the JSON schema of an object.")
    return given


def _refuse_other_than_object(schema: Mapping[str, Any]) -> None:
    if schema.get("type", "object") != "object":
        raise ConfigurationError(
            f"A structured answer is a JSON object, and this form is of type {schema['type']!r}. Make it a field of an "
            "object."
        )


def as_model[M: BaseModel](value: dict[str, Any], form: type[M]) -> M:
    """The object as an instance of a pydantic model; else an `UnreadableAnswerError`."""
    try:
        # As JSON, for there a model in strict mode too takes a text for a date, and a list for a tuple.
        return form.model_validate_json(json.dumps(value))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, problem['loc'])) or 'answer'}: {problem['msg']}" for problem in error.errors()]
        raise UnreadableAnswerError("; ".join(problems[:_MOST_PROBLEMS])) from error
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswerError("it holds a number too long, or values nested too deep") from error


def _as_schema_says(value: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    # Importing takes a tenth of a second, and only forms other than pydantic models need it.
    import jsonschema  # noqa: PLC0415
    from referencing import Registry  # noqa: PLC0415
    from referencing.exceptions import Unresolvable  # noqa: PLC0415

    validator = jsonschema.Draft202012Validator(schema, registry=Registry())  # an empty one: it fetches nothing
    try:
        error = jsonschema.exceptions.best_match(validator.iter_errors(value))
    except Unresolvable as missing:
        raise ConfigurationError(f"The form refers to a schema that is not in it: {missing}.") from missing
    except RecursionError as deep:
        raise UnreadableAnswerError("it holds values nested too deep") from deep
    if error is not None:
        where = ".".join(map(str, error.absolute_path)) or "answer"
        raise UnreadableAnswerError(f"{where}: {error.message[:_SHOWN]}")
    return value


def _shown(answer: str) -> str:
    return repr(answer if len(answer) <= _SHOWN else f"{answer[:_SHOWN]}…")
