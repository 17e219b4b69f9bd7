"""A recorded run is made again with equal states, and two runs are compared down to the call in which they part."""

import pytest

from mesa_llm.activation import step_of
from mesa_llm.errors import ConfigurationError, JournalError, ReplayDifferenceError
from mesa_llm.journal import JournaledClient
from mesa_llm.parallel_stepping import ParallelStepping, disable_automatic_parallel_stepping, patch
from mesa_llm.runs import diff, replay
from mesa_llm.testing import ScriptedLLM
from tests.runs.conftest import Market


@pytest.mark.parametrize("mode", [None, "threading", "asyncio"])
@pytest.mark.parametrize(
    "parallel",
    [True, False, ParallelStepping(mode="threading"), ParallelStepping(activation="sequential")],
    ids=["asyncio", "off", "threading", "sequential"],
)
def test_a_run_is_made_again_with_the_same_states(record, parallel, mode):
    if getattr(parallel, "activation", "") == "sequential" and mode == "threading":
        pytest.skip("has no modes")
    path = record("run", parallel=parallel)
    disable_automatic_parallel_stepping()
    replayed = replay(path, Market, {"parallel": bool(parallel)}, mode=mode)
    assert (replayed.steps, replayed.compared, replayed.calls) == (3, 4, 6)
    assert [agent.coins for agent in replayed.model.agents] == [97, 97]
    assert not patch.is_enabled(), "it is left as it was"


def test_a_run_whose_steps_failed_is_made_again(record, tmp_path):
    class Failing(Market):
        def step(self):
            super().step()
            if step_of(self) == 2:
                raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        record("failing", model_class=Failing)
    replayed = replay(tmp_path / "failing.sqlite", Failing)
    assert (replayed.steps, replayed.compared) == (2, 2)


def test_other_code_is_noticed_with_step_agent_and_attribute(record):
    def step(self):
        Market.step(self)
        if step_of(self) == 2:
            self.agents[1].coins = 5

    path = record("run")
    Other = type("Market", (Market,), {"step": step})  # noqa: N806
    with pytest.raises(ReplayDifferenceError, match=r"After step 2, .* Giver 2, coins: 98 and 5"):
        replay(path, Other)


def test_a_parameter_that_is_not_recorded_has_to_be_given(record):
    class Tolled(Market):
        def __init__(self, toll, client):
            super().__init__(client=client)
            self.toll = toll(1)

    path = record("run", model_class=Tolled, toll=lambda coins: coins + 1)
    with pytest.raises(ConfigurationError, match=r"no value of toll .*parameters=\{'toll': …\}"):
        replay(path, Tolled)
    assert replay(path, Tolled, {"toll": lambda coins: coins + 1}).compared == 4


def test_a_journal_of_calls_alone_cannot_be_compared(tmp_path):
    with JournaledClient(ScriptedLLM("x"), path := tmp_path / "calls.db") as client:
        for agent in Market(client=client, parallel=False).agents:
            agent.llm.generate("?")
    with pytest.raises(JournalError, match="holds model calls alone"):
        replay(path, Market)


def test_runs_that_went_the_same_way_do_not_differ(record):
    assert diff(record("one"), record("two", parallel=ParallelStepping(mode="threading"))) is None


def test_two_runs_with_one_other_answer_part_at_that_call(record):
    one = record("one")
    two = record("two", lambda agent_id, step: 7 if (agent_id, step) == (2, 2) else 1)
    found = diff(one, two)
    assert (found.call.kind, found.call.call) == ("answer", "call 1 of Giver 2 in step 2")
    assert found.call.first.request_key == found.call.second.request_key
    assert (found.step, found.agent, found.attribute, found.values) == (2, "Giver 2", "coins", ("98", "92"))
    text = str(found)
    assert 'give({"coins": 1})' in text
    assert 'give({"coins": 7})' in text
    assert "The first state that differs is that after step 2: Giver 2, coins: 98 and 92" in text
    assert "gave 7" in text


def test_another_prompt_is_shown_beside_the_first(record):
    class Meaner(Market):
        def __init__(self, client):
            super().__init__(client=client)
            self.agents[0].system_prompt = "You are mean."

    found = diff(record("one"), record("two", model_class=Meaner))
    assert (found.step, found.agent, found.attribute) == (0, "Giver 1", "llm.system_prompt")
    assert found.call.kind == "request"
    assert "You are generous." in str(found)
    assert "You are mean." in str(found)
    assert ("model.class", "Market", "test_another_prompt_is_shown_beside_the_first.<locals>.Meaner") in found.settings


def test_of_two_runs_one_may_be_shorter(record):
    found = diff(record("one", steps=2), record("two"))
    assert (found.step, found.attribute) == (3, "steps")
    assert (found.call.kind, found.call.first) == ("missing", None)
    assert "is in the second run only" in str(found)


def test_other_settings_are_named(record):
    found = diff(record("one"), record("two", givers=3))
    assert ("model.parameters.givers", 2, 3) in found.settings
