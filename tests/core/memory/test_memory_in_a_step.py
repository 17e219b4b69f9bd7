"""Memories in parallel steps: their calls are counted, limited, journalled and retried, and no message is missed."""

import copy
import pickle

import mesa
import pytest
from helpers.journals import Reporting, state_of
from helpers.memories import ASKING, answer_memory, is_memorys, talkers
from helpers.speakers import OneCall, SpeakersModel, digest

from mesa_llm.clients import LLMResponse, Message, RuleBasedClient, Usage
from mesa_llm.journal import JournaledClient
from mesa_llm.limits import Budget, BudgetClient, LimitedClient
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory.episodic_memory import EpisodicMemory
from mesa_llm.memory.lt_memory import LongTermMemory
from mesa_llm.memory.st_lt_memory import STLTMemory
from mesa_llm.memory.st_memory import ShortTermMemory
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM

N = 4
EACH = pytest.mark.parametrize("make", ASKING)


@pytest.fixture(params=["asyncio", "threading"])
def mode(request):
    enable_automatic_parallel_stepping(mode=request.param)
    return request.param


def small(make):
    """A memory that has something to ask after every step, or soon."""
    return (lambda agent: STLTMemory(agent, 1, 1)) if make is STLTMemory else make


def answer(request):
    return answer_memory(request) if is_memorys(request) else f"hello {digest(request)}"


def memories_of(model):
    return [agent.memory for agent in model.agents]


def contents(memory):
    grades = [(str(e.entry), e.importance) for e in getattr(memory, "_episodes", ())]
    return [str(entry) for entry in memory.entries], getattr(memory, "long_term_memory", ""), grades


@pytest.mark.parametrize("mode", ["asyncio", "threading", None])
def test_the_default_memory_sums_up_what_it_no_longer_keeps_word_for_word(mode):
    """One call every two steps from the eighth on; in a parallel step, those of all agents overlap."""
    if mode is not None:
        enable_automatic_parallel_stepping(mode=mode)

    def kept(request):
        return (
            "The well is poisoned." if is_memorys(request) and "poisoned" in str(request.messages) else answer(request)
        )

    client = ScriptedLLM(kept, hold_until=None if mode is None else N)
    model = SpeakersModel(N, client, parallel=mode is not None)
    for memory in memories_of(model):
        assert (type(memory), memory.capacity, memory.consolidation_capacity) == (STLTMemory, 5, 2)
        memory.add_to_memory("message", {"message": "the well is poisoned", "sender": 9})
    for _ in range(10):
        model.step()
    assert sum(map(is_memorys, client.requests)) == 2 * N
    assert all("The well is poisoned." in memory.get_prompt_ready() for memory in memories_of(model))


@EACH
def test_calls_of_memories_are_in_the_report_with_their_tokens(mode, make):
    def counted(request):
        text = answer(request)
        return LLMResponse(message=Message("assistant", text), model="a/b", usage=Usage(10, 3))

    model = SpeakersModel(N, ScriptedLLM(counted), talkers(small(make)))
    for _ in range(3):
        model.step()
    (report,) = model.parallel_reports
    settling = [call for agent in report.agents for call in agent.model_calls if call.phase == "settle"]
    assert (report.calls, len(settling), report.calls_while_acting) == (2 * N, N, 0)
    assert {(call.prompt_tokens, call.completion_tokens) for call in settling} == {(10, 3)}
    assert report.settle_failures == 0


@EACH
def test_calls_of_memories_keep_to_max_concurrency(mode, make):
    inner = ScriptedLLM(answer, hold_until=2)
    model = SpeakersModel(N, LimitedClient(inner, max_concurrency=2), talkers(small(make)))
    for _ in range(4):
        model.step()
    assert inner.peak_in_flight == 2
    assert any(map(is_memorys, inner.requests))


@EACH
def test_calls_of_memories_overlap(mode, make):
    """Held until all four agents ask: their decisions together, and their memories together."""
    client = ScriptedLLM(answer, hold_until=N)
    model = SpeakersModel(N, client, talkers(small(make)))
    for _ in range(4):
        model.step()
    assert client.peak_in_flight == N


@EACH
def test_calls_of_memories_count_for_the_budget(mode, make):
    def dear(request):
        return LLMResponse(message=Message("assistant", answer(request)), model="a/b", usage=Usage(900, 100))

    budget, inner = Budget(tokens=1_000_000), ScriptedLLM(dear)
    model = SpeakersModel(N, BudgetClient(inner, budget), talkers(small(make)))
    for _ in range(4):
        model.step()
    assert budget.spent_tokens == len(inner.requests) * 1000 > 4 * N * 1000


@EACH
def test_a_run_is_replayed_with_its_memories(mode, make, tmp_path):
    def run(client):
        model = Reporting(N, client, talkers(small(make)))
        for _ in range(5):
            model.step()
        return state_of(model), list(map(contents, memories_of(model)))

    inner = ScriptedLLM(answer, latency=lambda request: len(str(request)) % 3 / 1000)
    with JournaledClient(inner, tmp_path / "run.db") as client:
        recorded = run(client)
    assert any(map(is_memorys, inner.requests))
    enable_automatic_parallel_stepping(mode="threading" if mode == "asyncio" else "asyncio")
    with JournaledClient(None, tmp_path / "run.db", mode="replay") as client:
        assert run(client) == recorded
        assert client.replayed == len(inner.requests)


@EACH
def test_what_fails_is_kept_reported_and_tried_again(mode, make, caplog):
    is_down = True

    def sometimes(request):
        return ConnectionResetError("down") if is_memorys(request) and is_down else answer(request)

    client = ScriptedLLM(sometimes)
    model = SpeakersModel(N, client, talkers(small(make)))
    for _ in range(3):
        model.step()
    assert model.parallel_reports[0].settle_failures == N
    assert "could not settle, and will try again" in caplog.text
    for memory in memories_of(model):
        assert {entry.step for entry in memory.entries} == {1, 2, 3}
        assert getattr(memory, "long_term_memory", "") == ""
    is_down = False
    client.requests.clear()
    model.step()
    assert model.parallel_reports[0].settle_failures == 0
    asked = [request for request in client.requests if is_memorys(request)]
    assert len({request.messages[0].content for request in asked}) == 1
    assert all("Step 1" in request.messages[1].content for request in asked)


@pytest.mark.parametrize("make", [ShortTermMemory, *ASKING])
def test_messages_are_readable_by_the_second_set_of_the_same_step(mode, make):
    """Those of the first set have spoken, and settled; the second set decides later in the same step."""
    client = ScriptedLLM(answer)
    model = SpeakersModel(N, client, talkers(make))
    first, second = list(model.agents)[:2], list(model.agents)[2:]
    mesa_set = type(model.agents)
    mesa_set(first, random=model.random).do("step")
    client.requests.clear()
    mesa_set(second, random=model.random).do("step")
    decisions = [request for request in client.requests if not is_memorys(request)]
    assert len(decisions) == 2
    for request in decisions:
        told = request.messages[1].content
        assert all(f"Agent {agent.unique_id}: " in told for agent in first)


@EACH
def test_what_is_said_after_an_agent_has_settled_by_itself_is_not_lost(make):
    """Stepped one by one, an agent settles before the next one speaks."""
    model = SpeakersModel(2, ScriptedLLM(answer), talkers(make), parallel=False)
    model.agents.do("step")
    first, second = model.agents
    assert [entry.content["sender"] for entry in first.memory.entries if entry.type == "message"][-1] == 2
    assert "Agent 2: " in first.memory.get_prompt_ready()
    assert "hello" in first.memory.get_communication_history()
    assert second.unique_id == 2


@pytest.mark.parametrize("make", [ShortTermMemory, *ASKING])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_agents_with_memories_pickle_and_copy_between_steps(mode, make, duplicate):
    model = SpeakersModel(3, RuleBasedClient(answer, answers={"decide", "sum up", "grade"}), LLMTalker)
    for agent in model.agents:
        agent.memory = make(agent, llm_model="a/other") if make in ASKING else make(agent)
    for _ in range(9):
        model.step()
    twin = duplicate(model)
    assert [memory.agent for memory in memories_of(twin)] == list(twin.agents)
    assert list(map(contents, memories_of(twin))) == list(map(contents, memories_of(model)))
    for one in (model, twin):
        for _ in range(3):
            one.step()
    assert twin.log == model.log
    assert list(map(contents, memories_of(twin))) == list(map(contents, memories_of(model)))
    assert all(memory.get_prompt_ready() for memory in memories_of(twin))


LLMTalker = talkers(ShortTermMemory)
LLMTalker.__qualname__ = LLMTalker.__name__ = "LLMTalker"
LLMTalker.__module__ = __name__


class Old(LLMAgent):
    """Written for mesa-llm 0.3."""

    make = None

    def __init__(self, model, client):
        super().__init__(model=model, reasoning=OneCall, llm_model="openai/gpt-4o", step_prompt="Go.", client=client)
        self.memory = type(self).make(self)

    def step(self):
        self.model.log.append(str(self.reasoning.plan(obs=self.generate_obs())))


@pytest.mark.parametrize(
    "make",
    [
        lambda agent: STLTMemory(agent=agent, display=True, llm_model="openai/gpt-4o-mini"),
        lambda agent: STLTMemory(agent, 1, 1, False, "openai/gpt-4o-mini", None, {"message"}),
        lambda agent: STLTMemory(
            agent=agent, short_term_capacity=1, consolidation_capacity=1, llm_model="openai/gpt-4o-mini", api_base=None
        ),
        lambda agent: LongTermMemory(agent=agent, llm_model="openai/gpt-4o-mini", display=False),
        lambda agent: LongTermMemory(agent, True, "openai/gpt-4o-mini", "http://localhost:1/v1", ["action"]),
        lambda agent: EpisodicMemory(agent=agent, llm_model="openai/gpt-4o-mini", max_capacity=10),
        lambda agent: EpisodicMemory(agent, "openai/gpt-4o-mini", True, 200, 30, 0.995, None),
    ],
)
@pytest.mark.parametrize("parallel", [True, False])
def test_memories_as_models_for_mesa_llm_03_make_them(make, parallel):
    enable_automatic_parallel_stepping()
    client = ScriptedLLM(answer)
    model = SpeakersModel(2, client, type("Older", (Old,), {"make": staticmethod(make)}), parallel=parallel)
    for _ in range(8):
        model.step()
    assert len(model.log) == 16
    by_model = {is_memorys(request): request.model for request in client.requests}
    assert by_model == {False: "openai/gpt-4o", True: "openai/gpt-4o-mini"}


def test_short_term_memory_as_models_for_mesa_llm_03_make_it():
    agent = mesa.Agent(mesa.Model())
    assert ShortTermMemory(agent, 3, False, None).n == 3
    assert ShortTermMemory(agent=agent, n=2, display=True, additive_event_types=["message"]).n == 2
