"""Clients: one's own, connections, limits, journals."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type

from mesa_llm.clients import (
    AsyncClient,
    DirectClient,
    LLMClient,
    LLMRequest,
    LLMResponse,
    Message,
    RuleBasedClient,
    ToolCall,
    Usage,
    tool_call,
)
from mesa_llm.journal import Journal, JournaledClient, RecordedCall, RecordedRun
from mesa_llm.limits import (
    AdaptiveConcurrency,
    Budget,
    BudgetClient,
    FallbackClient,
    LimitedClient,
    RetryingClient,
    SingleFlightClient,
)
from mesa_llm.module_llm import ModuleLLM, connect
from mesa_llm.testing import FakeOpenAIServer, ScriptedLLM


class Echo:
    """A client by its methods alone."""

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer what was asked."""
        return LLMResponse(message=Message("assistant", request.messages[-1].content), model=request.model)


class AsyncEcho(AsyncClient):
    """A client on asyncio."""

    async def complete(self, request: LLMRequest) -> LLMResponse:
        return await Echo().complete(request)


class Deaf:
    """No client."""


async def answers(request: LLMRequest) -> None:
    """What clients give."""
    response = assert_type(AsyncEcho().generate(request), LLMResponse)
    assert_type(await AsyncEcho().agenerate(request), LLMResponse)
    assert_type(response.message, Message)
    assert_type(response.message.content, str)
    assert_type(response.message.tool_calls, tuple[ToolCall, ...])
    assert_type(response.usage, Usage)
    assert_type(request.messages, tuple[Message, ...])


def policy(request: LLMRequest) -> str | list[ToolCall]:
    """A rule."""
    return [tool_call("speak_to", message="hello")] if request.tools else request.messages[-1].content


CLIENTS: list[LLMClient] = [
    Echo(),
    AsyncEcho(),
    RuleBasedClient(policy),
    RuleBasedClient(lambda request: request.messages[0].content, latency=0.1),
    ScriptedLLM("hello"),
    ScriptedLLM(["one", "two"]),
    DirectClient(api_base="http://localhost:8000/v1", timeout=5),
    LimitedClient(Echo(), max_concurrency=5),
    LimitedClient(Echo(), max_concurrency="adaptive"),
    LimitedClient(Echo(), max_concurrency=AdaptiveConcurrency(start=5)),
    LimitedClient(Echo(), requests_per_minute=60),
    RetryingClient(Echo(), max_attempts=3),
    BudgetClient(Echo(), Budget(tokens=1000)),
    SingleFlightClient(Echo()),
    FallbackClient((Echo(), None), (AsyncEcho(), "openai/gpt-4o")),
]


def connections() -> None:
    """The usual way."""
    assert_type(
        connect(api_base="http://localhost:8000/v1", max_concurrency="adaptive", budget=Budget(cost=1)), LLMClient
    )
    llm = ModuleLLM("openai/x", client=Echo(), temperature=0.1, extra_body={"min_p": 0.1})
    assert_type(llm.client, LLMClient)
    assert_type(llm.generate("hello"), LLMResponse)
    assert_type(llm.request(["a", "b"], tool_choice="none"), LLMRequest)
    with FakeOpenAIServer("hello") as server:
        assert_type(server.url, str)


def journals(path: Path) -> None:
    """Recorded and read."""
    with JournaledClient(Echo(), path, mode="record", metadata={"seed": 1}) as client:
        assert_type(client.run, str | None)
        assert_type(client, JournaledClient)
    JournaledClient(None, path, mode="replay")
    journal = Journal(path)
    assert_type(journal.runs(), tuple[RecordedRun, ...])
    calls: Iterator[RecordedCall] = journal.calls()
    assert_type([call.request for call in calls], list[dict[str, Any]])


def misuse(path: Path, options: dict[str, Any]) -> None:
    """What a type checker must find."""
    LimitedClient(Deaf(), max_concurrency=5)  # type: ignore[arg-type]
    LimitedClient(Echo(), max_concurrency="many")  # type: ignore[arg-type]
    LimitedClient(Echo(), 5)  # type: ignore[call-arg]
    connect("http://localhost:8000/v1")  # type: ignore[call-arg]
    connect(transport="tcp")  # type: ignore[arg-type]
    connect(budget=1000)  # type: ignore[arg-type]
    JournaledClient(Echo(), path, mode="rewind")  # type: ignore[arg-type]
    RuleBasedClient(lambda request: request.color)  # type: ignore[attr-defined]
    ModuleLLM("openai/x", client=Deaf())  # type: ignore[arg-type]
    LLMRequest(messages=(), model=3)  # type: ignore[arg-type]
    AsyncClient()  # type: ignore[abstract]
