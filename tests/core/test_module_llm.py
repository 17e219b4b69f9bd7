import asyncio
import copy
import pickle
import threading
import tracemalloc

import pytest
from pydantic import BaseModel

from mesa_llm.activation import Turn, entered
from mesa_llm.clients import AsyncClient, Message, ResponseFormat, ToolSpec
from mesa_llm.concurrency import calling_loop
from mesa_llm.errors import ConfigurationError
from mesa_llm.module_llm import ModuleLLM
from mesa_llm.testing import ScriptedLLM

GO = {
    "type": "function",
    "function": {"name": "go", "description": "Go.", "parameters": {"type": "object", "properties": {}}},
}


def handle(client=None, **arguments):
    return ModuleLLM("fake/model", client=client or ScriptedLLM("ok"), **arguments)


def test_request_always_starts_with_a_system_message():
    assert handle().request("hi").messages == (Message("system", ""), Message("user", "hi"))
    assert handle().request().messages == (Message("system", ""),)
    two = handle(system_prompt="Be kind.").request(["a", "b"])
    assert two.messages == (Message("system", "Be kind."), Message("user", "a"), Message("user", "b"))
    other = handle(system_prompt="Be kind.").request("a", system_prompt="")
    assert other.messages[0] == Message("system", "")


@pytest.mark.parametrize("prompt", [3, {"role": "user"}, ["a", 3]])
def test_prompt_must_be_text(prompt):
    with pytest.raises(TypeError, match=r"prompt.* must be a str.*got"):
        handle().request(prompt)


def test_tools_as_dicts_and_specs():
    spec = ToolSpec("stop", "Stop.", {"type": "object"})
    request = handle().request("hi", [GO, spec])
    assert request.tools == (ToolSpec("go", "Go.", {"type": "object", "properties": {}}), spec)
    assert request.tool_choice == "auto"
    assert request.as_dict()["tools"] == [GO, spec.as_dict()]
    assert handle().request("hi", [], "required").tool_choice is None


@pytest.mark.parametrize("tool", [{"name": "go"}, {"function": {}}, "go", None])
def test_what_is_no_tool(tool):
    with pytest.raises(ConfigurationError, match=r"is not a tool\. Give a ToolSpec"):
        handle().request("hi", [tool])


def test_tool_choice_is_checked():
    with pytest.raises(ConfigurationError, match="tool_choice must be 'auto', 'none', 'required' or None, got 'any'"):
        handle().request("hi", [GO], "any")


class Mood(BaseModel):
    happy: bool


def test_response_formats():
    def of(response_format):
        return handle().request("hi", response_format=response_format)

    schema = Mood.model_json_schema()
    assert of(None).response_format is None
    assert of(Mood).response_format == ResponseFormat("Mood", schema)
    assert of(schema).response_format == ResponseFormat("Mood", schema)
    assert of(ResponseFormat("x", schema)).response_format == ResponseFormat("x", schema)
    named = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert of(named).response_format == ResponseFormat("x", schema)
    strict = {"type": "json_schema", "json_schema": {**named["json_schema"], "strict": True}}
    for kept in ({"type": "json_object"}, strict):
        assert of(kept).as_dict()["response_format"] == kept
    for wrong in ("json", {"a": 1}, int):
        with pytest.raises(ConfigurationError, match="is not a response format"):
            of(wrong)


def test_sampling_options_go_with_every_request():
    llm = handle(temperature=0.2, seed=1)
    assert llm.request("hi").options == {"temperature": 0.2, "seed": 1}


async def test_generate_and_agenerate_send_the_same():
    client = ScriptedLLM(["one", "two"])
    llm = handle(client, system_prompt="s")
    arguments = ("hi", [GO], "required", Mood, "t")
    assert (await asyncio.to_thread(llm.generate, *arguments)).message.content == "one"
    assert (await llm.agenerate(*arguments)).message.content == "two"
    assert client.requests == [llm.request(*arguments)] * 2


class Foreign:
    """A client that is no AsyncClient."""

    def __init__(self, inner):
        self.inner = inner

    async def complete(self, request):
        return await self.inner.complete(request)


class Marks(Turn):
    """A turn that notes when its agent waits for a model."""

    acting = False
    agent = None

    def __init__(self):
        self.seen = []

    def call_started(self, call):
        self.seen.append("waits")

    def call_ended(self, call):
        self.seen.append("goes on")

    abegin_decision = begin_decision = queue = end_decision = atake = take = stage = None
    claim = is_claimed = conflicted = None


@pytest.mark.parametrize("wrapped", [Foreign, lambda client: client], ids=["foreign", "async"])
def test_a_ready_request_is_sent_as_it_is_and_marked_as_a_model_call(wrapped):
    turn = Marks()
    client = ScriptedLLM(ValueError("no"))
    llm, request = handle(wrapped(client)), handle().request("hi")

    def ask():
        with pytest.raises(ValueError, match="no"):
            llm.complete(request)

    async def aask():
        with pytest.raises(ValueError, match="no"):
            await llm.acomplete(request)

    entered(turn).run(ask)
    entered(turn).run(calling_loop.run, aask())
    assert turn.seen[0] == "waits"
    assert turn.seen[-1] == "goes on"
    assert turn.seen.count("waits") == turn.seen.count("goes on") >= 2
    assert client.requests[0] == request


@pytest.mark.parametrize("name", ["gpt-4o", "/gpt-4o", "openai/", ""])
def test_model_needs_a_provider(name):
    with pytest.raises(ConfigurationError, match=r"'provider/model', e\.g\. 'openai/gpt-4o-mini'.*got '" + name):
        ModuleLLM(name)
    assert isinstance(ConfigurationError(""), ValueError)
    assert ModuleLLM(name, client=ScriptedLLM("ok")).llm_model == name


def test_default_client_is_shared_and_needs_no_key_yet(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    first, second = ModuleLLM("openai/gpt-4o-mini"), ModuleLLM("openai/gpt-4o")
    assert first.client is second.client
    assert ModuleLLM("openai/x", "http://localhost:1/v1").client is not first.client
    assert ModuleLLM("openai/x", api_key="k").client is not first.client


def test_address_of_ollama():
    assert ModuleLLM("ollama/llama3").api_base == "http://localhost:11434"
    assert ModuleLLM("ollama_chat/llama3").api_base == "http://localhost:11434"
    assert ModuleLLM("ollama/llama3", "http://elsewhere").api_base == "http://elsewhere"
    assert ModuleLLM("openai/x").api_base is None


def test_pickle_and_deepcopy_look_the_shared_client_up_again():
    llm = ModuleLLM("openai/x", "http://localhost:1/v1", "s", temperature=0.1)
    for twin in (pickle.loads(pickle.dumps(llm)), copy.deepcopy(llm)):
        assert vars(twin) == vars(llm)
        assert twin.client is llm.client
        twin.options["temperature"] = 0.9
        assert llm.options == {"temperature": 0.1}


def test_own_client_goes_along():
    client = ScriptedLLM(["one", "two"])
    agents = [handle(client), handle(client)]
    assert agents[0].generate("hi").message.content == "one"
    for twins in (copy.deepcopy(agents), pickle.loads(pickle.dumps(agents))):
        assert twins[0].client is twins[1].client is not client
        assert twins[0].generate("hi").message.content == "two"
    assert len(client.requests) == 1


class Locked(AsyncClient):
    def __init__(self):
        self.lock = threading.Lock()

    async def complete(self, request):
        raise NotImplementedError


def test_own_client_that_cannot_be_copied_is_shared_with_the_copy():
    llm = handle(Locked())
    assert copy.deepcopy(llm).client is llm.client


def test_costs_less_than_a_kilobyte():
    names = [f"fake/{number}" for number in range(1000)]
    client = ScriptedLLM("ok")
    tracemalloc.start()
    handles = [ModuleLLM(name, client=client) for name in names]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(handles) < 1024


def test_a_handle_on_another_model_goes_the_same_way():
    client = ScriptedLLM("hm")
    llm = ModuleLLM("a/b", system_prompt="You are Ada.", client=client, temperature=0.5, api_key="key")
    other = llm.for_model("c/d")
    assert (other.llm_model, other.client, other.options, other.system_prompt) == ("c/d", client, {}, None)
    assert llm.for_model("c/d", "http://localhost:1/v1").client is client


def test_a_handle_on_the_same_model_has_the_same_settings():
    llm = ModuleLLM("openai/x", "http://localhost:1/v1", "You are Ada.", api_key="key", tool_mode="json_schema", seed=1)
    for same in (llm.for_model("openai/x"), llm.for_model("openai/x", "http://localhost:1/v1")):
        assert vars(same) == vars(llm) | {"system_prompt": None}
        same.options["seed"] = 2
        assert same.client is llm.client
    assert llm.options == {"seed": 1}
    assert llm.system_prompt == "You are Ada."


@pytest.mark.parametrize(
    ("model", "api_base", "key"),
    [
        ("openai/y", "http://localhost:1/v1", "key"),
        ("openai/y", None, None),
        ("openai/x", "http://localhost:2/v1", None),
        ("gemini/y", "http://localhost:1/v1", None),
    ],
)
def test_a_key_goes_to_no_other_server_or_provider(model, api_base, key):
    llm = ModuleLLM("openai/x", "http://localhost:1/v1", api_key="key", transport="litellm", seed=1)
    other = llm.for_model(model, api_base)
    assert (other.llm_model, other.api_base, other.api_key, other.transport) == (model, api_base, key, "litellm")
    assert other.options == {}


@pytest.mark.parametrize("name", [None, 4, ("openai", "small")])
@pytest.mark.parametrize("client", [None, ScriptedLLM("ok")])
def test_a_model_name_that_is_no_text(name, client):
    with pytest.raises(ConfigurationError, match="llm_model must be 'provider/model'") as caught:
        ModuleLLM(name, client=client)
    assert f"got {name!r}." in str(caught.value)
