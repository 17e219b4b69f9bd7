"""People decide what to think, and whom to tell.

An opinion is hidden: the others know only what a person says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mesa.discrete_space import CellAgent
from pydantic import Field

from mesa_llm.actions import action
from mesa_llm.activation import step_of
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import ShortTermMemory
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.spaces import neighbors_of
from mesa_llm.tools import VisibleAgent

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
sight what you think now."""


@action
def tell(
    agent: Person,
    listener_id: Annotated[int, VisibleAgent("Person")],
    opinion: Annotated[float, Field(ge=0, le=1)],
    message: str = "",
) -> str:
    """Tell one of the people in your sight what you think from now on.

    Args:
        agent: The person that acts; the model does not see this parameter.
        listener_id: The number of the person that listens, for example 12 for "Person 12".
        opinion: What you think from now on, from 0 (fully against it) to 1 (fully for it).
        message: What you say about it, if anything.
    """
    agent.opinion = float(opinion)
    return agent.send_message(f"My opinion is {agent.opinion:g}. {message}".strip(), listener_id)


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
            api_base=model.api_base,
            client=model.client,
            memory=ShortTermMemory,
            actions=[tell],
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

    async def astep(self) -> None:
        """Listen, and tell somebody; a person who knows nobody decides nothing."""
        if neighbors_of(self, ADJACENT):
            await self.aact(TASK, observe=True)
