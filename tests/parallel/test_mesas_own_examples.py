"""Mesa's own examples with agents that ask: in sequential activation, the data of Mesa's unmodified examples, row by row.

A rule answers. It computes from the prompt alone what the example computes; acts and draws are the example's own.
"""

import importlib
import json
import math

import pytest
from helpers.virtual_latency import VirtualTimeClient, on_virtual_time
from mesa.examples.advanced.epstein_civil_violence import agents as epstein
from mesa.examples.basic.boltzmann_wealth_model.agents import MoneyAgent
from mesa.examples.basic.schelling.agents import SchellingAgent
from pandas.testing import assert_frame_equal

from mesa_llm.clients import RuleBasedClient
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.module_llm import ModuleLLM
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.recording import state_hash
from mesa_llm_examples import civil_violence, negotiation, opinion, sugarscape


@pytest.fixture(autouse=True)
def _patched():
    enable_automatic_parallel_stepping()


# Epstein's civil violence: LLM agents; core observes for them.

EPSTEIN = {
    "citizen_density": 0.6,
    "cop_density": 0.074,
    "citizen_vision": 2,
    "cop_vision": 2,
    "legitimacy": 0.5,
    "max_jail_term": 5,
    "active_threshold": 0.1,
    "arrest_prob_constant": 2.3,
}


class Inhabitant(LLMAgent):
    vision = EPSTEIN["cop_vision"]

    def __init__(self, model):
        super().__init__(model, OneCallReasoning, llm_model="rule/epstein", client=model.client, tools=[])

    def decision(self):
        return json.loads(self.llm.generate(self.generate_obs().as_json()).message.content)


class Citizen(epstein.Citizen, Inhabitant):
    visible_attributes = ("state", "_grievance", "_risk_aversion")
    _grievance = property(lambda self: self.grievance)
    _risk_aversion = property(lambda self: self.risk_aversion)

    def step(self):
        if self.jail_sentence:
            super().step()
            return
        self.update_neighbors()
        decision = self.decision()
        self.arrest_probability = decision["arrest_probability"]
        self.state = epstein.CitizenState[decision["state"]]
        self.move()


class Cop(epstein.Cop, Inhabitant):
    def step(self):
        self.update_neighbors()
        suspects = {f"Citizen {other.unique_id}": other for other in self.neighbors if isinstance(other, Citizen)}
        active = set(self.decision()["active"])
        if active:
            arrestee = self.random.choice([other for name, other in suspects.items() if name in active])
            arrestee.jail_sentence = self.random.randint(0, EPSTEIN["max_jail_term"])
            arrestee.state = epstein.CitizenState.ARRESTED
        self.move()


def epsteins_rule(request):
    observation = json.loads(request.messages[-1].content)
    others = observation["local_state"]
    active = [
        name
        for name, other in others.items()
        if name.startswith("Citizen") and other["attributes"]["state"] == "CitizenState.ACTIVE"
    ]
    me = observation["self_state"].get("attributes")
    if me is None:
        return json.dumps({"active": active})
    cops = sum(name.startswith("Cop") for name in others)
    probability = 1 - math.exp(-EPSTEIN["arrest_prob_constant"] * round(cops / (1 + len(active))))
    rebels = me["_grievance"] - me["_risk_aversion"] * probability > EPSTEIN["active_threshold"]
    return json.dumps({"arrest_probability": probability, "state": "ACTIVE" if rebels else "QUIET"})


# Schelling's segregation: Mesa's agents with an LLM of their own, which decides twice, in two passes.


class Neighbor(SchellingAgent):
    def __init__(self, model, cell, agent_type, **keywords):
        super().__init__(model, cell, agent_type, **keywords)
        self.llm = ModuleLLM("rule/schelling", client=model.client)

    def says(self, **facts):
        return self.llm.generate(json.dumps({"me": self.unique_id, **facts})).message.content

    def assign_state(self):
        around = [other.type for other in self.cell.get_neighborhood(radius=self.radius).agents]
        self.happy = self.says(type=self.type, around=around, wanted=self.homophily) == "happy"
        self.model.happy += self.happy

    def step(self):
        if self.says(happy=self.happy) == "move":
            super().step()


def schellings_rule(request):
    facts = json.loads(request.messages[-1].content)
    if "happy" in facts:
        return "stay" if facts["happy"] else "move"
    around = facts["around"]
    share = around.count(facts["type"]) / len(around) if around else 0.0
    return "unhappy" if share < facts["wanted"] else "happy"


# The Boltzmann wealth model: a draw and a move come before the question, and the act draws again.


class Donor(MoneyAgent):
    def __init__(self, model, cell):
        super().__init__(model, cell)
        self.llm = ModuleLLM("rule/boltzmann", client=model.client)

    def step(self):
        self.move()
        cellmates = [other.unique_id for other in self.cell.agents if other is not self]
        facts = json.dumps({"me": self.unique_id, "wealth": self.wealth, "cellmates": cellmates})
        if self.llm.generate(facts).message.content == "give":
            self.give_money()


def boltzmanns_rule(request):
    facts = json.loads(request.messages[-1].content)
    return "give" if facts["wealth"] > 0 and facts["cellmates"] else "keep"


MESAS = {
    "epstein": (
        "advanced.epstein_civil_violence.model",
        "EpsteinCivilViolence",
        {"width": 7, "height": 7},
        EPSTEIN,
        {"Citizen": Citizen, "Cop": Cop},
        epsteins_rule,
    ),
    "schelling": (
        "basic.schelling.model",
        "Schelling",
        {},
        {"width": 8, "height": 8},
        {"SchellingAgent": Neighbor},
        schellings_rule,
    ),
    "boltzmann": (
        "basic.boltzmann_wealth_model.model",
        "BoltzmannWealth",
        {},
        {"n": 30, "width": 5, "height": 5},
        {"MoneyAgent": Donor},
        boltzmanns_rule,
    ),
}


SEED = 1


def made(cls, module, size, parameters):
    """A model of Mesa's: from 3.5 on, its parameters are a scenario."""
    scenarios = [value for name, value in vars(module).items() if name.endswith("Scenario") and name != "Scenario"]
    if not scenarios:
        return cls(**size, **parameters, seed=SEED)
    return cls(**size, scenario=scenarios[0](**parameters, rng=SEED))


def assert_same_data(model, other):
    assert_frame_equal(model.datacollector.get_model_vars_dataframe(), other.datacollector.get_model_vars_dataframe())
    if model.datacollector.agent_reporters:
        assert_frame_equal(
            model.datacollector.get_agent_vars_dataframe(), other.datacollector.get_agent_vars_dataframe()
        )


@pytest.mark.parametrize("max_waste", [0.5, None])
@pytest.mark.parametrize("name", MESAS)
def test_an_example_of_mesas_gives_the_same_data(name, max_waste, monkeypatch):
    path, model_class, size, parameters, agent_classes, rule = MESAS[name]
    module = importlib.import_module(f"mesa.examples.{path}")
    example = getattr(module, model_class)
    plain = made(example, module, size, parameters)
    for _ in range(3):
        plain.step()
    for own, agent_class in agent_classes.items():
        monkeypatch.setattr(module, own, agent_class)
    reports = []
    settings = ParallelStepping(
        activation="sequential", max_waste=max_waste, methods=("step", "assign_state"), on_report=reports.append
    )
    with on_virtual_time(VirtualTimeClient(RuleBasedClient(rule))) as client:
        asking = type(model_class, (example,), {"client": client, "parallel_stepping": settings})
        model = made(asking, module, size, parameters)
        for _ in range(3):
            model.step()
    assert_same_data(model, plain)
    assert model.random.getstate() == plain.random.getstate()
    assert client.now < sum(report.calls for report in reports)
    assert sum(report.look_ahead.failed_looks for report in reports) == 0


OURS = {
    "civil violence": (civil_violence.CivilViolence, civil_violence.policy, {"citizens": 20, "cops": 4}),
    "negotiation": (negotiation.Negotiation, negotiation.policy, {"buyers": 6, "sellers": 6}),
    "opinion": (opinion.Opinion, opinion.policy, {"people": 20}),
    "sugarscape": (sugarscape.Sugarscape, sugarscape.policy, {"traders": 20}),
}


@pytest.mark.parametrize("name", OURS)
def test_an_example_of_ours_gives_the_same_data_and_states(name):
    example, rule, parameters = OURS[name]
    plain = example(**parameters, seed=3, client=RuleBasedClient(rule), parallel_stepping=False)
    with on_virtual_time(VirtualTimeClient(RuleBasedClient(rule))) as client:
        reports = []
        settings = ParallelStepping(activation="sequential", on_report=reports.append)
        model = example(**parameters, seed=3, client=client, parallel_stepping=settings)
        for _ in range(3):
            plain.step()
            model.step()
            assert state_hash(model) == state_hash(plain)
    assert_same_data(model, plain)
    assert client.now < sum(report.calls for report in reports)
