"""The hash of a request says what it asks, and nothing else."""

import hashlib
import json

import pytest

from mesa_llm.clients import LLMRequest, Message, ResponseFormat, ToolSpec
from mesa_llm.clients.request_key import request_key
from mesa_llm.errors import ConfigurationError


def request(**fields):
    return LLMRequest(**({"model": "a/b", "messages": (Message("user", "Grüße 字"),)} | fields))


def test_it_is_the_sha256_of_canonical_json():
    text = '{"messages":[{"content":"Grüße 字","role":"user"}],"model":"a/b","seed":1}'
    assert json.loads(text)
    assert request_key(request(options={"seed": 1})) == hashlib.sha256(text.encode()).hexdigest()


def test_the_order_of_keys_does_not_matter():
    one = request(options={"seed": 1, "extra_body": {"a": 1, "b": 2}})
    other = request(options={"extra_body": {"b": 2, "a": 1}, "seed": 1})
    assert request_key(one) == request_key(other)


def test_everything_that_is_asked_does():
    tool = ToolSpec("move", "Move.", {"type": "object"})
    requests = [
        request(),
        request(model="a/c"),
        request(messages=(Message("system", "Grüße 字"),)),
        request(messages=(Message("user", "Grüße"),)),
        request(tools=(tool,)),
        request(tools=(tool,), tool_choice="required"),
        request(response_format=ResponseFormat("x", {"type": "object"})),
        request(options={"temperature": 0}),
        request(options={"temperature": 1}),
    ]
    assert len({request_key(one) for one in requests}) == len(requests)


def test_what_json_cannot_hold_is_named():
    with pytest.raises(ConfigurationError, match=r"A request holds \{1\} \(set\), which cannot be written as JSON"):
        request_key(request(options={"stop": {1}}))
