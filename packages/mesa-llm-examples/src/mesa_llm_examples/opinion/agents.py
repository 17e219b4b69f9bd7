"""People decide what to think, and what to say to whom.

An opinion is hidden: the others know only what a person says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mesa.discrete_space import CellAgent

from mesa_llm.activation import step_of
from mesa_llm.errors import ToolError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import ShortTermMemory
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.tools.inbuilt_tools import speak_to

if TYPE_CHECKING:
    from mesa.discrete_space import Cell

    from mesa_llm_examples.opinion.model import Opinion


ADJACENT = 1

PERSONA = """\
You discuss with the people whom you know: {topic}.
Your opinion is a number from 0, fully against it, to 1, fully for it. You listen to those whose opinion differs from
yours by less than your confidence, and move towards them, by the share of the way that is your convergence. What others
say that is farther from what you think leaves you unmoved."""

TASK = """\
Consider what you have just heard, and change your opinion if it has moved you. Then tell one of the people in your
sight what you think now: name your opinion as a number."""


class Person(LLMAgent, CellAgent):
    """Listens, changes its mind, and speaks.

    Args:
        model: the network.
        cell: the person's node.
        opinion: the person's first opinion, 0 to 1.
    """

    def __init__(self, model: Opinion, cell: Cell, *, opinion: float) -> None:
        super().__init__(
            model,
            OneCallReasoning,
            llm_model=model.llm_model,
            system_prompt=PERSONA.format(topic=model.topic),
            vision=ADJACENT,
            step_prompt=TASK,
            api_base=model.api_base,
            client=model.client,
            memory=ShortTermMemory,
            tools=[change_opinion, speak_to],
        )
        self.cell = cell
        self.opinion = opinion

    def heard(self) -> list[dict[str, object]]:
        """The messages of the previous step, in the order of their senders.

        Messages of the current step, which people get who step one after another, wait for the next step. So each
        message is considered exactly once.
        """
        before = step_of(self.model) - 1
        messages = [
            entry.content
            for entry in self.memory.entries
            if entry.type == "message" and entry.step == before and entry.content["sender"] != self.unique_id
        ]
        return [
            {"from": f"Person {message['sender']}", "message": message["message"]}
            for message in sorted(messages, key=lambda message: int(message["sender"]))
        ]

    @property
    def internal_state(self) -> dict[str, Any]:
        """What only the person sees."""
        return {
            "_confidence": self.model.confidence,
            "_convergence": self.model.convergence,
            "_opinion": self.opinion,
            "_heard": self.heard(),
        }


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
