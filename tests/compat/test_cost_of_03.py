"""What prompts cost in a model as those for mesa-llm 0.3 are: states in sentences, a wide view, its default memory."""

import json

import mesa
import pytest
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid

from mesa_llm.clients import tool_call
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import STLTMemory
from mesa_llm.reasoning import ReActReasoning
from mesa_llm.testing import ScriptedLLM
from mesa_llm.tools.inbuilt_tools import move_one_step

AGENTS, STEPS = 20, 12


class Farmer(LLMAgent, CellAgent):
    def __init__(self, model, client):
        super().__init__(
            model,
            ReActReasoning,
            client=client,
            system_prompt="You are a farmer in a dry year, and look for water and for neighbours who share theirs.",
            step_prompt="Move around if you have too little water.",
            vision=5,
            tools=[move_one_step],
            memory=STLTMemory,
        )
        self.wealth = self.random.random()

    def step(self):
        self.internal_state = [
            f"on a scale from 0 to 1, my patience is {self.wealth / 2:.4f}",
            f"my wealth due to past harvests and inherited fields is {self.wealth:.4f} on a scale from 0 to 1",
            f"my water lasts for {(self.unique_id + self.model.steps // 3) % 7} days",
            "my current state is State.WAITING",
        ]
        self.apply_plan(self.reasoning.plan(obs=self.generate_obs()))


class Valley(mesa.Model):
    def __init__(self, client):
        super().__init__(rng=1)
        self.grid = OrthogonalMooreGrid((10, 10), random=self.random)
        Farmer.create_agents(self, AGENTS, client)
        for agent in self.agents:
            agent.cell = self.grid.select_random_empty_cell()

    def step(self):
        self.agents.shuffle_do("step")


@pytest.mark.parametrize("moves", [True, False])
def test_a_run_makes_no_more_calls_than_in_03_and_nothing_is_cut(moves):
    directions = ["North", "East", "South", "West", "NorthEast", "SouthWest"] if moves else ["North"]

    def answer(request):
        direction = directions[len(llm.requests) % len(directions)]
        if request.response_format:
            return json.dumps({"reasoning": "There are many of us here. " * 6, "action": f"move to the {direction}"})
        if request.tools:
            return [tool_call("move_one_step", direction=direction)]
        return "I have walked about a lot, and saw many farmers who had more water than me. " * 3

    llm = ScriptedLLM(answer)
    model = Valley(llm)
    for _ in range(STEPS):
        model.step()
    texts = ["\n".join(message.content for message in request.messages) for request in llm.requests]
    assert len(texts) <= AGENTS * (2 * STEPS + 3)  # one consolidation every two steps, from the eighth on
    assert not any("characters, shortened)" in text for text in texts)
    assert sum(map(len, texts)) / len(texts) < 4_000
