"""Many agents take little memory and one client; the time they take is shown by benchmarks/agents.py."""

import gc
import tracemalloc

import mesa

from mesa_llm.llm_agent import LLMAgent
from mesa_llm.reasoning import CoTReasoning


def build(model):
    return LLMAgent(
        model,
        CoTReasoning,
        "openai/gpt-4o-mini",
        system_prompt="You are a citizen.",
        vision=2,
        internal_state={"mood": "calm", "wealth": 3},
        step_prompt="What do you do?",
        temperature=0.5,
    )


def test_each_keeps_less_than_twenty_kilobytes_and_all_share_one_client():
    model = mesa.Model(rng=1)
    client = build(model).llm.client
    gc.collect()
    tracemalloc.start()
    agents = [build(model) for _ in range(1000)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(agents) < 20_000
    assert {agent.llm.client for agent in agents} == {client}
