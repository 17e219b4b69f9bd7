"""A budget of tokens or money, the client that spends from it, and the tokens that a request is estimated to take."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse, Usage
from mesa_llm.errors import BudgetExhaustedError, ConfigurationError
from mesa_llm.errors.checks import check_number, check_whole
from mesa_llm.limits.fair_queue import FairQueue, PerLoop

type Price = Callable[[str, Usage], float | None]

_TOOK_NOTHING = frozenset({"journal", "shared"})
"""Sources of answers that were paid for elsewhere."""


class Budget:
    """A limit on what calls may take together: tokens, money, or both. Give it to every `connect` that shares it.

    Each call reserves what it will probably take before it is sent, and settles what it has taken. So calls in flight
    at the same time overrun the budget at most by what they take beyond the estimate; `max_tokens` bounds that.

    A copy of a model spends from the same budget. A forked or spawned process has a budget of its own, of which the
    same amount is spent when it begins.

    Args:
        tokens: tokens of prompts and completions together, at least 1; `None` for no limit.
        cost: US dollars, above 0; `None` for no limit.

    Attributes:
        tokens: as given.
        cost: as given.
        spent_tokens: tokens of calls that have ended. May be read from any thread, as all that follow.
        spent_cost: their price in US dollars, as far as it is known.

    Raises:
        ConfigurationError: if neither is given, or a number cannot work.
    """

    def __init__(self, *, tokens: int | None = None, cost: float | None = None) -> None:
        if tokens is None and cost is None:
            raise ConfigurationError("Budget needs tokens, cost or both. Use no Budget for no limit.")
        if tokens is not None:
            check_whole("tokens", tokens, hint="Use None for no limit.")
        if cost is not None:
            check_number("cost", cost, unit="US dollars", hint="Use None for no limit.")
        self.tokens = tokens
        self.cost = cost
        self.spent_tokens = 0
        self.spent_cost = 0.0
        self._accounts: PerLoop[_Account] = PerLoop()

    @property
    def reserved_tokens(self) -> int:
        """Tokens that calls in flight are estimated to take."""
        account = self._accounts.latest
        return account.reserved_tokens if account else 0

    @property
    def reserved_cost(self) -> float:
        """Their price in US dollars, as far as it can be estimated."""
        account = self._accounts.latest
        return account.reserved_cost if account else 0.0

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # the money is the same


@dataclass(frozen=True, slots=True)
class Estimate:
    """The tokens and US dollars that a call will probably take; a cost of `None` cannot be guessed."""

    tokens: int
    cost: float | None


@dataclass(slots=True, eq=False)
class Reservation:
    """What is set aside for one call."""

    make_estimate: Callable[[], Estimate]
    estimate: Estimate = field(default=Estimate(0, None))


class _Account:
    """What the calls of one event loop have reserved, and the queue of those that wait."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.reserved_tokens = 0
        self.reserved_cost = 0.0
        self.queue: FairQueue[Reservation] = FairQueue(self._take, self.give_back)
        self._n_reserved = 0

    def settle(self, reservation: Reservation, *, tokens: int, cost: float) -> None:
        """End a reservation with what the call has taken."""
        self.budget.spent_tokens += tokens
        self.budget.spent_cost += cost
        self.give_back(reservation)
        self.queue.move()

    def _take(self, reservation: Reservation) -> float:
        """Reserve what a call will probably take, if that fits; the estimate is repeated while the call waits.

        It waits as long as it depends on the calls in flight whether enough is left; a call of unknown price waits
        until none is in flight. A call that would overrun the budget in any case raises a `BudgetExhaustedError`.
        """
        estimate = reservation.make_estimate()
        if not self._fits(estimate, reserved_tokens=0, reserved_cost=0.0):
            raise self._exhausted(estimate)
        is_unknown = self.budget.cost is not None and estimate.cost is None
        if self._n_reserved and (
            is_unknown
            or not self._fits(estimate, reserved_tokens=self.reserved_tokens, reserved_cost=self.reserved_cost)
        ):
            return math.inf
        reservation.estimate = estimate
        self.reserved_tokens += estimate.tokens
        self.reserved_cost += estimate.cost or 0.0
        self._n_reserved += 1
        return 0.0

    def give_back(self, reservation: Reservation) -> None:
        self._n_reserved -= 1
        self.reserved_tokens -= reservation.estimate.tokens
        # Zero when nothing is reserved, so that rounding errors do not add up over a run.
        self.reserved_cost = self.reserved_cost - (reservation.estimate.cost or 0.0) if self._n_reserved else 0.0

    def _fits(self, estimate: Estimate, *, reserved_tokens: int, reserved_cost: float) -> bool:
        budget = self.budget
        if budget.tokens is not None and budget.spent_tokens + reserved_tokens + estimate.tokens > budget.tokens:
            return False
        if budget.cost is None:
            return True
        total = budget.spent_cost + reserved_cost + (estimate.cost or 0.0)
        if estimate.cost is None:
            return total < budget.cost
        return total <= budget.cost * (1 + 1e-9)  # 0.1 + 0.1 + 0.1 is more than 0.3

    def _exhausted(self, estimate: Estimate) -> BudgetExhaustedError:
        budget = self.budget
        tokens, cost = budget.spent_tokens + self.reserved_tokens, budget.spent_cost + self.reserved_cost
        limits = [f"{budget.tokens} tokens"] if budget.tokens is not None else []
        limits += [f"{budget.cost:g} US dollars"] if budget.cost is not None else []
        price = f" and {estimate.cost:.4g} US dollars" if estimate.cost is not None else ""
        return BudgetExhaustedError(
            f"A call of about {estimate.tokens} tokens{price} would overrun the budget of {' and '.join(limits)}, so "
            f"it was not sent. Spent are {tokens} tokens and {cost:.4g} US dollars, calls in flight included as "
            "estimated. Give a larger Budget, or bound what an answer may take by max_tokens.",
            spent_tokens=tokens,
            spent_cost=cost,
        )


class BudgetClient(AsyncClient):
    """Lets another client answer as long as a budget lasts.

    A call that would overrun it is not sent, and raises `BudgetExhaustedError`; a parallel step raises that whatever
    its `on_error` says. A call waits while it depends on the calls in flight whether enough is left; this time does not
    count toward `decide_timeout`.

    A failed call costs nothing. An answer that does not report its tokens counts as estimated. The price of an answer
    is what it says itself (`LLMResponse.cost`), or what `price` says. Before a call it is estimated by `price`, or by
    what a token of that model has cost so far; the first call of all therefore goes alone. A free answer without
    tokens, as from a rule-based client in place of a model, does not affect this estimate.

    Args:
        inner: the client that answers.
        budget: what is spent from. Share it between the clients that spend from it.
        price: gives the price in US dollars of a call to a model that takes so many tokens, or `None` if it does not
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

        A `ConfigurationError` if the budget is one of money and the model's answers have no price.
        """
        account = self.budget._accounts.get(lambda: _Account(self.budget))
        reservation = Reservation(lambda: self._estimate(request))
        await account.queue.enter(reservation, request.call)
        tokens, cost = 0, None
        try:
            response = await self.inner.complete(request)
            tokens = response.usage.total_tokens
            if not tokens and response.source not in _TOOK_NOTHING:
                tokens = reservation.estimate.tokens
            cost = self._cost(request, response)
            self._learn(request, response, tokens, cost)
            return response
        finally:
            account.settle(reservation, tokens=tokens, cost=cost or 0.0)

    def _estimate(self, request: LLMRequest) -> Estimate:
        if request.model in self._unpriced:
            raise _has_no_price(request.model)
        estimate = self._estimator.estimate(request)
        tokens = estimate.total_tokens
        cost = self.price(request.model, estimate) if self.price else None
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
        return self.price(request.model, usage) if self.price else None

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
        f"{model} answers without a price, so a budget of money cannot be kept. Give a budget in tokens: "
        "Budget(tokens=...). A client that costs nothing needs no budget."
    )


BYTES_PER_TOKEN = 4
"""English has about four characters in a token. Bytes of UTF-8, not characters: other scripts have fewer of these."""

TOKENS_PER_MESSAGE = 4
"""What a message takes beside its text: its role, and the marks that set it off."""

FIRST_GUESS = 250
"""Tokens of an answer, until something is known: no `max_tokens`, and no answer yet."""


def tokens_in(text: str) -> int:
    """The estimated tokens of a text."""
    n_bytes = len(text) if text.isascii() else len(text.encode(errors="replace"))
    return -(-n_bytes // BYTES_PER_TOKEN)


class TokenEstimator:
    """Guesses the tokens of requests, and learns from answers. For use on one thread.

    The prompt is reckoned from its length. The completion is what the request allows (`max_completion_tokens` or
    `max_tokens`), which it can reach but not exceed; else the mean of the model's completions so far.
    """

    def __init__(self) -> None:
        self._completions: dict[str, tuple[int, int]] = {}  # by model: how many, and their tokens

    def estimate(self, request: LLMRequest) -> Usage:
        """The tokens that a request is estimated to take."""
        return Usage(_prompt_tokens(request), self._completion_tokens(request))

    def learn(self, request: LLMRequest, usage: Usage) -> None:
        """Take note of what an answer took."""
        if usage.completion_tokens:
            count, tokens = self._completions.get(request.model, (0, 0))
            self._completions[request.model] = (count + 1, tokens + usage.completion_tokens)

    def _completion_tokens(self, request: LLMRequest) -> int:
        for name in ("max_completion_tokens", "max_tokens"):
            allowed = request.options.get(name)
            if isinstance(allowed, int) and allowed > 0:  # some servers take -1 for no limit
                return allowed
        count, tokens = self._completions.get(request.model, (0, 0))
        return round(tokens / count) if count else FIRST_GUESS


def _prompt_tokens(request: LLMRequest) -> int:
    n_bytes = sum(len(message.content.encode(errors="replace")) for message in request.messages)
    n_bytes += sum(len(call.name) + len(call.arguments) for message in request.messages for call in message.tool_calls)
    n_bytes += sum(len(json.dumps(tool.as_dict(), default=str)) for tool in request.tools)
    if request.response_format is not None:
        n_bytes += len(json.dumps(request.response_format.as_dict(), default=str))
    return -(-n_bytes // BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE * len(request.messages)
