"""Writes what happens in a run into its journal: events and steps, in one transaction a step."""

from __future__ import annotations

import functools
import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mesa_llm.activation.call import one_at_a_time
from mesa_llm.activation.values import plain, without_addresses
from mesa_llm.clients.masking import Secrets
from mesa_llm.errors import ReplayDifferenceError
from mesa_llm.journal.serialization import as_json
from mesa_llm.journal.steps import EventRow, StepRow, write_events, write_fact, write_step
from mesa_llm.recording.events import load_recording, model_event
from mesa_llm.recording.state import Digest, digest_of, parts_difference

if TYPE_CHECKING:
    from mesa_llm.journal import RunJournal
    from mesa_llm.journal.store import Run, Write
    from mesa_llm.recording.events import SimulationEvent

MOST_HELD = 5000
"""How many events of a step are held in memory at most."""


@dataclass(slots=True)
class _Pending:
    """What is not written yet. Refers to neither model nor journal: the journal's thread keeps it until the end."""

    step: int = 0
    status: str = "unknown"
    failure: str | None = None
    result: str | None = None
    events: int = 0
    held: list[tuple[int, SimulationEvent]] = field(default_factory=list)
    # Protects held and events: under eager activation, agents record from several threads.
    lock: threading.Lock = field(default_factory=threading.Lock)

    def taken(self) -> Sequence[tuple[int, SimulationEvent]]:
        with self.lock:
            held, self.held = self.held, []
        return held

    def write_end(self, run: Run, connection: sqlite3.Connection) -> None:
        """Write what is left, and how the run has ended."""
        _write_held(run, self.taken(), connection)
        end = {"status": self.status, "step": self.step, "time": time.time(), "events": self.events}
        write_fact(run, "end", end | {"error": self.failure, "result": self.result})(connection)


class RunWriter:
    """Hands the events and steps of a model to the writer of its journal.

    In a run that is replayed, and in the part of a resumed one that is there already, the state after each step is
    compared with the recorded one. A replay writes nothing.

    Args:
        journal: the journal of the run.
    """

    error = None  # a journal that cannot be written raises a `JournalError`
    lost = 0

    def __init__(self, journal: RunJournal) -> None:
        self.journal = journal
        self.path: Path = journal.path
        self.compared = 0
        """After how many steps the state was that of the recorded run."""
        self._pending = _Pending()
        self._opaque: frozenset[str] = frozenset()

    @property
    def events(self) -> int:
        """How many events have been appended."""
        return self._pending.events

    @property
    def step(self) -> int:
        """The model's step."""
        return self._pending.step

    @step.setter
    def step(self, step: int) -> None:
        self._pending.step = step

    @property
    def status(self) -> str:
        """How the run has ended if it ends now."""
        return self._pending.status

    @status.setter
    def status(self, status: str) -> None:
        self._pending.status = status

    def append(self, event: SimulationEvent) -> None:
        """Append an event, with the next number."""
        pending = self._pending
        with pending.lock:
            pending.held.append((pending.events, event))
            pending.events += 1
            is_much = len(pending.held) >= MOST_HELD
        if is_much:
            self.flush()

    def flush(self) -> None:
        """Hand the events to the journal, which writes them in order, in the background."""
        self._put()

    def read(self) -> Iterator[SimulationEvent]:
        """The events written so far, one at a time."""
        self.flush()
        session = self.journal.session()
        session.drain()
        return load_recording(self.path, run=session.run.name)

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Write what the run is, in the place of what is known of it and of its end."""
        run = self.journal.session().run
        self._put(write_fact(run, "identity", identity), write_fact(run, "end", None))

    def end_step(self, model: Any, *, started: float, seconds: float, error: BaseException | None = None) -> None:
        """Write a step with its events.

        Args:
            model: the model.
            started: when the step began, in seconds since the epoch.
            seconds: how long it took.
            error: what it has failed with.

        Raises:
            ReplayDifferenceError: if the step is recorded already, and ended in another state.
        """
        run, step = self.journal.session().run, self.step
        digest = digest_of(model) if error is None else None
        if digest is not None:
            self._compare(digest)
        failure = self._pending.failure = None if error is None else in_words(error)
        reports = [report for report in getattr(model, "parallel_reports", ()) if report.step == step]
        tallies = {name: asdict(tally) for name, tally in one_at_a_time(model).tallies.items()}
        measures = as_json(plain(_measures_of(model) if error is None else {}))

        def write(connection: sqlite3.Connection) -> None:
            row = StepRow(
                step=step,
                started=started,
                seconds=seconds,
                state_hash=None if digest is None else digest.hash,
                state=None if digest is None else digest.parts,
                measures=measures,
                reports=as_json([report.as_dict(totals=False) for report in reports]),  # they never change
                tallies=as_json(tallies),
                error=failure,
            )
            write_step(run, row)(connection)

        more: list[Write] = [write]
        if digest is not None and not digest.opaque <= self._opaque:
            self._opaque |= digest.opaque
            more.append(write_fact(run, "opaque", {"attributes": sorted(self._opaque)}))
        self._put(*more)

    def _compare(self, digest: Digest) -> None:
        session = self.journal.session()
        recorded = session.recorded_step(self.step)
        if recorded is None or recorded.state_hash is None:
            return
        if recorded.state_hash != digest.hash:
            difference = parts_difference(json.loads(recorded.state or "{}"), json.loads(digest.parts))
            raise ReplayDifferenceError(
                f"After step {self.step}, the model is in another state than in {session.run}, although it has asked "
                f"the same: {difference}. Code or parameters have changed, or something outside of the model decides."
            )
        self.compared += 1

    def _put(self, *more: Write) -> None:
        """Have events written, and more, in one transaction."""
        session = self.journal.session()
        held = self._pending.taken()
        writes: tuple[Write, ...] = more
        if held:
            writes = (functools.partial(_write_held, session.run, held), *more)
        if writes:
            session.put(functools.partial(_write_all, writes))
        session.at_end(functools.partial(self._pending.write_end, session.run))

    def end(self) -> SimulationEvent:
        """The last event, if the simulation ended now."""
        content = {"status": self.status, "final_step": self.step, "total_events": self.events}
        event = model_event("simulation_end", self.step, content)
        return replace(event, event_id=f"{self.journal.run}_{self.events:06d}")

    def ended(self, error: BaseException | None = None, result: str | None = None) -> None:
        """Note how the run ends.

        Args:
            error: what has ended it.
            result: its outcome, in words.
        """
        pending = self._pending
        pending.result = result
        if error is not None:
            pending.status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            pending.failure = in_words(error)

    def close(self) -> None:
        """Write what is left, and how the run has ended, and close the file."""
        self.journal.close()

    def forget(self) -> None:
        """Drop what is not written yet, after a fork: it belongs to the parent process."""
        self._pending = _Pending()


def in_words(error: BaseException) -> str:
    """An error in one line, without secrets."""
    return Secrets().masked(f"{type(error).__name__}: {error}").strip()


def _write_held(run: Run, held: Iterable[tuple[int, SimulationEvent]], connection: sqlite3.Connection) -> None:
    rows = [
        EventRow(
            number=number,
            time=event.timestamp.timestamp(),
            step=event.step,
            agent_id=event.agent_id,
            type=event.event_type,
            content=without_addresses(as_json(event.content)),
            metadata=without_addresses(as_json(event.metadata)),
        )
        for number, event in held
    ]
    if rows:
        write_events(run, rows)(connection)


def _write_all(writes: Iterable[Write], connection: sqlite3.Connection) -> None:
    for write in writes:
        write(connection)


def _measures_of(model: Any) -> dict[str, Any]:
    """The last value of each variable of the model's data collector."""
    variables = getattr(getattr(model, "datacollector", None), "model_vars", None)
    return {name: values[-1] for name, values in variables.items() if values} if isinstance(variables, Mapping) else {}
