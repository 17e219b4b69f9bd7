"""Equal requests have equal keys, in every process; whatever goes to the model is part of the key."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from types import MappingProxyType

import pytest

from mesa_llm.clients import LLMRequest, Message, ResponseFormat, ToolSpec, tool_call
from mesa_llm.clients.messages import request_key
from mesa_llm.errors import ConfigurationError
from mesa_llm.journal.serialization import texts_of

TOOL = ToolSpec("move", "Moves.", {"type": "object", "properties": {"to": {"type": "string"}}})
REQUEST = LLMRequest(
    model="a/b",
    messages=(Message("system", "Be brief."), Message("user", "Wie geht's? ☺")),
    tools=(TOOL,),
    tool_choice="auto",
    response_format=ResponseFormat("answer", {"type": "object"}),
    options={"temperature": 0.0, "seed": 1},
)


def test_the_order_of_options_does_not_matter():
    turned = replace(REQUEST, options=MappingProxyType({"seed": 1, "temperature": 0.0}))
    assert request_key(turned) == request_key(REQUEST)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "a/c"},
        {"messages": REQUEST.messages[::-1]},
        {"messages": (*REQUEST.messages, Message("assistant", tool_calls=(tool_call("move", to="x"),)))},
        {"tools": ()},
        {"tools": (replace(TOOL, description="Walks."),)},
        {"tool_choice": "none"},
        {"response_format": None},
        {"options": {"temperature": 0.0, "seed": 2}},
    ],
    ids=str,
)
def test_whatever_goes_to_the_model_matters(change):
    assert request_key(replace(REQUEST, **change)) != request_key(REQUEST)


def test_the_observation_is_no_part_of_what_is_asked():
    seen = replace(REQUEST, observation={"step": 3})
    assert seen.observation == {"step": 3}
    assert seen == REQUEST
    assert seen.as_dict() == REQUEST.as_dict()
    assert texts_of(seen) == texts_of(REQUEST)  # the same key and the same contents of a journal
    assert request_key(seen) == request_key(REQUEST)
    assert "step" not in repr(seen)


def test_it_is_the_same_in_another_process():
    code = (
        "from mesa_llm.clients import LLMRequest, Message; from mesa_llm.clients.messages import request_key; "
        "print(request_key(LLMRequest(model='a/b', messages=(Message('user', 'hello'),))))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert there == request_key(LLMRequest(model="a/b", messages=(Message("user", "hello"),)))
    assert len(there) == 64


def test_half_a_surrogate_pair_has_a_key():
    assert request_key(replace(REQUEST, messages=(Message("user", "\ud83d"),))) != request_key(REQUEST)


def test_an_option_without_a_form_in_json_is_refused():
    with pytest.raises(ConfigurationError, match=r"A request holds \{1\} \(set\), which cannot be written as JSON"):
        request_key(replace(REQUEST, options={"stop": {1}}))


def test_it_is_the_sha256_of_canonical_json():
    request = LLMRequest(model="a/b", messages=(Message("user", "Grüße 字"),), options={"seed": 1})
    text = '{"messages":[{"content":"Grüße 字","role":"user"}],"model":"a/b","seed":1}'
    assert request_key(request) == hashlib.sha256(text.encode()).hexdigest()
