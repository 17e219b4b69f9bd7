"""Recordings shown in the terminal: who did what, said what to whom, and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mesa_llm.errors import ConfigurationError, RecordingError
from mesa_llm.recording.events import SimulationEvent, open_recording

if TYPE_CHECKING:
    from rich.console import Console

type AgentView = Literal["summary", "timeline", "conversations", "decisions", "info"]

_DECISION = ("observation", "plan", "plan_execution", "action")


@dataclass(slots=True)
class _Activity:
    """What kinds of events an agent has had."""

    types: Counter[str] = field(default_factory=Counter)
    steps: set[int] = field(default_factory=set)
    sent: int = 0
    received: int = 0


class AgentViewer:
    """Shows a recording in the terminal. Text that models have written is shown as it is: no markup, no control codes.

    Args:
        recording_path: JSON Lines as recorded, or one JSON document as saved, be it by mesa-llm 0.3.
        console: where to; by default the terminal.

    Attributes:
        metadata: what the recording says about itself.
        agent_ids: the agents that have events, in order.

    Raises:
        FileNotFoundError: if there is no such file.
        RecordingError: if it cannot be read.
    """

    def __init__(self, recording_path: str | Path, *, console: Console | None = None) -> None:
        from mesa_llm.recording import screen  # noqa: PLC0415 - imports rich, which only viewers need

        self.recording_path = Path(recording_path)
        self.console = screen.make_console() if console is None else console
        self._screen = screen
        self._recording = open_recording(recording_path)
        self._agents: defaultdict[int, _Activity] = defaultdict(_Activity)
        self._read()
        self.agent_ids = sorted(self._agents, key=lambda agent_id: (str(type(agent_id)), agent_id))

    def _read(self) -> None:
        """Count all events once; views read the file again, so none are held."""
        events, last, first, status = 0, None, None, None
        for event in self._recording:
            if event.event_type == "simulation_end":
                status = event.content.get("status")
                continue
            events += 1
            first, last = first or event, event
            if event.agent_id is not None:
                activity = self._agents[event.agent_id]
                activity.types[event.event_type] += 1
                activity.steps.add(event.step)
            if event.event_type == "message":
                for agent_id, sends in _parties(event):
                    activity = self._agents[agent_id]
                    activity.sent += sends
                    activity.received += not sends
        counted: dict[str, Any] = {"total_events": events}
        if first is not None and last is not None:
            counted["total_steps"] = last.step
            counted["total_agents"] = len(self._agents)
            counted["duration_minutes"] = (last.timestamp - first.timestamp).total_seconds() / 60
            counted["completion_status"] = status or "not ended: still running, or crashed"
        self.metadata = {**counted, **self._recording.metadata}

    def show_simulation_info(self) -> None:
        """Show what the recording says about itself, and its agents."""
        self._screen.heading(self.console, f"Simulation {self.metadata.get('simulation_id', '')}")
        self._screen.facts(self.console, {name: _shown(name, value) for name, value in self.metadata.items()})
        self.list_agents()

    def list_agents(self) -> None:
        """Show which agents there are, and how many events of which types each has."""
        self._screen.heading(self.console, f"{len(self._agents)} agents")
        rows = [
            (str(agent_id), str(activity.types.total()), ", ".join(sorted(activity.types)))
            for agent_id, activity in ((agent_id, self._agents[agent_id]) for agent_id in self.agent_ids)
        ]
        self._screen.table(self.console, ("Agent", "Events", "Types"), rows)

    def view_agent_timeline(self, agent_id: int) -> None:
        """Show all events of an agent, in order.

        Args:
            agent_id: the agent's `unique_id`.
        """
        if self._knows(agent_id):
            self._screen.heading(self.console, f"Timeline of agent {agent_id}")
            for event in self._events_of(agent_id):
                self._screen.event(self.console, event)

    def view_agent_conversations(self, agent_id: int) -> None:
        """Show the messages that an agent sent and received, in order.

        Args:
            agent_id: the agent's `unique_id`.
        """
        if not self._knows(agent_id):
            return
        self._screen.heading(self.console, f"Conversations of agent {agent_id}")
        messages = 0
        for event in self._recording:
            if event.event_type == "message":
                for party, sends in _parties(event):
                    if party == agent_id:
                        messages += 1
                        self._screen.message(self.console, event, sent=sends)
        if not messages:
            self._screen.note(self.console, f"Agent {agent_id} neither sent nor received a message.")

    def view_agent_decisions(self, agent_id: int) -> None:
        """Show step by step what an agent saw, planned and did.

        Args:
            agent_id: the agent's `unique_id`.
        """
        if not self._knows(agent_id):
            return
        self._screen.heading(self.console, f"Decisions of agent {agent_id}")
        step = None
        for event in self._events_of(agent_id):
            if event.event_type in _DECISION:
                if event.step != step:
                    step = event.step
                    self._screen.heading(self.console, f"Step {step}")
                self._screen.event(self.console, event)

    def view_agent_summary(self, agent_id: int) -> None:
        """Show how many events of which type an agent has had.

        Args:
            agent_id: the agent's `unique_id`.
        """
        if not self._knows(agent_id):
            return
        activity = self._agents[agent_id]
        self._screen.heading(self.console, f"Agent {agent_id}")
        self._screen.facts(
            self.console,
            {
                "events": str(activity.types.total()),
                "active steps": str(len(activity.steps)),
                "messages sent": str(activity.sent),
                "messages received": str(activity.received),
                **{event_type: str(count) for event_type, count in sorted(activity.types.items())},
            },
        )

    def interactive_mode(self) -> None:
        """Show what is asked for, until `quit` or the end of the input."""
        views: dict[str, Callable[[int], None]] = {
            "summary": self.view_agent_summary,
            "timeline": self.view_agent_timeline,
            "conversations": self.view_agent_conversations,
            "decisions": self.view_agent_decisions,
        }
        usage = f"info, list, {', '.join(f'{name} AGENT' for name in views)}, quit"
        self._screen.note(self.console, f"Commands: {usage}")
        while True:
            try:
                name, *arguments = self.console.input("> ", markup=False).split() or [""]
            except (EOFError, KeyboardInterrupt):
                return
            match name, arguments:
                case "quit" | "q", []:
                    return
                case "info", []:
                    self.show_simulation_info()
                case "list", []:
                    self.list_agents()
                case _, [agent] if name in views:
                    if agent.isdecimal():
                        views[name](int(agent))
                    else:
                        self._screen.problem(self.console, f"An agent is named by its number, not {agent!r}.")
                case _:
                    self._screen.problem(self.console, f"Commands: {usage}")

    def _events_of(self, agent_id: int) -> Iterator[SimulationEvent]:
        return (event for event in self._recording if event.agent_id == agent_id)

    def _knows(self, agent_id: int) -> bool:
        known = agent_id in self._agents
        if not known:
            self._screen.problem(self.console, _unknown(agent_id, self.agent_ids))
        return known


def quick_agent_view(
    recording_path: str | Path,
    agent_id: int | None = None,
    view_type: AgentView = "summary",
    *,
    console: Console | None = None,
) -> None:
    """Show one view of a recording.

    Args:
        recording_path: as for `AgentViewer`.
        agent_id: the agent; `None` for the simulation as a whole.
        view_type: `summary`, `timeline`, `conversations`, `decisions` or `info`.
        console: where to; by default the terminal.

    Raises:
        ConfigurationError: if there is no such view.
        FileNotFoundError: if there is no such file.
        RecordingError: if it cannot be read, or has no such agent.
    """
    viewer = AgentViewer(recording_path, console=console)
    views: dict[str, Callable[[int], None]] = {
        "summary": viewer.view_agent_summary,
        "timeline": viewer.view_agent_timeline,
        "conversations": viewer.view_agent_conversations,
        "decisions": viewer.view_agent_decisions,
    }
    if view_type not in ("info", *views):
        raise ConfigurationError(f"view_type must be one of {['info', *views]}, got {view_type!r}.")
    if agent_id is None or view_type == "info":
        viewer.show_simulation_info()
        return
    if agent_id not in viewer.agent_ids:
        raise RecordingError(_unknown(agent_id, viewer.agent_ids))
    views[view_type](agent_id)


def _parties(event: SimulationEvent) -> Iterator[tuple[int, bool]]:
    """Who sends or gets a message by this event, and whether it sends.

    An event that names its sender is one side's. One that does not, as mesa-llm 0.3 and `record_event` have it, is the
    sender's and stands for all.
    """
    sender = event.content.get("sender", event.agent_id)
    if event.agent_id is not None:
        yield event.agent_id, event.agent_id == sender
    if "sender" not in event.content:
        yield from ((agent_id, False) for agent_id in event.content.get("recipient_ids", []))


def _shown(name: str, value: Any) -> str:
    if name == "duration_minutes":
        return f"{value:.2f} minutes"
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)


def _unknown(agent_id: int, known: Sequence[int]) -> str:
    some = ", ".join(map(str, known[:20])) + (", …" if len(known) > 20 else "")
    return f"The recording has no events of an agent {agent_id!r}. Agents in it: {some or 'none'}."
