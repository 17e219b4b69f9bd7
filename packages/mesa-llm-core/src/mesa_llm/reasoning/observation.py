"""What an agent sees."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from mesa_llm.activation.values import plain, to_json, to_text, without_addresses


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
        """The observation as one line of JSON, every value in its canonical form."""
        fields = {"step": self.step, "self_state": self.self_state, "local_state": self.local_state}
        if self.environment:
            fields["environment"] = {_as_text(place): facts for place, facts in self.environment.items()}
        try:  # Not to_json at once, which copies everything: an observation has few values that need it.
            text = json.dumps(fields, default=plain, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError):  # keys that JSON does not have, numbers that are not finite
            return to_json(fields)
        return without_addresses(text)

    def __str__(self) -> str:
        """The observation as it stands in a prompt."""
        return self.as_json()


def _as_text(place: Hashable) -> str:
    """A position as a key, in the form that it has elsewhere in the prompt."""
    return to_json(place) if isinstance(place, tuple) else to_text(place)
