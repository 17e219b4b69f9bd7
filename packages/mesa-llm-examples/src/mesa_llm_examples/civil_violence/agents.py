"""Who decides: citizens, whether to rebel; cops, whom to arrest. Both walk about.

Everything that a decision needs is in the prompt. What an agent's `internal_state` says under a name with a leading
underscore is for itself alone; the others see the rest.
"""

from __future__ import annotations

from collections import UserDict
from typing import TYPE_CHECKING, Any, Literal

from mesa.discrete_space import CellAgent

from mesa_llm.activation import my_turn, step_of
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.reasoning import CoTReasoning
from mesa_llm.spaces import directions_from, neighbors_of
from mesa_llm.tools.inbuilt_tools import move_one_step
from mesa_llm_examples.civil_violence.tools import arrest_citizen, change_state

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
    """What citizens and cops have in common: a cell of their own, and their eyes on the free cells around it.

    Args:
        model: the model.
        cell: where the resident is at first.
        system_prompt: who it is.
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

    In jail it makes no decision and asks no model. It stays on its cell, as in Mesa's own version of the model, and is
    quiet when it is released.

    Args:
        model: the model; it has the numbers that are the same for all citizens.
        cell: where the citizen is at first.
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
        """The last step that the citizen sits out."""

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
        """Be arrested.

        Args:
            term: how many of the next steps the citizen sits out, at least 1.
        """
        self.state = "jailed"
        self.jailed_through = step_of(self.model) + term
        self.memory.add_to_memory("arrest", {"result": f"You were arrested and sit out {term} steps."})

    async def astep(self) -> None:
        """Observe, decide and act; or be in jail."""
        if self.is_jailed:
            if step_of(self.model) >= self.jailed_through:
                await my_turn()  # the others are to decide on the world as it was before
                self.state = "quiet"
            return
        plan = await self.reasoning.aplan(obs=await self.agenerate_obs())
        if self.is_jailed:
            self.memory.add_to_memory("action", {"result": "You were arrested before you could do anything."})
            return
        await self.aapply_plan(plan)


class Cop(Resident):
    """Arrests an active citizen in sight, if there is any.

    Args:
        model: the model.
        cell: where the cop is at first.
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
        """The citizens that the cop sees now, by their id."""
        others = neighbors_of(self, self.vision or 0)
        return {other.unique_id: other for other in others if isinstance(other, Citizen)}
