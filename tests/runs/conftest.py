"""Recorded runs of a small model, each in a file of its own."""

import pytest
from mesa import DataCollector, Model

from mesa_llm.clients import LLMResponse, Message, RuleBasedClient, Usage, tool_call
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.recording import record_run


def give(agent, coins: int) -> str:
    """Give coins away.

    Args:
        coins: how many.
    """
    agent.coins -= coins
    return f"gave {coins}"


class Giver(LLMAgent):
    def __init__(self, model, client):
        super().__init__(
            model,
            OneCallReasoning,
            "openai/some-model",
            client=client,
            system_prompt="You are generous.",
            step_prompt="How many coins do you give?",
            tools=[give],
            temperature=0.5,
        )
        self.coins = 100


class Market(Model):
    def __init__(self, givers=2, *, client, parallel=True, rng=1):
        super().__init__(rng=rng)
        self.parallel_stepping = parallel
        for _ in range(givers):
            Giver(self, client)
        self.datacollector = DataCollector({"coins": lambda model: sum(agent.coins for agent in model.agents)})
        self.datacollector.collect(self)

    def step(self):
        self.agents.shuffle_do("step")
        self.datacollector.collect(self)


def gives(coins_of):
    """A client whose agents give what a function of agent and step says."""

    def answer(request):
        origin = request.call.origin
        call = tool_call("give", coins=coins_of(origin.agent_id, origin.step))
        message = Message("assistant", "I give.", (call,))
        return LLMResponse(message=message, model="some-model", usage=Usage(100, 10), cost=0.01)

    return RuleBasedClient(answer)


@pytest.fixture
def record(tmp_path):
    """Record a run; returns its file."""
    enable_automatic_parallel_stepping()

    def record(name, coins_of=lambda agent_id, step: 1, steps=3, model_class=Market, **parameters):
        path = tmp_path / f"{name}.sqlite"
        with record_run(model_class, {"client": gives(coins_of), **parameters}, path=path) as market:
            for _ in range(steps):
                market.step()
        return path

    return record
