"""Looks reach agents of any class, whatever they hold, and spend what `max_waste` allows over a run."""

import itertools
import json

import pytest
from helpers.virtual_latency import VirtualTimeClient, on_virtual_time
from mesa import Agent, Model

from mesa_llm.clients import RuleBasedClient
from mesa_llm.module_llm import ModuleLLM
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping


@pytest.fixture(autouse=True)
def _patched():
    enable_automatic_parallel_stepping()


class Asker(Agent):
    """An agent of Mesa's with a model of its own. Core does not know whom it sees."""

    def __init__(self, model):
        super().__init__(model)
        self.llm = ModuleLLM("rule/any", client=model.client)
        self.said = ""

    def ask(self, *facts):
        return self.llm.generate(json.dumps(facts)).message.content

    def step(self):
        self.said = self.ask(self.said)  # all ask the same


class Hidden(Asker):
    def __init__(self, model):
        super().__init__(model)
        self.way = {"to": self.llm}  # so nothing shows that it asks
        del self.llm

    def ask(self, *facts):
        return self.way["to"].generate(json.dumps(facts)).message.content


class Counting(Asker):
    def __init__(self, model):
        super().__init__(model)
        self.numbers = itertools.count(model.random.randrange(9), 2)
        self.route = (place for place in range(99))
        self.around = itertools.chain.from_iterable([[1], [2]])

    def step(self):
        self.around = itertools.chain(["new"], self.around)
        self.said = self.ask(next(self.numbers), next(self.around))


class Travelling(Counting):
    def step(self):
        self.said = self.ask(next(self.route))


class Place(Model):
    def __init__(self, client, agent_class, parallel_stepping=False):
        super().__init__(rng=1)
        self.client, self.parallel_stepping = client, parallel_stepping
        for _ in range(30):
            agent_class(self)

    def step(self):
        self.agents.shuffle_do("step")


def rule(request):
    return f"after {request.messages[-1].content[-9:]}"


def rounds(agent_class, steps=4, **settings):
    """The rounds and the wasted calls of each step; the run is plain Mesa's."""
    reports = []
    with on_virtual_time(VirtualTimeClient(RuleBasedClient(rule))) as client:
        config = ParallelStepping(activation="sequential", on_report=reports.append, **settings)
        model = Place(client, agent_class, config)
        plain = Place(RuleBasedClient(rule), agent_class)
        for _ in range(steps):
            model.step()
            plain.step()
        assert [agent.said for agent in model.agents] == [agent.said for agent in plain.agents]
    assert sum(report.look_ahead.failed_looks for report in reports) == 0
    return [report.rounds for report in reports], [report.wasted_calls for report in reports]


@pytest.mark.parametrize(
    ("agent_class", "expected"),
    [
        (Asker, 1),
        (Hidden, 2),  # nobody looks before one has asked
        (Counting, 1),
        (Travelling, 30),  # a generator cannot be read on a copy
    ],
)
def test_agents_ask_ahead_whatever_they_are_and_hold(agent_class, expected):
    assert rounds(agent_class, max_waste=None) == ([expected] * 4, [0] * 4)


def test_what_was_not_wasted_in_earlier_steps_may_be_risked_in_later_ones():
    took, wasted = rounds(Asker, steps=5)
    assert took[0] > 2
    assert took[-1] == 1
    assert wasted == [0] * 5


class Queueing(Asker):
    """Asks how many have answered: what they have answered does not matter to it."""

    def step(self):
        self.said = self.ask(sum(bool(other.said) for other in self.model.agents))


def test_an_answer_to_another_request_is_a_guess_from_which_looks_go_on():
    took, wasted = rounds(Queueing, steps=1, max_waste=None)
    assert took == [2]
    assert wasted == [29]
