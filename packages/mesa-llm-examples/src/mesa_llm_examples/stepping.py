"""The modes in which an example can be run."""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Mode(StrEnum):
    """How the agents of a step decide."""

    ASYNCIO = "asyncio"
    THREADING = "threading"
    OFF = "off"


@contextmanager
def stepping(mode: Mode, max_workers: int | None = None) -> Iterator[None]:
    """Let models that want to step in parallel do so within the `with` block. Imports Mesa.

    Args:
        mode: how; with `off`, nothing is done.
        max_workers: in mode `threading`, how many threads may run at once; `None` for no limit.
    """
    from mesa_llm.parallel_stepping import (  # noqa: PLC0415 - imports Mesa
        disable_automatic_parallel_stepping,
        enable_automatic_parallel_stepping,
    )

    if mode is Mode.OFF:
        yield
        return
    enable_automatic_parallel_stepping("threading" if mode is Mode.THREADING else "asyncio", max_workers=max_workers)
    try:
        yield
    finally:
        disable_automatic_parallel_stepping()
