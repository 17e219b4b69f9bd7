"""The grid on which citizens and cops live, and what is counted on it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mesa import DataCollector, Model
from mesa.discrete_space import OrthogonalMooreGrid

from mesa_llm.clients import RuleBasedClient
from mesa_llm.errors import ConfigurationError
from mesa_llm_examples.civil_violence.agents import Citizen, CitizenState, Cop
from mesa_llm_examples.civil_violence.policy import policy
from mesa_llm_examples.shared import at_least, in_range

if TYPE_CHECKING:
    from mesa_llm.clients import LLMClient
    from mesa_llm.parallel_stepping import ParallelStepping

POPULATED = 0.7  # the share of cells that are taken on a grid whose size is not given, as in Epstein's runs
SMALLEST_SIDE = 3  # on a smaller torus, two directions lead to the same cell


class CivilViolence(Model):
    """Epstein's model I on a torus with one agent a cell; a diagonal step counts as one.

    With parallel stepping enabled, all citizens and cops decide on the same world, then act one by one:

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
        legitimacy: how legitimate everybody considers the regime (L), 0 to 1.
        max_jail_term: the longest jail term in steps (J_max), at least 1.
        active_threshold: T, by how much grievance must exceed net risk.
        arrest_constant: k in the arrest probability, above 0.
        movement: whether anybody moves.
        seed: the same seed and the same answers give the same run, on the same release of Mesa; with `None` every run
            differs.
        llm_model: the language model, as `provider/model`; by default Epstein's rule decides and no model is asked.
        api_base: the base URL of the model's server, if it is not the provider's own.
        client: the client that agents ask, in the place of one made from `llm_model` and `api_base`.
        parallel_stepping: whether all agents decide at the same time; a `ParallelStepping` also says how.

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
        in_range("legitimacy", legitimacy, 0, 1, "1 is full legitimacy, under which nobody rebels.")
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

        states = ("active", "quiet", "jailed")
        self.datacollector = DataCollector(model_reporters={state: [self.count, [state]] for state in states})
        self.datacollector.collect(self)

    def step(self) -> None:
        """Every agent decides and acts; then the states are counted."""
        self.agents.shuffle_do("step")
        self.datacollector.collect(self)

    def count(self, state: CitizenState) -> int:
        """Count the citizens in a state.

        Args:
            state: `active`, `quiet` or `jailed`.
        """
        return sum(isinstance(agent, Citizen) and agent.state == state for agent in self.agents)

    def result(self) -> str:
        """The outcome in one line."""
        of_run = self.datacollector.model_vars
        most = max(of_run["active"])
        if not most:
            return "Nobody ever rebelled."
        return (
            f"At most {most} citizens were active, after step {of_run['active'].index(most)}; at most "
            f"{max(of_run['jailed'])} were in jail."
        )


def _size(citizens: int, cops: int, width: int | None, height: int | None) -> tuple[int, int]:
    """Width and height; a side that is not given is chosen so that everybody has room."""
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
