"""Clients that bound what another client is asked: how much at once, how fast, how often, for how much.

`mesa_llm.module_llm.connect` stacks them; the order is, from the outside in:

    SingleFlightClient    lets identical requests that are in flight at the same time share one call
    BudgetClient          stops before a budget is overrun
    FallbackClient        asks another model when one has failed
    RetryingClient        asks again after a failure that can pass; while it waits, it holds no place further in
    LimitedClient         limits calls in flight (to what the endpoint takes), requests and tokens per minute

They count calls, not agents, and change when answers come, not what they are.
"""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.limits.adaptive import AdaptiveConcurrency
from mesa_llm.limits.adaptive import AdaptiveLimit as AdaptiveLimit
from mesa_llm.limits.budget import Budget
from mesa_llm.limits.budget import BudgetClient as BudgetClient
from mesa_llm.limits.limited_client import LimitedClient as LimitedClient
from mesa_llm.limits.retries import FallbackClient, RetryingClient
from mesa_llm.limits.single_flight import SingleFlightClient as SingleFlightClient

__all__ = ["AdaptiveConcurrency", "Budget", "FallbackClient", "RetryingClient"]
