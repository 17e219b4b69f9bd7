"""A client that needs no model: a policy written in Python answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mesa_llm.clients.chat_completion import Answer, to_response
from mesa_llm.clients.client import AsyncClient
from mesa_llm.clients.latency import Latency, check_latency, pause
from mesa_llm.clients.messages import LLMRequest, LLMResponse

NOTHING = "nothing"
"""The `finish_reason` of a rule's empty answer: it decides to do nothing. A model's empty answer is a failure."""


class RuleBasedClient(AsyncClient):
    """Answers by a policy, without a network and without a key.

    For a first contact, for examples, and as a baseline to compare a model with. The policy is a pure function of the
    request: it has no agent and no Mesa model to look at, so it knows what a language model would know, and the same
    request gets the same answer in any order. It runs on the transport loop, so it must be quick. Its answers cost
    nothing (`LLMResponse.cost` is 0.0), but for a full `LLMResponse`, which has the cost that it names. All have
    `source="rule"`, so that nobody takes their simulated latency (`LLMResponse.latency_s`) for a measured one.

    ```python
    from mesa_llm.clients import LLMRequest, Message, RuleBasedClient


    def policy(request):
        return "Rest." if "tired" in request.messages[-1].content else "Work."


    client = RuleBasedClient(policy)
    request = LLMRequest(model="any/model", messages=(Message(role="user", content="You are tired. What do you do?"),))
    print(client.generate(request).message.content)
    #> Rest.
    ```

    Args:
        policy: gives the answer to a request: a text, one or several tool calls (see `tool_call`), a `Message`, or a
            full `LLMResponse`; an empty text or list decides to do nothing. What it raises reaches the caller as it is,
            with its traceback.
        latency: seconds until the answer, or a function that gives them for a request. Waiting overlaps, as with a
            model.

    Raises:
        ConfigurationError: if `latency` is below zero.
    """

    def __init__(self, policy: Callable[[LLMRequest], Answer], *, latency: Latency[LLMRequest] = 0.0) -> None:
        self.policy = policy
        self.latency = check_latency(latency)

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer a request. Runs on the transport loop."""
        seconds = await pause(self.latency, request)
        response = to_response(self.policy(request), model=request.model, cost=0.0, latency_s=seconds)
        if response.source != "model":
            return response
        is_nothing = not response.message.content and not response.message.tool_calls
        return replace(response, source="rule", finish_reason=NOTHING if is_nothing else response.finish_reason)
