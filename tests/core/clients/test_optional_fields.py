"""A server that refuses an optional field of a request gets the request once more, without the field."""

import json
import logging
import pickle

import pytest
from helpers.environment import without_keys_and_proxies
from helpers.transports import KEY, TRANSPORTS, says

from mesa_llm.clients import DirectClient, LiteLLMClient, LLMRequest, Message, ResponseFormat, ToolSpec
from mesa_llm.errors import ModelCallError
from mesa_llm.module_llm import ModuleLLM, connect
from mesa_llm.testing import FakeOpenAIServer, Fault

both = pytest.mark.parametrize("transport", TRANSPORTS)
SCHEMA = {"type": "object", "properties": {"mood": {"type": "string"}}}
FORM = ResponseFormat("mood", SCHEMA)
MOVE = ToolSpec("move", "Move.", {"type": "object", "properties": {}})
ASKED = (Message("system", "You are."), Message("user", "Go?"))


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    without_keys_and_proxies(monkeypatch)


def refusing(words, is_refused, status=400, **error):
    """A server that answers with an error to what it refuses, and otherwise with "ok"."""

    def answer(body):
        return Fault(status=status, body={"error": {"message": words} | error}) if is_refused(body) else says("ok")

    return FakeOpenAIServer(answer)


def request(messages=ASKED, model="openai/fake", **fields):
    return LLMRequest(model=model, messages=messages, **fields)


def sent_in_the_end(transport, server, asked, requests=2):
    client = TRANSPORTS[transport](api_base=server.url, api_key=KEY)
    response = client.generate(asked)
    assert response.message.content == "ok"
    assert len(server.requests) == requests == response.retries + 1
    return server.requests[-1].body


OPTIONS = {
    "temperature": [
        "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) is supported.",
        "invalid temperature: only 1 is allowed for this model",
        "temperature is not supported",
        "Unrecognized request argument supplied: temperature",
        "body.temperature: Extra inputs are not permitted",
        "`temperature` is deprecated for this model.",
    ],
    "top_p": ["top_p is not supported with reasoning", "Unknown parameter: 'top_p'."],
    "seed": [
        'Invalid JSON payload received. Unknown name "seed": Cannot find field.',
        "property 'seed' is unsupported",
        "Unknown field: seed",
        "seed is not supported",
    ],
    "stop": ["Unsupported parameter: 'stop' is not supported with this model.", "Argument not supported: stop"],
    "parallel_tool_calls": ["Unrecognized request argument supplied: parallel_tool_calls"],
    "presence_penalty": ["Model m does not support parameter presence_penalty."],
    "min_p": ["min_p: Extra inputs are not permitted"],
}
VALUES = {"temperature": 0.2, "top_p": 0.5, "seed": 1, "stop": ["x"], "parallel_tool_calls": False, "min_p": 0.1}


@both
@pytest.mark.parametrize(("name", "words"), [(name, words) for name, several in OPTIONS.items() for words in several])
def test_an_option_that_is_refused_is_left_out(transport, name, words):
    fields = {"extra_body": {name: 0.1}} if name == "min_p" else {name: VALUES.get(name, 0.5)}
    with refusing(words, lambda body: name in body) as server:
        body = sent_in_the_end(transport, server, request(options=fields | {"frequency_penalty": 0.5}, tools=(MOVE,)))
    assert name not in body
    assert body["frequency_penalty"] == 0.5


@both
@pytest.mark.parametrize("status", [400, 404, 422, 501])
def test_statuses_that_refuse(transport, status):
    with refusing("'seed' is not supported", lambda body: "seed" in body, status) as server:
        sent_in_the_end(transport, server, request(options={"seed": 1}))


@both
def test_a_field_that_only_the_parameter_names(transport):
    with refusing("Unsupported value.", lambda body: "seed" in body, param="seed") as server:
        sent_in_the_end(transport, server, request(options={"seed": 1}))


NO_REFUSALS = [
    (400, "temperature must be between 0 and 2", {"temperature": 3}),
    (400, "max_tokens is too large: 9000. This model supports at most 4096 completion tokens.", {"max_tokens": 9000}),
    (400, "'seed' is not supported", {"temperature": 1}),
    (400, "The stop of the bus is unknown. Invalid seed money.", {"stop": ["x"], "seed": 1}),
    (400, "This model's maximum context length is 8192 tokens. Only max_tokens is supported.", {"max_tokens": 9}),
    (401, "'seed' is not supported with this key", {"seed": 1}),
    (403, "'seed' is not supported", {"seed": 1}),
    (400, "seed", {"seed": 1}),
    (400, "bad request", {"seed": 1}),
]


@both
@pytest.mark.parametrize(("status", "words", "options"), NO_REFUSALS)
def test_what_is_no_refusal_is_an_error_at_once(transport, status, words, options):
    with refusing(words, lambda body: True, status) as server:
        client = TRANSPORTS[transport](api_base=server.url, api_key=KEY)
        with pytest.raises(ModelCallError):
            client.generate(request(options=options))
        assert len(server.requests) == 1


@both
def test_a_name_that_stands_in_the_models_name_is_not_refused(transport):
    with refusing("model `no-seed` is not supported", lambda body: True) as server:
        client = TRANSPORTS[transport](api_base=server.url, api_key=KEY)
        with pytest.raises(ModelCallError):
            client.generate(request(model="openai/no-seed", options={"seed": 1}))
        assert len(server.requests) == 1


O_SERIES = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."


@both
def test_max_tokens_by_the_other_name(transport):
    with refusing(O_SERIES, lambda body: "max_tokens" in body) as server:
        body = sent_in_the_end(transport, server, request(options={"max_tokens": 50}))
        assert body["max_completion_tokens"] == 50
    with refusing("Unknown parameter: max_completion_tokens", lambda body: "max_completion_tokens" in body) as server:
        body = sent_in_the_end(transport, server, request(options={"max_completion_tokens": 50}))
        assert body["max_tokens"] == 50


@both
def test_a_bound_that_is_refused_by_either_name_is_left_out(transport):
    def answer(body):
        for name in ("max_tokens", "max_completion_tokens"):
            if name in body:
                return Fault(status=400, body=f"Unknown parameter: {name}")
        return says("ok")

    with FakeOpenAIServer(answer) as server:
        body = sent_in_the_end(transport, server, request(options={"max_tokens": 50}), requests=3)
    assert not body.keys() & {"max_tokens", "max_completion_tokens"}


@both
def test_of_two_that_exclude_each_other_one_stays(transport):
    words = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
    with refusing(words, lambda body: {"temperature", "top_p"} <= body.keys()) as server:
        body = sent_in_the_end(transport, server, request(options={"temperature": 0.2, "top_p": 0.5}))
    assert body["temperature"] == 0.2


@both
def test_several_fields_fall_one_after_the_other(transport):
    names = ("temperature", "top_p", "seed")

    def answer(body):
        for name in names:
            if name in body:
                return Fault(status=400, body=f"Unknown parameter: '{name}'.")
        return says("ok")

    with FakeOpenAIServer(answer) as server:
        asked = request(options={"temperature": 0.2, "top_p": 0.5, "seed": 1})
        body = sent_in_the_end(transport, server, asked, requests=4)
    assert not body.keys() & set(names)


@both
def test_it_ends_where_the_server_refuses_without_end(transport):
    def answer(body):
        refused = next((name for name in body if name.startswith("x_")), "nothing")
        return Fault(status=400, body=f"Unknown parameter: '{refused}'.")

    with FakeOpenAIServer(answer) as server:
        client = DirectClient(api_base=server.url)
        with pytest.raises(ModelCallError, match="Unknown parameter") as caught:
            client.generate(request(options={f"x_{number}": 1 for number in range(20)}))
        assert len(server.requests) == 9
    assert caught.value.__context__ is None


FORMATS = [
    "This response_format type is unavailable now",
    "Response format `json_schema` is not supported with this model.",
    "'response_format.type' must be 'json_object' or 'text'",
    "Model does not support structured outputs.",
    "JSON mode is not enabled for this model",
    "Unknown parameter: response_format",
]


@both
@pytest.mark.parametrize("words", FORMATS)
def test_a_form_that_is_refused_is_asked_for_in_words(transport, words):
    with refusing(words, lambda body: "response_format" in body) as server:
        body = sent_in_the_end(transport, server, request(response_format=FORM))
    system, user = body["messages"]
    assert system["content"].startswith("You are.\n\n")
    assert "JSON object" in system["content"]
    assert json.dumps(SCHEMA) in system["content"]
    assert user["content"] == "Go?"


@both
@pytest.mark.parametrize(
    ("form", "says_so"),
    [
        ({"type": "json_object"}, "Answer with one JSON object and nothing else."),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}, json.dumps(SCHEMA)),
    ],
)
def test_a_form_among_the_options(transport, form, says_so):
    with refusing("response_format is not supported", lambda body: "response_format" in body) as server:
        asked = request((Message("user", "Go?"),), options={"response_format": form})
        body = sent_in_the_end(transport, server, asked)
    (user,) = body["messages"]
    assert user["content"].startswith("Go?\n\n")
    assert says_so in user["content"]


@both
def test_a_choice_of_tools_that_is_refused_is_asked_for_in_words(transport):
    words = "Thinking mode does not support this tool_choice"
    with refusing(words, lambda body: body.get("tool_choice") == "required") as server:
        client = TRANSPORTS[transport](api_base=server.url, api_key=KEY)
        client.generate(request(tools=(MOVE,), tool_choice="required"))
        client.generate(request(tools=(MOVE,), tool_choice="auto"))
    _, second, third = (served.body for served in server.requests)
    assert "tool_choice" not in second
    assert second["messages"][0]["content"] == "You are.\n\nAnswer by calling at least one tool."
    assert third["tool_choice"] == "auto"


@both
def test_tools_that_are_refused_are_left_to_others(transport):
    for words in (
        "json mode cannot be combined with tool/function calling",
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        "tools and tool_choice are not supported",
    ):
        with refusing(words, lambda body: "tools" in body) as server:
            client = TRANSPORTS[transport](api_base=server.url, api_key=KEY)
            with pytest.raises(ModelCallError):
                client.generate(request(tools=(MOVE,), tool_choice="auto", response_format=FORM))
            assert len(server.requests) == 1


ROLES = [
    (400, "System role not supported System role not supported"),
    (400, "Only user, assistant and tool roles are supported, got system."),
    (400, "Developer instruction is not enabled for models/gemma-3-27b-it"),
    (500, "Conversation roles must alternate user/assistant/user/assistant/..."),
]


@both
@pytest.mark.parametrize(("status", "words"), ROLES)
def test_a_system_role_that_is_refused_is_part_of_the_first_question(transport, status, words):
    messages = (*ASKED, Message("user", "Or stay?"), Message("assistant", "Hm."), Message("user", "Well?"))
    with refusing(words, lambda body: body["messages"][0]["role"] == "system", status) as server:
        body = sent_in_the_end(transport, server, request(messages, response_format=FORM))
    assert [(message["role"], message["content"]) for message in body["messages"]] == [
        ("user", "You are.\n\nGo?\n\nOr stay?"),
        ("assistant", "Hm."),
        ("user", "Well?"),
    ]


@both
@pytest.mark.parametrize(
    ("messages", "sent"),
    [
        ((Message("system", ""), Message("user", "Go?")), [("user", "Go?")]),
        ((Message("system", "You are."),), [("user", "You are.")]),
        ((Message("system", "You are."), Message("assistant", "Hm.")), [("user", "You are."), ("assistant", "Hm.")]),
    ],
)
def test_system_messages_without_a_question_or_words(transport, messages, sent):
    with refusing("System role not supported", lambda body: body["messages"][0]["role"] == "system") as server:
        body = sent_in_the_end(transport, server, request(messages))
    assert [(message["role"], message["content"]) for message in body["messages"]] == sent


def test_roles_that_alternate_already_are_not_asked_again():
    with refusing("Conversation roles must alternate", lambda body: True) as server:
        with pytest.raises(ModelCallError):
            DirectClient(api_base=server.url).generate(request((Message("user", "Go?"),)))
        assert len(server.requests) == 1


@both
def test_a_form_and_the_system_role_together(transport):
    def answer(body):
        if body["messages"][0]["role"] == "system":
            return Fault(status=400, body="System role not supported")
        return Fault(status=400, body="response_format is not supported") if "response_format" in body else says("ok")

    with FakeOpenAIServer(answer) as server:
        body = sent_in_the_end(transport, server, request(response_format=FORM), requests=3)
    (user,) = body["messages"]
    assert user["content"].startswith("You are.\n\nAnswer with one JSON object")
    assert user["content"].endswith("\n\nGo?")


@both
def test_it_is_remembered_for_the_model_and_said_once(transport, caplog):
    caplog.set_level(logging.WARNING, "mesa_llm")

    def answer(body):
        return Fault(status=400, body="'seed' is not supported") if body["model"] == "old" and "seed" in body else "ok"

    with FakeOpenAIServer(answer) as server:
        client = TRANSPORTS[transport](api_base=server.url, api_key=KEY)
        for model in ("openai/old", "openai/old", "openai/new"):
            client.generate(request(model=model, options={"seed": 1}))
        assert ["seed" in served.body for served in server.requests] == [True, False, False, True]
    (record,) = [record for record in caplog.records if record.name.startswith("mesa_llm")]
    assert "Requests to openai/old are sent without seed from now on." in record.getMessage()
    assert "'seed' is not supported" in record.getMessage()


def test_what_has_not_helped_is_not_remembered():
    with FakeOpenAIServer(Fault(status=400, body="'seed' is not supported")) as server:
        client = DirectClient(api_base=server.url)
        for _ in range(2):
            with pytest.raises(ModelCallError):
                client.generate(request(options={"seed": 1}))
        assert ["seed" in served.body for served in server.requests] == [True, False] * 2


def test_a_copy_knows_what_the_client_has_learnt():
    with refusing("'seed' is not supported", lambda body: "seed" in body) as server:
        for client in (DirectClient(api_base=server.url), LiteLLMClient(api_base=server.url, api_key=KEY)):
            client.generate(request(options={"seed": 1}))
            before = len(server.requests)
            pickle.loads(pickle.dumps(client)).generate(request(options={"seed": 1}))
            assert len(server.requests) == before + 1


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("openai/gpt-5-mini", {"temperature": 0.2}),
        ("openai/gpt-5-mini", {"stop": ["x"]}),
        ("openai/o3-mini", {"temperature": 0.2}),
        ("xai/grok-4", {"stop": ["x"]}),
    ],
)
def test_what_litellm_does_not_pass_on_is_left_out(model, options):
    with FakeOpenAIServer("ok") as server:
        client = LiteLLMClient(api_base=server.url, api_key=KEY)
        assert client.generate(request(model=model, options=options)).message.content == "ok"
        assert not server.requests[0].body.keys() & options.keys()


def test_advice_of_litellm_for_its_own_settings_is_not_passed_on(caplog):
    caplog.set_level(logging.WARNING, "mesa_llm")
    with FakeOpenAIServer("ok") as server:
        LiteLLMClient(api_base=server.url, api_key=KEY).generate(request(model="xai/grok-4", options={"stop": ["x"]}))
    assert "xai does not support parameters: ['stop']" in caplog.text
    assert "drop_params" not in caplog.text


@both
def test_it_holds_for_connected_clients(transport):
    with refusing(O_SERIES, lambda body: "max_tokens" in body) as server:
        client = connect(api_base=server.url, api_key=KEY, transport=transport)
        handle = ModuleLLM("openai/fake", client=client, max_tokens=50)
        assert [handle.generate("Go?").message.content for _ in range(2)] == ["ok", "ok"]
        assert len(server.requests) == 3
