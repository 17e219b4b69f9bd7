"""After the acts, all memories that owe themselves something ask the model together; a failure undoes nothing."""

import pytest
from helpers.speakers import Speaker, SpeakersModel, seen_by

from mesa_llm.errors import BudgetExhaustedError, JournalMissError
from mesa_llm.memory import ShortTermMemory
from mesa_llm.parallel_stepping import ParallelStepError, ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM

N = 4


@pytest.fixture(params=["asyncio", "threading"])
def mode(request):
    enable_automatic_parallel_stepping(mode=request.param)
    return request.param


class Consolidating(ShortTermMemory):
    """Has the model sum up everything that was said since it last did."""

    def __init__(self, agent):
        super().__init__(agent)
        self.owed = []
        self.summaries = []

    async def asettle(self):
        if not self.owed:
            return None
        summary = await self.agent.llm.agenerate(f"Sum up: {', '.join(self.owed)}")

        def keep():
            self.agent.model.settled.append(self.agent.unique_id)
            self.summaries.append(summary.message.content)
            self.owed = []

        return keep


class Rememberer(Speaker):
    def __init__(self, model, client):
        super().__init__(model, client, memory=Consolidating)

    def say(self, plan):
        super().say(plan)
        self.memory.owed.append(str(plan))


def is_summing_up(request):
    return request.messages[-1].content.startswith("Sum up")


def rememberers(script, n=N, **kwargs):
    model = SpeakersModel(n, ScriptedLLM(script, **kwargs), Rememberer)
    model.settled = []
    return model


def test_all_settle_at_the_same_time_after_all_have_acted_and_in_order(mode):
    acted = []

    def answer(request):
        if is_summing_up(request):
            acted.append(len(model.log))
            return request.messages[-1].content.removeprefix("Sum up: ")
        return "hello"

    model = rememberers(answer, hold_until=N)
    model.step()
    assert acted == [N] * N
    assert model.settled == [agent_id for agent_id, _ in model.log]
    assert [agent.memory.summaries for agent in model.agents] == [["hello"]] * N
    (report,) = model.parallel_reports
    assert (report.calls, report.calls_while_acting, report.peak_concurrency) == (2 * N, 0, N)
    assert [span.phase for span in report.agents[0].spans] == ["decide", "wait", "act", "settle"]
    assert {call.phase for agent in report.agents for call in agent.model_calls} == {"decide", "settle"}
    assert report.settle_s > 0


def test_a_failure_to_settle_undoes_nothing_is_reported_and_tried_again(mode, caplog):
    def answer(request):
        if is_summing_up(request) and not model.is_up:
            return ConnectionResetError("down") if "2 says" in request.messages[-1].content else "summary"
        return request.messages[-1].content.removeprefix("Sum up: ") if is_summing_up(request) else "hello"

    model = rememberers(answer)
    for agent in model.agents:
        agent.say = lambda plan, agent=agent: (
            model.log.append((agent.unique_id, str(plan))),
            agent.memory.owed.append(f"{agent.unique_id} says {plan}"),
        )
    model.is_up = False
    model.step()
    assert len(model.log) == N
    (report,) = model.parallel_reports
    assert report.settle_failures == 1
    assert report.of_agent(2).settle_error == "ConnectionResetError: down"
    assert report.of_agent(2).outcome == "acted"
    assert "Rememberer 2 could not settle" in caplog.text
    assert sorted(model.settled) == [1, 3, 4]
    model.is_up = True
    model.step()
    (second,) = [agent for agent in model.agents if agent.unique_id == 2]
    assert second.memory.summaries == ["2 says hello, 2 says hello"]


def test_a_result_that_cannot_be_kept_is_a_failure_to_settle(mode, caplog):
    class Forgetful(Consolidating):
        async def asettle(self):
            def keep():
                raise LookupError("lost")

            return keep

    model = rememberers("hello", n=1)
    model.agents[0].memory = Forgetful(model.agents[0])
    model.step()
    assert model.parallel_reports[0].settle_failures == 1
    assert "LookupError: lost" in caplog.text


def test_nobody_settles_when_nobody_has_acted(mode):
    asked = []

    def answer(request):
        asked.append(is_summing_up(request))
        return ConnectionResetError("down")

    model = rememberers(answer)
    for agent in model.agents:
        agent.memory.owed = ["something"]
    with pytest.raises(ParallelStepError):
        model.step()
    assert asked == [False] * N


def test_those_who_acted_before_an_act_failed_settle(mode):
    class Stumbles(Rememberer):
        def say(self, plan):
            super().say(plan)
            if self.unique_id == 3:
                raise LookupError("stumbled")

    model = SpeakersModel(N, ScriptedLLM("hello"), Stumbles)
    model.settled = []
    with pytest.raises(LookupError):
        model.agents.do("step")
    assert model.settled == [1, 2]


def test_those_who_could_not_decide_do_not_settle(mode):
    enable_automatic_parallel_stepping(mode=mode, on_error="skip")
    answers = iter([ConnectionResetError("down"), *["hello"] * 10])
    model = rememberers(lambda request: next(answers))
    for agent in model.agents:
        agent.memory.owed = ["something"]
    model.agents.do("step")
    assert model.settled == [2, 3, 4]


def test_a_memory_settles_when_its_agent_steps_by_itself():
    model = rememberers("hello", n=1)
    model.parallel_stepping = False
    model.step()
    assert model.settled == [1]


async def test_a_memory_settles_when_its_agent_is_stepped_by_hand():
    model = rememberers("hello", n=1)
    model.parallel_stepping = False
    await model.agents[0].astep()
    assert model.settled == [1]


def test_a_memory_that_cannot_settle_by_itself_says_so_and_tries_again(caplog):
    def answer(request):
        return ConnectionResetError("down") if is_summing_up(request) and not model.is_up else "hello"

    model = rememberers(answer, n=1)
    model.parallel_stepping = False
    for model.is_up in (False, True):
        model.step()
    assert "Rememberer 1 could not settle" in caplog.text
    assert len(model.log) == 2
    assert model.agents[0].memory.summaries == ["hello"]


def test_what_a_journal_misses_is_no_failure_to_be_tried_again(mode):
    """It would be another run without it. The others settle, those who acted have acted, and nobody is asked twice."""

    def answer(request):
        if is_summing_up(request) and "I am 2" in request.messages[-1].content:
            raise JournalMissError("not recorded")
        return "summary" if is_summing_up(request) else f"I am {seen_by(request)}"

    model = rememberers(answer)
    with pytest.raises(JournalMissError, match="not recorded"):
        model.step()
    assert len(model.log) == N
    assert sorted(model.settled) == [1, 3, 4]
    assert model.parallel_reports[0].settle_failures == 1
    (client,) = {agent.llm.client for agent in model.agents}
    assert len(client.requests) == 2 * N


def test_nor_for_an_agent_that_steps_by_itself():
    model = rememberers(lambda request: JournalMissError("not recorded") if is_summing_up(request) else "hello", n=1)
    model.parallel_stepping = False
    with pytest.raises(JournalMissError):
        model.step()


@pytest.mark.parametrize("parallel", [True, ParallelStepping(on_error="skip"), False])
def test_an_exhausted_budget_is_raised_from_here_too(parallel):
    """It is no failure to try again: nothing more will be asked in this run."""

    class Consolidates(ShortTermMemory):
        async def asettle(self):
            raise BudgetExhaustedError("nothing left")

    class Spender(Speaker):
        def __init__(self, model, client):
            super().__init__(model, client, memory=Consolidates)

    enable_automatic_parallel_stepping()
    model = SpeakersModel(2, ScriptedLLM("hello"), Spender, parallel=parallel)
    with pytest.raises(BudgetExhaustedError, match="nothing left"):
        model.agents.do("step")
    assert len(model.log) == (2 if parallel else 1)
