"""All that each strategy and each memory ask a model, as text in the files beside this one: a changed word is a diff.

`uv run pytest -n0 --inline-snapshot=create,fix tests/core/prompts` writes the files.
"""

import json
from functools import partial
from pathlib import Path

import mesa
import pytest
from helpers.memories import answer_memory, is_memorys
from helpers.rules import choice
from helpers.shown_requests import as_page
from inline_snapshot import external_file
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid

from mesa_llm import actions
from mesa_llm.clients import tool_call
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import EpisodicMemory, LongTermMemory, ShortTermMemory, STLTMemory
from mesa_llm.reasoning import CoTReasoning, OneCallReasoning, ReActReasoning, ReWOOReasoning
from mesa_llm.testing import ScriptedLLM
from mesa_llm.tools.inbuilt_tools import move_one_step, speak_to

FOLDER = Path(__file__).parent
STRATEGIES = {
    "act": None,
    "cot": CoTReasoning,
    "one_call": OneCallReasoning,
    "react": ReActReasoning,
    "rewoo": ReWOOReasoning,
}
MEMORIES = {
    "episodic": partial(EpisodicMemory, considered_entries=8),
    "long_term": LongTermMemory,
    "short_term": partial(ShortTermMemory, n=3),
    "st_lt": partial(STLTMemory, short_term_capacity=2, consolidation_capacity=1),
}
SHOWN = (1, 5)
IN_WORDS = {"move_one_step": "Go East.", "speak_to": "Greet agent 2."}
WALK = [
    ("move_one_step", {"direction": "East"}),
    ("speak_to", {"listener_agents_unique_ids": [2], "message": "Hello."}),
]


class Walker(LLMAgent, CellAgent):
    def __init__(self, model, strategy, memory, client):
        super().__init__(
            model,
            strategy or OneCallReasoning,
            client=client,
            system_prompt="You are a walker who looks for water.",
            step_prompt="Where do you go?",
            vision=2,
            tools=[move_one_step, speak_to],
            actions=[actions.move_one_step, actions.speak_to],
            memory=memory,
        )
        self.acts = strategy is None

    def step(self):
        self.internal_state = {"mood": "hopeful", "_thirst": self.model.steps / 10}
        if self.acts:
            self.act("Where do you go?", observe=True)
        else:
            self.apply_plan(self.reasoning.plan(obs=self.generate_obs()))


class Guide(LLMAgent, CellAgent):
    """Says something in each second step, by a rule."""

    def step(self):
        self.internal_state = {"mood": "calm"} if self.model.steps < 4 else {}
        if self.model.steps % 2:
            self.send_message("The well is in the East.", 1)


class Sheep(CellAgent):
    """Tells what it is in sentences, and goes away one after the other."""

    def step(self):
        self.internal_state = [f"I am {self.unique_id + self.model.steps} days old", "I am white"]
        if self.model.steps == self.unique_id:
            self.remove()


class Meadow(mesa.Model):
    def __init__(self, strategy, memory, client):
        super().__init__(rng=1)
        self.grid = OrthogonalMooreGrid((5, 5), random=self.random)
        at = iter([(2, 0), (2, 2), (1, 1), (3, 1), (3, 0), (1, 2)])
        for agent in (
            Walker(self, strategy, memory, client),
            Guide(self, OneCallReasoning, client=client, tools=[], step_prompt="?"),
            *(Sheep(self) for _ in range(4)),
        ):
            agent.internal_state = []
            agent.cell = self.grid[next(at)]

    def step(self):
        self.agents.do("step")


def answer(request):
    if is_memorys(request):
        return answer_memory(request)
    step = answer.step
    name, arguments = WALK[step % 2]
    if request.response_format and request.response_format.name == "ReActOutput":
        return json.dumps({"reasoning": f"It is step {step}.", "action": IN_WORDS[name]})
    if request.response_format:
        return choice(name, f"It is step {step}.", **arguments)
    if request.tool_choice == "none":
        return f"It is step {step}, so I go on."
    return [tool_call(name, **arguments)]


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_request(strategy, memory):
    llm = ScriptedLLM(answer)
    model = Meadow(STRATEGIES[strategy], MEMORIES[memory], llm)
    shown = []
    for step in range(1, max(SHOWN) + 1):
        before = len(llm.requests)
        answer.step = step
        model.step()
        if step in SHOWN:
            shown += [(f"step {step}, request {n}", asked) for n, asked in enumerate(llm.requests[before:], 1)]
    assert as_page(shown) == external_file(FOLDER / f"{strategy}-{memory}.txt")
