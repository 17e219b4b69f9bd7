"""The actions that come with mesa-llm: waiting, moving in the model's space, and speaking."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from mesa_llm.actions.action_decorator import action
from mesa_llm.activation.once import log_error_once
from mesa_llm.errors import ActionError, ConflictError, ToolError, ends_run
from mesa_llm.errors.shown_text import short_repr
from mesa_llm.spaces import directions_from, move_to, position_of
from mesa_llm.spaces.space import XY, listed
from mesa_llm.tools.visible import OneStepAway, Seen, Sight, step_meant

if TYPE_CHECKING:
    from collections.abc import Callable

    from mesa import Agent
    from pydantic import GetJsonSchemaHandler

_logger = logging.getLogger(__name__)


class _Step(OneStepAway):
    """Marks a text as a step; where the agent is not known, the compass says which ones there are."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return super().__get_pydantic_json_schema__(schema, handler) | {"enum": list(XY)}

    def choices(self, agent: Any, seen: Seen) -> list[Any]:
        """The steps into places that have room; if there are none, all steps, so that an agent can always try."""
        return super().choices(agent, seen) or list(directions_from(agent)) or list(XY)


def _possible(direction: str, info: ValidationInfo) -> str:
    """The step that a model means, if its agent can take it."""
    sight = info.context
    if not isinstance(sight, Sight):
        return direction
    steps = directions_from(sight.agent, free_only=True) if sight.steps is None else sight.steps
    meant = step_meant(direction, steps)
    if meant is None and steps:
        raise PydanticCustomError("no_step", "should be one of {steps}", {"steps": ", ".join(steps)})
    return direction if meant is None else meant


_Direction = Annotated[str, AfterValidator(_possible), _Step()]


@action
def wait(agent: Agent[Any]) -> str:
    """Do nothing in this step.

    Args:
        agent: The agent that acts; the model does not see this parameter.

    Returns:
        That you have waited.
    """
    return "waited"


@action
def move_one_step(agent: Agent[Any], direction: _Direction) -> str:
    """Move one step in a direction from where you are.

    Args:
        agent: The agent that acts; the model does not see this parameter.
        direction: The name of the step: a direction of the compass, or on a network the name of an adjacent node.

    Returns:
        Your new position, or why you have not moved.

    Raises:
        ActionError: if the agent has no place, or its space has no steps of this name.
        ConflictError: if another agent was faster.
    """
    here, steps = position_of(agent), directions_from(agent)
    if here is None:
        raise ActionError(f"Agent {agent.unique_id} has no place in a space, so it cannot move.")
    named = step_meant(direction, steps)
    if named is None:
        compass = step_meant(direction, XY)
        possible = f"Possible: {listed(steps)}." if steps else "No step is possible at all."
        if compass is None:
            raise ActionError(f"There is no step {short_repr(direction)} from {here!r}. {possible}")
        return f"Agent {agent.unique_id} cannot move {compass} from {here!r}: nothing is there. {possible}"
    try:
        move_to(agent, steps[named])
    except ConflictError:
        raise
    except ToolError as error:
        return f"Agent {agent.unique_id} cannot move {named} from {here!r}: {error}"
    return f"Agent {agent.unique_id} moved {named} to {position_of(agent)!r}."


@action
def teleport_to_location(agent: Agent[Any], target_coordinates: list[int | float] | int | str) -> str:
    """Move at once to any place in the space.

    Args:
        agent: The agent that acts; the model does not see this parameter.
        target_coordinates: The coordinates in the order in which positions are shown, such as [3, 7] or [3.5, 7.25].
            On a network the name of the node.

    Returns:
        Your new position.

    Raises:
        ActionError: if there is no such place, or it has no room.
        ConflictError: if another agent was faster.
    """
    try:
        return f"Agent {agent.unique_id} moved to {move_to(agent, target_coordinates)!r}."
    except ConflictError:
        raise
    except ToolError as error:
        raise ActionError(str(error)) from error


@action
def speak_to(agent: Agent[Any], listener_agents_unique_ids: list[int], message: str) -> dict[str, list[int]]:
    """Send a message to other agents. They remember it.

    Args:
        agent: The agent that acts; the model does not see this parameter.
        listener_agents_unique_ids: The unique ids of the agents that get the message, such as [4, 17].
        message: What you say to them.

    Returns:
        The ids that you named, and of those the agents that got the message, that cannot get one, and that failed to.
    """
    others = {other.unique_id: other for other in agent.model.agents if other is not agent}
    delivered: list[int] = []
    skipped: list[int] = []
    failed: list[int] = []
    for unique_id in dict.fromkeys(listener_agents_unique_ids):
        remember = getattr(getattr(others.get(unique_id), "memory", None), "add_to_memory", None)
        if remember is None:
            skipped.append(unique_id)
            continue
        try:
            remember("message", {"message": message, "sender": agent.unique_id})
        except Exception as error:
            if ends_run(error):
                raise
            text = f"Agent {unique_id} could not remember the message of agent {agent.unique_id}."
            log_error_once(_logger, logging.ERROR, text, error, model=agent.model)
            failed.append(unique_id)
        else:
            delivered.append(unique_id)
    requested = list(listener_agents_unique_ids)
    return {"requested": requested, "delivered": delivered, "skipped": skipped, "failed": failed}


def default_actions() -> tuple[Callable[..., Any], ...]:
    """The actions that any agent can take: `wait`."""
    return (wait,)


def spatial_actions() -> tuple[Callable[..., Any], ...]:
    """The actions of an agent in a space: `move_one_step` and `teleport_to_location`."""
    return (move_one_step, teleport_to_location)


def social_actions() -> tuple[Callable[..., Any], ...]:
    """The actions of an agent among others: `speak_to`."""
    return (speak_to,)
