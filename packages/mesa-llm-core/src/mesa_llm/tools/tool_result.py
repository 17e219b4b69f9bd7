"""What came of one tool call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of one tool call.

    Attributes:
        call_id: the identifier of the call that this answers.
        name: the name that was called; of a tool, unless the model invented it.
        arguments: the arguments as the model wrote them, before validation; empty if they are not a JSON object.
        response: the text that goes back to the model.
        ok: whether the tool ran to its end. If not, `response` begins with `Error: `.
    """

    call_id: str
    name: str
    arguments: dict[str, Any]
    response: str
    ok: bool

    def as_dict(self) -> dict[str, str]:
        """The result in the form of mesa-llm 0.3: `tool_call_id`, `role`, `name`, `response`."""
        return {"tool_call_id": self.call_id, "role": "tool", "name": self.name, "response": self.response}
