"""The same question, asked several times off the record: how much the decision varies, and nothing else comes of it."""

import asyncio
import sqlite3
from types import SimpleNamespace

import pytest
from mesa import Model

from mesa_llm.activation.call import one_at_a_time
from mesa_llm.clients import ToolCall, tool_call
from mesa_llm.errors import ConfigurationError, JournalError, ModelCallError, TurnError
from mesa_llm.journal import JournaledClient
from mesa_llm.limits import SingleFlightClient
from mesa_llm.llm_agent import LLMAgent, aconsistency, consistency
from mesa_llm.memory import EpisodicMemory, LongTermMemory, ShortTermMemory, STLTMemory
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.reasoning import CoTReasoning, OneCallReasoning, Plan, ReActReasoning, Reasoning, ReWOOReasoning
from mesa_llm.recording import SimulationRecorder, load_recording, state_difference, state_hash
from mesa_llm.testing import ScriptedLLM

STRATEGIES = [OneCallReasoning, CoTReasoning, ReActReasoning, ReWOOReasoning]
MEMORIES = [ShortTermMemory, LongTermMemory, STLTMemory, EpisodicMemory]


def move(agent, direction: str, far: int = 1) -> str:
    """Move.

    Args:
        direction: where.
        far: how far.
    """
    agent.moved += 1
    return "moved"


def person(script, reasoning=OneCallReasoning, **settings):
    settings.setdefault("client", ScriptedLLM(script))
    settings.setdefault("step_prompt", "Where do you go?")
    agent = LLMAgent(Model(rng=1), reasoning, "openai/m", tools=[move], **settings)
    agent.moved = 0
    return agent


def answer(request):
    """Whatever a strategy asks for, about moving; grades for a memory."""
    if request.response_format is not None:
        return '{"reasoning": "It is warmer there.", "action": "go North", "grade": 3}'
    return [tool_call("move", direction="North")] if request.tools and request.tool_choice != "none" else "I go North."


@pytest.mark.parametrize(
    ("made", "action"),
    [
        ("rest", "(no call)"),
        (None, "(no call)"),
        (SimpleNamespace(tool_calls=[SimpleNamespace(function=SimpleNamespace(name="nap", arguments="{}"))]), "nap()"),
    ],
)
def test_plans_of_a_strategy_of_ones_own(made, action):
    class Own(Reasoning):
        async def aplan(self, *args, **kwargs):
            return Plan(0, llm_plan=made)

    assert list(consistency(person("unused", Own), 2).index) == [action]


def test_distinct_actions_are_counted_the_most_frequent_first():
    north, east = [tool_call("move", direction="North")], [tool_call("move", direction="East")]
    frame = consistency(person([east, north, "I stay.", north, north]), 5)
    assert list(frame["count"]) == [3, 1, 1]
    assert list(frame.share) == [0.6, 0.2, 0.2]
    assert list(frame.index) == [
        'move(direction="North", far=1)',
        'move(direction="East", far=1)',
        "(no call)",
    ]
    assert frame.index.name == "action"


SAME = [
    tool_call("move", direction="North", far=1),
    tool_call("move", far=1, direction="North"),
    tool_call("move", direction="North"),
    tool_call("move", direction="North", far="1"),
    tool_call("move", direction="North", far=1.0),
    tool_call("Move", direction="North"),
    tool_call("functions.move", direction="North"),
    ToolCall("an-id", "move", '```json\n{"direction": "North"}\n```'),
    ToolCall("another-id", "move", '{"direction": "North", "far": null}'),
]


def test_one_action_in_many_forms_is_one_action():
    frame = consistency(person([[call] for call in SAME]), len(SAME))
    assert frame.to_dict() == {
        "count": {'move(direction="North", far=1)': 9},
        "share": {'move(direction="North", far=1)': 1.0},
    }


ACTIONS = [
    ([tool_call("move")], "move({})"),
    ([ToolCall("an-id", "move", "north please")], "move(north please)"),
    ([tool_call("fly", how="high")], 'fly(how="high")'),
    (
        [tool_call("move", direction="North"), tool_call("move", direction="Ost-Süd")],
        'move(direction="North", far=1), move(direction="Ost-Süd", far=1)',
    ),
]


@pytest.mark.parametrize(("calls", "action"), ACTIONS, ids=lambda value: value if isinstance(value, str) else "")
def test_an_action_is_all_calls_in_order_and_those_that_do_not_fit_as_they_are(calls, action):
    assert list(consistency(person(lambda request: calls), 2).index) == [action]


def test_answers_that_cannot_be_used_are_counted_as_such():
    agent = person(["", [tool_call("move", direction="North")], ""])
    assert dict(consistency(agent, 2)["count"]) == {"(no decision)": 1, 'move(direction="North", far=1)': 1}


# Off the record


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("reasoning", STRATEGIES)
def test_nothing_stays_of_what_is_asked_off_the_record(reasoning, memory, tmp_path):
    agent = person(answer, reasoning, memory=memory)
    agent.model.recorder = recorder = SimulationRecorder(agent.model, output_dir=tmp_path)
    agent.step()
    before = state_hash(agent.model), agent.memory.entries, one_at_a_time(agent), one_at_a_time(agent.model).tally
    prompts = len(agent.llm.client.requests)
    frame = consistency(agent, 3)
    assert frame.to_dict() == {
        "count": {'move(direction="North", far=1)': 3},
        "share": {'move(direction="North", far=1)': 1.0},
    }
    asked = agent.llm.client.requests[prompts:]
    assert len(asked) >= 3
    assert {request.call.origin for request in asked} == {None}
    assert before == (
        state_hash(agent.model),
        agent.memory.entries,
        one_at_a_time(agent),
        one_at_a_time(agent.model).tally,
    )
    assert agent.moved == 1
    recorder.close()
    events = [event.event_type for event in load_recording(recorder.path)]
    assert events.count("action") == 1
    assert events.count("observation") == 1


@pytest.mark.parametrize("reasoning", STRATEGIES)
def test_the_questions_are_those_that_the_next_step_asks(reasoning):
    agent = person(answer, reasoning)
    agent.step()
    del agent.llm.client.requests[:]
    consistency(agent, 1)
    off_record, agent.llm.client.requests = agent.llm.client.requests, []
    agent.step()
    assert off_record
    assert [request.messages for request in agent.llm.client.requests] == [request.messages for request in off_record]


def test_a_run_with_questions_is_the_run_without_them():
    def run(*, asks):
        enable_automatic_parallel_stepping()
        model = Model(rng=1)
        model.parallel_stepping = True
        for _ in range(3):
            agent = LLMAgent(model, CoTReasoning, client=ScriptedLLM(answer), step_prompt="?", tools=[move])
            agent.moved = 0
        for _ in range(3):
            model.agents.shuffle_do("step")
            if asks:
                consistency(agent, 4)
        return model

    assert state_difference(run(asks=True), run(asks=False)) is None


def test_draws_of_an_observation_are_the_same_each_time_and_are_put_back():
    class Moody(LLMAgent):
        @property
        def internal_state(self):
            return [self.model.random.random(), float(self.model.rng.random())]

    llm = ScriptedLLM("I stay.")
    agent = Moody(Model(rng=1), OneCallReasoning, client=llm, step_prompt="?", tools=[move])
    before = agent.model.random.getstate(), agent.model.rng.bit_generator.state
    consistency(agent, 3)
    assert (agent.model.random.getstate(), agent.model.rng.bit_generator.state) == before
    assert len({request.messages for request in llm.requests}) == 1


def test_plans_that_hold_are_neither_used_nor_made():
    north, east = [tool_call("move", direction="North")], [tool_call("move", direction="East")]
    agent = person([north, east, east])
    agent.reasoning.plan(ttl=5)
    agent.model.steps = 1
    assert list(consistency(agent, 2, ttl=9).index) == ['move(direction="East", far=1)']
    assert "North" in str(agent.reasoning.plan(ttl=5).llm_plan.tool_calls)
    assert len(agent.llm.client.requests) == 3


def test_plans_that_are_unfinished_stay_as_they_are():
    two = [tool_call("move", direction="North"), tool_call("move", direction="East")]
    agent = person(["Step 1: North.", two, "Step 1: North.", two], ReWOOReasoning)
    agent.step()
    assert agent.reasoning.remaining_tool_calls == 1
    assert list(consistency(agent, 1).index) == ['move(direction="North", far=1)']
    assert agent.reasoning.remaining_tool_calls == 1


def test_the_question_can_be_another_one():
    agent = person("I stay.", step_prompt=None)
    with pytest.raises(ConfigurationError, match="nothing to decide"):
        consistency(agent, 1)
    consistency(agent, 2, prompt="Do you move?", selected_tools=[])
    assert {
        (request.tools, "Do you move?" in request.messages[-1].content) for request in agent.llm.client.requests
    } == {((), True)}


async def test_all_are_asked_at_once_in_async_code_too():
    llm = ScriptedLLM("I stay.", hold_until=8)
    frame = await aconsistency(person(None, client=llm), 8)
    assert llm.peak_in_flight == 8
    assert list(frame["count"]) == [8]


async def test_sync_code_may_ask_where_a_loop_runs():
    assert list(consistency(person("I stay."), 2)["count"]) == [2]


@pytest.mark.parametrize("memory", MEMORIES)
def test_a_strategy_with_only_plan_is_asked_in_threads(memory):
    class Own(Reasoning):
        def plan(self, prompt=None, obs=None, ttl=1, selected_tools=None, tool_calls=None):
            obs = self.agent.generate_obs()
            self.agent.memory.add_to_memory("plan", {"content": "I think."})
            response = self.agent.llm.generate(prompt or self.agent.step_prompt)
            assert [entry.type for entry in self.agent.memory.entries] == ["observation", "plan"]
            return Plan(step=obs.step, llm_plan=response.message)

    agent = person("I stay.", Own, memory=memory)
    assert list(consistency(agent, 3)["count"]) == [3]
    assert agent.memory.entries == ()


def test_tools_that_a_strategy_uses_to_think_are_not_counted():
    class LooksUp(Reasoning):
        def decide(self, prompt, obs, *, ttl, selected_tools, tool_calls):
            self.agent.tool_manager.execute(self.agent, [tool_call("no such tool")])
            response = yield self.agent.llm.request(prompt)
            return Plan(step=obs.step, llm_plan=response.message)

    agent = person("I stay.", LooksUp)
    consistency(agent, 2)
    assert one_at_a_time(agent.model).tally.tool_calls == 0


# Journals and other clients


@pytest.mark.parametrize("mode", ["record", "resume"])
def test_a_journal_has_no_entry_of_it(mode, tmp_path):
    path = tmp_path / "run.db"

    def rows():
        with sqlite3.connect(path) as connection:
            return connection.execute("SELECT count(*) FROM calls").fetchone()

    with JournaledClient(ScriptedLLM(answer), path) as client:
        agent = person(None, client=client)
        agent.step()
        if mode == "record":
            consistency(agent, 3)
    if mode == "resume":
        with JournaledClient(ScriptedLLM(answer), path, mode="resume") as client:
            agent = person(None, client=client)
            consistency(agent, 3)
            agent.step()
    assert rows() == (1,)
    with JournaledClient(None, path, mode="replay") as client:
        agent = person(None, client=client)
        agent.step()
        assert client.replayed == 1
        with pytest.raises(JournalError, match=r"is replayed, and holds no answers to questions asked off the record"):
            consistency(agent, 3)


def test_equal_questions_are_not_answered_together():
    llm = ScriptedLLM("I stay.", hold_until=3)
    consistency(person(None, client=SingleFlightClient(llm), temperature=0), 3)
    assert len(llm.requests) == 3


# What cannot be


@pytest.mark.parametrize("k", [0, -1, 1.5, True, None])
def test_how_many_times_is_a_number(k):
    with pytest.raises(ConfigurationError, match=rf"k must be how many times to ask, at least 1, got {k!r}\."):
        consistency(person("I stay."), k)


def test_a_model_that_cannot_be_asked_is_an_error_and_leaves_nothing():
    error = ModelCallError("down", model="m", endpoint="here", status=500)
    agent = person(error)
    before = state_hash(agent.model)
    with pytest.raises(ModelCallError, match="down"):
        consistency(agent, 3)
    assert state_hash(agent.model) == before


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_an_agent_is_not_asked_within_a_parallel_step(mode):
    class Doubts(LLMAgent):
        def step(self):
            with pytest.raises(TurnError, match="cannot be asked off the record within a parallel step"):
                consistency(self, 2)
            self.moved = 1

    enable_automatic_parallel_stepping(mode=mode)
    model = Model(rng=1)
    model.parallel_stepping = True
    agent = Doubts(model, OneCallReasoning, client=ScriptedLLM("I stay."), step_prompt="?", tools=[])
    model.agents.do("step")
    assert agent.moved == 1


@pytest.mark.parametrize("is_async", [True, False])
def test_a_strategy_that_acts_is_refused(is_async):
    class Acts(Reasoning):
        if is_async:

            async def aplan(self, *args, **kwargs):
                await asyncio.sleep(0)
                await self.agent.asend_message("I decide!", self.agent.model.agents)
        else:

            def plan(self, *args, **kwargs):
                self.agent.send_message("I decide!", self.agent.model.agents)

    agent = person("I stay.", Acts)
    with pytest.raises(TurnError, match="is asked off the record, so it cannot act"):
        consistency(agent, 2)
    assert agent.memory.entries == ()
