"""What the page on sequential activation promises, where no other test holds it."""

import itertools
import json
import threading
import warnings

import mesa
import networkx as nx
import pytest
from helpers.virtual_latency import VirtualTimeClient, on_virtual_time
from helpers.zoo import chance
from mesa import DataCollector, Model
from mesa.discrete_space import CellAgent, Network

from mesa_llm.activation import looking_ahead
from mesa_llm.clients import LLMRequest, Message, RuleBasedClient
from mesa_llm.errors import NotParallelWarning
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import MemoryEntry
from mesa_llm.parallel_stepping import (
    ParallelStepping,
    VerificationError,
    enable_automatic_parallel_stepping,
    verify_sequential,
)
from mesa_llm.parallel_stepping.world_copy import WorldCopy
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.recording import state_hash

SEQUENTIAL = ParallelStepping(activation="sequential")


@pytest.fixture(autouse=True)
def _patched():
    enable_automatic_parallel_stepping()


class Person(LLMAgent, CellAgent):
    """Sees the marks of its neighbours; in half of its turns it changes its own."""

    def __init__(self, model, cell, client):
        state = {"mark": 0}
        super().__init__(model, OneCallReasoning, client=client, llm_model="rule/ring", internal_state=state, vision=1)
        self.cell = cell

    def question(self):
        return json.dumps(self.generate_obs().as_json())

    def step(self):
        self.act(self.llm.generate(self.question()).message.content)

    def act(self, answer):
        if chance("acts", answer) < 0.5:
            self.internal_state = {"mark": chance("mark", answer)}


class Friends(Model):
    """People who each see `d` others, in a ring, or whom a graph says."""

    def __init__(self, client, parallel_stepping=False, *, n=12, d=2, graph=None, person=Person, rng=5):
        super().__init__(rng=rng)
        self.parallel_stepping = parallel_stepping
        self.grid = Network(graph or nx.circulant_graph(n, range(1, d // 2 + 1)), capacity=1, random=self.random)
        for cell in self.grid.all_cells:
            person(self, cell, client)

    def step(self):
        self.agents.shuffle_do("step")


def rule():
    return RuleBasedClient(lambda request: f"{chance(request.messages[-1].content):.6f}")


def stepped(model, steps=1):
    for _ in range(steps):
        model.step()
    return model


def look_ahead_of(parallel_stepping=SEQUENTIAL, **settings):
    """What looking ahead took in one step, and the latencies that it took on the virtual clock."""
    with on_virtual_time(VirtualTimeClient(rule())) as client:
        model = stepped(Friends(client, parallel_stepping, **settings))
    return model.parallel_reports[-1].look_ahead, client.now


# What it costs.


@pytest.mark.parametrize(("n", "d"), [(20, 2), (60, 2), (60, 4), (60, 8), (100, 4)])
def test_rounds_grow_with_sight_and_hardly_with_the_number_of_agents(n, d):
    ahead, latencies = look_ahead_of(n=n, d=d)
    rule_of_thumb = 3 + 1.3 * d
    assert rule_of_thumb / 2 <= ahead.rounds <= rule_of_thumb
    assert latencies == ahead.rounds
    assert ahead.wasted_calls <= n / 2


class Quiet(Person):
    """Changes its mark in a tenth of its turns."""

    def act(self, answer):
        if chance("acts", answer) < 0.1:
            self.internal_state = {"mark": chance("mark", answer)}


@pytest.mark.parametrize(("person", "n", "most"), [(Person, 20, 20), (Quiet, 40, 20)])
def test_where_everybody_sees_everybody_acts_decide_what_is_won(person, n, most):
    ahead, latencies = look_ahead_of(graph=nx.complete_graph(n), person=person)
    assert ahead.rounds == latencies <= most
    assert ahead.wasted_calls <= n / 2 + 8


def test_without_a_limit_everybody_is_asked_at_once():
    at_once = []

    def before_any_answer(request):
        at_once.append(client.asked)
        return 1.0

    with on_virtual_time(VirtualTimeClient(rule(), before_any_answer)) as client:
        settings = ParallelStepping(activation="sequential", max_waste=None)
        stepped(Friends(client, settings, graph=nx.complete_graph(30)))
        first = [asked for asked in at_once if asked <= 30]
    assert len(first) == 30
    assert client.asked > 30


@pytest.mark.parametrize("max_waste", [0, 0.5])
def test_agents_that_see_nobody_who_decides_in_the_step_wait_once(max_waste):
    alone = nx.empty_graph(30)
    ahead, latencies = look_ahead_of(ParallelStepping(activation="sequential", max_waste=max_waste), graph=alone)
    assert (ahead.rounds, latencies, ahead.wasted_calls) == (1, 1, 0)


def test_who_sees_only_each_other_waits_only_for_each_other():
    pairs = nx.disjoint_union_all([nx.path_graph(2)] * 15)
    ahead, latencies = look_ahead_of(ParallelStepping(activation="sequential", max_waste=0), graph=pairs)
    assert (ahead.rounds, latencies, ahead.wasted_calls) == (2, 2, 0)


class Unseeing(Person):
    """Looks at others by code of its own."""

    def question(self):
        return json.dumps([self.unique_id, [other.internal_state["mark"] for other in self.model.agents]])


def test_an_agent_that_does_not_observe_may_see_anybody():
    ahead, latencies = look_ahead_of(ParallelStepping(activation="sequential", max_waste=0), n=8, person=Unseeing)
    assert (ahead.rounds, latencies, ahead.wasted_calls) == (8, 8, 0)


class InOrder(Friends):
    def step(self):
        self.agents.do("step")


@pytest.mark.parametrize(("kind", "is_long"), [(InOrder, True), (Friends, False)])
def test_a_fixed_order_can_be_a_long_chain(kind, is_long):
    with on_virtual_time(VirtualTimeClient(rule())) as client:
        settings = ParallelStepping(activation="sequential", max_waste=0)
        model = stepped(kind(client, settings, graph=nx.path_graph(30)))
    assert (model.parallel_reports[-1].rounds == 30) is is_long


def test_calls_that_an_agent_makes_one_after_the_other_add_to_the_chain():
    class Twice(Person):
        def step(self):
            answer = self.llm.generate(self.question()).message.content
            self.act(self.llm.generate(answer).message.content)

    ahead, latencies = look_ahead_of(graph=nx.empty_graph(10), person=Twice)
    assert (ahead.rounds, latencies) == (2, 2)


# How it runs.


def test_agents_take_their_turns_in_the_calling_thread():
    class Placed(Person):
        def step(self):
            super().step()
            self.internal_state = {"mark": threading.current_thread().name}

    model = stepped(Friends(rule(), SEQUENTIAL, person=Placed))
    assert {agent.internal_state["mark"] for agent in model.agents} == {threading.current_thread().name}


def test_a_turn_has_two_phases_and_nothing_settles_later():
    report = stepped(Friends(rule(), SEQUENTIAL)).parallel_reports[-1]
    assert {span.phase for agent in report.agents for span in agent.spans} == {"decide", "act"}
    assert report.settle_s == 0
    assert [agent.outcome for agent in report.agents] == ["acted"] * 12


class Plain(mesa.Agent):
    """Knows nothing of this library but a client."""

    said = ""

    def step(self):
        request = LLMRequest(model="rule/plain", messages=(Message("user", f"You are {self.unique_id}."),))
        self.said = self.model.client.generate(request).message.content


class Plains(Model):
    def __init__(self, client, parallel_stepping=False):
        super().__init__(rng=1)
        self.client, self.parallel_stepping = client, parallel_stepping
        Plain.create_agents(self, 20)

    def step(self):
        self.agents.shuffle_do("step")


def test_agents_that_ask_by_a_client_alone_are_asked_ahead_too():
    expected = stepped(Plains(rule()))
    with on_virtual_time(VirtualTimeClient(rule())) as client:
        model = stepped(Plains(client, SEQUENTIAL))
    assert [agent.said for agent in model.agents] == [agent.said for agent in expected.agents]
    assert client.now <= 5


class Staged(Friends):
    def step(self):
        self.agents.shuffle_do("ask")
        self.agents.do("settle_down")


class Stager(Person):
    def ask(self):
        self.heard = self.llm.generate(self.question()).message.content
        self.act(self.heard)

    def settle_down(self):
        self.act(self.llm.generate(self.heard).message.content)


def test_each_of_several_methods_is_a_sequential_step_of_its_own():
    settings = ParallelStepping(activation="sequential", methods=("ask", "settle_down"))
    expected = stepped(Staged(rule(), person=Stager), 2)
    model = stepped(Staged(rule(), settings, person=Stager), 2)
    assert state_hash(model) == state_hash(expected)
    assert [report.activation for report in model.parallel_reports] == ["sequential"] * 2


class Locked(Person):
    def __init__(self, *args):
        super().__init__(*args)
        self.lock = threading.Lock()


def test_a_model_that_cannot_be_copied_says_so_once():
    model = Friends(rule(), SEQUENTIAL, person=Locked)
    model.__class__ = type("LockedFriends", (Friends,), {})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NotParallelWarning)
        stepped(model, 3)
    assert len([warning for warning in caught if warning.category is NotParallelWarning]) == 1
    assert model.parallel_reports[-1].look_ahead.asked_ahead == 0


class Revising(Person):
    """Writes into what it remembers."""

    def act(self, answer):
        self.memory.add_to_memory("message", {"message": answer, "said": []})
        said = next(entry.content["said"] for entry in self.memory.entries if "said" in entry.content)
        said.append(answer)
        self.internal_state = {"mark": len(said)}


class Gossiping(Person):
    """Remembers another agent itself, and changes it when it remembers it."""

    def act(self, answer):
        super().act(answer)
        self.memory.add_to_memory("message", {"message": answer, "of": self.model.agents[0]})
        other = next(entry.content["of"] for entry in self.memory.entries if "of" in entry.content)
        other.internal_state = {"mark": answer}


class Overwriting(Person):
    """Collects data in its turn, and spoils what was collected."""

    def act(self, answer):
        super().act(answer)
        collector = self.model.__dict__.setdefault("collector", DataCollector(agent_reporters={"it": "unique_id"}))
        for records in collector._agent_records.values():
            records.append(answer)
        collector._agent_records.setdefault(0, [])
        self.internal_state = {**self.internal_state, "collected": len(collector._agent_records[0])}


@pytest.mark.parametrize("person", [Revising, Gossiping, Overwriting])
def test_looks_leave_the_past_alone(person):
    assert verify_sequential(lambda client: Friends(client, person=person), 3, rule(), max_waste=None).calls == 36


def test_an_entry_on_a_copy_reads_like_its_original():
    model = Friends(rule())
    fresh = {"text": "not read yet"}
    entries = [
        MemoryEntry(1, "message", {"text": "hello", "to": [1, 2]}),
        MemoryEntry(1, "message", {"of": model.agents[0]}),
        MemoryEntry({"message": {"text": "old"}}, 1, None),
    ]
    texts = [str(entry) for entry in entries]
    entries.append(MemoryEntry(2, "message", fresh))
    copied, (copies,) = WorldCopy(model, entries).make()
    fresh["text"] = "changed"
    assert str(entries[-1]) == "Step 2. message: changed"
    assert [str(entry) for entry in copies] == [*texts, "Step 2. message: not read yet"]
    assert copies[0].content == entries[0].content
    assert copies[0].content is not entries[0].content
    assert copies[1].content["of"] is copied.agents[0]


def test_a_copy_does_not_grow_with_what_agents_remember_and_collectors_record():
    sizes = []
    for many in (1, 100):
        model = Friends(rule())
        model.collector = DataCollector(agent_reporters={"it": "unique_id"})
        for agent in model.agents:
            for _ in range(many):
                agent.memory.add_to_memory("message", {"message": "word " * 20})
        model.collector._agent_records = {time: [(time, 1, "value")] * 50 for time in range(many)}
        sizes.append(len(WorldCopy(model)._bytes))
    assert sizes[1] < 4 * sizes[0]


OUTSIDE = {}


class Careless(Person):
    """Numbers its turns by a counter that is no part of the model."""

    def step(self):
        super().step()
        self.turn = self.number()

    def number(self):
        return next(OUTSIDE["turns"])


class Careful(Careless):
    def number(self):
        return None if looking_ahead() else next(OUTSIDE["turns"])


class Tidy(Careless):
    """The counter is part of the model."""

    def number(self):
        self.model.turns = getattr(self.model, "turns", 0) + 1
        return self.model.turns


@pytest.mark.parametrize(("person", "is_equal"), [(Careless, False), (Careful, True), (Tidy, True)])
def test_what_is_outside_of_the_model_is_found_by_verification(person, is_equal):
    def make(client):
        OUTSIDE["turns"] = itertools.count()
        return Friends(client, person=person)

    if is_equal:
        found = verify_sequential(make, 2, rule(), max_waste=None)
        assert (found.steps, found.calls) == (2, 24)
    else:
        with pytest.raises(VerificationError, match=r"After step 1, .* differs in turn"):
            verify_sequential(make, 2, rule(), max_waste=None)


def test_a_file_that_is_open_already_is_written_in_a_look_too_unless_the_code_asks(tmp_path):
    class Logging(Person):
        def step(self):
            super().step()
            OUTSIDE["file"].write("x")

    class Asking(Logging):
        def step(self):
            Person.step(self)
            if not looking_ahead():
                OUTSIDE["file"].write("x")

    def written(person):
        path = tmp_path / person.__name__
        with path.open("w") as OUTSIDE["file"], on_virtual_time(VirtualTimeClient(rule())) as client:
            stepped(Friends(client, SEQUENTIAL, person=person))
        return len(path.read_text())

    assert written(Asking) == 12 < written(Logging)
