"""The civil violence model as a whole: counts, calls, and the same run from the same seed."""

import random

import pytest
from helpers.rules import as_model
from hypothesis import given, settings
from hypothesis import strategies as st

from mesa_llm.clients import RuleBasedClient
from mesa_llm.errors import ConfigurationError
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.reasoning import read_observation
from mesa_llm.testing import ScriptedLLM
from mesa_llm_examples.civil_violence import Citizen, CivilViolence, Cop, policy
from mesa_llm_examples.shared import offered

ASYNCIO = ParallelStepping()


def make(citizens=15, cops=3, *, seed=42, config=ASYNCIO, **arguments):
    enable_automatic_parallel_stepping()
    return CivilViolence(citizens, cops, seed=seed, parallel_stepping=config, **arguments)


def states_after(model, steps):
    for _ in range(steps):
        model.step()
    return model.datacollector.model_vars


def run_of(config, latency=0.0, *, seed=42, steps=5):
    """All that a run has come to: counts, places, memories, and the state of the random generator."""
    model = make(seed=seed, config=config, client=RuleBasedClient(policy, latency=latency))
    states = states_after(model, steps)
    agents = [
        (agent.unique_id, agent.cell.coordinate, agent.internal_state, [str(entry) for entry in agent.memory.entries])
        for agent in model.agents
    ]
    return states, agents, model.random.getstate()


def test_everybody_is_counted_in_every_step():
    states = states_after(make(), 6)
    assert [sum(row) for row in zip(*states.values(), strict=True)] == [15] * 7
    assert list(states) == ["active", "quiet", "jailed"]
    assert sum(states["active"]) > 0
    assert sum(states["jailed"]) > 0


def test_nobody_rebels_against_full_legitimacy():
    assert states_after(make(legitimacy=1.0), 5)["active"] == [0] * 6


def test_without_cops_and_legitimacy_all_who_suffer_rebel():
    model = make(cops=0, legitimacy=0.0)
    aggrieved = sum(agent.internal_state["_hardship"] > model.active_threshold for agent in model.agents)
    states = states_after(model, 3)
    assert states["active"] == [0, aggrieved, aggrieved, aggrieved]
    assert aggrieved > 10
    assert states["jailed"] == [0, 0, 0, 0]


def test_nobody_ever_shares_a_cell():
    model = make(citizens=18, cops=5, width=5, height=5)
    for _ in range(12):
        model.step()
        assert len({agent.cell for agent in model.agents}) == 23
        assert all(len(cell.agents) <= 1 for cell in model.grid.all_cells)


def test_where_movement_is_off_nobody_moves():
    model = make(movement=False)
    cells = [agent.cell for agent in model.agents]
    states = states_after(model, 3)
    assert [agent.cell for agent in model.agents] == cells
    assert sum(states["active"]) > 0


def test_two_calls_for_each_agent_that_is_not_in_jail():
    llm = ScriptedLLM(as_model(policy))
    model = make(citizens=12, width=9, height=9, client=llm)  # everybody has a free cell beside it
    for _ in range(6):
        jailed = model.datacollector.model_vars["jailed"][-1]
        before = len(llm.requests)
        model.step()
        assert len(llm.requests) - before == 2 * (15 - jailed)
    assert sum(model.datacollector.model_vars["jailed"]) > 0


def test_who_cannot_move_is_not_asked_where_to_and_decides_when_all_have_moved():
    def rule(request):
        asked.append((read_observation(request)["self_state"]["agent_unique_id"], list(offered(request))))
        return policy(request)

    asked = []
    model = make(citizens=9, cops=0, width=3, height=4, client=RuleBasedClient(rule))
    agents = list(model.agents)
    for agent in agents:
        agent.cell = None
    for number, agent in enumerate(agents):
        agent.cell = model.grid[number % 3, number // 3]  # a row stays free: of the others, one has no free cell
    model.step()
    assert [actions for _, actions in asked] == [["move_one_step"]] * 6 + [["rebel", "keep_quiet"]] * 9
    assert {agent_id for agent_id, _ in asked[:6]}.isdisjoint(agent.unique_id for agent in agents[3:6])


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_all_agents_of_a_step_are_in_their_call_at_once(mode):
    llm = ScriptedLLM(as_model(policy), hold_until=18)
    make(config=ParallelStepping(mode=mode), client=llm, width=9, height=9).step()
    assert len(llm.requests) == 36
    assert llm.peak_in_flight == 18


def random_latency(seed):
    draw = random.Random(seed)
    return lambda request: draw.random() / 200


@pytest.mark.parametrize("latency", [0.0, 0.002, random_latency(1), random_latency(2)], ids=["0", "2 ms", "a", "b"])
@pytest.mark.parametrize(
    "config",
    [ASYNCIO, ParallelStepping(mode="threading"), ParallelStepping(mode="threading", max_workers=2)],
    ids=["asyncio", "threading", "two threads"],
)
def test_same_seed_same_run(config, latency):
    assert run_of(config, latency) == run_of(ASYNCIO)


@pytest.mark.parametrize("activation", ["eager", "sequential"])
def test_in_every_regime_who_was_beaten_is_refused_and_nobody_fails(activation):
    client = RuleBasedClient(policy, latency=random_latency(3))
    model = make(30, 6, config=ParallelStepping(activation=activation), client=client)
    for _ in range(4):
        model.step()
        (report,) = model.parallel_reports
        assert (report.failures, report.crashed_tool_calls) == (0, 0)
    assert sum(model.datacollector.model_vars["active"]) > 0


@settings(max_examples=10)
@given(
    seed=st.integers(0, 2**31),
    mode=st.sampled_from(["asyncio", "threading"]),
    milliseconds=st.lists(st.integers(0, 3), min_size=1, max_size=7),
)
def test_any_seed_and_any_latency_give_the_same_run(seed, mode, milliseconds):
    calls = iter(range(100_000))
    latency = lambda request: milliseconds[next(calls) % len(milliseconds)] / 1000  # noqa: E731
    reference = run_of(ASYNCIO, seed=seed, steps=3)
    assert run_of(ParallelStepping(mode=mode), latency, seed=seed, steps=3) == reference


def test_one_after_another_the_same_seed_gives_the_same_run():
    assert run_of(False) == run_of(False, 0.001)


def test_other_seeds_give_other_runs():
    assert run_of(ASYNCIO, seed=1) != run_of(ASYNCIO, seed=2)


def test_without_a_seed_every_run_is_another():
    assert make(seed=None).random.getstate() != make(seed=None).random.getstate()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"citizens": -1}, "citizens must be a whole number >= 0, got -1"),
        ({"cops": 1.5}, r"cops must be a whole number >= 0, got 1\.5"),
        ({"width": 2}, "width must be a whole number >= 3, got 2"),
        ({"height": 0}, "height must be a whole number >= 3, got 0"),
        ({"width": 4, "height": 4}, "15 citizens and 3 cops do not fit on 4 x 4 = 16 cells"),
        ({"legitimacy": 1.2}, r"legitimacy must be from 0 .* got 1\.2"),
        ({"legitimacy": float("nan")}, "legitimacy must be from 0 .* got nan"),
        ({"citizen_vision": -1}, "citizen_vision must be a whole number >= 0, got -1"),
        ({"cop_vision": -1}, "cop_vision must be a whole number >= 0, got -1"),
        ({"max_jail_term": 0}, "max_jail_term must be a whole number >= 1, got 0"),
        ({"arrest_constant": 0}, "arrest_constant must be a number above 0, got 0"),
        ({"active_threshold": float("inf")}, "active_threshold must be a number, got inf"),
    ],
)
def test_what_cannot_work_is_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        make(**arguments)


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ({}, (6, 5)),
        ({"width": 9}, (9, 3)),
        ({"height": 13}, (3, 13)),
        ({"citizens": 0, "cops": 0}, (3, 3)),
        ({"citizens": 15, "cops": 1, "width": 4, "height": 4}, (4, 4)),
    ],
)
def test_the_grid_has_room_for_all(arguments, size):
    model = make(**arguments)
    assert (model.grid.width, model.grid.height) == size


def test_without_a_client_and_a_model_the_rule_decides():
    model = make()
    assert isinstance(model.client, RuleBasedClient)
    assert {agent.llm.llm_model for agent in model.agents} == {"rule-based/epstein-2002"}
    assert make(llm_model="openai/some-model").client is None


def test_an_empty_world_steps():
    assert states_after(make(citizens=0, cops=0), 2) == {"active": [0] * 3, "quiet": [0] * 3, "jailed": [0] * 3}
    assert {type(agent) for agent in make(citizens=1, cops=1).agents} == {Citizen, Cop}
