"""What a study will take, before anything is asked: dry runs of the corners of its grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse, Usage, price_of
from mesa_llm.limits.budget import TokenEstimator, tokens_in

if TYPE_CHECKING:
    from mesa_llm.experiments.limits import Limits


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the runs that are left will take, by dry runs with answers of a rule.

    Attributes:
        runs: how many runs are left.
        calls: how many calls they will make.
        prompt_tokens: tokens of their prompts, estimated from their length.
        completion_tokens: tokens of the answers.
        cost: their price in US dollars; `None` if the price of a model is not known.
        minutes: how long the limits on requests and tokens per minute make it last; 0 without such limits. What a rate
            allows within a minute may go at once, so short studies take less.
    """

    runs: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    minutes: float

    def __str__(self) -> str:
        price = "an unknown price" if self.cost is None else f"${self.cost:,.2f}"
        least = f", about {self.minutes:,.0f} minutes at the limits" if self.minutes >= 1 else ""
        return (
            f"{self.runs} runs: {self.calls:,} calls, {self.prompt_tokens:,} tokens of prompts and "
            f"{self.completion_tokens:,} of answers, {price}{least}."
        )


class DryClient(AsyncClient):
    """Has a rule answer, and counts what an LLM would have taken.

    Args:
        rule: what answers.
        answer_tokens: how long an LLM's answer is; by default as long as the rule's.
    """

    def __init__(self, rule: LLMClient, answer_tokens: int | None = None) -> None:
        self._rule = rule
        self._answer_tokens = answer_tokens
        self._estimator = TokenEstimator()
        self.calls = 0
        self.usage: dict[str, Usage] = {}

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Have the rule answer. Runs on the transport loop."""
        response = await self._rule.complete(request)
        written = self._answer_tokens
        if written is None:
            message = response.message
            written = tokens_in(message.content) + sum(
                tokens_in(call.name) + tokens_in(call.arguments) for call in message.tool_calls
            )
        before = self.usage.get(request.model, Usage())
        read = self._estimator.estimate(request).prompt_tokens
        self.usage[request.model] = Usage(before.prompt_tokens + read, before.completion_tokens + written)
        self.calls += 1
        return response


def estimate_of(dry: Sequence[DryClient], n_runs: int, limits: Limits) -> Estimate:
    """What all runs take, if they take on average what the dry runs have taken."""
    share = n_runs / len(dry)
    usages = [(model, usage) for client in dry for model, usage in client.usage.items()]
    prices = [price_of(model, usage) for model, usage in usages]
    calls = round(share * sum(client.calls for client in dry))
    read = round(share * sum(usage.prompt_tokens for _, usage in usages))
    written = round(share * sum(usage.completion_tokens for _, usage in usages))
    per_minute = ((calls, limits.requests_per_minute), (read + written, limits.tokens_per_minute))
    return Estimate(
        runs=n_runs,
        calls=calls,
        prompt_tokens=read,
        completion_tokens=written,
        cost=None if None in prices else share * sum(price for price in prices if price is not None),
        minutes=max((amount / limit for amount, limit in per_minute if limit), default=0.0),
    )
