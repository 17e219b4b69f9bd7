"""Agents and models for tests of memories."""

from __future__ import annotations

from helpers.speakers import Speaker

from mesa_llm.memory import EpisodicMemory, LongTermMemory, ShortTermMemory, STLTMemory
from mesa_llm.module_llm import ModuleLLM
from mesa_llm.reasoning import Plan, Reasoning
from mesa_llm.testing import ScriptedLLM

ALL = [ShortTermMemory, STLTMemory, LongTermMemory, EpisodicMemory]
ASKING = [STLTMemory, LongTermMemory, EpisodicMemory]


class World:
    """As much of a model as a memory needs."""

    steps = 1


class Someone:
    """An agent with a model to ask, and steps that the test counts."""

    def __init__(self, script="", **llm):
        self.unique_id = 1
        self.model = World()
        self.client = ScriptedLLM(script)
        self.llm = ModuleLLM("a/b", client=self.client, **llm)

    def __str__(self):
        return "Someone 1"


def note(memory, *words, step=None, type="note"):  # noqa: A002
    if step is not None:
        memory.agent.model.steps = step
    for word in words:
        memory.add_to_memory(type, {"w": word})


def words(memory):
    return [entry.content["w"] for entry in memory.entries]


async def settle(memory):
    """Settle; whether there was anything to."""
    commit = await memory.asettle()
    if commit is not None:
        commit()
    return commit is not None


def is_memorys(request):
    """Whether a request comes from a memory."""
    return any(name in request.messages[0].content for name in ("long-term memory", "memories"))


def answer_memory(request):
    """What a model might answer a memory: a summary, or a grade for each entry."""
    if request.response_format is None:
        return "It was a long day. " * 3
    return "{" + ", ".join(f'"{number}": 7' for number in request.response_format.schema["properties"]) + "}"


class Mindful(Reasoning):
    """Asks once, with what the agent remembers."""

    def decide(self, prompt, obs, *, ttl, selected_tools, tool_calls):
        response = yield self.agent.llm.request([self.agent.memory.get_prompt_ready(), str(obs), prompt])
        return Plan(step=obs.step, llm_plan=response.message, ttl=ttl)


class Talker(Speaker):
    """Tells everybody what its model answers. The class says what it remembers with."""

    make_memory = ShortTermMemory

    def __init__(self, model, client):
        super().__init__(model, client, memory=lambda agent: type(self).make_memory(agent))
        self.reasoning = Mindful(self)

    def say(self, plan):
        super().say(plan)
        self.send_message(str(plan), list(self.model.agents))


def talkers(make_memory):
    """Talkers with memories of a kind."""
    return type("Talker", (Talker,), {"make_memory": staticmethod(make_memory)})
