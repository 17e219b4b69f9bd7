"""What an agent sees."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Observation:
    """What an agent sees at one moment. A copy: it does not change when the world does.

    Attributes:
        step: the model's step.
        self_state: about the agent itself: `agent_unique_id`, `location`, `internal_state`, and `attributes` where its
            class declares `visible_attributes`.
        local_state: about each agent in its vision, by class name and id (`"Citizen 3"`): `position`,
            `internal_state`, and `attributes` likewise.
        environment: about its own cell and those in its vision, by position: the values of property layers, and
            `room`, how many more agents the cell takes. In JSON, positions become text such as `"[3, 4]"`, and an
            empty environment is left out.
    """

    step: int
    self_state: dict[str, Any]
    local_state: dict[str, Any]
    environment: dict[Hashable, dict[str, Any]] = field(default_factory=dict)

    def as_json(self) -> str:
        """The observation as one line of JSON; what JSON has no form for becomes text."""
        # Not asdict(self), which would copy everything first: this is most of the time that a prompt takes.
        fields = {"step": self.step, "self_state": self.self_state, "local_state": self.local_state}
        if self.environment:
            fields["environment"] = {_as_text(place): facts for place, facts in self.environment.items()}
        return json.dumps(fields, default=_plain, ensure_ascii=False)

    def __str__(self) -> str:
        """The observation as it stands in a prompt."""
        return self.as_json()


def _as_text(place: Hashable) -> str:
    """A position as a key, in the form that it has elsewhere in the prompt."""
    return json.dumps(place, default=str) if isinstance(place, tuple) else str(place)


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    to_python = getattr(value, "tolist", None)  # numpy's scalars and arrays
    return str(value) if to_python is None else to_python()
