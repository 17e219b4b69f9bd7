"""What citizens and cops can do besides moving. A call that the world does not allow is refused by a `ToolError`.

The tools are handed to the classes that may use them, and not declared with a plain `@tool`, which would offer them to
every agent of every model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from mesa_llm.activation import claim, is_claimed
from mesa_llm.errors import ConflictError, ToolError
from mesa_llm.tools import VisibleAgent

if TYPE_CHECKING:
    from mesa_llm_examples.civil_violence.agents import Citizen, Cop


def change_state(agent: Citizen, state: Literal["active", "quiet"]) -> str:
    """Rebel in the open, or stop doing so.

    Args:
        agent: The citizen that calls; the model does not see this parameter.
        state: `active` to rebel, `quiet` to keep quiet.

    Returns:
        What you are from now on.

    Raises:
        ToolError: if the citizen is in jail.
    """
    if agent.is_jailed:
        raise ToolError("You are in jail and cannot change your state.")
    agent.state = state
    return f"You are {state}."


def arrest_citizen(agent: Cop, citizen_id: Annotated[int, VisibleAgent("Citizen")]) -> str:
    """Arrest a citizen in your sight who is active. The citizen goes to jail for some steps.

    Args:
        agent: The cop that calls; the model does not see this parameter.
        citizen_id: The number of the citizen, for example 12 for "Citizen 12".

    Returns:
        For how many steps the citizen is in jail.

    Raises:
        ToolError: if the citizen is not in sight, in jail already (a `ConflictError` if another cop has arrested it
            since everybody decided), or quiet.
    """
    citizen = agent.citizens_in_sight().get(citizen_id)
    if citizen is None:
        raise ToolError(f"There is no citizen {citizen_id} in your sight now.")
    if citizen.is_jailed and is_claimed(agent, citizen):
        raise ConflictError(f"Citizen {citizen_id} has just been arrested by another cop.")
    if citizen.is_jailed:
        raise ToolError(f"Citizen {citizen_id} is already in jail.")
    if citizen.state != "active":
        raise ToolError(f"Citizen {citizen_id} is quiet. Only active citizens can be arrested.")
    # Epstein draws the term from U(0, J_max); rounded up to whole steps that is 1, 2, …, J_max with equal chances.
    term = agent.random.randint(1, agent.model.max_jail_term)
    citizen.go_to_jail(term)
    claim(agent, citizen)
    return f"Citizen {citizen_id} is arrested and in jail for {term} step{'s' if term > 1 else ''}."
