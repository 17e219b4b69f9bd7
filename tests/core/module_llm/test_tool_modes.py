"""Tool calls for models that have none: as JSON, by choice, by knowledge, or because the server refuses."""

import asyncio
import json

import jsonschema
import pytest
from helpers.speakers import SpeakersModel
from inline_snapshot import snapshot

from mesa_llm.clients import LiteLLMClient, LLMRequest, Message, ResponseFormat, ToolCall, ToolSpec, tool_call
from mesa_llm.errors import ConfigurationError, DecisionError, ModelCallError, ModelTimeoutError, RateLimitedError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.module_llm import ModuleLLM
from mesa_llm.module_llm.request_fields import OfferedTool
from mesa_llm.module_llm.tool_modes import calls_no_tools
from mesa_llm.reasoning import CoTReasoning
from mesa_llm.testing import FakeOpenAIServer, Fault, ScriptedLLM

GO = ToolSpec(
    "go",
    "Go somewhere.",
    {"type": "object", "properties": {"where": {"type": "string"}}, "required": ["where"]},
)
WAIT = ToolSpec("wait", "Do nothing.", {"type": "object", "properties": {}, "required": []})
CALLS = '{"calls": [{"tool": "go", "arguments": {"where": "n"}}, {"tool": "wait", "arguments": {}}]}'


def handle(script, mode="json_schema", model="fake/model", **options):
    return ModuleLLM(model, client=ScriptedLLM(script), tool_mode=mode, **options)


def sent(llm):
    return llm.client.requests


def test_the_request_has_a_schema_in_the_place_of_the_tools():
    llm = handle(CALLS)
    llm.generate("Where to?", [GO, WAIT], system_prompt="You are a sailor.")
    (request,) = sent(llm)
    assert (request.tools, request.tool_choice) == ((), None)
    assert request.response_format == ResponseFormat(
        "tool_calls",
        snapshot(
            {
                "type": "object",
                "properties": {
                    "calls": {
                        "type": "array",
                        "items": {
                            "anyOf": [
                                {
                                    "type": "object",
                                    "properties": {
                                        "tool": {"type": "string", "enum": ["go"]},
                                        "arguments": {
                                            "type": "object",
                                            "properties": {"where": {"type": "string", "maxLength": 500}},
                                            "required": ["where"],
                                        },
                                    },
                                    "required": ["tool", "arguments"],
                                    "additionalProperties": False,
                                },
                                {
                                    "type": "object",
                                    "properties": {
                                        "tool": {"type": "string", "enum": ["wait"]},
                                        "arguments": {"type": "object", "properties": {}, "required": []},
                                    },
                                    "required": ["tool", "arguments"],
                                    "additionalProperties": False,
                                },
                            ]
                        },
                        "minItems": 0,
                        "maxItems": 5,
                    }
                },
                "required": ["calls"],
                "additionalProperties": False,
            }
        ),
    )
    jsonschema.validate(json.loads(CALLS), request.response_format.schema)
    assert [message.content for message in request.messages] == snapshot(
        [
            """\
# Tools
{"tool": "go", "description": "Go somewhere.", "arguments": {"where": {"type": "string"}}}
{"tool": "wait", "description": "Do nothing.", "arguments": {}}

Call tools by answering with one JSON object and nothing else:
{"calls": [{"tool": "name of the tool", "arguments": {"name of the argument": value}}]}
The calls are made in the order of the list.
Call at most 5. To call none, give an empty list.

You are a sailor.\
""",
            "Where to?",
        ]
    )


async def test_the_answer_is_tool_calls_like_native_ones_in_sync_and_async():
    for mode in ("sync", "async"):
        llm = handle(CALLS)
        response = (
            await llm.agenerate("?", [GO, WAIT])
            if mode == "async"
            else await asyncio.to_thread(llm.generate, "?", [GO, WAIT])
        )
        assert response.message == Message("assistant", tool_calls=(tool_call("go", where="n"), tool_call("wait")))
        assert response.finish_reason == "tool_calls"


def test_equal_calls_have_ids_of_their_own():
    twice = json.dumps({"calls": [{"tool": "wait", "arguments": {}}] * 2})
    first, second = handle(twice).generate("?", [WAIT]).message.tool_calls
    assert first == tool_call("wait")
    assert second.id == f"{first.id}_2"


def test_native_calls_to_a_schema_are_taken_as_they_are():
    call = ToolCall("1", "wait", "{}")
    assert handle([call]).generate("?", [WAIT]).message.tool_calls == (call,)


@pytest.mark.parametrize(("choice", "at_least"), [("auto", 0), (None, 0), ("required", 1)])
def test_how_many_calls(choice, at_least):
    llm = handle(CALLS)
    llm.generate("?", [GO, WAIT], choice)
    assert sent(llm)[0].response_format.schema["properties"]["calls"]["minItems"] == at_least
    assert ("at least one" in sent(llm)[0].messages[0].content) == bool(at_least)


def test_no_calls_when_none_need_be_made():
    response = handle('{"calls": []}').generate("?", [GO])
    assert response.message == Message("assistant")
    assert response.finish_reason == "stop"


def test_with_none_the_tools_are_told_and_words_are_asked_for():
    llm = handle("Go north!")
    form = {"type": "object", "properties": {}}
    assert llm.generate("?", [GO], "none", form).message.content == "Go north!"
    (request,) = sent(llm)
    assert (request.tools, request.response_format) == ((), ResponseFormat("answer", form))
    assert '"tool": "go"' in request.messages[0].content
    assert "Do not call a tool yet" in request.messages[0].content
    assert '"calls"' not in request.messages[0].content


def test_the_tools_stand_before_what_differs_between_agents():
    """Servers that cache prompts by their beginning have the tools of all agents, thinking or acting, in common."""
    heads = []
    for choice, persona in (("none", "You are a sailor."), ("auto", "You are a cook.")):
        llm = handle(CALLS)
        llm.generate("?", [GO, WAIT], choice, system_prompt=persona)
        heads.append(sent(llm)[0].messages[0].content.partition("\n\n")[0])
    assert heads[0] == heads[1]
    assert '"tool": "wait"' in heads[0]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("", "it is empty"),
        ("I go.", "there is no JSON object in it"),
        ('{"calls": [{"tool": "fly", "arguments": {}}]}', "there is no tool 'fly'; on offer: go, wait"),
        ('{"calls": []}', "it calls no tool, and one must be called"),
        ('{"calls": [{"tool": "wait"}, {"arguments": {}}]}', "calls.1.tool: Field required"),
        ('{"calls": [{"tool": "wait", "arguments": []}]}', "calls.0.arguments: Input should be an object"),
        (CALLS[:-2], "it breaks off"),
        ('{"calls": [{"tool": "go", "arguments": {"where": "\\ud800"}}]}', "Invalid JSON"),
    ],
)
def test_bad_calls_are_asked_again_once(bad, problem):
    llm = handle([bad, CALLS])
    assert len(llm.generate("?", [GO, WAIT], "required").message.tool_calls) == 2
    assert problem.partition("|")[0] in sent(llm)[1].messages[-1].content or "|" in problem
    with pytest.raises(DecisionError, match=rf"fake/model: the model's answer .*({problem})"):
        handle([bad, bad]).generate("?", [GO, WAIT], "required")


def test_calls_that_lack_only_the_last_brace_are_read():
    assert len(handle(CALLS[:-1]).generate("?", [GO, WAIT]).message.tool_calls) == 2


def test_a_form_of_the_answer_and_calls_as_json_exclude_each_other():
    for options in ({"response_format": {"type": "object"}}, {"response_format": {"type": "json_object"}}):
        with pytest.raises(ConfigurationError, match="cannot ask for tool calls as JSON too"):
            handle(CALLS).generate("?", [GO], **options)


def test_arguments_are_bounded_and_references_lead_to_the_root():
    tree = {"type": "object", "properties": {"parts": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}}
    plant = ToolSpec(
        "plant",
        "Plant.",
        {
            "type": "object",
            "properties": {
                "tree": {"$ref": "#/$defs/Tree"},
                "short": {"type": "string", "maxLength": 9},
                "long": {"type": "string", "maxLength": 9999},
                "essay": {"type": "string", "minLength": 600},
                "novel": {"type": "string", "minLength": 5000},
                "code": {"type": "string", "pattern": "^[a-z]+$"},
                "word": {"type": "string", "pattern": "[a-z]+"},
                "look": {"type": "string", "pattern": r"^(?=a)\w+$"},
                "kind": {"type": "string", "enum": ["a", "b"]},
                "pair": {"type": "array", "items": {"type": "integer"}, "minItems": 20},
                "either": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
            },
            "$defs": {"Tree": tree},
        },
    )
    llm = handle('{"calls": []}')
    llm.generate("?", [plant])
    schema = sent(llm)[0].response_format.schema
    (item,) = schema["properties"]["calls"]["items"]["anyOf"]
    assert item["properties"]["arguments"]["properties"] == {
        "tree": {"$ref": "#/$defs/plant-Tree"},
        "short": {"type": "string", "maxLength": 9},
        "long": {"type": "string", "maxLength": 1999},
        "essay": {"type": "string", "minLength": 600, "maxLength": 600},
        "novel": {"type": "string", "maxLength": 1999},
        "code": {"type": "string", "pattern": "^[a-z]+$"},
        "word": {"type": "string", "maxLength": 500},
        "look": {"type": "string", "maxLength": 500},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "pair": {"type": "array", "items": {"type": "integer"}, "minItems": 20, "maxItems": 20},
        "either": {"anyOf": [{"type": "string", "maxLength": 500}, {"type": "integer"}]},
    }
    parts = {"type": "array", "items": {"$ref": "#/$defs/plant-Tree"}, "maxItems": 16}
    assert schema["$defs"] == {"plant-Tree": {"type": "object", "properties": {"parts": parts}}}
    jsonschema.Draft202012Validator.check_schema(schema)


def test_a_conversation_with_calls_is_told_in_words():
    request = LLMRequest(
        model="fake/model",
        messages=(
            Message("user", "Where to?"),
            Message(
                "assistant", "Off!", tool_calls=(ToolCall("1", "go", '{"where": "n"}'), ToolCall("2", "wait", "{"))
            ),
            Message("tool", "Arrived.", tool_call_id="1"),
            Message("tool", "Waited.", tool_call_id="2"),
            Message("user", "And now?"),
            Message("assistant", tool_calls=(ToolCall("3", "wait", "{}"),)),
            Message("tool", "Waited.", tool_call_id="3"),
            Message("assistant", "Hm."),
        ),
        tools=(GO, WAIT),
    )
    llm = handle(CALLS)
    llm.complete(request)
    system, *rest = sent(llm)[0].messages
    assert system.role == "system"
    assert [(message.role, message.content) for message in rest] == [
        ("user", "Where to?"),
        (
            "assistant",
            'Off!\n{"calls": [{"tool": "go", "arguments": {"where": "n"}, "id": "1"}, '
            '{"tool": "wait", "arguments": "{", "id": "2"}]}',
        ),
        ("user", "Result of call 1: Arrived.\nResult of call 2: Waited.\n\nAnd now?"),
        ("assistant", '{"calls": [{"tool": "wait", "arguments": {}, "id": "3"}]}'),
        ("user", "Result of call 3: Waited."),
        ("assistant", "Hm."),
    ]


# What can be chosen


def offered(narrow):
    return OfferedTool.of(GO, narrow)


def test_choices_are_in_the_schema_and_not_in_the_prompt():
    here = {"type": "object", "properties": {"where": {"enum": ["n"]}}, "required": ["where"]}
    llm = handle(CALLS)
    llm.generate("?", [offered(lambda: here), WAIT])
    assert "'enum': ['n']" in str(sent(llm)[0].response_format.schema)
    assert "enum" not in sent(llm)[0].messages[0].content


def test_a_tool_without_choices_cannot_be_called_and_is_still_told():
    llm = handle('{"calls": []}')
    llm.generate("?", [offered(lambda: None), WAIT])
    assert "'go'" not in str(sent(llm)[0].response_format.schema)
    assert '"tool": "go"' in sent(llm)[0].messages[0].content
    llm = handle("I cannot do anything.")
    llm.generate("?", [offered(lambda: None)], "required")
    assert sent(llm)[0].response_format is None
    assert "Do not call a tool" in sent(llm)[0].messages[0].content


def test_native_tools_are_sent_plain_and_nobody_looks_around():
    llm = handle([tool_call("wait")], "auto")
    llm.generate("?", [offered(lambda: pytest.fail("looked around")), WAIT])
    assert sent(llm)[0].tools == (GO, WAIT)
    assert sent(llm)[0].tools[0] is GO


# Which mode


def test_an_unknown_mode():
    with pytest.raises(ConfigurationError, match="tool_mode must be 'native', 'json_schema' or 'auto', got 'json'"):
        ModuleLLM("openai/x", tool_mode="json")
    with pytest.raises(ConfigurationError, match="tool_mode must be"):
        LLMAgent(SpeakersModel(0, None), CoTReasoning, tool_mode=None)


@pytest.mark.parametrize("mode", ["native", "json_schema", "auto"])
def test_without_tools_every_mode_sends_the_request_as_it_is(mode):
    llm = handle("ok", mode, model="deepseek/deepseek-reasoner")
    request = llm.request("?")
    llm.complete(request)
    assert sent(llm)[0] == request


def test_the_price_list_knows_who_has_no_tool_calling():
    assert calls_no_tools("deepseek/deepseek-reasoner")
    assert calls_no_tools("ollama/codegeex4")
    for model in ("openai/gpt-4o-mini", "gemini/gemini-2.0-flash", "openai/my-own", "ollama/llama3", ""):
        assert not calls_no_tools(model)


def test_auto_knows_models_without_tool_calling():
    llm = handle(CALLS, "auto", model="deepseek/deepseek-reasoner")
    assert len(llm.generate("?", [GO, WAIT]).message.tool_calls) == 2
    assert [bool(request.tools) for request in sent(llm)] == [False]


def refusal(status, text="registry.ollama.ai/library/gemma does not support tools", **more):
    return ModelCallError(text, status=status, **more)


TOOL_USE = {"model": "openai/llama3-8b-tool-use", "endpoint": "http://tool/v1"}


@pytest.mark.parametrize(
    "error",
    [
        refusal(400),
        refusal(404, "No endpoints found that support tool use."),
        refusal(500, "tools param requires --jinja flag"),
        refusal(501, "Function calling is not implemented."),
        refusal(None, "perplexity does not support parameters: ['tools', 'tool_choice']"),
        refusal(400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        refusal(500, "Value is not callable: null at row 1: tool.parameters|tojson"),
        refusal(400, "openai/tool-7b at http://a/v1 answered: tool-7b does not support tools.", model="openai/tool-7b"),
    ],
)
def test_auto_asks_again_with_a_schema_where_the_server_refuses_tools(error):
    llm = handle([error, CALLS, error, CALLS], "auto")
    for _ in range(2):  # nothing is remembered
        assert len(llm.generate("?", [GO, WAIT]).message.tool_calls) == 2
    assert [bool(request.tools) for request in sent(llm)] == [True, False, True, False]


@pytest.mark.parametrize(
    "error",
    [
        refusal(400, "temperature is too high"),
        refusal(401, "no tools for this key"),
        refusal(503, "tools are overloaded"),
        RateLimitedError("tools: too many", status=429),
        ModelTimeoutError("no answer to tools"),
        refusal(400, "maximum context length is 8192 tokens (8500 in the messages and tools)"),
        refusal(500, "the request with its tools exceeds the available context size"),
        refusal(400, "openai/llama3-8b-tool-use at http://tool/v1 answered with status 400: bad request.", **TOOL_USE),
        refusal(404, "openai/llama3-8b-tool-use: The model `llama3-8b-tool-use` does not exist.", **TOOL_USE),
    ],
)
def test_other_errors_are_errors(error):
    llm = handle([error], "auto")
    with pytest.raises(type(error)):
        llm.generate("?", [GO])
    assert len(sent(llm)) == 1


def test_a_refusal_is_an_error_where_tools_are_to_be_called_natively():
    with pytest.raises(ModelCallError):
        handle([refusal(400)], "native").generate("?", [GO])
    with pytest.raises(ModelCallError):
        handle([refusal(400)], "auto").generate("?")


def test_auto_asks_again_with_a_schema_where_a_required_call_is_missing():
    llm = handle(["I go.", CALLS], "auto")
    assert len(llm.generate("?", [GO, WAIT], "required").message.tool_calls) == 2
    assert [bool(request.tools) for request in sent(llm)] == [True, False]
    assert handle(["I go."], "auto").generate("?", [GO], "auto").message.content == "I go."
    with pytest.raises(DecisionError, match="fake/model: the model's answer cannot be used: it calls no tool"):
        handle("I go.", "native").generate("?", [GO], "required")
    assert handle(["{}"], "auto").generate("?", [GO], "required", {"type": "object"}).message.content == "{}"


def test_a_server_that_refuses_tools():
    def answer(body):
        if "tools" in body:
            return Fault(status=400, body="gemma does not support tools")
        return CALLS if body["response_format"]["json_schema"]["name"] == "tool_calls" else "?"

    with FakeOpenAIServer(answer) as server:
        llm = ModuleLLM("openai/gemma", client=LiteLLMClient(api_base=server.url))
        assert len(llm.generate("?", [GO, WAIT]).message.tool_calls) == 2
    assert len(server.requests) == 2


def test_an_agent_in_a_step_is_named_when_its_calls_cannot_be_read():
    def go(agent, where: str) -> str:
        """Go somewhere.

        Args:
            where: the direction.
        """

    model = SpeakersModel(0, None, parallel=False)
    agent = LLMAgent(
        model, CoTReasoning, client=ScriptedLLM("I go."), step_prompt="?", tools=[go], tool_mode="json_schema"
    )
    with pytest.raises(DecisionError, match="LLMAgent 1: the model's answer"):
        agent.step()


def test_an_agent_acts_by_calls_as_json():
    went = []

    def go(agent, where: str) -> str:
        """Go somewhere.

        Args:
            where: the direction.
        """
        went.append(where)
        return "there"

    model = SpeakersModel(0, None, parallel=False)
    llm = ScriptedLLM(
        lambda request: (
            "I go." if request.response_format is None else CALLS.replace(', {"tool": "wait", "arguments": {}}', "")
        )
    )
    LLMAgent(model, CoTReasoning, client=llm, step_prompt="?", tools=[go], tool_mode="json_schema").step()
    assert went == ["n"]
