"""Every code block of the document that started the project runs as it stands, its `...` filled in."""

import re
from pathlib import Path

import pytest
from mesa import Model

from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping, manual
from mesa_llm.parallel_stepping.patch import config_of
from mesa_llm.reasoning import CoTReasoning
from mesa_llm.testing import ScriptedLLM

BLOCKS = re.findall(r"```python\n(.*?)```", (Path(__file__).parent / "seed_blocks.md").read_text(), re.DOTALL)
SEED = Path(__file__).parents[3] / "shared" / "seed-parallel-stepping.md"


def run(block, **names):
    exec(compile(block, "seed", "exec"), names)
    return names


def test_there_are_four_blocks():
    assert len(BLOCKS) == 4


@pytest.mark.skipif(not SEED.exists(), reason="the seed is not beside this checkout")
def test_the_blocks_are_the_seeds():
    assert re.findall(r"```python\n(.*?)```", SEED.read_text(), re.DOTALL) == BLOCKS


def test_the_model():
    llm = ScriptedLLM("Action: wait.", hold_until=100)

    class MyLLMAgent(LLMAgent):
        pass

    block = BLOCKS[0].replace("MyLLMAgent(self, ...)", "MyLLMAgent(self, CoTReasoning, client=llm, step_prompt='Now?')")
    assert "..." not in block
    model = run(block, MyLLMAgent=MyLLMAgent, CoTReasoning=CoTReasoning, llm=llm)["MyModel"]()
    model.step()
    assert llm.peak_in_flight == 100
    assert len(llm.requests) == 200
    assert len(model.agents) == 100


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_the_agent(mode):
    llm = ScriptedLLM("Action: wait.", hold_until=20)
    agent_class = run(BLOCKS[1])["ParallelAgent"]
    enable_automatic_parallel_stepping(mode=mode)

    class World(Model):
        parallel_stepping = True

        def step(self):
            self.agents.shuffle_do("step")

    world = World()
    for _ in range(20):
        agent_class(world, CoTReasoning, client=llm, step_prompt="Now?")
    world.step()
    assert llm.peak_in_flight == 20
    remembered = [[entry.type for entry in agent.memory.entries] for agent in world.agents]
    assert remembered == [["observation", "plan", "plan_execution"]] * 20


def test_stepping_by_hand():
    llm = ScriptedLLM("Action: wait.", hold_until=5)

    class Citizen(LLMAgent):
        pass

    class Cop(LLMAgent):
        pass

    model = run(BLOCKS[2], Model=Model, Citizen=Citizen, Cop=Cop)["CustomModel"]()
    for _ in range(5):
        Citizen(model, CoTReasoning, client=llm, step_prompt="Now?")
        Cop(model, CoTReasoning, client=llm, step_prompt="Now?")
    model.step()
    assert llm.peak_in_flight == 5
    assert len(llm.requests) == 20


def test_choosing_the_mode():
    run(BLOCKS[3])
    assert config_of([]).mode == "threading"
    assert manual.patch.config_of is config_of
