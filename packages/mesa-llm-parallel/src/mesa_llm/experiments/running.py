"""One run of a study: its model is made and stepped, its calls are recorded, and its results written."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mesa_llm.activation import step_of
from mesa_llm.activation.values import plain
from mesa_llm.clients import price_of
from mesa_llm.errors import JournalError
from mesa_llm.errors.tracebacks import shorten
from mesa_llm.experiments.limits import SeededClient, StoppableClient, StoppedError
from mesa_llm.experiments.plan import MadeByClass, Make, Run, with_activation
from mesa_llm.journal import Journal, JournaledClient
from mesa_llm.recording import record_run, state_hash

if TYPE_CHECKING:
    import pandas as pd
    from mesa import Model

    from mesa_llm.clients import LLMClient

type Outcome = dict[str, Any]
"""What is known of a run: labels, status, error, steps, rows of the data collector, calls, tokens, cost, seconds."""


def write_whole(path: Path, text: str) -> None:
    """Write a file: all of it, or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


class RunFiles:
    """The files of a study's runs: a journal and an outcome each.

    Args:
        folder: the folder of the study.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def journal(self, run: Run) -> Path:
        """The journal of a run."""
        return self.folder / "journals" / f"{run.key}.db"

    def _outcome(self, run: Run) -> Path:
        return self.folder / "outcomes" / f"{run.key}.json"

    def outcome(self, run: Run) -> Outcome | None:
        """What came of a run; `None` if it has not ended."""
        try:
            outcome: Outcome = json.loads(self._outcome(run).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return outcome

    def keep(self, run: Run, outcome: Outcome) -> None:
        """Write an outcome: all of it, or nothing."""
        write_whole(self._outcome(run), json.dumps(outcome))

    def is_begun(self, run: Run) -> bool:
        """Whether the journal of a run has it. One that was broken off before that is begun again."""
        path = self.journal(run)
        try:
            return path.exists() and any(known.name == run.key for known in Journal(path).runs())
        except JournalError:
            if path.stat().st_size:
                raise
            path.unlink()
            return False

    def spent(self, run: Run) -> tuple[int, int, float]:
        """The calls that a run has paid for so far, their tokens, and their price as far as it is known."""
        if not self.is_begun(run):
            return 0, 0, 0.0
        calls = Journal(self.journal(run)).calls(run.key)
        answers = [(call.request["model"], call.response) for call in calls if call.response is not None]
        tokens = sum(answer.usage.total_tokens for _, answer in answers)
        prices = [price_of(name, answer.usage) if answer.cost is None else answer.cost for name, answer in answers]
        return len(answers), tokens, sum(price or 0.0 for price in prices)


class Session:
    """Makes runs of a study, several at once, on threads; all of them ask one client.

    Args:
        make: makes the model of a run.
        steps: how many steps each makes, as long as the model is running.
        client: what all of them ask.
        files: where journals and outcomes are.
        seed: from which the seeds of calls are made; `None` sends none.
    """

    def __init__(self, make: Make, steps: int, client: LLMClient, files: RunFiles, seed: int | None) -> None:
        self._make = make
        self._steps = steps
        self._client = client
        self._files = files
        self._seed = seed
        self._stop = Event()
        self._asking: set[StoppableClient] = set()

    def stop(self) -> None:
        """Cancel the calls in flight and refuse others, so that the runs break off."""
        self._stop.set()
        for client in tuple(self._asking):
            client.cancel()

    def run(self, run: Run) -> tuple[Outcome, Exception | None]:
        """Make a model and step it. Goes on where an earlier session broke off.

        Returns:
            What came of it, which is not kept yet; and the error, if it has failed.

        Raises:
            StoppedError: if the session has been stopped.
        """
        journal = self._files.journal(run)
        journal.parent.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        outcome: Outcome | None = None
        error: Exception | None = None
        seeded = self._client if self._seed is None else SeededClient(self._client, self._seed, run.rng)
        client = StoppableClient(seeded, self._stop)
        self._asking.add(client)
        try:
            with self._recorded(run, client, journal) as model:
                self._step(with_activation(model, run.activation))
            outcome = outcome_of(run, model, None)
        except StoppedError:
            error = client.exhausted
        except Exception as failure:
            shorten(failure)  # without this frame, which holds it, and with it the thread's event loop
            error = failure
        finally:
            self._asking.discard(client)
        if self._stop.is_set() and error is None:
            raise StoppedError("The study is being stopped.")
        calls, tokens, cost = self._files.spent(run)
        took = {"calls": calls, "tokens": tokens, "cost": cost}
        return (outcome or outcome_of(run, None, error)) | took | {"seconds": time.perf_counter() - started}, error

    @contextmanager
    def _recorded(self, run: Run, client: LLMClient, path: Path) -> Iterator[Model[Any, Any]]:
        """The model of a run, whose journal goes on where it broke off."""
        mode: Literal["resume", "record"] = "resume" if self._files.is_begun(run) else "record"
        if isinstance(self._make, MadeByClass):
            parameters = self._make.arguments(run, client)
            with record_run(
                self._make.model_class, parameters, path=path, mode=mode, run=run.key, metadata=run.labels()
            ) as model:
                yield model
            return
        with JournaledClient(client, path, mode=mode, run=run.key, metadata=run.labels()) as journaled:
            yield self._make(run, journaled)

    def _step(self, model: Model[Any, Any]) -> None:
        for _ in range(self._steps):
            if self._stop.is_set() or not model.running:
                return
            model.step()


def outcome_of(run: Run, model: Model[Any, Any] | None, error: Exception | None) -> Outcome:
    """What came of a run: its labels, how it ended, what its data collector has, and the hash of its state."""
    outcome: Outcome = {"run": run.labels(), "status": "failed" if error else "done", "error": None}
    if error is not None:
        outcome["error"] = "".join(traceback.format_exception(error))
        outcome["cause"] = f"{type(error).__name__}: {error}"
        return outcome
    assert model is not None
    outcome["made_steps"] = step_of(model)
    outcome["state_hash"] = state_hash(model)
    outcome["steps"], outcome["agents"] = _rows(model)
    return outcome


def _rows(model: Model[Any, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of a model's data collector: one a step, and one an agent and step."""
    collector = getattr(model, "datacollector", None)
    steps, agents = [], []
    if collector is not None and collector.model_reporters:
        of_model = collector.get_model_vars_dataframe()
        collected = getattr(collector, "_collection_steps", ())  # Mesa 3.4 has none
        if len(collected) == len(of_model):
            of_model.index = list(collected)
        steps = _records(of_model)
    if collector is not None and any(getattr(collector, "_agent_records", {}).values()):
        agents = _records(collector.get_agent_vars_dataframe(), "agent")
    return steps, agents


def _records(frame: pd.DataFrame, *of: str) -> list[dict[str, Any]]:
    if frame.empty:
        return []
    rows = frame.rename_axis(["step", *of]).reset_index().to_dict("records")
    return [{**plain(row), **{name: float(item) for name, item in row.items() if _is_number(item)}} for row in rows]


def _is_number(value: Any) -> bool:
    return isinstance(value, float | np.floating)  # which may be nan, a text in the canonical form
