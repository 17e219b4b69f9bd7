"""Citizens decide whether to rebel, cops decide whom to arrest, and both walk about.

The prompt holds all that a decision needs. In an agent's `internal_state`, names with a leading underscore appear in
its own prompt only; the others see the rest. A tool call that the world does not allow raises a `ToolError`, whose text
the agent remembers.
"""

from __future__ import annotations

from collections import UserDict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mesa.discrete_space import CellAgent

from mesa_llm.activation import claim, is_claimed, my_turn, step_of
from mesa_llm.errors import ConflictError, ToolError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import ShortTermMemory
from mesa_llm.reasoning import CoTReasoning
from mesa_llm.spaces import directions_from, neighbors_of
from mesa_llm.tools import VisibleAgent
from mesa_llm.tools.inbuilt_tools import move_one_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from mesa.discrete_space import Cell

    from mesa_llm_examples.civil_violence.model import CivilViolence

type CitizenState = Literal["active", "quiet", "jailed"]

CITIZEN_PERSONA = """\
You are a citizen under a central authority. In each step you either rebel in the open (active) or keep quiet.
Your internal state holds numbers between 0 and 1 that only you know: your hardship, your aversion to risk, and how
legitimate the authority is in your eyes. The more hardship and the less legitimacy, the greater your grievance.
A cop who has you in sight may arrest you while you are active, and then you are in jail for some steps. The more cops
you see for each active citizen, the likelier that is. You rebel if your grievance outweighs your risk by more than the
threshold."""

COP_PERSONA = """\
You are a cop and serve the central authority. In each step you arrest one active citizen in your sight, if there is
any, and patrol. Quiet citizens and those in jail cannot be arrested."""


class Facts(UserDict[str, Any]):
    """What a resident says about itself. A value that is a function is evaluated when somebody sees the fact.

    Other agents do not see a fact whose name has a leading underscore. So the free cells around a resident, which take
    longest to find, are looked for only when the resident itself observes.
    """

    def __getitem__(self, name: str) -> Any:
        """The fact itself, if its value is a function the value that this returns."""
        value = super().__getitem__(name)
        return value() if callable(value) else value

    def __repr__(self) -> str:
        return repr(dict(self))


class Resident(LLMAgent, CellAgent):
    """What citizens and cops share: each stands on a cell of its own and knows which cells around it are free.

    Args:
        model: the model.
        cell: the resident's first cell.
        system_prompt: who the resident is.
        vision: how many cells far it sees, diagonal steps included, at least 0.
        tool: what it can do besides moving.
        task: what it decides in each step.
    """

    def __init__(
        self,
        model: CivilViolence,
        cell: Cell,
        *,
        system_prompt: str,
        vision: int,
        tool: Callable[..., str],
        task: str,
    ) -> None:
        super().__init__(
            model,
            CoTReasoning,
            llm_model=model.llm_model,
            system_prompt=system_prompt,
            vision=vision,
            step_prompt=f"{task} Then move to one of your free directions." if model.movement else task,
            api_base=model.api_base,
            client=model.client,
            memory=ShortTermMemory,
            # Given to this class alone: a function marked with a plain `@tool` is offered to every agent of every
            # model.
            tools=[tool, move_one_step] if model.movement else [tool],
        )
        self.cell = cell

    @property
    def internal_state(self) -> Facts:
        """What it says about itself: the free cells around it, if it can move."""
        facts = Facts()
        if self.model.movement:
            facts["_free_directions"] = lambda: list(directions_from(self, free_only=True))
        return facts


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
            tool=change_state,
            task="Decide whether you are active or quiet.",
        )
        self.state: CitizenState = "quiet"
        # U(0, 1), rounded as in the prompt, so that the rule decides on the values that a model sees.
        self.hardship = round(model.random.random(), 3)
        self.risk_aversion = round(model.random.random(), 3)
        self.jailed_through = 0
        """The last step that the citizen spends in jail."""

    @property
    def internal_state(self) -> Facts:
        """What it says about itself: its state to all who see it, the rest to itself alone."""
        facts = Facts(
            state=self.state,
            _hardship=self.hardship,
            _risk_aversion=self.risk_aversion,
            _legitimacy=self.model.legitimacy,
            _threshold=self.model.active_threshold,
            _arrest_constant=self.model.arrest_constant,
        )
        return facts | super().internal_state

    @property
    def is_jailed(self) -> bool:
        """Whether the citizen is in jail."""
        return self.state == "jailed"

    def go_to_jail(self, term: int) -> None:
        """Spend the next steps in jail.

        Args:
            term: how many steps, at least 1.
        """
        self.state = "jailed"
        self.jailed_through = step_of(self.model) + term
        self.memory.add_to_memory("arrest", {"result": f"You were arrested and sit out {term} steps."})

    async def astep(self) -> None:
        """Observe, decide and act; in jail, wait for the release."""
        if self.is_jailed:
            if step_of(self.model) >= self.jailed_through:
                await my_turn()  # the others decide on the world as it was before the release
                self.state = "quiet"
            return
        plan = await self.reasoning.aplan(obs=await self.agenerate_obs())
        if self.is_jailed:
            self.memory.add_to_memory("action", {"result": "You were arrested before you could do anything."})
            return
        await self.aapply_plan(plan)


class Cop(Resident):
    """Arrests an active citizen in sight, if there is one.

    Args:
        model: the model.
        cell: the cop's first cell.
    """

    def __init__(self, model: CivilViolence, cell: Cell) -> None:
        super().__init__(
            model,
            cell,
            system_prompt=COP_PERSONA,
            vision=model.cop_vision,
            tool=arrest_citizen,
            task="Decide whom you arrest, if anybody.",
        )

    def citizens_in_sight(self) -> dict[int, Citizen]:
        """The citizens that the cop sees now, by id."""
        others = neighbors_of(self, self.vision or 0)
        return {other.unique_id: other for other in others if isinstance(other, Citizen)}


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
