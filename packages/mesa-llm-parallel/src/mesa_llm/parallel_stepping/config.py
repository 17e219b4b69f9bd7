"""How agents step in parallel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from mesa_llm.errors import ConfigurationError

type Mode = Literal["asyncio", "threading"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelStepping:
    """How agents step in parallel. None of these settings changes what a run computes.

    Attributes:
        mode: `asyncio` runs the agents' `astep` as tasks of one event loop; `threading` runs their `step` on threads.
        max_workers: how many threads may run at the same time, at least 1; `None` for no limit. A thread that waits
            for a model or for its turn does not count.

    Raises:
        ConfigurationError: if a value is not one of these.
    """

    mode: Mode = "asyncio"
    max_workers: int | None = None

    def __post_init__(self) -> None:
        modes = get_args(Mode.__value__)
        if self.mode not in modes:
            raise ConfigurationError(f"mode must be one of {', '.join(map(repr, modes))}, got {self.mode!r}.")
        workers = self.max_workers
        if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 1):
            raise ConfigurationError(
                f"max_workers must be a whole number >= 1, got {workers!r}. Use None for no limit."
            )
