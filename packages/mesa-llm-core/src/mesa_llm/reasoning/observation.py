"""What an agent sees."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Observation:
    """What an agent sees at one moment. A copy: it does not change when the world does.

    Attributes:
        step: the model's step.
        self_state: about the agent itself: `agent_unique_id`, `location`, `internal_state`.
        local_state: about each agent in its vision, by class name and id (`"Citizen 3"`): `position`,
            `internal_state`.
    """

    step: int
    self_state: dict[str, Any]
    local_state: dict[str, Any]

    def as_json(self) -> str:
        """The observation as one line of JSON; what JSON has no form for becomes text."""
        # Not asdict(self), which would copy everything first: this is most of the time that a prompt takes.
        fields = {"step": self.step, "self_state": self.self_state, "local_state": self.local_state}
        return json.dumps(fields, default=_plain, ensure_ascii=False)

    def __str__(self) -> str:
        """The observation as it stands in a prompt."""
        return self.as_json()


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    to_python = getattr(value, "tolist", None)  # numpy's scalars and arrays
    return str(value) if to_python is None else to_python()
