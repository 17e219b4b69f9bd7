"""A model for studies, which a process of its own can import, too."""

import sys

from mesa import DataCollector, Model

from mesa_llm.experiments import Limits, Sweep
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import ShortTermMemory
from mesa_llm.reasoning import OneCallReasoning


class Town(Model):
    """Each step, its people say where they go, and one of them draws a number."""

    def __init__(self, people=2, mood="calm", client=None, rng=None, llm_model=None):
        super().__init__(rng=rng)
        self.parallel_stepping = True
        for _ in range(people):
            LLMAgent(
                self,
                OneCallReasoning,
                llm_model or "openai/fake",
                client=client,
                step_prompt=f"You are {mood}. Where do you go?",
                memory=ShortTermMemory,
                tools=[],
            )
        self.datacollector = DataCollector(
            {"said": lambda town: [agent.memory.entries[-1].text for agent in town.agents], "draw": "draw"},
            {"entries": lambda agent: len(agent.memory.entries)},
        )
        self.draw = 0.0

    def step(self):
        """Step."""
        self.agents.shuffle_do("step")
        self.draw = self.random.random()
        self.datacollector.collect(self)


def study(folder, api_base, **changes):
    """Eight runs of three steps with two agents: 48 calls."""
    settings = {"rng": range(4), "steps": 3, "limits": Limits(max_concurrency=3), "transport": "direct"}
    settings |= {"api_base": api_base, "api_key": "none"} | changes
    return Sweep(Town, {"people": 2, "mood": ["calm", "angry"]}, folder=folder, **settings)


if __name__ == "__main__":
    study(*sys.argv[1:3]).run(progress=False)
