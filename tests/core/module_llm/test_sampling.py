"""Sampling arguments: on the agent, on the handle, on one call."""

import math

import pytest
from helpers.speakers import OneCall, SpeakersModel

from mesa_llm.errors import ConfigurationError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.module_llm import ModuleLLM
from mesa_llm.testing import ScriptedLLM

ALL = {
    "temperature": 0,
    "top_p": 0.5,
    "max_tokens": 9,
    "max_completion_tokens": 9,
    "seed": 0,
    "stop": ["\n"],
    "extra_body": {"top_k": 3},
}


def test_an_agents_options_go_with_every_request():
    llm = ScriptedLLM("ok")
    model = SpeakersModel(0, None, parallel=False)
    agent = LLMAgent(model, OneCall, client=llm, step_prompt="?", tools=[], api_key="k", **ALL)
    agent.step()
    assert llm.requests[0].options == ALL
    assert agent.llm.api_key == "k"


def test_none_means_not_sent():
    assert ModuleLLM("openai/x", temperature=None, seed=1, logprobs=None).request("?").options == {"seed": 1}
    assert ModuleLLM("openai/x", **dict.fromkeys(ALL)).request("?").options == {}


async def test_a_call_overrides_the_agent():
    llm = ModuleLLM("fake/x", client=ScriptedLLM("ok"), temperature=0.5, seed=1)
    await llm.agenerate("?", temperature=1, seed=None, presence_penalty=0.1)
    llm.client.requests.append(llm.request("?", max_tokens=5))
    assert [request.options for request in llm.client.requests] == [
        {"temperature": 1, "presence_penalty": 0.1},
        {"temperature": 0.5, "seed": 1, "max_tokens": 5},
    ]
    assert llm.options == {"temperature": 0.5, "seed": 1}


def test_a_blocking_call_overrides_the_agent():
    llm = ModuleLLM("fake/x", client=ScriptedLLM("ok"), temperature=0.5)
    llm.generate("?", temperature=None)
    assert llm.client.requests[0].options == {}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("temperature", -0.1, r"temperature must be a number >= 0, got -0\.1\. Use 0 for no chance\."),
        ("temperature", math.nan, "temperature must be"),
        ("temperature", math.inf, "temperature must be"),
        ("temperature", "hot", "temperature must be a number >= 0, got 'hot'"),
        ("temperature", True, "temperature must be"),
        ("top_p", 0, "top_p must be above 0 and at most 1, got 0. Use 1 for all tokens."),
        ("top_p", 1.1, "top_p must be"),
        ("max_tokens", 0, "max_tokens must be a whole number >= 1, got 0. Use None"),
        ("max_tokens", 1.5, "max_tokens must be"),
        ("max_completion_tokens", 0, "max_completion_tokens must be a whole number >= 1, got 0. Use None"),
        ("seed", "x", "seed must be a whole number, got 'x'"),
    ],
)
def test_what_cannot_work(name, value, message):
    with pytest.raises(ConfigurationError, match=message):
        ModuleLLM("openai/x", **{name: value})
    with pytest.raises(ConfigurationError, match=message):
        ModuleLLM("openai/x").request("?", **{name: value})
    with pytest.raises(ConfigurationError, match=message):
        LLMAgent(SpeakersModel(0, None), OneCall, **{name: value})


def test_an_agent_takes_no_unknown_argument():
    with pytest.raises(TypeError, match=r"LLMAgent\(\) got an unexpected keyword argument 'temprature'"):
        LLMAgent(SpeakersModel(0, None), OneCall, temprature=1)
