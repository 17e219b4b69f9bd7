"""The grid on which citizens and cops live, what is counted on it, and Epstein's rule.

The rule decides if no LLM is asked. It answers in the same form, and sees only the request. Where Epstein
draws at random (which active citizen, which free cell), it chooses by a hash of the observation. So it has no state,
and the same observation gets the same answer in any order and in any process, however it is worded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mesa import DataCollector, Model
from mesa.discrete_space import OrthogonalMooreGrid

from mesa_llm.clients import RuleBasedClient
from mesa_llm.errors import ConfigurationError
from mesa_llm.reasoning import read_observation
from mesa_llm_examples.civil_violence.agents import Citizen, CitizenState, Cop
from mesa_llm_examples.shared import at_least, choose, chosen, id_in, in_range, offered

if TYPE_CHECKING:
    from mesa_llm.clients import LLMClient, LLMRequest, Message
    from mesa_llm.parallel_stepping import ParallelStepping

POPULATED = 0.7  # the share of cells that are taken on a grid whose size is not given, as in Epstein's runs
SMALLEST_SIDE = 3  # on a smaller torus, two directions lead to the same cell


class CivilViolence(Model):
    """Epstein's model I on a torus with one agent a cell; a diagonal step counts as one.

    With parallel stepping enabled, all decide on the same world where to go, then go one by one; then all decide
    whether to rebel, or whom to arrest, then do so one by one:

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
        llm_model: the LLM, as `provider/model`; by default Epstein's rule decides and no LLM is called.
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
        """Everybody walks, then acts; then the states are counted."""
        self.agents.shuffle_do("step")
        self.datacollector.collect(self)

    def count(self, state: CitizenState) -> int:
        """How many citizens are in a state now.

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


def arrest_probability(cops: int, actives: int, arrest_constant: float) -> float:
    """The probability of arrest that a citizen estimates: P = 1 - exp(-k * floor(C / A)).

    Epstein (2002), PNAS 99 (suppl. 3), page 7244, has no floor. He chooses k = 2.3, which makes P about 0.9 for one cop
    and one active citizen. The floor is from Wilensky (2004), NetLogo Rebellion model,
    https://ccl.northwestern.edu/netlogo/models/Rebellion, who found that the outbursts of the paper do not come about
    without it. It makes P zero where the active outnumber the cops. (Mesa's own example rounds to the nearest integer.)

    Args:
        cops: C, the cops in sight.
        actives: A, the active citizens in sight and the citizen itself, so at least 1.
        arrest_constant: k, above 0.
    """
    return 1 - math.exp(-arrest_constant * (cops // actives))


def policy(request: LLMRequest) -> Message:
    """Answer a citizen or a cop: where to go, whether to rebel, or whom to arrest.

    Args:
        request: the agent's request.

    Returns:
        The reason, and the action as a call.
    """
    seen = read_observation(request)
    actions = offered(request)
    if "move_one_step" in actions:
        free = actions["move_one_step"]["properties"]["direction"]["enum"]
        return chosen("I walk about.", "move_one_step", direction=choose(free, seen, "move"))
    others = seen["local_state"]
    actives = [
        name
        for name, other in others.items()
        if name.startswith("Citizen ") and other["internal_state"]["state"] == "active"
    ]
    if "rebel" in actions:
        return _as_citizen(seen["self_state"]["internal_state"], sum(map(_is_cop, others)), 1 + len(actives))
    if not actives:
        return chosen("I see nobody who is active.", "wait")
    citizen = choose(actives, seen, "arrest")
    reason = f"I see {len(actives)} who are active: {', '.join(actives)}."
    return chosen(reason, "arrest_citizen", citizen_id=id_in(citizen))


def _is_cop(name: str) -> bool:
    return name.startswith("Cop ")


def _as_citizen(me: Mapping[str, Any], cops: int, actives: int) -> Message:
    grievance = me["_hardship"] * (1 - me["_legitimacy"])
    probability = arrest_probability(cops, actives, me["_arrest_constant"])
    net_risk = me["_risk_aversion"] * probability
    rebels = grievance - net_risk > me["_threshold"]
    reason = (
        f"I see {cops} cops, and with me there would be {actives} active. My grievance is {me['_hardship']:g} * "
        f"(1 - {me['_legitimacy']:g}) = {grievance:.3f}. I would be arrested with probability {probability:.3f}; to me "
        f"that is a risk of {net_risk:.3f}. {grievance:.3f} - {net_risk:.3f} is {'' if rebels else 'not '}above "
        f"{me['_threshold']:g}."
    )
    return chosen(reason, "rebel" if rebels else "keep_quiet")
