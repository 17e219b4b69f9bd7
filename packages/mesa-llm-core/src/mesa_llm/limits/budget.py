"""So many tokens, or so much money, and no more."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from mesa_llm.errors import BudgetExhaustedError, ConfigurationError
from mesa_llm.limits.checks import check_number, check_whole
from mesa_llm.limits.line import Line
from mesa_llm.limits.per_loop import PerLoop


class Budget:
    """What calls may take in all: tokens, money, or both. Shared by all `BudgetClient`s that it is given to.

    Each call reserves what it will probably take before it is sent, and settles what it has taken. So calls in flight
    at the same time cannot overrun the budget together, but by as much as they take more than was estimated;
    `max_tokens` bounds that.

    A copy of a model spends from the same budget. A forked or spawned process goes on with one of its own, from what
    was spent when it began.

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
            raise ConfigurationError("Budget needs tokens, cost or both. Use no BudgetClient for no limit.")
        if tokens is not None:
            check_whole("tokens", tokens, way_out="Use None for no limit.")
        if cost is not None:
            check_number("cost", cost, unit="US dollars", way_out="Use None for no limit.")
        self.tokens = tokens
        self.cost = cost
        self.spent_tokens = 0
        self.spent_cost = 0.0
        self._accounts: PerLoop[_Account] = PerLoop()

    @property
    def reserved_tokens(self) -> int:
        """Tokens that calls in flight are thought to take."""
        account = self._accounts.latest
        return account.reserved_tokens if account else 0

    @property
    def reserved_cost(self) -> float:
        """Their price in US dollars, as far as it can be estimated."""
        account = self._accounts.latest
        return account.reserved_cost if account else 0.0

    async def reserve(self, reckon: Callable[[], Estimate]) -> Reservation:
        """Reserve what a call will probably take, before it is sent. Runs on the transport loop.

        Waits, in order of arrival, while it is open whether the calls in flight leave enough; a call whose price cannot
        even be guessed waits until there are none.

        Args:
            reckon: gives the estimate; asked again while the call waits, as more is known then.

        Returns:
            The reservation, to be settled when the call has ended.

        Raises:
            BudgetExhaustedError: if the call would overrun the budget even if those in flight took nothing.
        """
        account = self._account()
        reservation = Reservation(reckon)
        await account.line.enter(reservation)
        return reservation

    def settle(self, reservation: Reservation, *, tokens: int = 0, cost: float = 0.0) -> None:
        """End a reservation with what the call has taken: by default nothing, as it has failed.

        Args:
            reservation: as `reserve` gave it.
            tokens: tokens taken.
            cost: their price in US dollars.
        """
        self.spent_tokens += tokens
        self.spent_cost += cost
        account = self._account()
        account.give_back(reservation)
        account.line.move()

    def _account(self) -> _Account:
        return self._accounts.get(lambda: _Account(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # the money is the same


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a call will probably take.

    Attributes:
        tokens: tokens read and written.
        cost: US dollars; `None` if it cannot be guessed.
    """

    tokens: int
    cost: float | None


@dataclass(slots=True, eq=False)
class Reservation:
    """What is set aside for one call."""

    reckon: Callable[[], Estimate]
    estimate: Estimate = field(default=Estimate(0, None))


class _Account:
    """What the calls of one event loop have reserved, and the line of those that wait."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.reserved_tokens = 0
        self.reserved_cost = 0.0
        self.line: Line[Reservation] = Line(self._take, self.give_back)
        self._n_reserved = 0

    def _take(self, reservation: Reservation) -> float:
        estimate = reservation.reckon()
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
        # Begins anew at zero, so that rounding errors do not add up over a run.
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
