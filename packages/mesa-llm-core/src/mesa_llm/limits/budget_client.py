"""A client that spends from a budget."""

from __future__ import annotations

from collections.abc import Callable

from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse
from mesa_llm.errors import ConfigurationError
from mesa_llm.limits.budget import Budget, Estimate
from mesa_llm.limits.token_estimate import TokenEstimator

type Price = Callable[[LLMRequest, int, int], float | None]

_TOOK_NOTHING = frozenset({"journal", "shared"})
"""Sources of answers that were paid for elsewhere."""


class BudgetClient(AsyncClient):
    """Passes calls on to another client as long as a budget lasts.

    A call that would overrun it is not sent, and raises `BudgetExhaustedError`; a parallel step raises that whatever
    its `on_error` says. Where it is open whether the calls in flight leave enough, a call waits for them; this time
    does not count for `decide_timeout`.

    A failed call takes nothing. An answer that does not tell its tokens took what was estimated. The price of an answer
    is what it says itself (`LLMResponse.cost`), or what `price` says. Before a call it is estimated by `price`, or by
    what a token of that model has cost so far; the first call of all therefore goes alone. A free answer that tells no
    tokens, as a rule-based client gives it in place of a model, teaches nothing of what the model costs.

    Args:
        inner: the client that answers. Its `agenerate` is called on the transport loop.
        budget: what is spent from. Share it between the clients that spend from it.
        price: gives the price in US dollars of a request with so many tokens read and written, or `None` if it does not
            know: for models at their provider's own address, `mesa_llm.clients.price_of`.
    """

    def __init__(self, inner: LLMClient, budget: Budget, *, price: Price | None = None) -> None:
        self.inner = inner
        self.budget = budget
        self.price = price
        self._estimator = TokenEstimator()
        self._costs: dict[str, tuple[float, int]] = {}  # by model: US dollars, and for how many tokens
        self._unpriced: set[str] = set()

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Reserve, have the inner client answer, and settle. Runs on the transport loop.

        Raises:
            BudgetExhaustedError: if the call would overrun the budget; it was not sent.
            ConfigurationError: if the budget is one of money and the model's answers have no price.
        """
        reservation = await self.budget.reserve(lambda: self._estimate(request))
        tokens, cost = 0, None
        try:
            response = await self.inner.agenerate(request)
            tokens = response.usage.total_tokens
            if not tokens and response.source not in _TOOK_NOTHING:
                tokens = reservation.estimate.tokens
            cost = self._cost(request, response)
            self._learn(request, response, tokens, cost)
            return response
        finally:
            self.budget.settle(reservation, tokens=tokens, cost=cost or 0.0)

    def _estimate(self, request: LLMRequest) -> Estimate:
        if request.model in self._unpriced:
            raise _has_no_price(request.model)
        estimate = self._estimator.estimate(request)
        tokens = estimate.total_tokens
        cost = self.price(request, estimate.prompt_tokens, estimate.completion_tokens) if self.price else None
        known_cost, known_tokens = self._costs.get(request.model, (0.0, 0))
        if cost is None and known_tokens:
            cost = known_cost / known_tokens * tokens
        return Estimate(tokens, cost)

    def _cost(self, request: LLMRequest, response: LLMResponse) -> float | None:
        if response.cost is not None:
            return response.cost
        if response.source in _TOOK_NOTHING:
            return 0.0
        usage = response.usage if response.usage.total_tokens else self._estimator.estimate(request)
        return self.price(request, usage.prompt_tokens, usage.completion_tokens) if self.price else None

    def _learn(self, request: LLMRequest, response: LLMResponse, tokens: int, cost: float | None) -> None:
        self._estimator.learn(request, response.usage)
        if cost == 0 and not response.usage.total_tokens:
            return
        if cost is not None:
            known_cost, known_tokens = self._costs.get(request.model, (0.0, 0))
            self._costs[request.model] = (known_cost + cost, known_tokens + tokens)
        elif self.budget.cost is not None:
            self._unpriced.add(request.model)
            raise _has_no_price(request.model)


def _has_no_price(model: str) -> ConfigurationError:
    return ConfigurationError(
        f"{model} answers without a price, so a budget of money cannot be kept. Give BudgetClient a price function, or "
        "a budget in tokens: Budget(tokens=...). A client that costs nothing needs no BudgetClient around it."
    )
