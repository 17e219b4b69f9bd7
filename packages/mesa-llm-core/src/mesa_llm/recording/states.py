"""What has changed about agents from one look at them to the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mesa_llm.recording.plain import plain

if TYPE_CHECKING:
    from mesa import Agent, Model

type State = dict[str, Any]


class StateChanges:
    """Watches the place and the internal state of the agents that are recorded: those with a `recorder`.

    Attributes:
        is_new: whether there has been no look yet.
    """

    def __init__(self) -> None:
        self.is_new = True
        self._last: dict[int, State] = {}

    def look(self, model: Model[Any, Any]) -> Iterator[tuple[int, State]]:
        """The agents that have changed since the last look, and what has: `{name: {"before": …, "after": …}}`.

        An agent seen for the first time was nothing before. Forgets agents that have left the model.
        """
        now = {agent.unique_id: _state_of(agent) for agent in model.agents if hasattr(agent, "recorder")}
        before, self._last, self.is_new = self._last, now, False
        for agent_id, state in now.items():
            known = before.get(agent_id, {})
            changes = {
                name: {"before": known.get(name), "after": value}
                for name, value in state.items()
                if known.get(name) != value
            }
            if changes:
                yield agent_id, changes


def _state_of(agent: Agent) -> State:
    from mesa_llm.spaces import position_of  # noqa: PLC0415 - imports Mesa, which who reads recordings may not need

    return {"location": plain(position_of(agent)), "internal_state": plain(getattr(agent, "internal_state", None))}
