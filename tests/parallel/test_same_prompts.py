"""What an agent remembers in a prompt is the same whether Mesa steps it or a runner does."""

import json
import re
from functools import partial

import pytest
from mesa import Model

from mesa_llm.activation import step_of
from mesa_llm.activation.context import current_origin
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import EpisodicMemory, LongTermMemory, Memory, ShortTermMemory, STLTMemory
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.testing import ScriptedLLM


class Everything(Memory):
    def get_prompt_ready(self):
        return self._lines(self._past())


MEMORIES = {
    "two steps": partial(ShortTermMemory, n=2),
    "one step": partial(ShortTermMemory, n=1),
    "short, little room": partial(ShortTermMemory, n=9, max_tokens=120),
    "two steps, no long term": partial(STLTMemory, short_term_capacity=2, consolidation_capacity=0),
    "short and long term": partial(STLTMemory, short_term_capacity=2, consolidation_capacity=1),
    "long term": LongTermMemory,
    "few episodes": partial(EpisodicMemory, max_capacity=5, considered_entries=5),
    "few episodes come to mind": partial(EpisodicMemory, max_capacity=6, considered_entries=3),
    "of one's own, little room": partial(Everything, max_tokens=120),
}


class Diarist(LLMAgent):
    """Decides in most steps, and only looks around in the others."""

    def step(self):
        seen = self.generate_obs()
        day = step_of(self.model)
        if day % 4 != 3:
            self.apply_plan(self.reasoning.plan(f"Day {day}: what now?", seen))


def prompts(memory, mode):
    asked = []

    def answer(request):
        asked.append((current_origin().agent_id, request.messages))
        text = request.messages[0].content
        if request.response_format is not None:
            return json.dumps(dict.fromkeys(request.response_format.schema["properties"], 3))
        return "It was a dry year." if "long-term" in text else "Rest, for the day is hot and the work is done."

    llm = ScriptedLLM(answer)
    model = Model(rng=1)
    model.parallel_stepping = mode is not None
    if mode is not None:
        enable_automatic_parallel_stepping(mode=mode)
    for _ in range(2):
        Diarist(model, OneCallReasoning, client=llm, tools=[], memory=memory, internal_state=["calm"])
    for _ in range(9):
        model.step()  # which does nothing but count
        model.agents.do("step")
    return sorted(asked, key=lambda agent_and_messages: agent_and_messages[0])


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
@pytest.mark.parametrize("memory", MEMORIES)
def test_the_same_is_remembered(memory, mode):
    alone, together = prompts(MEMORIES[memory], None), prompts(MEMORIES[memory], mode)
    for (agent_id, one), (other_id, other) in zip(alone, together, strict=True):
        assert agent_id == other_id
        assert one == other


@pytest.mark.parametrize("mode", [None, "asyncio"])
def test_the_last_steps_are_remembered_beside_what_is_seen_now(mode):
    last = prompts(MEMORIES["two steps"], mode)[-1][1]
    remembered = "\n".join(str(message.content) for message in last).partition("# Observation")[0]
    assert re.findall(r"## Step (\d+)", remembered) == ["7", "8"]
