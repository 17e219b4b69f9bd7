"""Records what happens in a simulation, to a file that can be read while it runs and after a crash."""

from __future__ import annotations

import contextlib
import time
import uuid
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import looking_ahead, step_of
from mesa_llm.activation.context import JOURNAL
from mesa_llm.activation.values import is_canonical, plain
from mesa_llm.concurrency import in_forked_child
from mesa_llm.errors import ConfigurationError
from mesa_llm.recording.events import SCHEMA_VERSION, SimulationEvent, model_event
from mesa_llm.recording.identity import identity_of, versions
from mesa_llm.recording.run_writer import RunWriter
from mesa_llm.recording.state import StateChanges
from mesa_llm.recording.writer import AgentSummary, EventWriter, Format, RecordedEvents, save_recording

if TYPE_CHECKING:
    from mesa import Model

    from mesa_llm.journal import RunJournal
    from mesa_llm.memory import MemoryEntry

__all__ = ["SimulationEvent", "SimulationRecorder"]


class SimulationRecorder:
    """Records the events of a model and of its agents.

    Events are appended to a file of JSON Lines in `output_dir`, one line each, as they happen; the first one creates
    it. After each model step, also a failed one, all events are with the operating system, so they survive a crash of
    the process. The recorder holds no events in memory. The file is complete when the model is garbage-collected, when
    the process ends, or after `close`.

    If the file cannot be written, the simulation goes on: an error is logged once, `error` says why, and `lost_events`
    counts the missing events.

    A copy of a model (deepcopy, pickle, a forked process) records to a file of its own; its metadata has the id of the
    original as `copied_from`.

    `@record_model` makes a recorder for each model. Without it, `self.recorder = SimulationRecorder(self)` in the model
    records its agents, and `record_model_event` the model's own events.

    Args:
        model: the model.
        output_dir: the folder for recordings.
        record_state_changes: whether to record how the place and the internal state of agents change in each step.
            Needs `@record_model`, or steps within `recording_step`.
        auto_save_interval: after how many events they are handed to the operating system at the latest, at least 1;
            by default at the end of each step.
        journal: records the run as a whole, in the place of a file of JSON Lines: events, steps with the state of the
            model, and the calls of all agents. `record_run` and `record_model(path=…)` make one.
        parameters: the arguments of the model's class, by name.

    Attributes:
        simulation_id: names the recording.
        start_time: when the recorder was made, in UTC.
        simulation_metadata: the first line of the file.

    Raises:
        ConfigurationError: if `auto_save_interval` is less than 1.
    """

    def __init__(
        self,
        model: Model[Any, Any],
        output_dir: str | Path = "recordings",
        record_state_changes: bool = True,
        auto_save_interval: int | None = None,
        *,
        journal: RunJournal | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        if auto_save_interval is not None and auto_save_interval < 1:
            raise ConfigurationError(
                f"auto_save_interval must be at least 1 event, got {auto_save_interval!r}. Use None to save with each "
                "step."
            )
        self.model = model
        self.output_dir = Path(output_dir)
        self.record_state_changes = record_state_changes
        self.auto_save_interval = auto_save_interval
        self.journal = journal
        self.parameters = dict(parameters or {})
        self._states = StateChanges()
        self._step: int | None = None
        self._begin()

    def _begin(self, copied_from: str | None = None) -> None:
        self.simulation_id = uuid.uuid4().hex[:8]
        self.start_time = datetime.now(UTC)
        self.simulation_metadata: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "simulation_id": self.simulation_id,
            "start_time": self.start_time.isoformat(),
            "model_class": type(self.model).__name__,
            "versions": versions(),
        }
        if copied_from is not None:
            self.simulation_metadata["copied_from"] = copied_from
        name = f"simulation_{self.simulation_id}_{self.start_time:%Y%m%d_%H%M%S}.jsonl"
        self._started = False
        self._identified: tuple[set[type], object] | None = None
        """The classes of the agents that the identity of the run names."""
        self._writer: EventWriter | RunWriter
        if self.journal is None:
            self._writer = EventWriter(
                self.output_dir.absolute() / name, self.simulation_metadata, flush_every=self.auto_save_interval
            )
            self._close = weakref.finalize(self, self._writer.close)
        else:
            self._writer = RunWriter(self.journal)
            setattr(self.model, JOURNAL, self.journal)
            self._close = weakref.finalize(self, lambda: None)  # the journal ends by itself
        _recorders.add(self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_writer", "_close")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin(copied_from=self.simulation_id)

    def _begin_after_fork(self) -> None:
        self._close.detach()
        self._writer.forget()
        self._begin(copied_from=self.simulation_id)

    @property
    def path(self) -> Path:
        """The file of the recording. It exists from the first event on."""
        return self._writer.path

    @property
    def events(self) -> Sequence[SimulationEvent]:
        """The events recorded so far. Each access reads the file."""
        return RecordedEvents(self._writer)

    @property
    def error(self) -> OSError | None:
        """Why the file cannot be written; `None` as long as it can."""
        return self._writer.error

    @property
    def lost_events(self) -> int:
        """How many events could not be written."""
        return self._writer.lost

    @property
    def compared(self) -> int:
        """In a replayed or resumed run, how many states were compared with the recorded ones, and equal."""
        return self._writer.compared if isinstance(self._writer, RunWriter) else 0

    def record_event(
        self,
        event_type: str,
        content: Mapping[str, Any] | str | None = None,
        agent_id: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        recipient_ids: list[int] | None = None,
    ) -> None:
        """Record an event.

        Args:
            event_type: its type, one of those of `SimulationEvent` or your own.
            content: what happened. Anything but a mapping is recorded as `{"data": content}`, that of a `message` as
                `{"message": content, "recipient_ids": recipient_ids}`.
            agent_id: the `unique_id` of the agent; `None` for the model.
            metadata: more about the event.
            recipient_ids: the agents that get the message.
        """
        if event_type == "message":
            content = {"message": content, "recipient_ids": recipient_ids or []}
        elif not isinstance(content, Mapping):
            content = {"data": content}
        self._append(event_type, content, agent_id, metadata or {})

    def record_model_event(self, event_type: str, content: Mapping[str, Any]) -> None:
        """Record an event of the model.

        Args:
            event_type: its type.
            content: what happened.
        """
        self._append(event_type, content, None, {"source": "model"})

    def record_entry(self, agent_id: int, entry: MemoryEntry) -> None:
        """Record an entry that an agent's memory keeps. Memories call this.

        A message is recorded for its sender and for each recipient: `{"message", "sender", "recipient_ids"}`, where
        the event of a recipient names only this one. `metadata["direction"]` is `sent` or `received`.

        Args:
            agent_id: the agent's `unique_id`.
            entry: the entry.
        """
        content, metadata = entry.content, {"source": "memory"}
        if entry.type == "message":
            sent = content.get("sender") == agent_id
            content = {**content, "recipient_ids": content.get("recipients", []) if sent else [agent_id]}
            content.pop("recipients", None)
            metadata["direction"] = "sent" if sent else "received"
        self._append(entry.type, content, agent_id, metadata, is_kept=True)

    def _append(
        self,
        event_type: str,
        content: Mapping[str, Any],
        agent_id: int | None,
        metadata: Mapping[str, Any],
        *,
        is_kept: bool = False,
    ) -> None:
        """Append an event; its content is copied unless it is canonical and `is_kept` as it is."""
        if looking_ahead():  # a copy records nothing: what happens on it may never happen
            return
        self.start()
        step = step_of(self.model)
        self._writer.step = step
        copied = content if is_kept and is_canonical(content) else plain(content)
        event = SimulationEvent("", datetime.now(UTC), step, agent_id, event_type, dict(copied), plain(metadata))
        self._writer.append(event)

    def start(self) -> None:
        """Record `simulation_start`, if nothing has been recorded yet."""
        if not self._started:
            self._started = True
            step = step_of(self.model)
            self._writer.append(model_event("simulation_start", step, {"step": step}))

    def made(self) -> None:
        """Record that the model has been made: what it is, and the state before its first step."""
        self.start()
        self._identify()
        if isinstance(self._writer, RunWriter):
            self._writer.step = step_of(self.model)
            self._writer.end_step(self.model, started=time.time(), seconds=0.0)

    def _identify(self) -> None:
        """Record what the run is, also when agents of other classes have joined it, or it steps in another way."""
        classes, stepping = set(self.model.agents_by_type), getattr(self.model, "parallel_stepping", None)
        if self._identified is not None and classes <= self._identified[0] and stepping == self._identified[1]:
            return
        self._identified = classes, stepping
        identity = identity_of(self.model, self.parameters)
        if isinstance(self._writer, RunWriter):
            self._writer.begin(identity)
        self.simulation_metadata |= {
            "parameters": identity["model"]["parameters"] | identity["model"]["objects"],
            "seed": identity["seed"],
            "models": sorted({llm["model"] for llm in identity["llms"]}),
        }

    @contextlib.contextmanager
    def recording_step(self) -> Iterator[None]:
        """Record a step of the model: `step_start` before the block, `step_end` after it, or `error` if it raises.

        Within another block of the same step, as where a model's `step` calls its parent's, it does nothing.
        """
        step = step_of(self.model)
        if step == self._step:
            yield
            return
        around, self._step = self._step, step
        self._identify()
        self.record_model_event("step_start", {"step": step})
        error: BaseException | None = None
        started, began = time.time(), time.perf_counter()
        seconds: float | None = None
        if self._states.is_new:
            self._record_changes()
        try:
            yield
        except BaseException as raised:
            error = raised
            seconds = time.perf_counter() - began
            self.record_model_event("error", {"step": step, "error": type(error).__name__, "message": str(error)})
            self._writer.status = "failed"
            raise
        else:
            seconds = time.perf_counter() - began
            self._record_changes()
            self.record_model_event("step_end", {"step": step})
            self._writer.status = self._status(or_else="completed")
        finally:
            self._step = around
            if isinstance(self._writer, RunWriter):
                self._writer.end_step(self.model, started=started, seconds=seconds or 0.0, error=error)
            else:
                self._writer.flush()

    def _record_changes(self) -> None:
        if self.record_state_changes:
            for agent_id, changes in self._states.look(self.model):
                self._append("state_change", changes, agent_id, {"source": "model"}, is_kept=True)

    def _status(self, *, or_else: str) -> str:
        """How the run ends if it ends now. Most models do not say how many steps they have."""
        last_step = getattr(self.model, "max_steps", None)
        if last_step is None:
            return or_else
        return "interrupted" if step_of(self.model) < last_step else "completed"

    def flush(self) -> None:
        """Hand all events to the operating system."""
        self._writer.flush()

    def ended(self, error: BaseException | None = None, *, result: str | None = None) -> None:
        """Record how a run has ended, and close its file. A recorder of JSON Lines knows that from the last step.

        Args:
            error: what has ended it; `None` if it is complete.
            result: the outcome in words.
        """
        if isinstance(self._writer, RunWriter):
            self._writer.ended(error, result)
        self.close()

    def close(self) -> None:
        """Write `simulation_end` and close the file; a later event reopens it.

        Runs by itself when the model is garbage-collected or the process ends.
        """
        self._writer.close()

    def get_agent_events(self, agent_id: int) -> list[SimulationEvent]:
        """The events of an agent.

        Args:
            agent_id: the agent's `unique_id`.
        """
        return [event for event in self.events if event.agent_id == agent_id]

    def get_events_by_type(self, event_type: str) -> list[SimulationEvent]:
        """The events of a type.

        Args:
            event_type: such as `plan`, see `SimulationEvent`.
        """
        return [event for event in self.events if event.event_type == event_type]

    def get_events_by_step(self, step: int) -> list[SimulationEvent]:
        """The events of a step.

        Args:
            step: the number of the step; 1 is the first.
        """
        return [event for event in self.events if event.step == step]

    def export_agent_memory(self, agent_id: int) -> dict[str, Any]:
        """The events of an agent as dictionaries, with a summary.

        Args:
            agent_id: the agent's `unique_id`.

        Returns:
            `{"agent_id", "events", "summary": {"total_events", "event_types", "active_steps", "first_event",
            "last_event"}}`.
        """
        events, summary = [], AgentSummary()
        for event in self.get_agent_events(agent_id):
            events.append(asdict(event))
            summary.add(event)
        return {"agent_id": agent_id, "events": events, "summary": summary.as_json()}

    def get_stats(self) -> dict[str, Any]:
        """Counts of the events recorded so far.

        Returns:
            `{"total_events", "lost_events", "unique_agents", "event_types", "simulation_steps",
            "recording_duration_minutes", "events_per_agent"}`.
        """
        types, agents = set(), Counter[int]()
        for event in self.events:
            types.add(event.event_type)
            if event.agent_id is not None:
                agents[event.agent_id] += 1
        return {
            "total_events": len(self.events),
            "lost_events": self.lost_events,
            "unique_agents": len(agents),
            "event_types": sorted(types),
            "simulation_steps": step_of(self.model),
            "recording_duration_minutes": self._minutes(),
            "events_per_agent": dict(agents),
        }

    def save(self, filename: str | Path | None = None, format: Format = "json") -> Path:  # noqa: A002 - mesa-llm's name
        """Save a copy of the recording so far.

        Args:
            filename: its name in `output_dir`, or its path; made from the id and the time by default.
            format: `json` for one document with metadata, events and a summary of each agent, like mesa-llm 0.3;
                `jsonl` for the format of the recording itself.

        Returns:
            The path of the file.

        Raises:
            ConfigurationError: if the format is another one, such as `pickle`, or the file is the recording itself.
            OSError: if it cannot be written.
        """
        if format not in ("json", "jsonl"):
            reason = " Reading a pickle can run any code, so none are written." if str(format) == "pickle" else ""
            raise ConfigurationError(f"format must be 'json' or 'jsonl', got {format!r}.{reason}")
        if filename is None:
            filename = f"simulation_{self.simulation_id}_{datetime.now(UTC):%Y%m%d_%H%M%S_%f}.{format}"
        path = self.output_dir / filename
        if path.absolute() == self.path:
            raise ConfigurationError(f"{path} is the recording itself, and is written anyway: choose another name.")
        self._writer.flush()
        step = step_of(self.model)
        status = "failed" if self._writer.status == "failed" else self._status(or_else="unknown")
        end = {"status": status, "final_step": step, "total_events": len(self.events)}
        metadata = {
            **self.simulation_metadata,
            "end_time": datetime.now(UTC).isoformat(),
            "total_steps": step,
            "total_events": len(self.events),
            "lost_events": self.lost_events,
            "total_agents": len(self.model.agents),
            "duration_minutes": self._minutes(),
            "completion_status": status,
        }
        save_recording(path, format, metadata, self.events, replace(self._writer.end(), content=end))
        return path

    def _minutes(self) -> float:
        return (datetime.now(UTC) - self.start_time).total_seconds() / 60


_recorders: weakref.WeakSet[SimulationRecorder] = weakref.WeakSet()


@in_forked_child
def _begin_all_after_fork() -> None:
    for recorder in list(_recorders):
        recorder._begin_after_fork()
