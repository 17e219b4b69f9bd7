"""The instructions of strategies, actions and memories: public, and replaced by an agent or a model."""

from pathlib import Path

import pytest
from mesa import Model

from mesa_llm.actions import wait
from mesa_llm.clients import AsyncClient, RuleBasedClient, tool_call
from mesa_llm.errors import ConfigurationError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import EpisodicMemory, LongTermMemory, ShortTermMemory
from mesa_llm.reasoning import (
    INSTRUCTIONS,
    CoTReasoning,
    OneCallReasoning,
    ReActReasoning,
    ReWOOReasoning,
    question_of,
)

STRATEGIES = {
    "OneCallReasoning": OneCallReasoning,
    "CoTReasoning": CoTReasoning,
    "ReActReasoning": ReActReasoning,
    "ReWOOReasoning": ReWOOReasoning,
}
OTHER = {name: f"Other instructions: {name}, in {{words}} words." for name in INSTRUCTIONS}


def graze(agent) -> str:
    """Eat grass."""
    return "done"


class Cow(LLMAgent):
    """Acts, or decides by its strategy."""

    def step(self):
        """Act."""
        if self.tool_manager.tools:
            super().step()
        else:
            self.act("What do you do?")


class Asked(AsyncClient):
    """Keeps the system messages, by what was asked."""

    def __init__(self, inner):
        self.inner = inner
        self.texts = {}

    async def complete(self, request):
        """Answer."""
        self.texts[question_of(request)] = request.messages[0].content
        return await self.inner.complete(request)


class Farm(Model):
    """A cow, and what was asked."""

    def __init__(self, reasoning=OneCallReasoning, *, instructions=None, **cow):
        super().__init__(rng=1)
        if instructions is not None:
            self.llm_instructions = instructions
        self.client = Asked(RuleBasedClient(lambda request: [tool_call("graze" if cow.get("tools") else "wait")]))
        self.cow = Cow(self, reasoning, client=self.client, step_prompt="What?", **cow)

    def step(self):
        """Step."""
        self.agents.shuffle_do("step")


def first_lines(farm):
    farm.step()
    farm.step()
    return {question: text.partition("\n\n")[0] for question, text in farm.client.texts.items()}


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_model_replaces_the_instructions_of_a_strategy(name):
    reasoning = STRATEGIES[name]
    asked = first_lines(Farm(reasoning, tools=[graze], memory=ShortTermMemory))
    assert asked["decide"] == INSTRUCTIONS[name]
    other = first_lines(Farm(reasoning, tools=[graze], memory=ShortTermMemory, instructions=OTHER))
    assert other["decide"] == OTHER[name]
    if reasoning is not OneCallReasoning:
        assert (asked["call tools"], other["call tools"]) == (INSTRUCTIONS["call tools"], OTHER["call tools"])


@pytest.mark.parametrize(("name", "tool_mode"), [("act", "auto"), ("act by a tool call", "native")])
def test_a_model_replaces_the_instructions_of_act(name, tool_mode):
    farm = {"actions": [wait], "memory": ShortTermMemory, "tool_mode": tool_mode}
    assert first_lines(Farm(**farm))["decide"] == INSTRUCTIONS[name]
    assert first_lines(Farm(**farm, instructions=OTHER))["decide"] == OTHER[name]


@pytest.mark.parametrize(
    ("memory", "question", "words"), [(LongTermMemory, "sum up", "250"), (EpisodicMemory, "grade", "{words}")]
)
def test_a_model_replaces_the_instructions_of_a_memory(memory, question, words):
    asked = first_lines(Farm(tools=[graze], memory=memory, instructions=OTHER))
    assert asked[question] == OTHER[memory.__name__].replace("{words}", words)
    assert memory.system_prompt == INSTRUCTIONS[memory.__name__]


def test_an_agent_comes_before_its_model():
    class Bull(Cow):
        """Has its own."""

        llm_instructions = {"OneCallReasoning": "You are a bull."}  # noqa: RUF012

    farm = Farm(tools=[graze], memory=ShortTermMemory, instructions=OTHER)
    farm.cow.llm_instructions = {"CoTReasoning": "Not used."}
    assert first_lines(farm)["decide"] == OTHER["OneCallReasoning"]
    Bull(farm, OneCallReasoning, client=farm.client, step_prompt="What?", tools=[graze], memory=ShortTermMemory)
    farm.cow.remove()
    assert first_lines(farm)["decide"] == "You are a bull."


@pytest.mark.parametrize(
    ("instructions", "said"),
    [
        ({"CoT": "Think."}, r"Farm.llm_instructions: there are no instructions \['CoT'\].*'CoTReasoning'"),
        ("Think.", r"Farm.llm_instructions: got 'Think.'. Give a dict"),
        ({"OneCallReasoning": ""}, "Instructions must begin with a text"),
        ({"OneCallReasoning": 3}, "Instructions must begin with a text"),
        ({"OneCallReasoning": INSTRUCTIONS["call tools"]}, "are registered for 'call tools' already"),
    ],
)
def test_instructions_that_cannot_work(instructions, said):
    farm = Farm(tools=[graze], memory=ShortTermMemory, instructions=instructions)
    with pytest.raises(ConfigurationError, match=said):
        farm.cow.preview_prompt()


def test_all_of_them_are_in_the_reference_in_full():
    page = (Path(__file__).parents[2] / "docs/reference/instructions.md").read_text(encoding="utf-8")
    shown = {name: f"## {name}\n\n```text\n{text}\n```" for name, text in INSTRUCTIONS.items()}
    assert [name for name, text in shown.items() if text not in page] == []
