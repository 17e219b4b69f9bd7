"""Memories are read, changed and subclassed as with mesa-llm 0.3."""

import asyncio
import pickle
from collections import deque

import mesa
import pytest
from helpers.speakers import OneCall

from mesa_llm.clients import tool_call
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory.episodic_memory import EpisodicMemory
from mesa_llm.memory.lt_memory import LongTermMemory
from mesa_llm.memory.memory import Memory, MemoryEntry
from mesa_llm.memory.st_lt_memory import STLTMemory
from mesa_llm.memory.st_memory import ShortTermMemory
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.reasoning import CoTReasoning, OneCallReasoning, ReActReasoning, ReWOOReasoning
from mesa_llm.testing import ScriptedLLM
from mesa_llm.tools import ToolManager

STEPWISE = pytest.mark.parametrize("make", [ShortTermMemory, STLTMemory])


class Town(mesa.Model):
    def __init__(self, *memories, script="hm", parallel=False):
        super().__init__(rng=1)
        self.parallel_stepping = parallel
        self.llm = ScriptedLLM(script)
        for memory in memories:
            LLMAgent(self, OneCall, client=self.llm, step_prompt="Go on.", memory=memory, tools=[])

    def step(self):
        self.agents.shuffle_do("step")


def memory_in_town(make, **kwargs):
    (agent,) = Town(lambda agent: make(agent, **kwargs)).agents
    return agent.memory


def tell(memory, *texts, sender=9):
    for text in texts:
        memory.add_to_memory("message", {"message": text, "sender": sender})


def texts_in(entry):
    return [message["message"] for message in entry.content["message"]]


@STEPWISE
def test_steps_are_read_as_one_entry_each(make):
    memory = memory_in_town(make)
    assert len(memory.short_term_memory) == 0
    tell(memory, "hello", "listen")
    memory.add_to_memory("plan", {"content": "rest"})
    memory.agent.model.step()
    memory.add_to_memory("plan", {"content": "walk"})
    assert [entry.step for entry in memory.short_term_memory] == [0, 1]
    first, last = memory.short_term_memory
    assert texts_in(first) == ["hello", "listen"]
    assert first.content["plan"] == {"content": "rest"}
    assert first.agent is memory.agent
    assert set(last.content) == {"observation", "plan"}
    assert memory.short_term_memory[-1] == last
    assert memory.short_term_memory[:1] == [first]
    assert memory.short_term_memory == deque([first, last])
    assert "hello" in str(first)
    assert "hello" in repr(memory.short_term_memory)


@STEPWISE
def test_steps_can_be_changed_like_a_deque(make):
    memory = memory_in_town(make)
    held = memory.short_term_memory
    held.append(MemoryEntry(content={"observation": "Test obs"}, step=2, agent=memory.agent))
    held.appendleft(MemoryEntry(content={"message": [{"message": "old", "sender": 1}]}, step=1, agent=memory.agent))
    held.append(MemoryEntry(content={"plan": {"content": "rest"}}, step=None, agent=memory.agent))
    lines = ["## Step 1", "Agent 1: old", "## Step 2", "observation: Test obs", "## Step 0", "rest"]
    assert memory.format_short_term().split("\n") == lines
    assert texts_in(held.popleft()) == ["old"]
    held[0] = MemoryEntry(content={"plan": {"content": "run"}}, step=2, agent=memory.agent)
    assert [str(entry) for entry in memory.entries] == ["Step 2. run", "Step 0. rest"]
    del held[0]
    assert len(held) == 1
    held.clear()
    assert memory.entries == ()
    memory.short_term_memory = deque([MemoryEntry(content={"plan": {"content": "sit"}}, step=3, agent=memory.agent)])
    assert "sit" in memory.get_prompt_ready()


@pytest.mark.parametrize("make", [ShortTermMemory, STLTMemory, LongTermMemory, EpisodicMemory])
def test_step_content_has_what_happened_since_the_last_step(make):
    memory = memory_in_town(make)
    assert memory.step_content == {}
    tell(memory, "one", "two")
    memory.add_to_memory("note", {"w": 1})
    memory.add_to_memory("note", {"w": 2})
    assert memory.step_content["note"] == {"w": 2}
    assert [message["message"] for message in memory.step_content["message"]] == ["one", "two"]
    memory.agent.step()
    assert memory.step_content == {}


def test_step_content_does_not_grow_if_nobody_says_that_a_step_is_over():
    memory = memory_in_town(ShortTermMemory)
    for step in range(5):
        memory.agent.model.steps = step
        memory.agent.model.time = step
        tell(memory, f"at {step}")
    assert len(memory.step_content["message"]) == 1


@pytest.mark.parametrize("make", [ShortTermMemory, STLTMemory, LongTermMemory])
def test_additive_event_types(make):
    assert memory_in_town(make).additive_event_types == {"message", "action"}
    memory = memory_in_town(make, additive_event_types=["note"])
    for word in ("a", "b"):
        memory.add_to_memory("note", {"w": word})
        memory.add_to_memory("message", {"message": word, "sender": 1})
    assert memory.step_content == {"note": [{"w": "a"}, {"w": "b"}], "message": {"message": "b", "sender": 1}}


def test_long_term_memory_has_what_it_consolidated_last():
    memory = memory_in_town(LongTermMemory)
    assert memory.buffer is None
    tell(memory, "hello")
    assert texts_in(memory.buffer) == ["hello"]
    memory.agent.step()
    assert memory.entries == ()
    assert texts_in(memory.buffer) == ["hello"]
    assert memory.buffer.step == 0


def test_entries_of_an_episodic_memory_have_their_importance():
    memory = memory_in_town(EpisodicMemory)
    tell(memory, "hello")
    (entry,) = memory.memory_entries
    assert entry.content == {"message": {"message": "hello", "sender": 9, "importance": 5}}
    memory.memory_entries.append(
        MemoryEntry(content={"message": {"message": "fire", "sender": 1, "importance": 10}}, step=0, agent=memory.agent)
    )
    assert [entry.content["message"]["importance"] for entry in memory.memory_entries] == [5, 10]
    assert memory.retrieve_top_k_entries(1)[0].content["message"] == "fire"
    memory.memory_entries = []
    assert memory.entries == ()


FORMS = [
    MemoryEntry(content={"note": {"w": 1}}, step=3, agent="someone"),
    MemoryEntry({"note": {"w": 1}}, 3, "someone"),
    MemoryEntry({"note": {"w": 1}}, step=3, agent="someone"),
]


@pytest.mark.parametrize("entry", FORMS)
def test_an_entry_in_the_form_of_03(entry, capsys):
    assert (entry.content, entry.step, entry.agent, entry.type) == ({"note": {"w": 1}}, 3, "someone", "")
    assert str(entry) == "Step 3. note: {'w': 1}"
    entry.display()
    assert capsys.readouterr().out == f"someone {entry}\n"
    assert pickle.loads(pickle.dumps(entry)) == entry


def test_an_entry_of_a_step_that_is_not_over():
    for entry in (MemoryEntry(content={"a": 1}, step=None, agent=None), MemoryEntry({"a": 1}, None, None)):
        assert (entry.step, str(entry)) == (None, "a: 1")


class Diary(Memory):
    """A memory as the base class of 0.3 explains it: events collect in step_content, process_step takes them over."""

    def __init__(self, agent):
        super().__init__(agent, display=False)
        self.days = deque(maxlen=3)
        self.begun = []

    def process_step(self, pre_step=False):
        if pre_step:
            self.begun.append(sorted(self.step_content))
            return
        self.days.append(MemoryEntry(agent=self.agent, content=self.step_content, step=self.agent.model.steps))
        self.step_content = {}

    def get_prompt_ready(self):
        return f"Days: {[str(day) for day in self.days]} Today: {sorted(self.step_content)}"

    def get_communication_history(self):
        return ""


class Mindful(OneCall):
    def decide(self, prompt, obs, **kwargs):
        return (yield from super().decide(f"{self.agent.memory.get_prompt_ready()} {prompt}", obs, **kwargs))


@pytest.mark.parametrize("mode", ["asyncio", "threading", None])
def test_a_memory_of_ones_own_takes_step_content_over(mode):
    if mode is not None:
        enable_automatic_parallel_stepping(mode=mode)
    town = Town(Diary, Diary, parallel=mode is not None)
    for agent in town.agents:
        agent.reasoning = Mindful(agent)
    tell(town.agents[0].memory, "hello")
    for _ in range(2):
        town.step()
    days = town.agents[0].memory.days
    assert [sorted(day.content) for day in days] == [["message", "observation"], ["observation"]]
    assert town.agents[0].memory.begun == [["message"], []]
    asked = [request.messages[-1].content for request in town.llm.requests]
    assert sorted(text.partition("Today: ")[2] for text in asked[:2]) == [
        "['message', 'observation'] Go on.",
        "['observation'] Go on.",
    ]


def test_the_instructions_of_a_memory_can_be_replaced():
    memory = memory_in_town(LongTermMemory)
    memory.system_prompt = "Sum up in {words} words, like a pirate."
    tell(memory, "hello")
    memory.agent.step()
    assert memory.agent.model.llm.requests[-1].messages[0].content.startswith("Sum up in 250 words, like a pirate.")
    own = memory_in_town(LongTermMemory, llm_model="other/model")
    own.llm.system_prompt = "Sum up, like a pirate."
    tell(own, "hello")
    own.agent.step()
    last = own.agent.model.llm.requests[-1]
    assert (last.model, last.messages[0].content.startswith("Sum up, like a pirate.")) == ("other/model", True)


class Async(ShortTermMemory):
    """Counts what comes by the async method, as 0.3 calls it where an agent runs async."""

    def __init__(self, agent):
        super().__init__(agent)
        self.came = []

    async def aadd_to_memory(self, type, content):  # noqa: A002
        await asyncio.sleep(0)
        self.came.append(type)
        await super().aadd_to_memory(type, content)


def wave(agent) -> str:
    """Wave."""
    return "done"


@pytest.mark.parametrize("reasoning", [CoTReasoning, ReActReasoning, ReWOOReasoning, OneCallReasoning])
@pytest.mark.parametrize("mode", ["asyncio", None])
async def test_an_aadd_to_memory_of_ones_own_is_called_where_an_agent_runs_async(mode, reasoning):
    def answer(request):
        if request.tool_choice == "none":
            return '{"reasoning": "r", "action": "wave"}'
        return [tool_call("wave")]

    if mode is not None:
        enable_automatic_parallel_stepping(mode=mode)
    town = Town(Async, script=answer, parallel=mode is not None)
    (agent,) = town.agents
    agent.reasoning, agent.tool_manager = reasoning(agent), ToolManager([wave])
    await agent.astep() if mode is None else town.step()
    thought = ["plan"] if reasoning is OneCallReasoning else ["plan", "plan_execution"]
    assert agent.memory.came == ["observation", *thought, "action"]
    assert [entry.type for entry in agent.memory.entries] == agent.memory.came


async def test_an_aadd_to_memory_that_an_instance_has_of_its_own():
    (agent,) = Town(ShortTermMemory).agents
    came = []

    async def note(type, content):  # noqa: A002
        came.append((type, content))

    agent.memory.aadd_to_memory = note
    await agent.agenerate_obs()
    assert [kind for kind, _ in came] == ["observation"]


async def test_messages_come_by_an_aadd_to_memory_of_ones_own_if_they_are_sent_async():
    town = Town(Async, Async)
    sender, other = town.agents
    await sender.asend_message("hello", [other])
    assert (other.memory.came, sender.memory.came) == (["message"], ["message"])
    sender.send_message("bye", [other])
    assert (other.memory.came, len(other.memory.entries)) == (["message"], 2)
    await sender.reasoning.aexecute_tool_call("Wave.", selected_tools=[])
    assert sender.memory.came == ["message", "plan_execution"]


MESSAGES = [
    ({"message": "hello", "sender": 9}, "Agent 9 says: hello"),
    ({"message": "hello"}, "hello"),
    ({"msg": "hello", "sender": "A1"}, "Agent A1 says: "),
    ({"text": "hello"}, "hello"),
]


@pytest.mark.parametrize(("content", "said"), MESSAGES)
def test_a_message_in_any_form_is_in_the_communication_history(content, said):
    memory = memory_in_town(ShortTermMemory)
    memory.add_to_memory(type="message", content=content)
    history = memory.get_communication_history()
    assert said in history
    assert "hello" in history
    assert "None" not in history


class Notebook:
    """A memory of the user's own that is no Memory."""

    def __init__(self):
        self.pages = []

    def add_to_memory(self, type, content):  # noqa: A002
        self.pages.append((type, content["message"]))


class Clerk(mesa.Agent):
    """An agent without a language model, with a notebook."""

    def __init__(self, model):
        super().__init__(model)
        self.memory = Notebook()


@pytest.mark.parametrize("in_async", [False, True])
async def test_a_message_reaches_a_memory_that_is_no_memory_of_ours(in_async):
    town = Town(ShortTermMemory)
    (sender,) = town.agents
    clerk = Clerk(town)
    if in_async:
        await sender.asend_message("hello", [clerk])
    else:
        sender.send_message("hello", [clerk])
    assert clerk.memory.pages == [("message", "hello")]
