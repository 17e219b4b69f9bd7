"""What people can do besides speaking. A call that makes no sense is refused by a `ToolError`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesa_llm.errors import ToolError

if TYPE_CHECKING:
    from mesa_llm_examples.opinion.agents import Person


def change_opinion(agent: Person, opinion: float) -> str:
    """Change your mind.

    Args:
        agent: The person that calls; the model does not see this parameter.
        opinion: What you think from now on, from 0 (fully against it) to 1 (fully for it).

    Returns:
        What you think.

    Raises:
        ToolError: if it is not from 0 to 1.
    """
    if not 0 <= opinion <= 1:
        raise ToolError(f"An opinion is a number from 0 to 1, not {opinion:g}. You still think {agent.opinion:g}.")
    agent.opinion = float(opinion)
    return f"Your opinion is {agent.opinion:g} now."
