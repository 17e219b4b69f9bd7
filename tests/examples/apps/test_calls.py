"""The calls that the inspector shows."""

import pytest

pytest.importorskip("solara", reason="the extra `app` is not installed")

from mesa import Model

from mesa_llm.clients import LLMResponse, Message, Usage
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import ShortTermMemory
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.testing import ScriptedLLM
from mesa_llm_examples.apps.calls import KEPT, CallLog


def asked(llm, steps=1):
    log = CallLog(llm)
    model = Model(rng=1)
    ada = LLMAgent(
        model,
        OneCallReasoning,
        client=log,
        system_prompt="You are Ada.",
        step_prompt="What now?",
        tools=[],
        memory=ShortTermMemory,
    )
    for _ in range(steps):
        model.step()
        ada.step()
    return log, ada.unique_id


def test_a_call_is_kept_word_for_word_with_what_it_took():
    answer = LLMResponse(message=Message("assistant", "I rest."), model="any", usage=Usage(1200, 30), latency_s=0.25)
    log, ada = asked(ScriptedLLM(lambda request: answer))
    (call,) = log.of(ada, 1)
    assert call.system.endswith("You are Ada.")
    assert call.prompt.endswith("What now?")
    assert (call.answer, call.took) == ("I rest.", "1,200 input tokens, 30 output tokens; 0.25 s")
    assert log.of(ada, 2) == log.of(ada + 1) == []


def test_only_the_newest_calls_are_kept():
    log, ada = asked(ScriptedLLM("I rest."), steps=KEPT + 3)
    assert [call.step for call in log.of(ada)] == list(range(4, KEPT + 4))
