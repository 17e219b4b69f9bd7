"""Stepping a model, and noting for each step what came of it and what it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesa_llm.clients import CallCounts, MeteredClient
    from mesa_llm.parallel_stepping import StepReport


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step of a run.

    Attributes:
        step: its number; 0 stands for the model before the first step.
        states: what the model's data collector counted and measured at its end; `None` where there is nothing to
            measure.
        calls: model calls made in it.
        seconds: its wall time.
        reports: of the agents that stepped in parallel in it, one a set.
    """

    step: int
    states: Mapping[str, float | None]
    calls: int = 0
    seconds: float = 0.0
    reports: tuple[StepReport, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that has ended.

    Attributes:
        records: its steps, the state before the first one included.
        calls: all its model calls.
    """

    records: tuple[StepRecord, ...]
    calls: CallCounts

    @property
    def seconds(self) -> float:
        """The wall time of all steps."""
        return sum(record.seconds for record in self.records)


def figure(value: float | None) -> str:
    """A state as it is shown: counts in full, measures to three digits after the point, a dash for none."""
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def simulate(
    model: Any,
    client: MeteredClient,
    steps: int,
    *,
    on_step: Callable[[StepRecord], None] = lambda record: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Run:
    """Step a model some times. Imports Mesa.

    Args:
        model: a Mesa model with a data collector.
        client: the client of its agents, which counts the calls.
        steps: how many steps.
        on_step: called with the state before the first step, and with every step when it has ended; also with one that
            fails, whose record has no states.
        clock: gives the time in seconds.

    Raises:
        Exception: what a step raises.
    """
    from mesa_llm.parallel_stepping import reports_of  # noqa: PLC0415 - imports Mesa

    records = [StepRecord(step=0, states=_collected(model))]
    on_step(records[0])
    for step in range(1, steps + 1):
        calls_before, started = client.counts().calls, clock()
        states: Mapping[str, float | None] = {}
        try:
            model.step()
            states = _collected(model)
        finally:
            seconds, calls = clock() - started, client.counts().calls - calls_before
            record = StepRecord(
                step=step, states=states, calls=calls, seconds=seconds, reports=tuple(reports_of(model))
            )
            on_step(record)
        records.append(record)
    return Run(records=tuple(records), calls=client.counts())


def _collected(model: Any) -> dict[str, float | None]:
    """The last value of every variable of the model's data collector."""
    return {name: values[-1] for name, values in model.datacollector.model_vars.items()}
