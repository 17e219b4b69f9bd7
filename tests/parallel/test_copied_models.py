"""A model with LLM agents is copied and pickled between steps, whatever its agents use; the copy goes on by itself."""

import copy
import hashlib
import json
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import mesa
import numpy as np
import pytest
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid

from mesa_llm.clients import DirectClient, RuleBasedClient, ToolCall, TransportClient, tool_call
from mesa_llm.journal import JournaledClient
from mesa_llm.limits import (
    Budget,
    BudgetClient,
    FallbackClient,
    LimitedClient,
    RateLimitedClient,
    RetryingClient,
    SingleFlightClient,
)
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import ShortTermMemory
from mesa_llm.module_llm import connect
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.reasoning import CoTReasoning
from mesa_llm.telemetry import TracedClient
from mesa_llm.testing import FakeOpenAIServer
from mesa_llm.tools import tool
from mesa_llm.tools.inbuilt_tools import move_one_step, speak_to

DIRECTIONS = ("North", "South", "East", "West")


@tool(tool_manager=None)
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


WITHOUT_SERVER = {
    "rules": lambda path: rules(),
    "LimitedClient": lambda path: LimitedClient(rules(), max_concurrency=2),
    "adaptive": lambda path: LimitedClient(rules(), max_concurrency="adaptive"),
    "RateLimitedClient": lambda path: RateLimitedClient(rules(), requests_per_minute=1e6, tokens_per_minute=1e9),
    "RetryingClient": lambda path: RetryingClient(rules()),
    "BudgetClient": lambda path: BudgetClient(rules(), Budget(tokens=10**9)),
    "SingleFlightClient": lambda path: SingleFlightClient(rules()),
    "FallbackClient": lambda path: FallbackClient((rules(), None), (rules(), None)),
    "JournaledClient": lambda path: JournaledClient(rules(), path),
    "TracedClient": lambda path: TracedClient(rules()),
    "all": lambda path: JournaledClient(
        BudgetClient(
            RetryingClient(
                RateLimitedClient(LimitedClient(TracedClient(rules()), max_concurrency=3), requests_per_minute=1e6)
            ),
            Budget(tokens=10**9),
        ),
        path,
    ),
}
OVER_HTTP = {
    "the shared client": lambda url: {"api_base": url, "api_key": "sk-a"},
    "transport=direct": lambda url: {"api_base": url, "transport": "direct"},
    "transport=litellm": lambda url: {"api_base": url, "api_key": "sk-a", "transport": "litellm"},
    "connect": lambda url: {"client": connect(api_base=url, max_concurrency=2, tokens_per_minute=1e9)},
    "connect with a budget": lambda url: {"client": connect(api_base=url, budget=Budget(tokens=10**9))},
    "DirectClient": lambda url: {"client": DirectClient(api_base=url)},
    "TransportClient": lambda url: {"client": TransportClient(api_base=url)},
}
TWINS = {"deepcopy": copy.deepcopy, "pickle": lambda model: pickle.loads(pickle.dumps(model))}


def goes_on_alike(model, twin_of):
    """Step, copy, step both, together and apart; what the one does must not show in the other."""
    enable_automatic_parallel_stepping()
    model.step()
    copied_at = state_of(model)
    twin = twin_of(model)
    assert state_of(twin) == copied_at
    for _ in range(2):
        twin.step()
    assert state_of(model) == copied_at
    for _ in range(2):
        model.step()
    assert state_of(model) == state_of(twin) != copied_at
    assert any(agent.wealth for agent in twin.agents), "they did something"


@pytest.mark.parametrize("twin_of", TWINS.values(), ids=TWINS)
@pytest.mark.parametrize("mode", ["asyncio", "threading"])
@pytest.mark.parametrize("client", WITHOUT_SERVER)
def test_with_any_client(client, mode, twin_of, tmp_path):
    goes_on_alike(Field(mode, client=WITHOUT_SERVER[client](tmp_path / "calls.sqlite")), twin_of)


@pytest.mark.parametrize("twin_of", TWINS.values(), ids=TWINS)
@pytest.mark.parametrize("way", OVER_HTTP)
def test_over_http(way, twin_of):
    with FakeOpenAIServer(by_http) as server:
        goes_on_alike(Field(**OVER_HTTP[way](server.url)), twin_of)
    assert len(server.requests) == 5 * 4 * 2


@pytest.mark.parametrize("twin_of", TWINS.values(), ids=TWINS)
def test_the_client_of_a_copy_is_one_for_all_its_agents(twin_of):
    model = Field(client=LimitedClient(rules(), max_concurrency=2))
    twin = twin_of(model)
    (client,) = {agent.llm.client for agent in model.agents}
    (client_of_twin,) = {agent.llm.client for agent in twin.agents}
    assert client_of_twin is not client


@pytest.mark.parametrize("twin_of", TWINS.values(), ids=TWINS)
def test_a_copy_is_stepped_one_by_one_too(twin_of):
    model = Field(client=rules())
    model.parallel_stepping = False
    model.step()
    twin = twin_of(model)
    for either in (model, twin):
        either.step()
    assert state_of(model) == state_of(twin)


def two_more_steps(model):
    enable_automatic_parallel_stepping()
    model.step()
    model.step()
    return state_of(model)


def test_a_model_goes_to_a_worker_process():
    with FakeOpenAIServer(by_http) as server:
        model = Field(client=connect(api_base=server.url))
        enable_automatic_parallel_stepping()
        model.step()
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as processes:
            elsewhere = processes.submit(two_more_steps, model).result()
        model.step()
        model.step()
    assert state_of(model) == elsewhere
