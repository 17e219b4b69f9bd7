"""The calls of a run as the inspector shows them: what an agent was asked, word for word, and what was answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mesa_llm.clients import AsyncClient

if TYPE_CHECKING:
    from mesa_llm.clients import LLMClient, LLMRequest, LLMResponse

KEPT = 40  # of the calls of each agent the newest


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that was answered.

    Attributes:
        step: the step of the Mesa model.
        system: the system message.
        prompt: the other messages.
        answer: the text of the answer, and its tool calls as in Python.
        took: tokens and latency in words.
    """

    step: int
    system: str
    prompt: str
    answer: str
    took: str


class CallLog(AsyncClient):
    """Keeps the newest calls of each agent.

    Args:
        inner: the client that answers.
    """

    def __init__(self, inner: LLMClient) -> None:
        self.inner = inner
        # An agent's are replaced as a whole, and only on the transport loop: any thread may read them without a lock.
        self._calls: dict[int, tuple[Call, ...]] = {}

    def of(self, agent_id: int, step: int | None = None) -> list[Call]:
        """The kept calls of an agent, oldest first.

        Args:
            agent_id: the agent.
            step: only those of this step.
        """
        return [call for call in self._calls.get(agent_id, ()) if step is None or call.step == step]

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Ask the inner client, and keep what it answers."""
        response = await self.inner.complete(request)
        if (origin := request.call.origin) is not None:
            kept = self._calls.get(origin.agent_id, ())[1 - KEPT :]
            self._calls[origin.agent_id] = (*kept, _call(request, response, step=origin.model_step))
        return response


def _call(request: LLMRequest, response: LLMResponse, *, step: int) -> Call:
    system = [message.content for message in request.messages if message.role == "system"]
    others = [message.content for message in request.messages if message.role != "system"]
    tools = [f"{call.name}({call.arguments})" for call in response.message.tool_calls]
    usage = response.usage
    took = []
    if usage.prompt_tokens or usage.completion_tokens:
        took.append(f"{usage.prompt_tokens:,} input tokens, {usage.completion_tokens:,} output tokens")
    if response.latency_s is not None:
        took.append(f"{response.latency_s:.2f} s")
    return Call(
        step=step,
        system="\n\n".join(system),
        prompt="\n\n".join(others),
        answer="\n".join(filter(None, [response.message.content, *tools])),
        took="; ".join(took),
    )
