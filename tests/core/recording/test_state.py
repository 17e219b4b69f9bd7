"""The digest of a model's state: the same for runs that went the same way, another one for any other state."""

import copy
import os
import pickle
import random
import subprocess
import sys
import threading
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from helpers.foragers import Field, rules
from hypothesis import given
from hypothesis import strategies as st
from mesa import DataCollector, Model
from mesa.discrete_space import Cell, CellAgent, OrthogonalMooreGrid

from mesa_llm.activation.values import to_json
from mesa_llm.clients import RuleBasedClient, tool_call
from mesa_llm.limits import Budget
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import EpisodicMemory, LongTermMemory
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.recording import SimulationRecorder, state_difference, state_hash
from mesa_llm.recording.state import StateDifference, model_state
from mesa_llm.testing import ScriptedLLM


class Ledger:
    """An object without a text of its own, which knows itself and others."""

    def __init__(self):
        self.sums = {"ann", "bob", "cid"}
        self._debts = [1, 2]
        self.itself = self
        self.lock = threading.Lock()


class Plot(Cell):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fertility = 1


@dataclass
class Purse:
    coins: int = 3


class Villager(LLMAgent, CellAgent):
    def __init__(self, model, cell):
        super().__init__(
            model, OneCallReasoning, client=model.client, step_prompt="?", memory=EpisodicMemory, tools=[self.note]
        )
        self.cell = cell
        self.wealth = 1.5
        self._mood = "calm"
        self.ledger = model.ledger
        self.purse = Purse()
        self.dice = random.Random(unique := self.unique_id)
        self.internal_state = {"goods": [1, {"unique": unique}], "_plan": None}

    def note(self):
        """Note."""


class Village(Model):
    def __init__(self):
        super().__init__(rng=1)
        self.client = ScriptedLLM("I rest.")
        self.ledger = Ledger()
        self.prices = np.ones(3)
        self.history = pd.Series(range(150))
        self.grid = OrthogonalMooreGrid((3, 3), random=self.random, cell_klass=Plot)
        self.grid.create_property_layer("sugar", default_value=1, dtype=int)
        self.datacollector = DataCollector(agent_reporters={"wealth": "wealth"})
        for cell in list(self.grid.all_cells)[:2]:
            Villager(self, cell)
        first, second = self.agents
        first.memory.add_to_memory("message", {"message": "hello", "sender": 2})
        second.memory.add_to_memory("note", {"about": [(1, 2)]})
        second.generate_obs()


def first(model):
    return next(iter(model.agents))


def layer_of(model):
    return model.grid.sugar if isinstance(model.grid.sugar, np.ndarray) else model.grid.sugar.data


def another_tool():
    """Another tool."""


def move(model):
    first(model).cell = model.grid[(2, 2)]


def hold_a_plan(model):
    agent = first(model)
    before, agent.memory = agent.memory, EpisodicMemory(agent)
    agent.reasoning.plan(ttl=3, obs=agent.generate_obs())
    agent.memory = before


CHANGES = [
    (lambda model: setattr(first(model), "wealth", 2), "Villager 1", "wealth", "1.5", "2"),
    (lambda model: setattr(first(model), "wealth", True), "Villager 1", "wealth", "1.5", "true"),
    (lambda model: setattr(first(model), "_mood", "angry"), "Villager 1", "_mood", '"calm"', '"angry"'),
    (lambda model: setattr(first(model), "hope", 1), "Villager 1", "hope", None, "1"),
    (lambda model: setattr(first(model).purse, "coins", 4), "Villager 1", "purse.coins", "3", "4"),
    (lambda model: model.ledger.sums.discard("bob"), "Villager 1", "ledger.sums[1]", '"bob"', '"cid"'),
    (lambda model: model.ledger._debts.append(3), "Villager 1", "ledger._debts", "[1, 2]", "[1, 2, 3]"),
    (lambda model: first(model).dice.random(), "Villager 1", "dice.state", None, None),
    (lambda model: first(model).internal_state["goods"][1].clear(), "Villager 1", "internal_state.goods[1].unique", "1", None),
    (lambda model: setattr(first(model), "system_prompt", "Be kind."), "Villager 1", "llm.system_prompt", None, '"Be kind."'),
    (lambda model: first(model).memory._episodes[0].entry.content.update(message="bye"),
     "Villager 1", "memory._episodes[0].entry.content.message", '"hello"', '"bye"'),
    (lambda model: model.agents[1].memory._episodes[1].entry.content["self_state"].clear(),
     "Villager 2", "memory._episodes[1].entry.content.self_state.agent_unique_id", "2", None),
    (lambda model: setattr(first(model).memory._episodes[0], "importance", 7),
     "Villager 1", "memory._episodes[0].importance", None, "7"),
    (hold_a_plan, "Villager 1", "reasoning._held._plans", None, None),
    (move, "Villager 1", "position[0]", "0", "2"),
    (lambda model: model.agents[1].remove(), "Villager 2", "agent", None, None),
    (lambda model: setattr(model, "tax", 0.1), None, "tax", None, "0.1"),
    (lambda model: model.prices.__setitem__(1, 2.0), None, "prices[1]", "1.0", "2.0"),
    (lambda model: model.history.__setitem__(140, 0), None, "history[140]", "140", "0"),
    (lambda model: layer_of(model).__setitem__((1, 1), 5), None, "grid.layers.sugar[1][1]", "1", "5"),
    (lambda model: setattr(model.grid[(1, 1)], "fertility", 2), None, "grid.attributes of cells.[1, 1].fertility", "1", "2"),
    (lambda model: model.random.random(), None, "random.state", None, None),
    (lambda model: model.rng.random(), None, "rng.state", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("change", "agent", "attribute", "before", "after"), CHANGES)
def test_any_other_state_has_another_digest_and_the_difference_is_named(change, agent, attribute, before, after):
    model, twin = Village(), Village()
    assert state_hash(model) == state_hash(twin)
    assert state_difference(model, twin) is None
    change(twin)
    assert state_hash(model) != state_hash(twin)
    found = state_difference(model, model_state(twin))
    assert (found.agent, found.attribute.startswith(attribute)) == (agent, True), found
    if (before, after) != (None, None):
        assert found == StateDifference(agent, attribute, before, after)


def test_a_difference_reads_as_a_sentence():
    model, twin = Village(), Village()
    first(twin).hope = "x" * 500
    assert str(state_difference(model, twin)).startswith('Villager 1, hope: nothing and "xxx')
    assert len(str(state_difference(model, twin))) < 240
    del first(twin).hope
    twin.tax = 1
    assert str(state_difference(twin, model)) == "the model, tax: 1 and nothing"


@pytest.mark.parametrize(
    "change",
    [
        lambda model: setattr(first(model).llm, "_client", RuleBasedClient(lambda request: "no")),
        lambda model: setattr(first(model).llm, "options", {"temperature": 1}),
        lambda model: setattr(model, "client", RuleBasedClient(lambda request: "no")),
        lambda model: setattr(model, "parallel_stepping", ParallelStepping(mode="threading")),
        lambda model: setattr(model, "parallel_reports", ["a report"]),
        lambda model: first(model).tool_manager.register(another_tool),
        lambda model: model.datacollector.collect(model),
        lambda model: first(model).memory.get_prompt_ready(),
        lambda model: first(model).memory.retrieve_top_k_entries(1),
        lambda model: first(model).memory.entries[0].tokens,
        lambda model: setattr(model, "_mesa_llm_ordinal", 5),
        lambda model: setattr(model, "budget", Budget(tokens=5)),
        lambda model: setattr(model, "prices", [1.0, 1.0, 1.0]),
    ],
)
def test_what_is_no_state_does_not_count(change):
    model, twin = Village(), Village()
    change(twin)
    assert state_difference(model, twin) is None


def test_a_recorder_does_not_count(tmp_path):
    model, twin = Village(), Village()
    twin.recorder = first(twin).recorder = SimulationRecorder(twin, tmp_path)
    assert state_hash(model) == state_hash(twin)


def test_the_identifier_of_a_tool_call_does_not_count():
    def holding(call_id):
        model = Model(rng=1)
        llm = ScriptedLLM(replace(tool_call("speak_to", listener_agents_unique_ids=[], message=""), id=call_id))
        agent = LLMAgent(model, OneCallReasoning, client=llm, step_prompt="?")
        agent.reasoning.plan(ttl=3, obs=agent.generate_obs())
        return model

    assert state_hash(holding("call_1")) == state_hash(holding("call_2"))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_in_the_same_state(copied):
    enable_automatic_parallel_stepping()
    model = Field(client=rules())
    model.step()
    twin = copied(model)
    assert state_difference(model, twin) is None
    twin.step()
    assert state_hash(model) != state_hash(twin)


def test_the_same_run_has_the_same_digests_in_every_mode():
    enable_automatic_parallel_stepping()
    runs = [Field(mode, client=rules()) for mode in ("asyncio", "threading", "asyncio")]
    for _ in range(3):
        for model in runs:
            model.step()
        assert len({state_hash(model) for model in runs}) == 1, state_difference(*runs[:2])


class Loner(LLMAgent):
    def count(self) -> str:
        """Count."""
        self.counted = getattr(self, "counted", 0) + self.model.random.randint(1, 6)
        return f"{self.counted}"

    def __init__(self, model, client):
        super().__init__(
            model, OneCallReasoning, client=client, step_prompt="?", tools=[self.count], memory=LongTermMemory
        )


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_a_parallel_run_has_the_digests_of_plain_mesa_where_nobody_sees_anybody(mode):
    def answer(request):
        return [tool_call("count")] if request.tools else "Counted."

    enable_automatic_parallel_stepping()

    def run(parallel):
        model = Model(rng=1)
        model.parallel_stepping = parallel
        for _ in range(3):
            Loner(model, RuleBasedClient(answer))
        digests = []
        for _ in range(3):
            model.agents.shuffle_do("step")
            digests.append(state_hash(model))
        return digests

    assert run(ParallelStepping(mode=mode)) == run(False)


PROGRAM = """
from helpers.foragers import Field, rules
from tests.core.recording.test_state import Village
from mesa_llm.recording import state_hash
if __name__ == "__main__":
    junk = [object() for _ in range(SEED * 1000)]
    model = Field(client=rules())
    model.step()
    print(state_hash(model), state_hash(Village()))
"""


def test_every_process_gives_the_same_digest():
    def digests(seed):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join([os.getcwd(), "tests"])}
        program = PROGRAM.replace("SEED", str(seed))
        return subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True).stdout

    assert len({digests(seed) for seed in range(3)}) == 1


class Link:
    def __init__(self, rest):
        self.rest = rest


def test_a_long_chain_of_objects_has_the_same_digest_however_deep_the_stack_is():
    def model():
        made = Model(rng=1)
        made.chain = None
        for _ in range(5000):
            made.chain = Link(made.chain)
        return made

    def deeper(depth):
        return state_hash(model()) if depth == 0 else deeper(depth - 1)

    assert deeper(0) == deeper(300)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.builds(Purse, inner)
        | st.frozensets(st.integers() | st.text(max_size=3), max_size=3)
    ),
    max_leaves=6,
)


@given(VALUES, VALUES)
def test_digests_are_equal_where_the_canonical_forms_are(one, other):
    model, twin = Model(rng=1), Model(rng=1)
    model.thing, twin.thing = one, other
    equal = to_json(one) == to_json(other)
    assert (state_hash(model) == state_hash(twin)) is equal
    assert (state_difference(model, twin) is None) is equal
