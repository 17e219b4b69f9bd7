"""Recordings shown in the terminal, from Python or from a shell: who did what, said what to whom, and why.

python -m mesa_llm.recording.agent_analysis run.jsonl --agent 3 --view timeline
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mesa_llm.errors import RecordingError
from mesa_llm.errors.checks import check_word
from mesa_llm.errors.shown_text import for_people, is_control
from mesa_llm.recording.events import SimulationEvent, open_recording

type AgentView = Literal["summary", "timeline", "conversations", "decisions", "info"]

_DECISION = ("observation", "plan", "plan_execution", "action")
_BORDERS = {"observation": "cyan", "plan": "yellow", "plan_execution": "yellow", "action": "magenta", "message": "blue"}


@dataclass(slots=True)
class _Activity:
    """Counts of an agent's events."""

    types: Counter[str] = field(default_factory=Counter)
    steps: set[int] = field(default_factory=set)
    sent: int = 0
    received: int = 0


class AgentViewer:
    """Shows a recording in the terminal. Text that models have written is shown as it is: no markup, no control codes.

    Args:
        recording_path: JSON Lines as recorded, or one JSON document as saved, also by mesa-llm 0.3.
        console: the console to print to; by default the terminal.

    Attributes:
        metadata: what the recording says about itself.
        agent_ids: the agents that have events, in order.

    Raises:
        FileNotFoundError: if the file does not exist.
        RecordingError: if it cannot be read.
    """

    def __init__(self, recording_path: str | Path, *, console: Console | None = None) -> None:
        self.recording_path = Path(recording_path)
        self.console = Console() if console is None else console
        self._recording = open_recording(recording_path)
        self._agents: defaultdict[int, _Activity] = defaultdict(_Activity)
        self._read()
        self.agent_ids = sorted(self._agents, key=lambda agent_id: (str(type(agent_id)), agent_id))
        self._views: dict[str, Callable[[int], None]] = {
            "summary": self.view_agent_summary,
            "timeline": self.view_agent_timeline,
            "conversations": self.view_agent_conversations,
            "decisions": self.view_agent_decisions,
        }

    def _read(self) -> None:
        """Count all events once. Views read the file again, so no events are held."""
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
        self._heading(f"Simulation {self.metadata.get('simulation_id', '')}")
        self._facts({name: _shown(name, value) for name, value in self.metadata.items()})
        self.list_agents()

    def list_agents(self) -> None:
        """Show the agents, and how many events of which types each has."""
        self._heading(f"{len(self._agents)} agents")
        shown = Table("Agent", "Events", "Types", header_style="bold")
        for agent_id in self.agent_ids:
            types = self._agents[agent_id].types
            shown.add_row(*map(_text, (agent_id, types.total(), ", ".join(sorted(types)))))
        self.console.print(shown)

    def view_agent_timeline(self, agent_id: int) -> None:
        """Show all events of an agent, in order.

        Args:
            agent_id: the agent's `unique_id`.
        """
        if self._knows(agent_id):
            self._heading(f"Timeline of agent {agent_id}")
            for event in self._events_of(agent_id):
                self._event(event)

    def view_agent_conversations(self, agent_id: int) -> None:
        """Show the messages that an agent sent and received, in order. Arguments as for `view_agent_timeline`."""
        if not self._knows(agent_id):
            return
        self._heading(f"Conversations of agent {agent_id}")
        messages = 0
        for event in self._recording:
            if event.event_type == "message":
                for party, sends in _parties(event):
                    if party == agent_id:
                        messages += 1
                        self._message(event, sent=sends)
        if not messages:
            self._say(f"Agent {agent_id} neither sent nor received a message.", "yellow")

    def view_agent_decisions(self, agent_id: int) -> None:
        """Show step by step what an agent saw, planned and did. Arguments as for `view_agent_timeline`."""
        if not self._knows(agent_id):
            return
        self._heading(f"Decisions of agent {agent_id}")
        step = None
        for event in self._events_of(agent_id):
            if event.event_type in _DECISION:
                if event.step != step:
                    step = event.step
                    self._heading(f"Step {step}")
                self._event(event)

    def view_agent_summary(self, agent_id: int) -> None:
        """Show how many events of which type an agent had. Arguments as for `view_agent_timeline`."""
        if not self._knows(agent_id):
            return
        activity = self._agents[agent_id]
        self._heading(f"Agent {agent_id}")
        self._facts(
            {
                "events": activity.types.total(),
                "active steps": len(activity.steps),
                "messages sent": activity.sent,
                "messages received": activity.received,
                **dict(sorted(activity.types.items())),
            }
        )

    def interactive_mode(self) -> None:
        """Show the simulation and its agents, then the views that commands name, until `quit` or the end of the input.

        The number of an agent alone shows its summary.
        """
        views = ", ".join(f"{name} AGENT" for name in self._views)
        commands = f"Commands: info, list, an agent's number, {views}, quit"
        self.show_simulation_info()
        self.list_agents()
        self._say(commands, "yellow")
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
                case "help" | "", []:
                    self._say(commands, "yellow")
                case number, [] if number.isdecimal():
                    self._views["summary"](int(number))
                case _, [agent] if name in self._views:
                    if agent.isdecimal():
                        self._views[name](int(agent))
                    else:
                        self._say(f"An agent is named by its number, not {agent!r}.", "red")
                case _:
                    self._say(f"There is no command {' '.join([name, *arguments])!r}. {commands}", "red")

    def _events_of(self, agent_id: int) -> Iterator[SimulationEvent]:
        return (event for event in self._recording if event.agent_id == agent_id)

    def _knows(self, agent_id: int) -> bool:
        known = agent_id in self._agents
        if not known:
            self._say(_unknown(agent_id, self.agent_ids), "red")
        return known

    def _say(self, shown: str, style: str) -> None:
        self.console.print(_text(shown, style))

    def _heading(self, shown: str) -> None:
        self.console.print()
        self._say(shown, "bold blue")

    def _facts(self, values: Mapping[str, object]) -> None:
        """Names and values, one a row."""
        rows = Table(show_header=False, box=None, pad_edge=False)
        rows.add_column(style="cyan")
        for name, value in values.items():
            rows.add_row(_text(name.replace("_", " ")), _text(value))
        self.console.print(rows)

    def _event(self, event: SimulationEvent) -> None:
        details = (
            [_text(_in_words(event.content["data"]))]
            if event.content.keys() == {"data"}
            else [
                Text.assemble(_text(name, "bold"), ": ", _text(_in_words(value)))
                for name, value in event.content.items()
            ]
        )
        self._frame(event, event.event_type, Text("\n").join(details), _BORDERS.get(event.event_type, "white"))

    def _message(self, event: SimulationEvent, *, sent: bool) -> None:
        """A message in a frame, as one side sees it."""
        listeners = ", ".join(map(str, event.content.get("recipient_ids", [])))
        sender = event.content.get("sender", event.agent_id)
        title, color = (f"to {listeners}", "green") if sent else (f"from {sender}", "blue")
        self._frame(event, title, _text(_in_words(event.content.get("message", ""))), color)

    def _frame(self, event: SimulationEvent, title: str, inside: Text, color: str) -> None:
        above = _text(f"step {event.step} · {event.timestamp:%H:%M:%S} · {title}")
        self.console.print(Panel(inside, title=above, title_align="left", border_style=color))


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
        console: the console to print to; by default the terminal.

    Raises:
        ConfigurationError: if `view_type` is unknown.
        FileNotFoundError: if the file does not exist.
        RecordingError: if it cannot be read, or has no such agent.
    """
    check_word("view_type", view_type, get_args(AgentView.__value__))
    viewer = AgentViewer(recording_path, console=console)
    if agent_id is None or view_type == "info":
        viewer.show_simulation_info()
        return
    if agent_id not in viewer.agent_ids:
        raise RecordingError(_unknown(agent_id, viewer.agent_ids))
    viewer._views[view_type](agent_id)


def _parties(event: SimulationEvent) -> Iterator[tuple[int, bool]]:
    """The sender and the recipients of a message that this event stands for, each with whether it sends.

    An event without a `sender`, as written by mesa-llm 0.3 and by `record_event`, is the sender's and stands for all.
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


def _text(shown: object, style: str = "") -> Text:
    """Text without markup. Control codes are shown by name, since they could move the cursor or hide other text."""
    visible = [
        character if character in "\n\t" or not is_control(character) else character.encode("unicode_escape").decode()
        for character in str(shown)
    ]
    return Text("".join(visible), style)


def _in_words(value: Any, depth: int = 0) -> str:
    """A value without the brackets of JSON; mappings in mappings one entry a line."""
    if isinstance(value, Mapping):
        if value.keys() == {"before", "after"}:
            return f"{_in_words(value['before'], 1)} → {_in_words(value['after'], 1)}"
        if depth == 0 and value:
            return "".join(f"\n  {name}: {_in_words(item, 1)}" for name, item in value.items())
        return ", ".join(f"{name} {_in_words(item, depth + 1)}" for name, item in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(_in_words(item, depth + 1) for item in value) + "]"
    return "none" if value is None else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Show a recording from the command line; returns 1 if it cannot be shown, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m mesa_llm.recording.agent_analysis", description="Show the recording of a simulation."
    )
    parser.add_argument("recording", type=Path, help="a .jsonl file, or a .json file as saved")
    parser.add_argument("--agent", type=int, help="the unique id of an agent; without it, the simulation is shown")
    views = get_args(AgentView.__value__)
    parser.add_argument("--view", default="summary", choices=views, help="of the agent; info: the simulation")
    parser.add_argument("--interactive", action="store_true", help="ask what to show")
    options = parser.parse_args(arguments)
    try:
        if options.interactive:
            AgentViewer(options.recording).interactive_mode()
        else:
            quick_agent_view(options.recording, options.agent, options.view)
    except (OSError, RecordingError) as error:
        print(for_people(str(error)), file=sys.stderr)  # noqa: T201 - a command's way to report an error
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
