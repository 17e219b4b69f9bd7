"""`activation="sequential"` makes the run that plain Mesa makes, bit for bit, whatever the agents do."""

import functools
import gc

import pytest
from helpers.virtual_latency import VirtualTimeClient, on_virtual_time
from helpers.zoo import Zoo, answers, chance

from mesa_llm.clients import RuleBasedClient
from mesa_llm.errors import ModelCallError
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.recording import state_hash

STEPS = 3


@pytest.fixture(autouse=True)
def _patched():
    enable_automatic_parallel_stepping()
    gc.disable()  # Mesa 3.4 steps an agent that has left its model until the garbage collector has taken it
    yield
    gc.enable()


def run_of(model):
    """The states of a model after each step, and the error that ended it."""
    states = []
    try:
        for _ in range(STEPS):
            model.step()
            states.append(state_hash(model))
    except ModelCallError as error:
        states += [state_hash(model), str(error)]
    return states


def check(seed, **settings):
    gc.collect(0)
    rule = functools.partial(answers, fails=0.02 if seed % 3 == 0 else 0.0)
    expected = run_of(Zoo(seed, RuleBasedClient(rule)))

    def latency(request):
        return 0.5 + chance(request.messages[-1].content)

    with on_virtual_time(VirtualTimeClient(RuleBasedClient(rule), latency)) as client:
        model = Zoo(seed, client, ParallelStepping(activation="sequential", **settings))
        assert run_of(model) == expected
    return client


@pytest.mark.parametrize("seed", range(24))
def test_any_model_runs_as_in_plain_mesa(seed):
    check(seed, max_waste=(0.5, 0, None)[seed % 3])


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 1320, 40))
def test_hundreds_of_models_run_as_in_plain_mesa(first):
    for seed in range(first, first + 40):
        check(seed, max_waste=(0.5, 0, None)[seed % 3])
