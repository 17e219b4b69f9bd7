"""Both transports, asked in the same way."""

import json

from mesa_llm.clients import DirectClient, LiteLLMClient, LLMRequest, Message
from mesa_llm.testing import FakeOpenAIServer, Fault

TRANSPORTS = {"direct": DirectClient, "litellm": LiteLLMClient}
KEY = "sk-12345678"


def ask(transport, body, *, status=200, model="openai/fake", headers=None, **fields):
    """The response to a body that a server sends: JSON as a dict or list, or bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with FakeOpenAIServer(Fault(status=status, body=raw, headers=headers or {})) as server:
        client = TRANSPORTS[transport](api_base=server.url, api_key=KEY, timeout=60)
        return client.generate(LLMRequest(model=model, messages=(Message("user", "hi"),), **fields))


def completion(message, finish_reason="stop", usage=None, **more):
    """A completion's JSON with one message."""
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "fake", "choices": [choice]}
    return whole | ({} if usage is None else {"usage": usage}) | more


def says(content, **more):
    """A message of the assistant's."""
    return {"role": "assistant", "content": content} | more
