"""The landscape of the traders, where sugar and spice grow, what is counted, and the rules of Epstein and Axtell.

The rules decide if no LLM is asked. They answer in the same form, and see only the request. Where Epstein
and Axtell draw at random, a hash of the observation chooses.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from mesa import DataCollector, Model
from mesa.discrete_space import OrthogonalVonNeumannGrid

from mesa_llm.clients import RuleBasedClient
from mesa_llm.errors import ConfigurationError
from mesa_llm.reasoning import read_observation
from mesa_llm_examples.shared import at_least, choose, chosen, id_in, offered
from mesa_llm_examples.sugarscape.agents import Exchange, Holding, Trader, steps_between

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mesa_llm.clients import LLMClient, LLMRequest, Message
    from mesa_llm.parallel_stepping import ParallelStepping


type Place = tuple[int, int]

RICHEST = 4  # the most sugar, and the most spice, that a cell can hold
BANDS = 8  # away from a peak, a cell holds one unit less with every eighth of the shorter side
SMALLEST_SIDE = 3  # on a smaller torus, two directions lead to the same cell
PEAKS = {"sugar": ((0.25, 0.25), (0.75, 0.75)), "spice": ((0.25, 0.75), (0.75, 0.25))}  # in shares of the sides
ENDOWMENT = (25, 50)  # the least and the most sugar, and spice, of a trader at first


class Landscape:
    """Two peaks of sugar on a torus, in opposite quarters, and two of spice in the other quarters.

    These are the mountains of sugar and of spice of Epstein and Axtell (1996), in a form that fits any size. What is on
    the cells are property layers of the grid, so that agents observe it.

    Args:
        grid: the grid, a torus.
        growth: how much sugar, and spice, grows on a cell in a step, up to the cell's capacity.
    """

    def __init__(self, grid: OrthogonalVonNeumannGrid, growth: int) -> None:
        self.grid = grid
        self.growth = growth
        self.capacity: dict[str, NDArray[np.int64]] = {}
        """The most that each cell can hold, by good."""
        for good, peaks in PEAKS.items():
            grid.create_property_layer(good, default_value=0, dtype=int)
            most = self.capacity[good] = np.zeros((grid.width, grid.height), dtype=int)
            for place in np.ndindex(most.shape):
                most[place] = self._holds(place, peaks)
            self.now(good)[:] = most

    def now(self, good: str) -> NDArray[np.int64]:
        """How much of a good is on each cell now."""
        layer: Any = getattr(self.grid, good)
        return layer if isinstance(layer, np.ndarray) else layer.data  # before Mesa 4

    def grow(self) -> None:
        """Let sugar and spice grow for one step: the growback rule G."""
        for good, most in self.capacity.items():
            np.minimum(self.now(good) + self.growth, most, out=self.now(good))

    def harvest(self, place: Place) -> tuple[int, int]:
        """Take all sugar and all spice from a cell, and return how much there was of each."""
        sugar, spice = self.now("sugar"), self.now("spice")
        taken = int(sugar[place]), int(spice[place])
        sugar[place] = spice[place] = 0
        return taken

    def _holds(self, place: tuple[int, ...], peaks: tuple[tuple[float, float], ...]) -> int:
        size = self.grid.width, self.grid.height
        away = min(
            math.hypot(*(_around(x - share * n, n) for x, share, n in zip(place, peak, size, strict=True)))
            for peak in peaks
        )
        return max(0, RICHEST - int(away * BANDS / min(size)))


def _around(difference: float, size: int) -> float:
    difference %= size
    return min(difference, size - difference)


class Sugarscape(Model):
    """Sugar and spice on a torus with one trader a cell.

    In a step, sugar and spice grow. All traders decide with whom to trade, then trade one by one. All decide where to
    go, then go one by one, gather and eat.

    Args:
        traders: how many traders at first, at least 0.
        width: width of the grid in cells, at least 3.
        height: height of the grid in cells, at least 3.
        max_metabolism: the most sugar, and spice, that a trader needs in a step, at least 1; the least is 1.
        max_vision: how many cells far the most far-sighted traders see, at least 1; the least is 1.
        growth: how much sugar, and spice, grows on a cell in a step, at least 0.
        trade: whether anybody trades.
        seed: the same seed and the same answers give the same run, on the same release of Mesa; with `None` every run
            differs.
        llm_model: the LLM, as `provider/model`; by default the rules of Epstein and Axtell decide and no
            model is asked.
        api_base: the base URL of the model's server, if it is not the provider's own.
        client: the client that traders ask, in the place of one made from `llm_model` and `api_base`.
        parallel_stepping: whether all traders decide at the same time; a `ParallelStepping` also says how.

    Raises:
        ConfigurationError: if a value cannot work.
    """

    def __init__(
        self,
        traders: int = 40,
        *,
        width: int = 20,
        height: int = 20,
        max_metabolism: int = 4,
        max_vision: int = 3,
        growth: int = 1,
        trade: bool = True,
        seed: int | None = None,
        llm_model: str | None = None,
        api_base: str | None = None,
        client: LLMClient | None = None,
        parallel_stepping: bool | ParallelStepping = True,
    ) -> None:
        at_least("traders", traders, 0)
        at_least("width", width, SMALLEST_SIDE)
        at_least("height", height, SMALLEST_SIDE)
        at_least("max_metabolism", max_metabolism, 1)
        at_least("max_vision", max_vision, 1, "Use 1 for traders that see the cells next to theirs.")
        at_least("growth", growth, 0)
        if traders > width * height:
            raise ConfigurationError(
                f"{traders} traders do not fit on {width} x {height} = {width * height} cells, one trader a cell. Use "
                "a larger width or height."
            )
        super().__init__(rng=seed)
        self.trade = trade
        self.parallel_stepping = parallel_stepping
        self.llm_model = llm_model or "rule-based/epstein-axtell-1996"
        self.api_base = api_base
        self.client = RuleBasedClient(policy) if client is None and llm_model is None else client

        self.size = (width, height)
        self.grid = OrthogonalVonNeumannGrid(self.size, torus=True, capacity=1, random=self.random)
        self.landscape = Landscape(self.grid, growth)
        self.exchanges: list[Exchange] = []
        """The exchanges of the current step."""
        draw = self.random.randint
        for cell in self.random.sample(list(self.grid.all_cells), traders):
            holding = Holding(
                sugar=draw(*ENDOWMENT),
                spice=draw(*ENDOWMENT),
                sugar_metabolism=draw(1, max_metabolism),
                spice_metabolism=draw(1, max_metabolism),
            )
            Trader(self, cell, holding=holding, vision=draw(1, max_vision))

        self.datacollector = DataCollector(
            model_reporters={
                "population": "population",
                "exchanges": "exchange_count",
                "price": "mean_price",
                "gini": "gini",
            }
        )
        self.datacollector.collect(self)

    def step(self) -> None:
        """Sugar and spice grow, every trader decides and acts; then the traders and exchanges are counted."""
        self.exchanges = []
        self.landscape.grow()
        self.agents.shuffle_do("step")
        self.datacollector.collect(self)

    @property
    def population(self) -> int:
        """How many traders are alive."""
        return len(self.agents)

    @property
    def exchange_count(self) -> int:
        """How many exchanges the current step has had."""
        return len(self.exchanges)

    @property
    def mean_price(self) -> float | None:
        """The geometric mean of the step's prices, in spice for a unit of sugar; `None` if nobody traded."""
        return math.exp(fmean(math.log(exchange.price) for exchange in self.exchanges)) if self.exchanges else None

    @property
    def gini(self) -> float | None:
        """The Gini coefficient of wealth, sugar and spice together; `None` if nobody is alive."""
        return gini([agent.holding.sugar + agent.holding.spice for agent in self.agents])

    def result(self) -> str:
        """The outcome in one line."""
        of_run = self.datacollector.model_vars
        prices = [price for price in of_run["price"] if price is not None]
        traded = (
            f"{sum(of_run['exchanges'])} exchanges, prices from {min(prices):.2f} to {max(prices):.2f}"
            if prices
            else "no exchange"
        )
        inequality = "" if self.gini is None else f"; Gini coefficient of wealth {self.gini:.2f}"
        return f"{self.population} of {of_run['population'][0]} traders are alive; {traded}{inequality}."


def gini(wealth: Sequence[float]) -> float | None:
    """The Gini coefficient: half the mean difference of all pairs, in units of the mean.

    Args:
        wealth: the wealth of each, at least 0.

    Returns:
        0 (all have the same) to just below 1 (one has everything); `None` if the total is 0.
    """
    total = sum(wealth)
    if not total:
        return None
    ranked = sum(rank * own for rank, own in enumerate(sorted(wealth), 1))
    return 2 * ranked / (len(wealth) * total) - (len(wealth) + 1) / len(wealth)


NEAR = 1.05  # rates of substitution that differ by a smaller factor count as equal


def policy(request: LLMRequest) -> Message:
    """Answer a trader's request: with whom to trade, or where to go.

    Args:
        request: the trader's request.

    Returns:
        The reason, and the action as a call.
    """
    seen, actions = read_observation(request), offered(request)
    if "trade_with" in actions:
        return _trade(seen)
    free = actions["move_to_cell"]["properties"]["cell"]["enum"] if "move_to_cell" in actions else []
    return _go(seen, free)


def _trade(seen: Mapping[str, Any]) -> Message:
    """Trade with the trader whose rate of substitution is farthest from one's own, where there is most to gain."""
    mine = seen["self_state"]["internal_state"]["mrs"]
    gaps = {
        name: abs(math.log(other["internal_state"]["mrs"] / mine)) if other["internal_state"]["mrs"] and mine else 0.0
        for name, other in seen["local_state"].items()
    }
    widest = max(gaps.values())
    if widest < math.log(NEAR):
        return chosen("Nobody in sight has a rate that is far from mine.", "wait")
    partner = choose([name for name, gap in gaps.items() if gap == widest], seen, "partner")
    return chosen(f"The rate of {partner} is farthest from mine, {mine:g}.", "trade_with", trader_id=id_in(partner))


def _go(seen: Mapping[str, Any], free: Sequence[str]) -> Message:
    """The movement rule M for two goods (chapter IV): go to the nearest of the cells that give the most welfare."""
    here, me = seen["self_state"]["location"], seen["self_state"]["internal_state"]
    holding = Holding(
        sugar=me["_sugar"],
        spice=me["_spice"],
        sugar_metabolism=me["_sugar_metabolism"],
        spice_metabolism=me["_spice_metabolism"],
    )
    welfare, steps = {}, {}
    for cell in (json.dumps(here), *free):
        there = seen["environment"][cell]
        welfare[cell] = round(holding.changed(there["sugar"], there["spice"]).welfare, 6)
        steps[cell] = steps_between(here, json.loads(cell), me["_size_of_the_landscape"])
    best = max(welfare.values())
    nearest = min(steps[cell] for cell in welfare if welfare[cell] == best)
    if not nearest:
        return chosen(f"Nowhere in sight is better than here, where my welfare would be {best:.2f}.", "wait")
    cell = choose([cell for cell in welfare if (welfare[cell], steps[cell]) == (best, nearest)], seen, "cell")
    return chosen(f"At {cell} my welfare would be {best:.2f}, and nowhere more.", "move_to_cell", cell=json.loads(cell))
