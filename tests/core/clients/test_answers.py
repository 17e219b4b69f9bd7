"""What becomes of the forms in which servers send an answer, the same through both transports."""

import json

import pytest
from helpers.environment import without_keys_and_proxies
from helpers.transports import TRANSPORTS, ask, completion, says

from mesa_llm.clients import LiteLLMClient, LLMRequest, Message, ResponseFormat, ToolCall, ToolSpec, Usage
from mesa_llm.clients.chat_completion import read_usage, to_response
from mesa_llm.errors import ConfigurationError
from mesa_llm.testing import FakeOpenAIServer, ScriptedLLM

both = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    without_keys_and_proxies(monkeypatch)


def text(words, **more):
    return {"type": "text", "text": words} | more


CONTENTS = {
    "text": ("Go.", "Go.", ""),
    "null": (None, "", ""),
    "parts": ([text("I "), text("go.")], "I go.", ""),
    "parts of the responses API": ([{"type": "output_text", "text": "Go."}], "Go.", ""),
    "texts": (["I ", "go."], "I go.", ""),
    "a null among parts": ([None, text("Go.")], "Go.", ""),
    "one part": (text("Go."), "Go.", ""),
    "no parts": ([], "", ""),
    "a part without words": ([text(None)], "", ""),
    "a part with a value": ([{"type": "text", "text": {"value": "Go."}}], "Go.", ""),
    "JSON, read already": ({"action": "go"}, '{"action": "go"}', ""),
    "JSON with a type": ({"type": "go", "to": 1}, '{"type": "go", "to": 1}', ""),
    "a list that holds no parts": ([1, 2], "[1, 2]", ""),
    "a number": (42, "42", ""),
    "a truth": (True, "true", ""),
    "Mistral's thoughts": ([{"type": "thinking", "thinking": [text("hm")]}, text("Go.")], "Go.", "hm"),
    "Anthropic's thoughts": ([{"type": "thinking", "thinking": "hm", "signature": "x"}, text("Go.")], "Go.", "hm"),
    "thoughts as a part": ([{"type": "reasoning", "text": "hm"}, text("Go.")], "Go.", "hm"),
    "a summary": ([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}, "Go."], "Go.", "hm"),
    "a block": ("<think>hm</think>\n\nGo.", "Go.", "hm"),
    "a lone end tag": ("hm</think>Go.", "Go.", "hm"),
    "thoughts alone": ("<think>hm", "", "hm"),
}


@both
@pytest.mark.parametrize("form", CONTENTS)
def test_content_in_every_form_is_text(transport, form):
    content, words, thoughts = CONTENTS[form]
    response = ask(transport, completion(says(content)))
    assert (response.message.content, response.reasoning) == (words, thoughts)
    assert response.finish_reason == "stop"


BESIDE = {
    "reasoning_content": "hm",
    "reasoning": "hm",
    "reasoning_details": [{"type": "reasoning.text", "text": "hm"}, {"type": "reasoning.encrypted", "data": "x"}],
    "thinking": "hm",
    "thinking_blocks": [{"type": "thinking", "thinking": "hm"}],
}


@both
@pytest.mark.parametrize("name", BESIDE)
def test_thoughts_beside_the_content(transport, name):
    response = ask(transport, completion(says("Go.", **{name: BESIDE[name]})))
    assert (response.message.content, response.reasoning) == ("Go.", "hm")


@both
def test_thoughts_in_two_fields_are_not_doubled(transport):
    message = says("<think>so</think>Go.", reasoning_content="hm", reasoning="hm")
    assert ask(transport, completion(message)).reasoning == "hm\nso"


def call(arguments, **more):
    return {"id": "a", "type": "function", "function": {"name": "move", "arguments": arguments}} | more


CALLS = {
    "text": ([call('{"x": 1}')], [("a", '{"x": 1}')]),
    "invalid text": ([call('{"x": ')], [("a", '{"x": ')]),
    "an object": ([call({"x": 1})], [("a", '{"x": 1}')]),
    "a list": ([call([1])], [("a", "[1]")]),
    "null": ([call(None)], [("a", "{}")]),
    "absent": ([{"id": "a", "type": "function", "function": {"name": "move"}}], [("a", "{}")]),
    "flat": ([{"id": "a", "name": "move", "arguments": "{}"}], [("a", "{}")]),
    "flat, with parameters": ([{"id": "a", "name": "move", "parameters": {"x": 1}}], [("a", '{"x": 1}')]),
    "the name as function": ([{"id": "a", "function": "move", "arguments": {"x": 1}}], [("a", '{"x": 1}')]),
    "custom": ([{"id": "a", "type": "custom", "custom": {"name": "move", "input": "x"}}], [("a", "x")]),
    "with args": ([{"id": "a", "function": {"name": "move", "args": {"x": 1}}}], [("a", '{"x": 1}')]),
    "JSON in a text": ('[{"id": "a", "name": "move", "arguments": {}}]', [("a", "{}")]),
    "one dict": (call("{}"), [("a", "{}")]),
    "a null among them": ([None, call("{}")], [("a", "{}")]),
    "one id for two": ([call("{}"), call("{}")], [("a", "{}"), ("a_2", "{}")]),
    "an id that is taken": (
        [call("{}"), call("{}"), call("{}", id="a_2")],
        [("a", "{}"), ("a_3", "{}"), ("a_2", "{}")],
    ),
    "no id": ([call("{}", id=None), call("{}", id="")], [("call_0", "{}"), ("call_1", "{}")]),
    "a number as id": ([call("{}", id=7)], [("7", "{}")]),
}


@both
@pytest.mark.parametrize("form", CALLS)
def test_calls_in_every_form(transport, form):
    given, calls = CALLS[form]
    response = ask(transport, completion(says(None, tool_calls=given), "tool_calls"))
    assert response.message.tool_calls == tuple(ToolCall(name, "move", arguments) for name, arguments in calls)


@both
@pytest.mark.parametrize(
    ("said", "reason"), [("stop", "tool_calls"), ("tool_use", "tool_calls"), (None, "tool_calls"), ("length", "length")]
)
def test_why_an_answer_with_calls_ended(transport, said, reason):
    assert ask(transport, completion(says(None, tool_calls=[call("{}")]), said)).finish_reason == reason


@both
def test_a_call_from_before_there_were_tools(transport):
    message = says(None, function_call={"name": "move", "arguments": '{"x": 1}'})
    response = ask(transport, completion(message, "function_call"))
    assert response.message.tool_calls == (ToolCall("call_0", "move", '{"x": 1}'),)
    assert response.finish_reason == "tool_calls"


@both
def test_a_call_among_the_parts_of_the_content(transport):
    parts = [text("So:"), {"type": "tool_use", "id": "a", "name": "move", "input": {"x": 1}}]
    response = ask(transport, completion(says(parts), "tool_use"))
    assert response.message == Message("assistant", "So:", tool_calls=(ToolCall("a", "move", '{"x": 1}'),))
    assert response.finish_reason == "tool_calls"


@both
@pytest.mark.parametrize("given", [{}, [], [None], None, "move"])
def test_what_is_no_call(transport, given):
    response = ask(transport, completion(says("hi", tool_calls=given)))
    assert response.message == Message("assistant", "hi")


REASONS = {
    "stop": "stop",
    None: "stop",
    "": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "STOP": "stop",
    "length": "length",
    "max_tokens": "length",
    "MAX_TOKENS": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "SAFETY": "content_filter",
    "refusal": "content_filter",
    "sensitive": "content_filter",
    "tool_calls": "tool_calls",  # and there are none: said above as it is
    "error": "error",
    "insufficient_system_resource": "error",
    "abort": "error",
    "of_our_own": "of_our_own",
}


@both
@pytest.mark.parametrize("content", ["half", "", None])
@pytest.mark.parametrize("said", REASONS)
def test_why_an_answer_ended_in_the_words_of_the_api(transport, said, content):
    response = ask(transport, completion(says(content), said))
    assert (response.finish_reason, response.message.content) == (REASONS[said], content or "")


@both
@pytest.mark.parametrize(
    "message",
    [
        says(None, refusal="I cannot."),
        says("", refusal="I cannot."),
        says([{"type": "refusal", "refusal": "I cannot."}]),
    ],
)
def test_a_refusal_is_a_filtered_answer_in_words(transport, message):
    response = ask(transport, completion(message))
    assert (response.message.content, response.finish_reason) == ("I cannot.", "content_filter")


USAGES = {
    "as it should be": ({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}, (7, 3)),
    "absent": (None, (0, 0)),
    "a text": ("many", (0, 0)),
    "floats": ({"prompt_tokens": 7.0, "completion_tokens": 3.0, "total_tokens": 10.0}, (7, 3)),
    "texts": ({"prompt_tokens": "7", "completion_tokens": "3.0", "total_tokens": "10"}, (7, 3)),
    "newer names": ({"input_tokens": 7, "output_tokens": 3}, (7, 3)),
    "no total": ({"prompt_tokens": 7, "completion_tokens": 3}, (7, 3)),
    "no completion": ({"prompt_tokens": 7, "total_tokens": 10}, (7, 3)),
    "no prompt": ({"completion_tokens": 3, "total_tokens": 10}, (7, 3)),
    "only a total": ({"total_tokens": 10}, (0, 10)),
    "thoughts apart": ({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 110}, (7, 103)),
    "a total that is too small": ({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 1}, (7, 3)),
    "nulls": ({"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}, (0, 0)),
    "negative": ({"prompt_tokens": -7, "completion_tokens": 3, "total_tokens": -4}, (0, 3)),
    "negative completion": ({"prompt_tokens": 7, "completion_tokens": -3}, (7, 0)),
    "not a number": ({"prompt_tokens": float("nan"), "completion_tokens": float("inf"), "total_tokens": 10}, (0, 10)),
    "nonsense": ({"prompt_tokens": "many", "completion_tokens": [3], "total_tokens": True}, (0, 0)),
    "beyond all measure": ({"prompt_tokens": 7, "completion_tokens": 10**40}, (7, 0)),
}


@both
@pytest.mark.parametrize("form", USAGES)
def test_tokens_in_every_form(transport, form):
    given, (prompt, written) = USAGES[form]
    response = ask(transport, completion(says("hi"), usage=given))
    assert response.usage == Usage(prompt, written)


def test_tokens_of_a_body_without_any():
    assert read_usage({}) == read_usage([]) == Usage()


@pytest.mark.parametrize("usage", [(1000, 5, 1005), (1000, 5, 2000)])
def test_the_price_through_litellm_is_that_of_the_tokens(usage):
    prompt, written, total = usage
    given = {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": total}
    response = ask("litellm", completion(says("hi"), usage=given), model="openai/gpt-4o-mini")
    assert response.usage == Usage(prompt, total - prompt)
    assert response.cost == pytest.approx(prompt * 0.15e-6 + (total - prompt) * 0.6e-6)


@both
def test_the_price_that_the_server_says_counts(transport):
    given = {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.25}
    assert ask(transport, completion(says("hi"), usage=given), model="openrouter/a/b").cost == 0.25


STREAM = (
    b": OPENROUTER PROCESSING\n\n"
    b'data: {"id":"1","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"hel"}}]}\r\n\r\n'
    b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"lo","reasoning_content":"h"}},{"index":1,"delta":{}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"reasoning_content":"m"},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\ndata: [DONE]\n\n'
)
ODD_BODIES = {
    "a list of one": json.dumps([completion(says("hello"))]).encode(),
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps(completion(says("hello"))).encode(),
    "line feeds": b"\n\n \n" + json.dumps(completion(says("hello"))).encode(),
    "NaN": json.dumps(completion(says("hello"), logprob=float("nan"))).encode(),
    "comments of a stream": b": PROCESSING\n\n: PROCESSING\n\n" + json.dumps(completion(says("hello"))).encode(),
    "twice": json.dumps(completion(says("hello"))).encode() * 2,
    "not UTF-8": json.dumps(completion(says("hello"), note="caf_")).encode().replace(b"_", b"\xe9"),
    "UTF-16": json.dumps(completion(says("hello"))).encode("utf-16"),
    "a stream": STREAM,
    "a stream without its mark": STREAM.replace(b"data: [DONE]\n\n", b""),
    "one event": b"event: message\ndata: " + json.dumps(completion(says("hello"))).encode() + b"\n\n",
    "choices by number": json.dumps({"choices": {"0": {"message": says("hello")}}}).encode(),
    "the second first": json.dumps(
        {"choices": [{"index": 1, "message": says("no")}, {"index": 0, "message": says("hello")}]}
    ).encode(),
    "the older API": json.dumps({"choices": [{"index": 0, "text": "hello", "finish_reason": "stop"}]}).encode(),
    "no error": json.dumps(completion(says("hello"), error=None)).encode(),
    "an empty error": json.dumps(completion(says("hello"), error={"code": None, "message": ""})).encode(),
    "no model": json.dumps(completion(says("hello"), model=None)).encode(),
}


@both
@pytest.mark.parametrize("form", ODD_BODIES)
def test_an_answer_in_an_odd_body(transport, form):
    response = ask(transport, ODD_BODIES[form])
    assert (response.message.content, response.finish_reason) == ("hello", "stop")
    if form.startswith("a stream"):
        assert (response.reasoning, response.usage, response.model) == ("hm", Usage(7, 3), "m")


@both
def test_calls_in_a_stream(transport):
    def chunk(**delta):
        return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"

    def piece(index, arguments, **more):
        return {"index": index, "function": {"name": "move", "arguments": arguments}} | more

    body = chunk(tool_calls=[piece(0, '{"x":', id="a")]) + chunk(tool_calls=[piece(0, " 1}"), piece(1, "{}", id="b")])
    response = ask(transport, body + b"data: [DONE]\n\n", headers={"Content-Type": "text/event-stream"})
    assert response.message.tool_calls == (ToolCall("a", "move", '{"x": 1}'), ToolCall("b", "move", "{}"))
    assert response.finish_reason == "tool_calls"


@both
@pytest.mark.parametrize("status", [200, 201, 202, 203])
def test_a_whole_answer_with_another_status_of_success(transport, status):
    assert ask(transport, completion(says("hi")), status=status).message.content == "hi"


def test_litellm_asks_groq_for_a_form_by_a_tool_of_its_own():
    """And fails on what it has got, unless the server names a `service_tier`."""
    form = ResponseFormat("mood", {"type": "object", "properties": {"mood": {"type": "string"}}})
    request = LLMRequest(model="groq/llama-3.3-70b-versatile", messages=(Message("user", "hi"),), response_format=form)

    def answer(body):
        name = body["tools"][0]["function"]["name"]
        made = {"id": "a", "type": "function", "function": {"name": name, "arguments": '{"mood": "good"}'}}
        return completion(says(None, tool_calls=[made]), "tool_calls")

    with FakeOpenAIServer(answer) as server:
        response = LiteLLMClient(api_base=server.url, api_key="sk-12345678").generate(request)
    assert response.message == Message("assistant", '{"mood": "good"}')
    assert response.finish_reason == "stop"


def test_a_call_of_a_tool_of_that_name_stays_a_call():
    tool = ToolSpec("json_tool_call", "", {"type": "object", "properties": {}})
    given = {"id": "a", "type": "function", "function": {"name": "json_tool_call", "arguments": "{}"}}
    response = ask("litellm", completion(says(None, tool_calls=[given]), "tool_calls"), tools=(tool,))
    assert [call.name for call in response.message.tool_calls] == ["json_tool_call"]


def test_thoughts_of_a_scripted_model_are_no_part_of_its_answer():
    response = ScriptedLLM("<think>hm</think>Go.").generate(LLMRequest(model="any/model", messages=()))
    assert (response.message.content, response.reasoning) == ("Go.", "hm")
    message = Message("assistant", "<think>hm</think>Go.")
    assert to_response(message, model="m").reasoning == "hm"


def test_the_fake_server_sends_thoughts_as_they_are_written():
    with FakeOpenAIServer("<think>hm</think>Go.") as server:
        request = LLMRequest(model="openai/fake", messages=(Message("user", "hi"),))
        response = TRANSPORTS["direct"](api_base=server.url).generate(request)
    assert (response.message.content, response.reasoning) == ("Go.", "hm")


@both
@pytest.mark.parametrize(
    "written", [" {url}", "{url}\n", "{url}/", "{url}/chat/completions", "{url}/chat/completions/"]
)
def test_an_address_that_is_written_a_little_otherwise(transport, written):
    with FakeOpenAIServer("hi") as server:
        client = TRANSPORTS[transport](api_base=written.format(url=server.url), api_key="sk-12345678")
        request = LLMRequest(model="openai/fake", messages=(Message("user", "hi"),))
        assert client.generate(request).message.content == "hi"


@both
@pytest.mark.parametrize("api_base", ["127.0.0.1:80/v1", "localhost:80", "http:/127.0.0.1/v1", "http://", "ftp://a/v1"])
def test_an_address_that_cannot_be_used(transport, api_base):
    client = TRANSPORTS[transport](api_base=api_base, api_key="sk-12345678")
    with pytest.raises(ConfigurationError, match=r"api_base must be an http or https URL, .* got"):
        client.generate(LLMRequest(model="openai/fake", messages=(Message("user", "hi"),)))
