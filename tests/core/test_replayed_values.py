"""What tools return and memories hold gets into prompts, memories and recordings in its canonical form."""

import os
import subprocess
import sys

import mesa
import numpy as np
import pytest

from mesa_llm.clients import RuleBasedClient, tool_call
from mesa_llm.errors import ToolError
from mesa_llm.journal import JournaledClient
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import EpisodicMemory, LongTermMemory, MemoryEntry, ShortTermMemory, STLTMemory
from mesa_llm.reasoning import CoTReasoning, OneCallReasoning, ReActReasoning, ReWOOReasoning
from mesa_llm.recording import record_model
from mesa_llm.testing import ScriptedLLM
from mesa_llm.tools import ToolManager


class Thing:
    pass


class Record:
    def __init__(self, **facts):
        self.facts = facts


def names():
    """Names."""
    return {"ann", "bob", "cid", "dora", "eve"}


def things():
    """Things."""
    return [Thing(), Record(of={"b", "a"}), lambda: 0]


def agents(agent):
    """Agents: of ours, and one of Mesa's own."""
    return [*agent.model.agents, mesa.Agent(agent.model)]


def remembered(agent):
    """Remember."""
    agent.memory.add_to_memory(
        "friends", {"who": set(agent.model.agents), "what": things(), names().__class__: names()}
    )


def said(agent):
    """Say."""
    agent.send_message(f"I see {list(agent.model.agents)} and {things()}", agent.model.agents)


def failed():
    """Fail."""
    raise KeyError(Thing())


TOOLS = [names, things, agents, remembered, said, failed]

PROGRAM = """
import logging, sys
from tests.core.test_replayed_values import run
logging.disable()
junk = [object() for _ in range(int(sys.argv[3]))]
print(run(sys.argv[1], sys.argv[2]))
"""


def run(path, mode):
    """Steps of two agents that call every tool, journaled: what they remember at the end."""
    model = mesa.Model(rng=1)
    rule = RuleBasedClient(lambda request: [tool_call(tool.name) for tool in request.tools])
    with JournaledClient(None if mode == "replay" else rule, path, mode=mode) as client:
        for _ in range(2):
            agent = LLMAgent(model, OneCallReasoning, client=client, step_prompt="?", tools=TOOLS)
            agent.internal_state = {"things": things(), "names": names(), "mass": np.float64("nan")}
        for _ in range(3):
            for agent in model.agents.select(agent_type=LLMAgent):
                agent.step()
            model.step()
        return [agent.memory.get_prompt_ready() for agent in model.agents.select(agent_type=LLMAgent)]


def test_a_journal_replays_in_another_process(tmp_path):
    def other_process(mode, seed):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join([os.getcwd(), "tests"])}
        program = [sys.executable, "-c", PROGRAM, str(tmp_path / "j.sqlite"), mode, str(seed * 5000)]
        return subprocess.run(program, env=environment, check=True, capture_output=True, text=True).stdout

    recorded = other_process("record", 0)
    assert "0x" not in recorded
    assert {other_process("replay", seed) for seed in (1, 2)} == {recorded}


@pytest.mark.parametrize(
    ("returned", "response"),
    [
        ({"b", "a"}, "['a', 'b']"),
        ((1, 2), "(1, 2)"),
        ({"at": (1, 2)}, "{'at': (1, 2)}"),
        (np.array([0.5, 1]), "[0.5, 1.0]"),
        ([Thing()], "['Thing']"),
        (Record(of={"b", "a"}), "Record(facts={'of': ['a', 'b']})"),
        ("as it is", "as it is"),
        (float("inf"), "inf"),
    ],
)
def test_the_text_of_what_a_tool_returns(returned, response):
    def look():
        """Look."""
        return returned

    (result,) = ToolManager([look]).execute(None, [tool_call("look")])
    assert result.response == response


@pytest.mark.parametrize("error", [KeyError, ToolError])
def test_what_fails_shows_no_address(error):
    def look():
        """Look."""
        raise error(Thing())

    (result,) = ToolManager([look]).execute(None, [tool_call("look")])
    assert result.response.endswith("Thing object>")


def test_a_recording_holds_no_address(tmp_path):
    @record_model(output_dir=tmp_path)
    class Town(mesa.Model):
        pass

    town = Town()
    agent = LLMAgent(town, OneCallReasoning, client=ScriptedLLM("Rest."), internal_state=things())
    agent.memory.add_to_memory("note", {"things": things(), "text": str(things()), str(Thing()): 1})
    town.step()
    town.recorder.flush()
    assert b" at 0x" not in town.recorder.path.read_bytes()


def test_relevance_is_by_words_without_addresses():
    from mesa_llm.memory.episodic_memory import words_of

    assert words_of(MemoryEntry(1, "note", {"who": [Thing()], "names": {"b", "a"}})) == {"thing", "a", "b"}


@pytest.mark.parametrize("memory", [ShortTermMemory, STLTMemory, LongTermMemory, EpisodicMemory])
@pytest.mark.parametrize("reasoning", [CoTReasoning, OneCallReasoning, ReActReasoning, ReWOOReasoning])
def test_agents_memories_and_reasonings_say_what_they_are(memory, reasoning):
    class Citizen(LLMAgent):
        pass

    agent = Citizen(mesa.Model(rng=1), reasoning, client=ScriptedLLM("Rest."), memory=memory)
    assert repr([agent]) == "[Citizen 1]"
    assert repr(agent.reasoning) == f"<{reasoning.__name__} of Citizen 1>"
    assert repr(agent.memory) == f"<{memory.__name__} of Citizen 1, 0 entries>"
    agent.memory.add_to_memory("note", {"text": "x"})
    assert repr(agent.memory) == f"<{memory.__name__} of Citizen 1, 1 entry>"


def test_a_memory_of_an_agent_of_mesa_has_no_address_in_its_name():
    assert repr(ShortTermMemory(mesa.Agent(mesa.Model(rng=1)))) == "<ShortTermMemory of Agent 1, 0 entries>"
