"""A model written for mesa-llm 0.3.2: runs there and here, unchanged.

Everything is imported as its users do, one module at a time, and called as its tutorial does.
"""

import mesa
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid

from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory.episodic_memory import EpisodicMemory
from mesa_llm.memory.lt_memory import LongTermMemory
from mesa_llm.memory.memory import Memory
from mesa_llm.memory.st_lt_memory import STLTMemory
from mesa_llm.memory.st_memory import ShortTermMemory
from mesa_llm.module_llm import ModuleLLM
from mesa_llm.parallel_stepping import (
    disable_automatic_parallel_stepping,
    enable_automatic_parallel_stepping,
    step_agents_multithreaded,
    step_agents_parallel,
    step_agents_parallel_sync,
)
from mesa_llm.reasoning.cot import CoTReasoning
from mesa_llm.reasoning.react import ReActReasoning
from mesa_llm.reasoning.reasoning import Observation, Plan, Reasoning
from mesa_llm.reasoning.rewoo import ReWOOReasoning
from mesa_llm.recording.record_model import record_model
from mesa_llm.tools.inbuilt_tools import move_one_step, speak_to, teleport_to_location
from mesa_llm.tools.tool_decorator import tool
from mesa_llm.tools.tool_manager import ToolManager

villager_tools = ToolManager()
guard_tools = ToolManager(extra_tools={"move_one_step": move_one_step})


@tool(tool_manager=villager_tools)
def set_mood(agent: "LLMAgent", mood: str) -> str:
    """
    Change your mood.

    Args:
        mood: The new mood, "calm" or "angry".
        agent: Provided automatically.

    Returns:
        The mood that you are in.
    """
    agent.mood = mood
    return f"{agent} is {mood}."


class Impulse(Reasoning):
    """A strategy of the user's own, as the documentation of 0.3 shows it."""

    def plan(self, prompt=None, obs=None, ttl=1, selected_tools=None, tool_calls="auto"):
        rsp = self.agent.llm.generate(
            prompt=prompt,
            tool_schema=self.agent.tool_manager.get_all_tools_schema(selected_tools),
            tool_choice="none",
            system_prompt="You act on impulse.",
        )
        thought = rsp.choices[0].message.content
        self.agent.memory.add_to_memory(type="plan", content={"content": thought})
        return self.execute_tool_call(thought, selected_tools=selected_tools, ttl=ttl, tool_calls=tool_calls)


MEMORIES = {
    "default": None,
    "short": lambda agent, llm_model: ShortTermMemory(agent=agent, n=3, display=False),
    "long": lambda agent, llm_model: LongTermMemory(agent=agent, display=False, llm_model=llm_model),
    "both": lambda agent, llm_model: STLTMemory(
        agent=agent, short_term_capacity=2, consolidation_capacity=1, display=False, llm_model=llm_model
    ),
    "episodic": lambda agent, llm_model: EpisodicMemory(agent=agent, display=False, llm_model=llm_model),
}
REASONINGS = {"cot": CoTReasoning, "react": ReActReasoning, "rewoo": ReWOOReasoning, "own": Impulse}


class Villager(LLMAgent, CellAgent):
    def __init__(self, model, reasoning, llm_model, memory, vision=2, api_base=None):
        super().__init__(
            model=model,
            reasoning=reasoning,
            llm_model=llm_model,
            system_prompt="You live in a village.",
            vision=vision,
            internal_state=["hungry"],
            step_prompt="What do you do?",
            api_base=api_base,
        )
        self.mood = "calm"
        self.tool_manager = villager_tools
        if MEMORIES[memory] is not None:
            self.memory = MEMORIES[memory](self, llm_model)
            if api_base and hasattr(self.memory, "llm"):
                self.memory.llm.api_base = api_base
        self.internal_state.append(f"my mood is {self.mood}")

    def step(self):
        observation = self.generate_obs()
        prompt = self.step_prompt + f" You see {len(observation.local_state)} others."
        plan = self.reasoning.plan(prompt=prompt, obs=observation, selected_tools=["set_mood", "speak_to"])
        self.apply_plan(plan)

    async def astep(self):
        observation = await self.agenerate_obs()
        prompt = self.step_prompt + f" You see {len(observation.local_state)} others."
        plan = await self.reasoning.aplan(prompt=prompt, obs=observation, selected_tools=["set_mood", "speak_to"])
        await self.aapply_plan(plan)


class Bell(mesa.Agent):
    """An agent without a language model."""

    rings = 0

    def step(self):
        self.rings += 1


@record_model(output_dir="recordings")
class Village(mesa.Model):
    def __init__(
        self, n=3, reasoning="cot", memory="default", llm_model="openai/gpt-4o-mini", api_base=None, seed=None
    ):
        super().__init__(rng=seed)
        self.parallel_stepping = True
        self.grid = OrthogonalMooreGrid((4, 4), torus=False, random=self.random)
        agents = Villager.create_agents(
            self,
            n=n,
            reasoning=REASONINGS[reasoning],
            llm_model=llm_model,
            memory=memory,
            api_base=api_base,
        )
        for agent, cell in zip(agents, self.grid.all_cells, strict=False):
            agent.cell = cell
        Bell(self)

    def step(self):
        self.agents.shuffle_do("step")


__all__ = [
    "Memory",
    "ModuleLLM",
    "Observation",
    "Plan",
    "Village",
    "disable_automatic_parallel_stepping",
    "enable_automatic_parallel_stepping",
    "guard_tools",
    "speak_to",
    "step_agents_multithreaded",
    "step_agents_parallel",
    "step_agents_parallel_sync",
    "teleport_to_location",
]
