"""Agents are interviewed off the record, all together: nothing of it stays but the answers, in the file of the run."""

from typing import Literal

import pandas as pd
import pytest
from helpers.speakers import Speaker, seen_by
from mesa import Agent, DataCollector, Model
from pydantic import BaseModel

from mesa_llm.clients import RuleBasedClient
from mesa_llm.errors import ConfigurationError, JournalError, TurnError
from mesa_llm.journal import Journal
from mesa_llm.llm_agent import ask
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.reasoning import read_observation
from mesa_llm.recording import load_recording, record_run, state_hash
from mesa_llm.testing import ScriptedLLM

QUESTION = "How are you?"
CHECKS = 1 if hasattr(DataCollector, "_validate_model_reporter") else 0
"""How often Mesa calls a reporter to check it, before it collects for the first time."""


class Mood(BaseModel):
    mood: int
    why: Literal["sun", "rain"] = "sun"


def asked(request):
    """The id of the agent that is interviewed."""
    return read_observation(request)["self_state"]["agent_unique_id"]


def answer(request):
    if QUESTION in request.messages[-1].content:
        return f'{{"mood": {asked(request)}, "why": "rain"}}'
    return f"I am {seen_by(request)}"


class Town(Model):
    def __init__(self, people=3, client=None, asks=False, parallel=False):
        super().__init__(rng=1)
        self.log = []
        self.parallel_stepping = parallel
        for _ in range(people):
            Speaker(self, client)
        reporters = {"mood": lambda model: float(ask(model.agents, QUESTION, Mood)["mood"].mean())} if asks else {}
        self.datacollector = DataCollector(reporters)
        self.datacollector.collect(self)

    def step(self):
        self.agents.shuffle_do("step")
        self.datacollector.collect(self)


def test_all_agents_are_asked_at_once_each_as_the_one_it_is():
    town = Town(client=ScriptedLLM(answer))
    town.agents[0].system_prompt = "You are Ann."
    town.step()
    llm = ScriptedLLM(answer, hold_until=3)
    for agent in town.agents:
        agent.llm._client = llm
    frame = ask(town.agents, QUESTION, Mood)
    assert frame.reset_index().to_dict("records") == [
        {
            "agent_id": agent_id,
            "agent_class": "Speaker",
            "step": 1,
            "question": QUESTION,
            "mood": agent_id,
            "why": "rain",
            "error": None,
        }
        for agent_id in (1, 2, 3)
    ]
    first = next(request for request in llm.requests if asked(request) == 1)
    assert "You are Ann." in first.messages[0].content
    assert "You are interviewed" in first.messages[0].content
    assert "# Memory\n## Step 1\nSaw: you: words: 0" in first.messages[1].content
    assert first.messages[1].content.endswith(f"# Question\n{QUESTION}")


@pytest.mark.parametrize("parallel", [False, True])
def test_nothing_of_it_stays_in_the_run(parallel, tmp_path):
    enable_automatic_parallel_stepping()

    def run(asks, name):
        with record_run(
            Town, {"client": RuleBasedClient(answer), "asks": asks, "parallel": parallel}, path=tmp_path / name
        ) as town:
            for _ in range(3):
                town.step()
        return town

    asked, silent = run(True, "asked"), run(False, "silent")
    assert state_hash(asked) == state_hash(silent)
    assert [step.state_hash for step in Journal(tmp_path / "asked").steps()] == [
        step.state_hash for step in Journal(tmp_path / "silent").steps()
    ]
    events = [
        [(event.step, event.agent_id, event.event_type, event.content) for event in load_recording(tmp_path / name)]
        for name in ("asked", "silent")
    ]
    assert events[0] == events[1]
    assert Journal(tmp_path / "asked").run().calls == Journal(tmp_path / "silent").run().calls == 9
    frame = Journal(tmp_path / "asked").interviews()
    assert frame.groupby("step")["mood"].mean().to_dict() == {0: 2.0, 1: 2.0, 2: 2.0, 3: 2.0}
    assert list(frame.columns) == ["step", "agent_id", "agent_class", "question", "mood", "why", "error"]


def test_a_replayed_or_resumed_run_gets_the_answers_from_the_file(tmp_path):
    path, counts = tmp_path / "town.sqlite", []

    def run(mode, steps):
        llm = ScriptedLLM(answer)
        with record_run(Town, {"client": llm, "asks": True}, path=path, mode=mode) as town:
            for _ in range(steps):
                town.step()
        counts.append(len(llm.requests))
        return town.datacollector.model_vars["mood"]

    assert run("record", 2) == [2.0, 2.0, 2.0]
    assert run("replay", 2) == [2.0, 2.0, 2.0]
    assert run("resume", 3) == [2.0, 2.0, 2.0, 2.0]
    assert counts == [2 * 3 + (3 + CHECKS) * 3, 0, 3 + 3]
    assert len(Journal(path).interviews()) == (4 + CHECKS) * 3
    with (
        record_run(Town, {"client": ScriptedLLM([])}, path=path, mode="replay") as town,
        pytest.raises(JournalError, match=r"Speaker 1 is asked 'Why\?' after step 0, and the answer is not recorded"),
    ):
        ask(town.agents, "Why?")


def test_a_text_is_an_answer_too_and_one_agent_may_be_asked():
    town = Town(client=ScriptedLLM("Fine."))
    assert ask(town.agents[1], "How are you?")["answer"].to_dict() == {2: "Fine."}


def test_an_answer_that_cannot_be_used_is_an_error_in_its_row():
    town = Town(client=ScriptedLLM(lambda request: "No." if asked(request) == 2 else answer(request)))
    frame = ask(town.agents, QUESTION, Mood)
    assert frame["mood"].dropna().to_dict() == {1: 1, 3: 3}
    assert "Speaker 2: the model's answer is not the JSON asked for" in frame["error"][2]
    assert pd.isna(frame["error"][1])


def test_only_agents_that_ask_a_model_are_asked():
    town = Town(people=1, client=ScriptedLLM("Fine."))
    Agent(town)
    assert list(ask(town.agents, "?").index) == [1]
    assert len(ask([], "?")) == 0


def test_what_cannot_be_asked():
    town = Town(client=ScriptedLLM("Fine."))
    with pytest.raises(ConfigurationError, match="question must be a text, got ''"):
        ask(town.agents, "")
    with pytest.raises(ConfigurationError, match="is not a response format"):
        ask(town.agents, "?", {"type": "array"})


def test_agents_are_asked_between_steps_only():
    enable_automatic_parallel_stepping()

    class Curious(Speaker):
        def say(self, plan):
            ask(self.model.agents, QUESTION)

    town = Town(people=0, parallel=True)
    Curious(town, ScriptedLLM("x"))
    with pytest.raises(TurnError, match="cannot be interviewed within a parallel step"):
        town.step()


def test_each_observes_with_the_same_generators_and_they_are_put_back():
    class Moody(Speaker):
        @property
        def internal_state(self):
            return {"mood": self.model.random.random()}

        @internal_state.setter
        def internal_state(self, value):
            pass

    def prompts(people):
        llm = ScriptedLLM("Fine.")
        town = Town(people=0)
        for _ in range(people):
            Moody(town, llm)
        before = town.random.getstate()
        ask(town.agents, "How are you?")
        assert town.random.getstate() == before
        return {read_observation(request)["self_state"]["internal_state"]["mood"] for request in llm.requests}

    assert len(prompts(3)) == 1


def test_answers_to_the_same_question_are_replayed_each_in_its_turn(tmp_path):
    path = tmp_path / "town.sqlite"

    def answers(mode, client):
        with record_run(Town, {"people": 1, "client": client}, path=path, mode=mode) as town:
            return [ask(town.agents, "And now?")["answer"][1] for _ in range(3)]

    assert answers("record", ScriptedLLM(["one", "two", "three"])) == ["one", "two", "three"]
    assert answers("replay", ScriptedLLM([])) == ["one", "two", "three"]
