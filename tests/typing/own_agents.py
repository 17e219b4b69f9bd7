"""An agent class as users write it: with a reasoning, a memory and attributes of its own."""

from collections.abc import Callable
from typing import Any, assert_type

import mesa

from mesa_llm.clients import Message, ToolChoice
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import EpisodicMemory, LongTermMemory, Memory, MemoryEntry, ShortTermMemory, STLTMemory
from mesa_llm.module_llm import ModuleLLM
from mesa_llm.reasoning import CoTReasoning, Observation, Plan, Reasoning, Thinking
from mesa_llm.tools import ToolManager


class Instinct(Reasoning):
    """Decides in one call."""

    def decide(
        self,
        prompt: str,
        obs: Observation,
        *,
        ttl: int,
        selected_tools: list[str] | None,
        tool_calls: ToolChoice | None,
    ) -> Thinking:
        request = self.agent.llm.request(
            prompt=[str(obs), prompt],
            tool_schema=self.agent.tool_manager.specs(selected_tools, agent=self.agent, seen=obs),
            tool_choice=tool_calls,
        )
        response = yield request
        return Plan(step=obs.step, llm_plan=response.message, ttl=ttl)


class LastWord(Memory):
    """Remembers the last entry."""

    def __init__(self, agent: "mesa.Agent[Any]") -> None:
        super().__init__(agent)
        self.last: MemoryEntry | None = None

    def _store(self, entry: MemoryEntry) -> None:
        self.last = entry

    def _stored(self) -> list[MemoryEntry]:
        return [] if self.last is None else [self.last]

    def get_prompt_ready(self) -> str:
        return str(self.last)


class Citizen(LLMAgent):
    """Uses all of it."""

    visible_attributes = ("wealth",)
    observed_layers = ("sugar", "room")

    def __init__(self, model: "mesa.Model[Any, Any]", wealth: int) -> None:
        super().__init__(
            model,
            Instinct,
            "openai/gpt-4o-mini",
            vision=2,
            internal_state={"mood": "calm"},
            memory=LastWord,
            temperature=0.5,
            stop=["\n"],
        )
        self.wealth = wealth

    def step(self) -> None:
        observation = assert_type(self.generate_obs(), Observation)
        plan = assert_type(self.reasoning.plan(obs=observation, selected_tools=["speak_to"]), Plan)
        assert_type(self.apply_plan(plan), list[dict[str, Any]])
        assert_type(self.send_message("hello", list(self.model.agents)), str)

    async def astep(self) -> None:
        observation = assert_type(await self.agenerate_obs(), Observation)
        plan = assert_type(await self.reasoning.aplan(obs=observation), Plan)
        assert_type(await self.aapply_plan(plan), list[dict[str, Any]])
        assert_type(await self.asend_message("hello", []), str)


class Miner(LLMAgent):
    """Defines what it tells about itself."""

    step_prompt = "Dig or rest?"
    gold = 0

    @property
    def internal_state(self) -> dict[str, int]:
        return {"gold": self.gold}


def two_steps(agent: LLMAgent) -> ShortTermMemory:
    """A memory as a function."""
    return ShortTermMemory(agent, n=2)


def attributes(citizen: Citizen, plan: Plan, entry: MemoryEntry) -> None:
    """What users read."""
    assert_type(citizen.llm, ModuleLLM)
    assert_type(citizen.memory, Memory)
    assert_type(citizen.memory.entries, tuple[MemoryEntry, ...])
    assert_type(citizen.tool_manager, ToolManager)
    assert_type(citizen.reasoning, Reasoning)
    assert_type(citizen.vision, float | None)
    assert_type(citizen.system_prompt, str | None)
    assert_type(citizen.wealth, int)
    assert_type(plan.llm_plan, Message)
    assert_type(plan.ttl, int)
    assert_type(entry.step, int)
    assert_type(citizen.generate_obs().local_state, dict[str, Any])


def misuse(model: "mesa.Model[Any, Any]", citizen: Citizen) -> None:
    """What a type checker must find."""
    LLMAgent(model)  # type: ignore[call-arg]
    LLMAgent(model, CoTReasoning, vision="far")  # type: ignore[arg-type]
    LLMAgent(model, CoTReasoning, temprature=1.0)  # type: ignore[call-arg]
    LLMAgent(model, CoTReasoning, temperature="hot")  # type: ignore[arg-type]
    LLMAgent(model, CoTReasoning, transport="carrier pigeon")  # type: ignore[arg-type]
    LLMAgent(model, CoTReasoning, tool_mode="xml")  # type: ignore[arg-type]
    LLMAgent(model, CoTReasoning(citizen))  # type: ignore[arg-type]
    LLMAgent(model, CoTReasoning, memory=ToolManager)  # type: ignore[arg-type]
    citizen.reasoning.plan(ttl="two")  # type: ignore[arg-type]
    citizen.reasoning.plan(tool_calls="maybe")  # type: ignore[arg-type]
    citizen.memory.add_to_memory("plan", "text")  # type: ignore[arg-type]


MEMORIES: list[Callable[[LLMAgent], Memory]] = [
    LastWord,
    ShortTermMemory,
    LongTermMemory,
    STLTMemory,
    EpisodicMemory,
    two_steps,
]
