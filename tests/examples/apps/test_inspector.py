"""What an agent has seen, thought, done and been told."""

from mesa import Agent, Model

from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import MemoryEntry
from mesa_llm.reasoning import CoTReasoning
from mesa_llm.testing import ScriptedLLM
from mesa_llm_examples.apps.views import AgentRecord, records_of, view_of
from mesa_llm_examples.civil_violence import CivilViolence


def record(*entries):
    return AgentRecord(name="Citizen 3", state="", entries=tuple(MemoryEntry(*entry) for entry in entries))


def test_agents_with_a_memory_by_class_and_number():
    class Stone(Agent):
        pass

    model = Model()
    Stone(model)
    for _ in range(2):
        LLMAgent(model, CoTReasoning, client=ScriptedLLM("Action: wait."))
    records = records_of(model, lambda agent: "asleep")
    assert {number: entry.label for number, entry in records.items()} == {
        2: "LLMAgent 2 (asleep)",
        3: "LLMAgent 3 (asleep)",
    }


def test_a_record_does_not_change_when_the_agent_goes_on():
    model = CivilViolence(4, 1, seed=1, parallel_stepping=False)
    before = records_of(model, lambda agent: "")
    model.step()
    assert {entry.entries for entry in before.values()} == {()}


def test_a_citizen_after_a_step():
    model = CivilViolence(12, 3, seed=1, parallel_stepping=False)
    model.step()
    records = records_of(model, lambda agent: "")
    citizen = view_of(records[1])
    assert records[1].label == "Citizen 1"
    assert citizen.step == 1
    assert "agent_unique_id: 1" in citizen.observation
    assert citizen.reasoning.startswith("I walk about.\n\nI see ")
    assert citizen.acts[1].startswith("Step 1: move_one_step(direction=")
    assert citizen.messages == ()


def test_before_the_first_step_there_is_nothing():
    view = view_of(record())
    assert (view.step, view.observation, view.reasoning, view.acts, view.messages) == (None, "", "", (), ())


def test_the_latest_observation_and_the_plan_that_belongs_to_it():
    view = view_of(
        record(
            (1, "observation", {"self_state": {"location": [0, 0]}}),
            (1, "plan", {"content": "old"}),
            (2, "observation", {"self_state": {"location": [0, 1]}}),
            (2, "plan", {"content": "I think."}),
            (2, "plan_execution", {"content": "calls"}),
        )
    )
    assert view.step == 2
    assert view.observation == "location: [0, 1]"
    assert view.reasoning == "I think."


def test_an_earlier_step_is_shown_too():
    seen = record(
        (1, "observation", {"self_state": {"location": [0, 0]}}),
        (1, "plan", {"content": "old"}),
        (2, "observation", {"self_state": {"location": [0, 1]}}),
    )
    assert seen.steps == [1, 2]
    assert (view_of(seen, 1).observation, view_of(seen, 1).reasoning) == ("location: [0, 0]", "old")


def test_a_decision_that_is_called_off_leaves_the_plan_of_another_step_out():
    view = view_of(record((1, "plan", {"content": "old"}), (2, "observation", {"self_state": {}})))
    assert view.reasoning == ""


def test_a_plan_in_several_fields_and_one_that_is_only_calls():
    assert view_of(record((1, "observation", {}), (1, "plan", {"reasoning": "r", "action": "a"}))).reasoning == (
        "reasoning: r\naction: a"
    )
    assert view_of(record((1, "observation", {}), (1, "plan_execution", {"content": "f(1)"}))).reasoning == "f(1)"


def test_a_long_observation_is_broken_at_its_facts():
    purse = {f"coin {number}": "a" * 30 for number in range(2)}
    assert view_of(record((1, "observation", {"self_state": {"a": 1, "purse": purse}}))).observation == (
        f'a: 1\npurse:\n  coin 0: "{"a" * 30}"\n  coin 1: "{"a" * 30}"'
    )


def test_the_agents_in_sight_are_rows():
    others = {
        "Citizen 1": {"position": [1, 0], "internal_state": {"state": "quiet"}},
        "Citizen 2": {"position": None, "internal_state": ["calm", "old"], "attributes": {"wealth": 3}},
        "Cop 3": {"position": [2, 2], "internal_state": {}},
    }
    assert view_of(record((1, "observation", {"self_state": {}, "local_state": others}))).neighbours == (
        ("Citizen 1", "[1, 0]", "state quiet"),
        ("Citizen 2", "", "calm, old; wealth 3"),
        ("Cop 3", "[2, 2]", ""),
    )


def test_tool_calls_newest_first_with_results():
    view = view_of(
        record(
            (1, "action", {"tool": "move", "arguments": {"to": "North", "n": 2}, "result": "Moved."}),
            (2, "action", {"tool": "arrest", "arguments": {}, "result": "Error: nobody there."}),
            (3, "action", {"result": "You were arrested."}),
        )
    )
    assert view.acts == (
        "Step 3: You were arrested.",
        "Step 2: arrest() → Error: nobody there.",
        "Step 1: move(to='North', n=2) → Moved.",
    )


def test_messages_said_and_heard_newest_first():
    view = view_of(
        record(
            (1, "message", {"message": "Hello", "sender": 3, "recipients": [4, 5]}),
            (2, "message", {"message": "Run", "sender": 4}),
        )
    )
    assert view.messages == ("Step 2, from 4: Run", "Step 1, Citizen 3 to 4, 5: Hello")


def test_what_else_is_remembered():
    assert view_of(record((2, "arrest", {"result": "Jail."}))).other == ("Step 2, arrest: Jail.",)


def test_an_action_is_shown_as_a_call_too():
    act = {"action": {"name": "eat", "arguments": {"food": "rice"}, "rationale": "because"}, "result": "1 rice"}
    assert view_of(record((1, "action", act))).acts == ("Step 1: eat(food='rice') → 1 rice",)
