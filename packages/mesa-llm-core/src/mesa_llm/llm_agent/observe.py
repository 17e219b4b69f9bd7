"""What an agent sees of itself and of the agents around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import step_of
from mesa_llm.reasoning.observation import Observation
from mesa_llm.spaces import neighbors_of, position_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mesa import Agent

    from mesa_llm.llm_agent.llm_agent import LLMAgent

EVERYBODY = -1


def observe(agent: LLMAgent) -> Observation:
    """The agent's view of the world as it is now."""
    self_state = {
        "agent_unique_id": agent.unique_id,
        "location": position_of(agent),
        "internal_state": _copied(agent.internal_state),
    }
    local_state = {
        f"{type(other).__name__} {other.unique_id}": {
            "position": position_of(other),
            "internal_state": _shown(getattr(other, "internal_state", [])),
        }
        for other in _in_sight(agent)
    }
    return Observation(step=step_of(agent.model), self_state=self_state, local_state=local_state)


def _in_sight(agent: LLMAgent) -> Iterable[Agent]:
    if not agent.vision:
        return []
    if agent.vision == EVERYBODY:
        return [other for other in agent.model.agents if other is not agent]
    return neighbors_of(agent, agent.vision)


def _copied(state: Any) -> Any:
    """The state's own containers copied, so that what was seen does not change with the world."""
    if isinstance(state, Mapping):
        return dict(state)
    return list(state) if isinstance(state, list | tuple | set | frozenset) else state


def _shown(state: Any) -> Any:
    """What others see of an agent's internal state: all but the entries whose name begins with an underscore."""
    if isinstance(state, Mapping):
        return {key: value for key, value in state.items() if not str(key).startswith("_")}
    if isinstance(state, list | tuple | set | frozenset):
        return [item for item in state if not str(item).startswith("_")]
    return state
