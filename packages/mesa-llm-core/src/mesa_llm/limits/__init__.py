"""Clients that bound what another client may be asked at once. They count calls, not agents."""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.limits.concurrency import LimitedClient

__all__ = ["LimitedClient"]
