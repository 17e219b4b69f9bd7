"""The patch reaches every agent set of the installed Mesa, and goes away again."""

import re

import mesa
import pytest
from helpers.speakers import Speaker, SpeakersModel
from mesa.agent import AgentSet

from mesa_llm.errors import ConfigurationError
from mesa_llm.parallel_stepping import (
    ParallelStepping,
    disable_automatic_parallel_stepping,
    enable_automatic_parallel_stepping,
)
from mesa_llm.testing import ScriptedLLM

MODES = ["asyncio", "threading"]
N = 12

SETS = {
    "model.agents": lambda model: model.agents,
    "agents_by_type": lambda model: model.agents_by_type[Speaker],
    "select": lambda model: model.agents.select(lambda agent: True),
    "AgentSet": lambda model: AgentSet(list(model.agents), random=model.random),
    "shuffle": lambda model: model.agents.shuffle(),
    "groupby": lambda model: next(iter(model.agents.groupby(lambda agent: "all")))[1],
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("agent_set", SETS.values(), ids=SETS.keys())
@pytest.mark.parametrize("method", ["do", "shuffle_do"])
def test_every_agent_set_steps_in_parallel(agent_set, mode, method):
    """The model answers nobody before all have asked: one agent at a time would wait for ever."""
    llm = ScriptedLLM("hello", hold_until=N)
    model = SpeakersModel(N, llm)
    enable_automatic_parallel_stepping(mode=mode)
    agents = agent_set(model)

    assert getattr(agents, method)("step") is agents

    assert llm.peak_in_flight == N
    assert len(model.log) == N


def test_the_model_step_runs_in_parallel():
    llm = ScriptedLLM("hello", hold_until=N)
    model = SpeakersModel(N, llm)
    enable_automatic_parallel_stepping()
    for _ in range(3):
        model.step()
    assert len(model.log) == 3 * N


def own_methods():
    classes = {cls for cls in _all_subclasses(AgentSet.__mro__) if cls.__module__.startswith("mesa.")}
    return {(cls, name): vars(cls)[name] for cls in classes for name in ("do", "shuffle_do") if name in vars(cls)}


def _all_subclasses(classes):
    for cls in classes:
        if cls.__module__.startswith("mesa."):
            yield cls
            yield from _all_subclasses(cls.__subclasses__())


def test_disabling_restores_mesas_own_functions():
    before = own_methods()
    enable_automatic_parallel_stepping()
    assert own_methods() != before
    disable_automatic_parallel_stepping()
    assert own_methods() == before


def test_enabling_twice_is_enabling_once():
    before = own_methods()
    enable_automatic_parallel_stepping()
    patched = own_methods()
    enable_automatic_parallel_stepping(mode="threading")
    assert own_methods() == patched
    disable_automatic_parallel_stepping()
    assert own_methods() == before


def test_disabling_without_enabling_changes_nothing():
    before = own_methods()
    disable_automatic_parallel_stepping()
    assert own_methods() == before


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mode": "fibers"}, "'fibers'"),
        ({"max_workers": 0}, "0"),
        ({"max_workers": 2.5}, "2.5"),
        ({"max_workers": True}, "True"),
        ({"activation": "lazy"}, "'lazy'"),
        ({"plain_steps": "apart"}, "'apart'"),
        ({"on_error": "ignore"}, "'ignore'"),
        ({"max_failures": -1}, "-1"),
        ({"max_failures": 1.5}, "1.5"),
        ({"max_failures": True}, "True"),
        ({"decide_timeout": 0}, "0"),
        ({"decide_timeout": float("inf")}, "inf"),
        ({"decide_timeout": "5"}, "'5'"),
    ],
)
def test_bad_settings_are_refused_at_once_with_the_value(settings, told):
    before = own_methods()
    with pytest.raises(ConfigurationError, match=told):
        enable_automatic_parallel_stepping(**settings)
    assert own_methods() == before
    with pytest.raises(ValueError, match=told):
        ParallelStepping(**settings)


class Counter(mesa.Agent):
    """A plain agent that notes what it is called with."""

    def step(self, *args, **kwargs):
        self.model.log.append((self.unique_id, args, kwargs))

    def other(self, word):
        self.model.log.append((self.unique_id, word))


class CounterModel(mesa.Model):
    def __init__(self, n, *, parallel=True, seed=3):
        super().__init__(rng=seed)
        self.log = []
        self.parallel_stepping = parallel
        Counter.create_agents(self, n)


def sequential_run(call, n=N):
    model = CounterModel(n, parallel=False)
    call(model.agents)
    return model.log, model.random.getstate()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore:parallel_stepping is set, but no agent has a decision")
@pytest.mark.parametrize(
    "call",
    [
        lambda agents: agents.shuffle_do("step"),
        lambda agents: agents.do("step"),
        lambda agents: agents.shuffle_do("step", 1, word="a"),
        lambda agents: agents.shuffle_do(Counter.step, 2),
        lambda agents: agents.do(Counter.step),
        lambda agents: agents.shuffle_do("other", "b"),
        lambda agents: agents.shuffle_do(lambda agent: agent.step()),
        lambda agents: agents.shuffle_do("step").shuffle_do("step"),
        lambda agents: agents.select(lambda agent: False).shuffle_do("step"),
    ],
)
def test_order_arguments_and_random_state_are_mesas_own(call, mode):
    expected, state = sequential_run(call)
    enable_automatic_parallel_stepping(mode=mode)
    model = CounterModel(N)
    result = call(model.agents)
    if mode == "threading":  # plain steps run together on threads, so their order in the log is the threads' own
        assert sorted(map(str, model.log)) == sorted(map(str, expected))
    else:
        assert model.log == expected
    assert result is not None
    assert model.random.getstate() == state


def test_a_model_without_the_flag_is_left_alone():
    expected, state = sequential_run(lambda agents: agents.shuffle_do("step"))
    enable_automatic_parallel_stepping()
    model = CounterModel(N, parallel=False)
    model.agents.shuffle_do("step")
    assert (model.log, model.random.getstate()) == (expected, state)


@pytest.mark.parametrize("mode", MODES)
def test_llm_agents_act_in_mesas_order(mode):
    sequential = SpeakersModel(N, ScriptedLLM("hello"), parallel=False)
    sequential.step()
    enable_automatic_parallel_stepping(mode=mode)
    parallel = SpeakersModel(N, ScriptedLLM("hello"))
    parallel.step()
    assert parallel.log == sequential.log
    assert parallel.random.getstate() == sequential.random.getstate()


@pytest.mark.parametrize("flag", ["asyncio", {"mode": "threading"}, 2])
def test_a_flag_that_is_none_is_refused_with_the_value(flag):
    enable_automatic_parallel_stepping()
    model = SpeakersModel(2, ScriptedLLM("hello"), parallel=flag)
    with pytest.raises(ConfigurationError, match=rf"True, False or a ParallelStepping.*{re.escape(repr(flag))}"):
        model.agents.do("step")
    assert model.log == []


def test_a_model_chooses_its_own_settings():
    llm = ScriptedLLM("hello", hold_until=N)
    model = SpeakersModel(N, llm, parallel=ParallelStepping(mode="threading"), agent_class=ThreadNamer)
    enable_automatic_parallel_stepping(mode="asyncio")
    model.step()
    assert all(name.startswith("ThreadNamer") for _, name in model.log)


class ThreadNamer(Speaker):
    """Notes the name of the thread it acts on."""

    def say(self, plan):
        import threading

        self.model.log.append((self.unique_id, threading.current_thread().name))
