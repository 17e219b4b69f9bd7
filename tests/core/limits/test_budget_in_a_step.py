"""An exhausted budget ends a parallel step whatever is to become of agents that fail."""

import pytest
from helpers.speakers import Speaker, SpeakersModel

from mesa_llm.clients import LLMResponse, Message, Usage
from mesa_llm.errors import BudgetExhaustedError
from mesa_llm.limits import Budget, BudgetClient
from mesa_llm.memory import ShortTermMemory
from mesa_llm.parallel_stepping import ParallelStepError, ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM


class Forgetful(Speaker):
    """Asks only to decide: its memory needs no model."""

    def __init__(self, model, client):
        super().__init__(model, client, memory=ShortTermMemory)


@pytest.mark.parametrize("on_error", ["raise", "skip", lambda agent, error: pytest.fail("a fallback was called")])
@pytest.mark.parametrize("activation", ["simultaneous", "eager"])
@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_a_step_that_overruns_the_budget_raises(mode, activation, on_error):
    enable_automatic_parallel_stepping()
    spoken = LLMResponse(message=Message("assistant", "hello"), model="m", usage=Usage(100, 100))
    budget = Budget(tokens=7000)
    client = BudgetClient(ScriptedLLM(spoken), budget)
    config = ParallelStepping(mode=mode, activation=activation, on_error=on_error)
    model = Runs(4, client, Forgetful, parallel=config)
    for agent in model.agents:
        agent.llm.options["max_tokens"] = 1000
    with pytest.raises(ParallelStepError) as caught:
        model.run_until_it_is_spent()
    n_steps, remaining = divmod(budget.spent_tokens // 200, 4)
    assert n_steps > 5
    assert len(caught.value.agent_ids) == 4 - remaining
    (error,) = caught.value.exceptions
    assert isinstance(error, BudgetExhaustedError)
    assert error.spent_tokens >= 5000
    assert "would overrun the budget of 7000 tokens" in str(caught.value)
    assert len(model.log) == (4 * n_steps if activation == "simultaneous" else 4 * n_steps + remaining)
    assert budget.spent_tokens <= 7000


class Runs(SpeakersModel):
    def run_until_it_is_spent(self):
        for _ in range(20):
            self.step()
