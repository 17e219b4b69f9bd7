"""A model that uses much of Mesa and of ours at once; in a module that worker processes can import."""

import hashlib
import json

import mesa
import numpy as np
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid

from mesa_llm.clients import RuleBasedClient, ToolCall, tool_call
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import ShortTermMemory
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.reasoning import CoTReasoning
from mesa_llm.tools import ToolManager, tool
from mesa_llm.tools.inbuilt_tools import move_one_step, speak_to

DIRECTIONS = ("North", "South", "East", "West")


@tool(tool_manager=ToolManager([]))
def eat(agent: LLMAgent) -> str:
    """Eat the sugar of your cell."""
    layer = agent.model.grid.sugar  # the cells of a grid that Mesa has copied have no attributes for layers any more
    agent.wealth += int((layer if isinstance(layer, np.ndarray) else layer.data)[agent.cell.coordinate])
    return f"You have {agent.wealth}."


class Forager(LLMAgent, CellAgent):
    """Walks, eats and talks; remembers two steps."""

    visible_attributes = ("wealth",)

    def __init__(self, model, cell, **options):
        super().__init__(
            model,
            CoTReasoning,
            "openai/fake-model",
            system_prompt="You forage.",
            vision=2,
            internal_state={"mood": {"now": "calm"}, "_plan": ["eat"]},
            step_prompt="What do you do?",
            tools=[eat, move_one_step, speak_to],
            memory=two_steps,
            **options,
        )
        self.cell = cell
        self.wealth = 0

    def post_step(self):
        self.internal_state["mood"]["now"] = f"step {len(self.memory.entries)}"


def two_steps(agent):
    return ShortTermMemory(agent, n=2)


class Field(mesa.Model):
    """Four foragers on sugar, stepped in parallel."""

    def __init__(self, mode="asyncio", **options):
        super().__init__(rng=3)
        self.parallel_stepping = ParallelStepping(mode=mode)
        # One a cell: of a cell that holds two agents, Mesa's deep copy makes two cells, and the agents part.
        self.grid = OrthogonalMooreGrid((4, 4), torus=True, capacity=1, random=self.random)
        self.grid.create_property_layer("sugar", default_value=2, dtype=int)
        for cell in self.random.sample(list(self.grid.all_cells), 4):
            Forager(self, cell, **options)

    def step(self):
        self.agents.shuffle_do("step")


def state_of(model):
    """All that a step changes, as text."""
    agents = [
        (
            agent.unique_id,
            agent.cell.coordinate,
            agent.wealth,
            agent.internal_state,
            [str(entry) for entry in agent.memory.entries],
        )
        for agent in model.agents
    ]
    return repr((agents, model.random.getstate()))


def draw(text):
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def chosen(prompt, has_tools):
    """A name and arguments, by a hash of the prompt: another choice for each agent and each step."""
    number = draw(prompt)
    if not has_tools:
        return None
    return [
        ("eat", {}),
        ("move_one_step", {"direction": DIRECTIONS[number // 3 % 4]}),
        ("speak_to", {"listener_agents_unique_ids": [number // 3 % 4 + 1], "message": f"hello {number % 97}"}),
    ][number % 3]


def by_rule(request):
    """The policy for clients that need no server."""
    prompt = request.messages[-1].content
    choice = chosen(prompt, request.tools and request.tool_choice != "none")
    return f"thought {draw(prompt)}" if choice is None else [tool_call(choice[0], **choice[1])]


def by_http(body):
    """The same policy, in JSON, for the fake server."""
    prompt = body["messages"][-1]["content"]
    choice = chosen(prompt, body.get("tools") and body.get("tool_choice") != "none")
    return f"thought {draw(prompt)}" if choice is None else [ToolCall("call", choice[0], json.dumps(choice[1]))]


def rules():
    return RuleBasedClient(by_rule)


def two_more_steps(model):
    enable_automatic_parallel_stepping()
    model.step()
    model.step()
    return state_of(model)
