"""What a recording consists of: events, each a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class SimulationEvent:
    """One thing that happened in a simulation.

    Attributes:
        event_id: the recording's id and the number of the event in it, from 0.
        timestamp: when it was recorded, in UTC.
        step: the model's step in which it happened.
        agent_id: the `unique_id` of the agent it happened to; `None` for events of the model.
        event_type: of an agent `observation`, `plan`, `plan_execution`, `action`, `message`, `state_change`, or
            another type of its memory's entries; of the model `simulation_start`, `step_start`, `step_end`, `error`,
            `simulation_end`.
        content: what happened.
        metadata: where the event comes from.
    """

    event_id: str
    timestamp: datetime
    step: int
    agent_id: int | None
    event_type: str
    content: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The event with its time as ISO 8601 text."""
        event = {name: getattr(self, name) for name in self.__dataclass_fields__}  # asdict would copy the content
        event["timestamp"] = self.timestamp.isoformat()
        return event

    @classmethod
    def from_json(cls, event: Mapping[str, Any]) -> Self:
        """Read an event; also one that mesa-llm 0.3 has saved.

        Args:
            event: the event, as `as_json` gives it.

        Returns:
            The event.

        Raises:
            KeyError: if a part is missing.
            ValueError: if the time cannot be read.
        """
        return cls(
            event_id=event["event_id"],
            timestamp=datetime.fromisoformat(event["timestamp"]),
            step=event["step"],
            agent_id=event["agent_id"],
            event_type=event["event_type"],
            content=event["content"],
            metadata=event.get("metadata") or {},
        )


def as_line(value: Mapping[str, Any]) -> bytes:
    """Plain data as one line of JSON, in UTF-8.

    Halves of surrogate pairs, which models can answer and UTF-8 cannot hold, are escaped as JSON has it.
    """
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
