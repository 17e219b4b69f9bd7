"""The world of citizens and cops, and what is counted in it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mesa import DataCollector, Model
from mesa.discrete_space import OrthogonalMooreGrid

from mesa_llm.clients import RuleBasedClient
from mesa_llm.errors import ConfigurationError
from mesa_llm_examples.civil_violence.agents import Citizen, CitizenState, Cop
from mesa_llm_examples.civil_violence.policy import policy
from mesa_llm_examples.shared import at_least

if TYPE_CHECKING:
    from mesa_llm.clients import LLMClient
    from mesa_llm.parallel_stepping import ParallelStepping

POPULATED = 0.7
"""The share of the cells that has somebody on it, where no size is given: as in Epstein's runs."""
SMALLEST_SIDE = 3
"""On a torus of fewer cells a side, two directions lead to the same cell."""


class CivilViolence(Model):
    """Epstein's model I on a torus whose cells have room for one agent each; diagonal steps count as one.

    All citizens and cops decide on the same world, if parallel stepping is enabled, and act one by one:

        enable_automatic_parallel_stepping()
        model = CivilViolence(seed=42)
        model.step()
        model.datacollector.get_model_vars_dataframe()

    Args:
        citizens: how many citizens, at least 0.
        cops: how many cops, at least 0.
        width: width of the grid in cells, at least 3; by default so that 70 % of the cells are taken.
        height: height of the grid, likewise.
        citizen_vision: how many cells far citizens see, at least 0.
        cop_vision: how many cells far cops see, at least 0.
        legitimacy: how legitimate the regime seems to everybody (L), 0 to 1.
        max_jail_term: the longest jail term in steps (J_max), at least 1.
        active_threshold: T, by how much grievance must exceed net risk.
        arrest_constant: k in the arrest probability, above 0.
        movement: whether anybody moves.
        seed: the same seed and the same answers give the same run, on the same release of Mesa; `None` for another
            run each time.
        llm_model: the language model, as `provider/model`; by default none is asked, and Epstein's rule decides.
        api_base: the base URL of the model's server, if it is not the provider's own.
        client: the way to the model.
        parallel_stepping: whether all agents decide at the same time, and if need be how.

    Raises:
        ConfigurationError: if a value cannot work.
    """

    def __init__(
        self,
        citizens: int = 60,
        cops: int = 12,
        *,
        width: int | None = None,
        height: int | None = None,
        citizen_vision: int = 2,
        cop_vision: int = 2,
        legitimacy: float = 0.5,
        max_jail_term: int = 5,
        active_threshold: float = 0.1,
        arrest_constant: float = 2.3,
        movement: bool = True,
        seed: int | None = None,
        llm_model: str | None = None,
        api_base: str | None = None,
        client: LLMClient | None = None,
        parallel_stepping: bool | ParallelStepping = True,
    ) -> None:
        at_least("citizens", citizens, 0)
        at_least("cops", cops, 0)
        at_least("citizen_vision", citizen_vision, 0, "Use 0 for citizens that see nobody.")
        at_least("cop_vision", cop_vision, 0, "Use 0 for cops that see nobody.")
        at_least("max_jail_term", max_jail_term, 1)
        if not 0 <= legitimacy <= 1:
            raise ConfigurationError(f"legitimacy must be from 0 (none) to 1 (full), got {legitimacy!r}.")
        if not 0 < arrest_constant < math.inf:
            raise ConfigurationError(
                f"arrest_constant must be a number above 0, got {arrest_constant!r}. Epstein's is 2.3."
            )
        if not math.isfinite(active_threshold):
            raise ConfigurationError(f"active_threshold must be a number, got {active_threshold!r}. Epstein's is 0.1.")
        width, height = _size(citizens, cops, width, height)
        super().__init__(rng=seed)  # `seed=` is deprecated since Mesa 3.5; both seed model.random alike
        self.citizen_vision = citizen_vision
        self.cop_vision = cop_vision
        self.legitimacy = legitimacy
        self.max_jail_term = max_jail_term
        self.active_threshold = active_threshold
        self.arrest_constant = arrest_constant
        self.movement = movement
        self.parallel_stepping = parallel_stepping
        self.llm_model = llm_model or "rule-based/epstein-2002"
        self.api_base = api_base
        self.client = RuleBasedClient(policy) if client is None and llm_model is None else client

        self.grid = OrthogonalMooreGrid((width, height), torus=True, capacity=1, random=self.random)
        cells = self.random.sample(list(self.grid.all_cells), citizens + cops)
        for cell in cells[:citizens]:
            Citizen(self, cell)
        for cell in cells[citizens:]:
            Cop(self, cell)

        self.datacollector = DataCollector(
            model_reporters={
                "active": [self.count, ["active"]],
                "quiet": [self.count, ["quiet"]],
                "jailed": [self.count, ["jailed"]],
            }
        )
        self.datacollector.collect(self)

    def step(self) -> None:
        """Let everybody decide and act, and count."""
        self.agents.shuffle_do("step")
        self.datacollector.collect(self)

    def count(self, state: CitizenState) -> int:
        """How many citizens are in a state now.

        Args:
            state: `active`, `quiet` or `jailed`.
        """
        return sum(isinstance(agent, Citizen) and agent.state == state for agent in self.agents)

    def result(self) -> str:
        """What came of it, in one line."""
        of_run = self.datacollector.model_vars
        most = max(of_run["active"])
        if not most:
            return "Nobody ever rebelled."
        return (
            f"At most {most} citizens were active, after step {of_run['active'].index(most)}; at most "
            f"{max(of_run['jailed'])} were in jail."
        )


def _size(citizens: int, cops: int, width: int | None, height: int | None) -> tuple[int, int]:
    """Width and height; what is not given is such that everybody has room."""
    agents = citizens + cops
    wanted = agents / POPULATED
    if width is None:
        width = max(SMALLEST_SIDE, math.ceil(math.sqrt(wanted) if height is None else wanted / max(1, height)))
    if height is None:
        height = max(SMALLEST_SIDE, math.ceil(wanted / max(1, width)))
    at_least("width", width, SMALLEST_SIDE, "Leave it out for a grid that fits.")
    at_least("height", height, SMALLEST_SIDE, "Leave it out for a grid that fits.")
    if agents > width * height:
        raise ConfigurationError(
            f"{citizens} citizens and {cops} cops do not fit on {width} x {height} = {width * height} cells, one agent "
            "a cell. Use a larger width or height, or leave them out for a grid that fits."
        )
    return width, height
