"""Citizens decide whether to rebel, cops decide whom to arrest, and both walk about.

In an agent's `internal_state`, names with a leading underscore appear in its own prompt only; the others see the rest.
An action that the world does not allow refuses, and the agent remembers why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from mesa.discrete_space import CellAgent

from mesa_llm.actions import action, move_one_step, wait
from mesa_llm.activation import claim, is_claimed, my_turn, step_of
from mesa_llm.errors import ActionError, ConflictError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import ShortTermMemory
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.spaces import directions_from, neighbors_of
from mesa_llm.tools import VisibleAgent

if TYPE_CHECKING:
    from collections.abc import Callable

    from mesa.discrete_space import Cell

    from mesa_llm_examples.civil_violence.model import CivilViolence

type CitizenState = Literal["active", "quiet", "jailed"]

CITIZEN_PERSONA = """\
You are a citizen under a central authority. In each step you walk about, and then either rebel in the open (active) or
keep quiet. Your internal state holds numbers between 0 and 1 that only you know: your hardship, your aversion to risk,
and how legitimate the authority is in your eyes. The more hardship and the less legitimacy, the greater your grievance.
A cop who has you in sight may arrest you while you are active, and then you are in jail for some steps. The more cops
you see for each active citizen, the likelier that is. You rebel if your grievance outweighs your risk by more than the
threshold."""

COP_PERSONA = """\
You are a cop and serve the central authority. In each step you patrol, and then arrest one active citizen in your
sight, if there is any. Quiet citizens and those in jail cannot be arrested."""

WALK = "Choose the direction in which you go one step."
REBEL = "Decide whether you rebel or keep quiet."
ARREST = "Decide whom you arrest, or wait if nobody in your sight is active."


@action
def rebel(agent: Citizen) -> str:
    """Rebel in the open: be active."""
    return agent.become("active")


@action
def keep_quiet(agent: Citizen) -> str:
    """Keep quiet."""
    return agent.become("quiet")


@action
def arrest_citizen(agent: Cop, citizen_id: Annotated[int, VisibleAgent("Citizen")]) -> str:
    """Arrest a citizen in your sight who is active. The citizen goes to jail for some steps.

    Args:
        agent: The cop that acts; the model does not see this parameter.
        citizen_id: The number of the citizen, for example 12 for "Citizen 12".
    """
    in_sight = {other.unique_id: other for other in neighbors_of(agent, agent.vision or 0)}
    citizen = in_sight.get(citizen_id)
    if not isinstance(citizen, Citizen):
        raise ActionError(f"There is no citizen {citizen_id} in your sight now.")
    if citizen.is_jailed and is_claimed(agent, citizen):
        raise ConflictError(f"Citizen {citizen_id} has just been arrested by another cop.")
    if citizen.state != "active":
        raise ActionError(f"Citizen {citizen_id} is {citizen.state}. Only active citizens can be arrested.")
    # Epstein draws the term from U(0, J_max); rounded up to whole steps that is 1, 2, …, J_max with equal chances.
    term = agent.random.randint(1, agent.model.max_jail_term)
    citizen.go_to_jail(term)
    claim(agent, citizen)
    return f"Citizen {citizen_id} is arrested and in jail for {term} step{'s' if term > 1 else ''}."


class Resident(LLMAgent, CellAgent):
    """What citizens and cops share: each stands on a cell of its own, and walks about.

    Args:
        model: the model.
        cell: the resident's first cell.
        system_prompt: who the resident is.
        vision: how many cells far it sees, diagonal steps included, at least 0.
        actions: what it can do besides walking.
    """

    def __init__(
        self,
        model: CivilViolence,
        cell: Cell,
        *,
        system_prompt: str,
        vision: int,
        actions: list[Callable[..., str]],
    ) -> None:
        super().__init__(
            model,
            OneCallReasoning,
            llm_model=model.llm_model,
            system_prompt=system_prompt,
            vision=vision,
            api_base=model.api_base,
            client=model.client,
            memory=ShortTermMemory,
            actions=[*actions, move_one_step],
        )
        self.cell = cell

    async def walk(self) -> None:
        """Go to one of the free cells around, if there is any. The next decision begins when everybody has gone."""
        if self.model.movement and directions_from(self, free_only=True):
            await self.aact(WALK, move_one_step, observe=True)
        else:
            await my_turn()


class Citizen(Resident):
    """Rebels if its grievance outweighs the risk.

    A citizen in jail decides nothing and asks no model. It stays on its cell, as in Mesa's own version of the model,
    and is quiet when it is released.

    Args:
        model: the model; it holds the numbers that are the same for all citizens.
        cell: the citizen's first cell.
    """

    def __init__(self, model: CivilViolence, cell: Cell) -> None:
        super().__init__(
            model,
            cell,
            system_prompt=CITIZEN_PERSONA,
            vision=model.citizen_vision,
            actions=[rebel, keep_quiet],
        )
        self.state: CitizenState = "quiet"
        # U(0, 1), rounded as in the prompt, so that the rule decides on the values that a model sees.
        self.hardship = round(model.random.random(), 3)
        self.risk_aversion = round(model.random.random(), 3)
        self.jailed_through = 0
        """The last step that the citizen spends in jail."""

    @property
    def internal_state(self) -> dict[str, Any]:
        """What it says about itself: its state to all who see it, the rest to itself alone."""
        return {
            "state": self.state,
            "_hardship": self.hardship,
            "_risk_aversion": self.risk_aversion,
            "_legitimacy": self.model.legitimacy,
            "_threshold": self.model.active_threshold,
            "_arrest_constant": self.model.arrest_constant,
        }

    @property
    def is_jailed(self) -> bool:
        """Whether the citizen is in jail."""
        return self.state == "jailed"

    def become(self, state: CitizenState) -> str:
        """Be active or quiet from now on.

        Args:
            state: what to be.

        Returns:
            What the citizen is.

        Raises:
            ConflictError: if the citizen has been arrested since it decided.
        """
        if self.is_jailed:
            raise ConflictError("You were arrested before you could do anything.")
        self.state = state
        return f"You are {state}."

    def go_to_jail(self, term: int) -> None:
        """Spend the next steps in jail.

        Args:
            term: how many steps, at least 1.
        """
        self.state = "jailed"
        self.jailed_through = step_of(self.model) + term
        self.memory.add_to_memory("arrest", {"result": f"You were arrested and sit out {term} steps."})

    async def astep(self) -> None:
        """Walk, then rebel or keep quiet; in jail, wait for the release."""
        if not self.is_jailed:
            await self.walk()
            await self.aact(REBEL, [rebel, keep_quiet], observe=True)
        elif step_of(self.model) >= self.jailed_through:
            await my_turn()  # the others decide where to go before the release
            self.state = "quiet"


class Cop(Resident):
    """Arrests an active citizen in sight, if there is one.

    Args:
        model: the model.
        cell: the cop's first cell.
    """

    def __init__(self, model: CivilViolence, cell: Cell) -> None:
        super().__init__(
            model, cell, system_prompt=COP_PERSONA, vision=model.cop_vision, actions=[arrest_citizen, wait]
        )

    async def astep(self) -> None:
        """Patrol, then arrest somebody."""
        await self.walk()
        await self.aact(ARREST, [arrest_citizen, wait], observe=True)
