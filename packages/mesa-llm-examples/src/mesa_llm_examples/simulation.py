"""Stepping a model, and noting for each step what came of it and what it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesa_llm.clients import CallCounts, MeteredClient


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step of a run.

    Attributes:
        step: its number; 0 stands for the model before the first step.
        states: what the model's data collector counted and measured at its end; `None` where there is nothing to
            measure.
        calls: model calls made in it.
        seconds: its wall time.
    """

    step: int
    states: Mapping[str, float | None]
    calls: int = 0
    seconds: float = 0.0


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
    """Step a model some times.

    Args:
        model: a Mesa model with a data collector.
        client: the client of its agents, which counts the calls.
        steps: how many steps.
        on_step: told of every step when it has ended.
        clock: gives the time in seconds.

    Raises:
        Exception: what a step raises.
    """
    records = [StepRecord(step=0, states=_collected(model))]
    for step in range(1, steps + 1):
        calls_before, started = client.counts().calls, clock()
        model.step()
        seconds, calls = clock() - started, client.counts().calls - calls_before
        records.append(StepRecord(step=step, states=_collected(model), calls=calls, seconds=seconds))
        on_step(records[-1])
    return Run(records=tuple(records), calls=client.counts())


def _collected(model: Any) -> dict[str, float | None]:
    """The last value of every variable of the model's data collector."""
    return {name: values[-1] for name, values in model.datacollector.model_vars.items()}
