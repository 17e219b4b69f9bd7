"""The network of people, what is measured on it, and bounded confidence.

Bounded confidence decides if no LLM is asked. It answers in the same form, and sees only the request; it
chooses a listener by a hash of the observation.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from statistics import fmean, pvariance
from typing import TYPE_CHECKING

import networkx as nx
from mesa import DataCollector, Model
from mesa.discrete_space import Network

from mesa_llm.clients import RuleBasedClient
from mesa_llm.errors import ConfigurationError
from mesa_llm.reasoning import read_observation
from mesa_llm_examples.opinion.agents import Person
from mesa_llm_examples.shared import at_least, choose, chosen, id_in, in_range

if TYPE_CHECKING:
    from mesa_llm.clients import LLMClient, LLMRequest, Message
    from mesa_llm.parallel_stepping import ParallelStepping

# Since Mesa 3.5 a network has a layout; its default draws from numpy's global generator.
_LAYOUT = {"layout": nx.circular_layout} if "layout" in inspect.signature(Network).parameters else {}


class Opinion(Model):
    """People on the nodes of a small-world network; each speaks to its neighbours.

    The network is that of Watts and Strogatz (1998), Nature 393, 440-442: a ring in which each person is connected with
    the nearest, and some of the connections are rewired to random people.

    Args:
        people: how many people, at least 0.
        neighbors: with how many others each is connected in the ring: even, at least 0, and less than `people` unless
            that is 0.
        rewiring: the share of the connections that lead to random people, 0 to 1.
        confidence: people listen to those whose opinion differs by less than this (d), 0 to 1.
        convergence: the share of the distance that a listener moves (μ), 0 to 0.5.
        topic: what people talk about; for LLMs.
        seed: the same seed and the same answers give the same run, on the same release of Mesa; with `None` every run
            differs.
        llm_model: the LLM, as `provider/model`; by default bounded confidence decides and no LLM is called.
        api_base: the base URL of the model's server, if it is not the provider's own.
        client: the client that people ask, in the place of one made from `llm_model` and `api_base`.
        parallel_stepping: whether all people decide at the same time; a `ParallelStepping` also says how.

    Raises:
        ConfigurationError: if a value cannot work.
    """

    def __init__(
        self,
        people: int = 40,
        *,
        neighbors: int = 8,
        rewiring: float = 0.1,
        confidence: float = 0.3,
        convergence: float = 0.5,
        topic: str = "whether the centre of our town should be closed to cars",
        seed: int | None = None,
        llm_model: str | None = None,
        api_base: str | None = None,
        client: LLMClient | None = None,
        parallel_stepping: bool | ParallelStepping = True,
    ) -> None:
        at_least("people", people, 0)
        at_least("neighbors", neighbors, 0)
        if neighbors % 2:
            raise ConfigurationError(f"neighbors must be even, half of them on either side, got {neighbors!r}.")
        if 0 < people <= neighbors:
            raise ConfigurationError(
                f"neighbors must be less than people, got {neighbors!r} and {people!r}. Use more people."
            )
        in_range("rewiring", rewiring, 0, 1)
        in_range("confidence", confidence, 0, 1)
        in_range("convergence", convergence, 0, 0.5, "At 0.5 a listener moves half of the way.")
        super().__init__(rng=seed)
        self.confidence = confidence
        self.convergence = convergence
        self.topic = topic
        self.parallel_stepping = parallel_stepping
        self.llm_model = llm_model or "rule-based/deffuant-2000"
        self.api_base = api_base
        self.client = RuleBasedClient(policy) if client is None and llm_model is None else client

        network = nx.watts_strogatz_graph(people, neighbors, rewiring, seed=self.random.randrange(2**32))
        self.grid = Network(network, capacity=1, random=self.random, **_LAYOUT)
        for cell in self.grid.all_cells:
            Person(self, cell, opinion=round(self.random.random(), DIGITS))

        self.datacollector = DataCollector(
            {name: name for name in ("mean", "variance", "clusters")}, agent_reporters={"opinion": _opinion_of}
        )
        self.datacollector.collect(self)

    def step(self) -> None:
        """Everybody listens and speaks; then the opinions are measured."""
        self.agents.shuffle_do("step")
        self.datacollector.collect(self)

    @property
    def opinions(self) -> list[float]:
        """All opinions, the smallest first."""
        return sorted(agent.opinion for agent in self.agents)

    @property
    def mean(self) -> float | None:
        """The mean opinion; `None` without people."""
        return fmean(self.opinions) if self.opinions else None

    @property
    def variance(self) -> float | None:
        """The variance of the opinions; `None` without people."""
        return pvariance(self.opinions) if self.opinions else None

    @property
    def clusters(self) -> int:
        """How many groups there are. Nobody in one group listens to anybody in another.

        A connection joins two people into one group if their opinions differ by less than the confidence.
        """
        listening = nx.Graph()
        opinions = {agent.cell.coordinate: agent.opinion for agent in self.agents}
        listening.add_nodes_from(opinions)
        listening.add_edges_from(
            (one, other) for one, other in self.grid.G.edges if abs(opinions[one] - opinions[other]) < self.confidence
        )
        return int(nx.number_connected_components(listening))

    def result(self) -> str:
        """The outcome in one line."""
        if self.mean is None or self.variance is None:
            return "There was nobody."
        before = self.datacollector.model_vars["variance"][0]
        groups = "one group" if self.clusters == 1 else f"{self.clusters} groups that do not listen to each other"
        return (
            f"The variance of opinions went from {before:.3f} to {self.variance:.3f}; {groups}, mean {self.mean:.2f}."
        )


_OPINION = re.compile(r"\bopinion is (\d+(?:\.\d+)?)")
DIGITS = 4  # of an opinion in a message


def moved(opinion: float, heard: Sequence[float], *, confidence: float, convergence: float) -> float:
    """The opinion after hearing others, one after the other.

    This is equation 1 of Deffuant et al. (2000): if |x - x'| < d, then x becomes x + μ * (x' - x). In the paper both of
    a pair move; here only the listener does.

    Args:
        opinion: x, 0 to 1.
        heard: the opinions x' of others, in the order in which the person considers them.
        confidence: d.
        convergence: μ, 0 to 0.5.
    """
    for other in heard:
        if abs(other - opinion) < confidence:
            opinion += convergence * (other - opinion)
    return round(opinion, DIGITS)


def policy(request: LLMRequest) -> Message:
    """Listen to those who think alike, and name the new opinion to a neighbour.

    Args:
        request: the person's request.

    Returns:
        The reason, and the action as a call.
    """
    seen = read_observation(request)
    me = seen["self_state"]["internal_state"]
    heard = [float(match[1]) for said in me["_heard"] if (match := _OPINION.search(said["message"]))]
    opinion = moved(me["_opinion"], heard, confidence=me["_confidence"], convergence=me["_convergence"])
    reason = f"I have heard {len(heard)} opinions, and mine is {opinion}."
    return chosen(
        reason, "tell", listener_id=id_in(choose(list(seen["local_state"]), seen, "listener")), opinion=opinion
    )


def _opinion_of(person: Person) -> float:
    """For the data collector: a function of a module, so that a model can be pickled."""
    return person.opinion
