"""Civil violence in the older form: agents plan with a reasoning, and carry the plan out by calling tools."""

from typing import Literal

import pytest
from mesa import Model
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid

from mesa_llm.clients import RuleBasedClient, tool_call
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import ShortTermMemory
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping, model_reporters
from mesa_llm.reasoning import CoTReasoning, OneCallReasoning, ReActReasoning, ReWOOReasoning, read_observation
from mesa_llm.spaces import directions_from
from mesa_llm.tools.inbuilt_tools import move_one_step
from mesa_llm_examples.shared import choose

REASONINGS = [OneCallReasoning, CoTReasoning, ReActReasoning, ReWOOReasoning]
N = 12


def change_state(agent, state: Literal["active", "quiet"]) -> str:
    """Rebel in the open, or stop doing so.

    Args:
        state: what you are from now on.
    """
    agent.state = state
    return f"You are {state}."


class Rioter(LLMAgent, CellAgent):
    step_prompt = "Decide whether you are active or quiet. Then move to one of your free directions."

    def __init__(self, model, cell, client, reasoning):
        super().__init__(
            model, reasoning, client=client, vision=1, memory=ShortTermMemory, tools=[change_state, move_one_step]
        )
        self.cell, self.state = cell, "quiet"

    @property
    def internal_state(self):
        return {"state": self.state, "_free": list(directions_from(self, free_only=True))}


class Riot(Model):
    def __init__(self, reasoning, parallel):
        super().__init__(rng=5)
        self.parallel_stepping = parallel
        self.grid = OrthogonalMooreGrid((4, 4), torus=True, capacity=1, random=self.random)
        for cell in self.random.sample(list(self.grid.all_cells), N):
            Rioter(self, cell, RuleBasedClient(rule), reasoning)

    def step(self):
        self.agents.shuffle_do("step")


def rule(request):
    """Be active where at most one other is, and go anywhere."""
    seen = read_observation(request)
    me = seen["self_state"]["internal_state"]
    actives = sum(other["internal_state"]["state"] == "active" for other in seen["local_state"].values())
    calls = [tool_call("change_state", state="active" if actives < 2 else "quiet")]
    return calls + [tool_call("move_one_step", direction=choose(free, seen, "move")) for free in [me["_free"]] if free]


def run(reasoning, mode, steps=4):
    """What a run has come to: states, places, memories, and what its decisions were worth."""
    enable_automatic_parallel_stepping()
    riot = Riot(reasoning, False if mode == "off" else ParallelStepping(mode=mode))
    worth = []
    for _ in range(steps):
        riot.step()
        names = ["decisions", "without_call", "tool_calls", "refused_tool_calls", "crashed_tool_calls"]
        worth.append({name: reporter(riot) for name, reporter in model_reporters(*names).items()})
        assert len({agent.cell for agent in riot.agents}) == N
    agents = [
        (agent.state, agent.cell.coordinate, [str(entry) for entry in agent.memory.entries]) for agent in riot.agents
    ]
    return worth, agents


@pytest.mark.parametrize("mode", ["asyncio", "threading", "off"])
@pytest.mark.parametrize("reasoning", REASONINGS)
def test_plans_are_made_and_carried_out_in_every_mode(reasoning, mode):
    worth, agents = run(reasoning, mode)
    assert all(of["without_call"] == of["crashed_tool_calls"] == 0 for of in worth)
    assert worth[0]["decisions"] == N
    assert sum(of["tool_calls"] for of in worth) >= 3 * N
    remembered = " ".join(entry for *_, entries in agents for entry in entries)
    assert "You are active." in remembered
    assert "You are quiet." in remembered
    if mode != "off":
        assert any(of["refused_tool_calls"] for of in worth), "two want one cell"
        assert run(reasoning, "asyncio") == (worth, agents)


def test_a_reasoning_that_decides_at_once_and_one_that_thinks_first_come_to_the_same_run():
    places = [[agent[:2] for agent in run(reasoning, "asyncio")[1]] for reasoning in REASONINGS[:3]]
    assert places[0] == places[1] == places[2]
