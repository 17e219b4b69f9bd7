"""Every parallel step says what it took: as data, in Mesa's DataCollector, and as a trace."""

import asyncio
import copy
import itertools
import json
import logging
import pickle
import weakref
from collections import Counter

import pytest
from helpers.left_over import soon
from helpers.moved_clock import until
from helpers.speakers import PlansTwice, Speaker, SpeakersModel, seen_by, tool_call
from mesa import DataCollector
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid

from mesa_llm.clients import AsyncClient, LLMResponse, Message, Usage
from mesa_llm.errors import ConfigurationError, MissingAPIKeyError, RateLimitedError
from mesa_llm.limits import LimitedClient, RetryingClient
from mesa_llm.parallel_stepping import (
    ParallelStepError,
    ParallelStepping,
    StepReport,
    agent_reporters,
    chrome_trace,
    enable_automatic_parallel_stepping,
    model_reporters,
    my_turn,
    progress_of,
    reports_of,
    step_agents_parallel,
    step_agents_parallel_sync,
    wait_my_turn,
    write_chrome_trace,
)
from mesa_llm.parallel_stepping.report import TOTALS
from mesa_llm.testing import ScriptedLLM
from mesa_llm.tools.inbuilt_tools import move_one_step


@pytest.fixture(params=["asyncio", "threading"])
def mode(request):
    enable_automatic_parallel_stepping(mode=request.param)
    return request.param


def priced(request):
    return LLMResponse(
        message=Message("assistant", "hello"), model="m", usage=Usage(10, 3), cost=0.5, retries=seen_by(request) % 2
    )


def fails_for(*agent_ids):
    def answer(request):
        if seen_by(request) in agent_ids:
            raise ConnectionResetError("reset")
        return "hello"

    return answer


def test_calls_tokens_cost_retries_and_the_most_at_once_are_counted(mode):
    model = SpeakersModel(4, ScriptedLLM(priced, hold_until=4))
    model.step()
    (report,) = model.parallel_reports
    assert (report.calls, report.prompt_tokens, report.completion_tokens, report.tokens) == (4, 40, 12, 52)
    assert (report.cost, report.retries, report.failed_calls, report.calls_while_acting) == (2.0, 2, 0, 0)
    assert report.peak_concurrency == 4
    assert (report.step, report.mode, report.activation, report.error) == (1, mode, "simultaneous", None)


def test_latencies_of_answers_are_added_up_and_answers_of_others_counted_apart(mode):
    """Who answered is told by the response; an answer that somebody else has waited for takes nothing."""
    sources = {1: "model", 2: "journal", 3: "shared"}

    def answer(request):
        source = sources[seen_by(request)]
        return LLMResponse(message=Message("assistant", "hello"), model="m", source=source)

    model = SpeakersModel(3, ScriptedLLM(answer, latency=0.05))
    model.step()
    (report,) = model.parallel_reports
    calls = [agent.model_calls[0] for agent in sorted(report.agents, key=lambda agent: agent.agent_id)]
    assert [call.source for call in calls] == ["model", "journal", "shared"]
    assert (report.replayed_calls, report.shared_calls) == (1, 1)
    assert [call.latency_s for call in calls] == [0.05, None, None]
    assert all(call.duration_s == call.end - call.start for call in calls)
    assert (report.latency_s, report.measured_calls) == (0.05, 1)


@pytest.mark.parametrize("limit", [None, 1, 2])
def test_what_answers_took_is_the_same_whatever_calls_wait_for(mode, limit):
    """Waiting behind others, failed attempts and pauses between them belong to no answer."""
    attempts = Counter()

    def answer(request):
        attempts[seen_by(request)] += 1
        return "hello" if attempts[seen_by(request)] == 2 else RateLimitedError("busy", is_transient=True)

    scripted = ScriptedLLM(answer, latency=lambda request: 0.001 * 2 ** seen_by(request))
    client = RetryingClient(
        scripted if limit is None else LimitedClient(scripted, max_concurrency=limit), initial=0.001
    )
    model = SpeakersModel(4, client)
    model.step()
    (report,) = model.parallel_reports
    assert {agent.agent_id: agent.latency_s for agent in report.agents} == {
        number: 0.001 * 2**number for number in range(1, 5)
    }
    assert report.latency_s == pytest.approx(0.030)
    assert (report.measured_calls, report.retries) == (4, 4)


@pytest.mark.parametrize("error", [MissingAPIKeyError("no key"), ConnectionResetError("reset")], ids=repr)
def test_calls_that_fail_took_no_answer(mode, error):
    model = SpeakersModel(3, ScriptedLLM(lambda request: error, latency=0.001))
    with pytest.raises(ParallelStepError):
        model.step()
    (report,) = model.parallel_reports
    assert (report.failed_calls, report.measured_calls, report.latency_s) == (3, 0, 0.0)


def test_an_answer_of_a_client_that_does_not_measure_has_no_latency(mode):
    class Own(AsyncClient):
        async def complete(self, request):
            return LLMResponse(message=Message("assistant", "hello"), model="m")

    model = SpeakersModel(2, Own())
    model.step()
    (report,) = model.parallel_reports
    assert (report.calls, report.measured_calls, report.latency_s) == (2, 0, 0.0)


def test_a_report_of_an_earlier_version_has_no_latencies(mode):
    """Then, `latency_s` summed what agents waited for: it is not read as what the answers took."""
    model = SpeakersModel(2, ScriptedLLM("hello", latency=0.001))
    model.step()
    (report,) = model.parallel_reports
    old = json.loads(json.dumps(report.as_dict()))
    del old["measured_calls"]
    for agent in old["agents"]:
        for call in agent["model_calls"]:
            del call["latency_s"]
    read = StepReport.from_dict(old)
    assert (read.calls, read.measured_calls, read.latency_s) == (2, 0, 0.0)


def test_agents_are_reported_in_the_order_of_the_step_with_what_they_did_when(mode):
    model = SpeakersModel(5, ScriptedLLM("hello"))
    model.step()
    (report,) = model.parallel_reports
    assert [agent.agent_id for agent in report.agents] == [agent_id for agent_id, _ in model.log]
    acts = []
    for agent in report.agents:
        assert (agent.agent_class, agent.outcome, agent.error) == ("Speaker", "acted", None)
        assert [span.phase for span in agent.spans] == ["decide", "wait", "act"]
        decide, wait, act = agent.spans
        assert 0 <= decide.start <= decide.end == wait.start <= wait.end == act.start <= act.end <= report.wall_s
        (call,) = agent.model_calls
        assert decide.start <= call.start <= call.end <= decide.end
        acts.append(act)
    assert all(earlier.end <= later.start for earlier, later in itertools.pairwise(acts))
    assert max(agent.spans[0].end for agent in report.agents) <= acts[0].start
    assert 0 < report.decide_s + report.act_s + report.settle_s <= report.wall_s


def test_an_agent_that_plans_twice_has_two_of_each_phase(mode):
    model = SpeakersModel(2, ScriptedLLM("hello"), PlansTwice)
    model.step()
    (report,) = model.parallel_reports
    for agent in report.agents:
        assert [span.phase for span in agent.spans] == ["decide", "wait", "act", "wait", "decide", "wait", "act"]
        assert agent.calls == 2


def test_calls_that_make_everybody_wait_are_counted(mode):
    class AsksWhileActing(Speaker):
        def say(self, plan):
            self.llm.generate("Are you sure?")

    model = SpeakersModel(3, ScriptedLLM("hello"), AsksWhileActing)
    model.step()
    (report,) = model.parallel_reports
    assert (report.calls, report.calls_while_acting) == (6, 3)
    assert report.agents[0].calls_while_acting == 1


def test_calls_that_fail_are_counted_as_such(mode):
    class AsksAgain(Speaker):
        def step(self):
            try:
                super().step()
            except ConnectionResetError:
                super().step()

        async def astep(self):
            try:
                await super().astep()
            except ConnectionResetError:
                await super().astep()

    answers = iter([ConnectionResetError("reset"), "hello", "hello"])
    model = SpeakersModel(2, ScriptedLLM(lambda request: next(answers)), AsksAgain)
    model.step()
    (report,) = model.parallel_reports
    assert (report.calls, report.failed_calls, report.failures) == (3, 1, 0)
    assert [call.error for agent in report.agents for call in agent.model_calls if call.error] == [
        "ConnectionResetError: reset"
    ]


@pytest.mark.parametrize(
    ("on_error", "outcomes", "fallbacks"),
    [("skip", ["acted", "failed", "acted"], 0), (lambda agent, error: None, ["acted", "fell back", "acted"], 1)],
)
def test_failures_and_fallbacks_are_data(mode, on_error, outcomes, fallbacks):
    enable_automatic_parallel_stepping(mode=mode, on_error=on_error)
    model = SpeakersModel(3, ScriptedLLM(fails_for(2)))
    model.agents.do("step")
    (report,) = model.parallel_reports
    assert [agent.outcome for agent in report.agents] == outcomes
    assert (report.failures, report.fallbacks, report.error) == (1, fallbacks, None)
    assert report.of_agent(2).error == "ConnectionResetError: reset"


def test_a_step_that_fails_is_reported_too(mode):
    model = SpeakersModel(3, ScriptedLLM(fails_for(2)))
    with pytest.raises(ParallelStepError):
        model.agents.do("step")
    (report,) = model.parallel_reports
    assert [agent.outcome for agent in report.agents] == ["called off", "failed", "called off"]
    assert report.error.startswith("ParallelStepError: 1 of 3 agents could not decide")


def test_a_failed_act_is_reported(mode):
    class Stumbles(Speaker):
        def say(self, plan):
            if self.unique_id == 2:
                raise LookupError("stumbled")

    model = SpeakersModel(3, ScriptedLLM("hello"), Stumbles)
    with pytest.raises(LookupError):
        model.agents.do("step")
    (report,) = model.parallel_reports
    assert [agent.outcome for agent in report.agents] == ["acted", "failed acting", "called off"]
    assert (report.failures, report.error) == (1, "LookupError: stumbled")


def test_agents_that_leave_and_agents_without_a_turn_are_told_apart(mode):
    class Leaves(Speaker):
        def step(self):
            if self.unique_id != 2:
                super().step()

        async def astep(self):
            if self.unique_id != 2:
                await super().astep()

        def say(self, plan):
            for agent in list(self.model.agents):
                if agent.unique_id == 3:
                    agent.remove()

    model = SpeakersModel(3, ScriptedLLM("hello"), Leaves)
    model.agents.do("step")
    (report,) = model.parallel_reports
    assert [agent.outcome for agent in report.agents] == ["acted", "ended", "left"]


class Walker(Speaker, CellAgent):
    def say(self, plan):
        call = tool_call("move_one_step", json.dumps({"direction": str(plan)}))
        self.model.log += self.tool_manager.execute(self, [call])


def test_who_wants_a_cell_that_another_has_just_taken_is_refused_and_counted(mode):
    model = SpeakersModel(0, None)
    model.grid = OrthogonalMooreGrid((3, 5), capacity=1, random=model.random)
    # 1 and 2 want the cell between them. 3 wants the cell where 4 has stood from the beginning, which is no conflict.
    directions = {1: "East", 2: "West", 3: "West"}
    client = ScriptedLLM(lambda request: directions.get(seen_by(request), "North"))
    for position in [(0, 0), (0, 2), (1, 4), (1, 3)]:
        walker = Walker(model, client)
        walker.tool_manager.register(move_one_step)
        walker.cell = model.grid[position]
    model.agents.do("step")
    (report,) = model.parallel_reports
    assert [len(agent.conflicts) for agent in report.agents] == [0, 1, 0, 0]
    assert report.conflicts == 1
    assert "Another agent was faster" in report.agents[1].conflicts[0]
    assert [result.ok for result in model.log] == [True, False, False, True]


def test_reports_are_those_of_the_current_model_step_one_a_set(mode):
    class TwoSets(SpeakersModel):
        def step(self):
            self.agents.select(lambda agent: agent.unique_id <= 2).do("step")
            self.agents.select(lambda agent: agent.unique_id > 2).do("step")

    model = TwoSets(5, ScriptedLLM("hello"))
    for step in (1, 2):
        model.step()
        assert [(report.step, len(report.agents)) for report in model.parallel_reports] == [(step, 2), (step, 3)]
    assert reports_of(model) == model.parallel_reports


def test_each_model_of_a_set_has_its_own_agents_reported(mode):
    models = [SpeakersModel(n, ScriptedLLM("hello")) for n in (1, 2)]
    step_agents_parallel_sync([agent for model in models for agent in model.agents])
    assert [[report.calls for report in model.parallel_reports] for model in models] == [[1], [2]]


async def test_an_awaited_step_is_reported_too():
    model = SpeakersModel(2, ScriptedLLM("hello"))
    await step_agents_parallel(model.agents)
    assert [report.calls for report in model.parallel_reports] == [2]


def test_the_callback_gets_every_report_and_cannot_make_a_step_fail(mode, caplog):
    seen = []

    def on_report(report):
        seen.append((report.step, report.calls))
        if len(seen) == 2:
            raise LookupError("of the callback")

    model = SpeakersModel(2, ScriptedLLM("hello"), parallel=ParallelStepping(mode=mode, on_report=on_report))
    for _ in range(3):
        model.step()
    assert seen == [(1, 2), (2, 2), (3, 2)]
    assert len(model.log) == 6
    assert "on_report failed" in caplog.text
    assert "of the callback" in caplog.text


def test_the_callback_can_be_set_for_all_models():
    seen = []
    enable_automatic_parallel_stepping(on_report=seen.append)
    model = SpeakersModel(2, ScriptedLLM("hello"))
    model.step()
    assert seen == model.parallel_reports


def test_a_callback_that_is_none_is_refused():
    with pytest.raises(ConfigurationError, match="on_report must be a function of a StepReport or None, got 'print'"):
        ParallelStepping(on_report="print")


def test_reports_are_plain_data(mode):
    model = SpeakersModel(3, ScriptedLLM(priced))
    model.step()
    (report,) = model.parallel_reports
    assert pickle.loads(pickle.dumps(report)) == report
    assert copy.deepcopy(model).parallel_reports == [report]
    told = json.loads(json.dumps(report.as_dict()))
    assert {name: told[name] for name in TOTALS} == {name: getattr(report, name) for name in TOTALS}
    assert [agent["agent_id"] for agent in told["agents"]] == [agent.agent_id for agent in report.agents]


def test_a_report_is_read_back_from_json(mode):
    model = SpeakersModel(3, ScriptedLLM(fails_for(2)), parallel=ParallelStepping(mode=mode, on_error="skip"))
    model.step()
    (report,) = model.parallel_reports
    assert report.failures == 1
    assert StepReport.from_dict(json.loads(json.dumps(report.as_dict()))) == report


@pytest.mark.parametrize("data", [{}, {"agents": 3}, {"step": 1, "agents": []}, []], ids=str)
def test_what_is_no_report_is_refused(data):
    with pytest.raises(ConfigurationError, match="no step report"):
        StepReport.from_dict(data)


def test_a_report_keeps_no_agent_alive(mode):
    model = SpeakersModel(2, ScriptedLLM("hello"))
    model.step()
    agent = weakref.ref(model.agents[0])
    agent().remove()
    assert soon(lambda: agent() is None)


def test_a_report_as_a_data_frame(mode):
    model = SpeakersModel(3, ScriptedLLM(priced))
    model.agents.do("step")
    (report,) = model.parallel_reports
    frame = report.to_dataframe()
    assert frame.shape == (3, 26)
    assert list(frame.measured_calls) == [1, 1, 1]
    assert list(frame.index) == [1, 2, 3]
    assert frame.calls.sum() == report.calls
    assert list(frame.retries) == [1, 0, 1]
    assert frame.decide_s.gt(0).all()


def test_an_empty_set_has_no_report_and_an_empty_list_none_either(mode):
    model = SpeakersModel(0, ScriptedLLM("hello"))
    model.step()
    step_agents_parallel_sync([])
    assert reports_of(model) == []


def test_data_collector_columns_for_model_and_agents(mode):
    class Collects(SpeakersModel):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.datacollector = DataCollector(
                model_reporters={"said": lambda model: len(model.log)} | model_reporters(),
                agent_reporters=agent_reporters("calls", "tokens", "failures"),
            )

        def step(self):
            for select in (lambda agent: agent.unique_id <= 2, lambda agent: agent.unique_id > 2):
                self.agents.select(select).do("step")
            self.datacollector.collect(self)

    def answer(request):
        return ConnectionResetError("reset") if seen_by(request) == 3 else priced(request)

    enable_automatic_parallel_stepping(mode=mode, on_error="skip")
    model = Collects(3, ScriptedLLM(answer))
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="not one of 1 agents"):
            model.step()
    of_model = model.datacollector.get_model_vars_dataframe()
    assert list(of_model.said) == [2, 4]
    assert set(TOTALS) <= set(of_model.columns)
    assert list(of_model.calls) == [3, 3]
    assert list(of_model.tokens) == [26, 26]
    assert list(of_model.failures) == [1, 1]
    assert of_model.peak_concurrency.iloc[-1] == max(report.peak_concurrency for report in model.parallel_reports)
    assert (of_model.wall_s > 0).all()
    of_agents = model.datacollector.get_agent_vars_dataframe()
    assert list(of_agents.tokens) == [13, 13, 0, 13, 13, 0]
    assert list(of_agents.failures) == [0, 0, 1, 0, 0, 1]


def test_columns_are_zero_where_nothing_has_stepped():
    model = SpeakersModel(1, ScriptedLLM("hello"), parallel=False)
    assert {reporter(model) for reporter in model_reporters().values()} == {0}
    assert {reporter(model.agents[0]) for reporter in agent_reporters().values()} == {0}


def test_reports_of_an_earlier_step_do_not_count(mode):
    class EveryOther(SpeakersModel):
        def step(self):
            if self.time % 2 == 1:
                self.agents.do("step")

    model = EveryOther(2, ScriptedLLM("hello"))
    calls = model_reporters("calls")["calls"]
    counted = []
    for _ in range(3):
        model.step()
        counted.append(calls(model))
    assert counted == [2, 0, 2]


def test_columns_pickle():
    reporters = pickle.loads(pickle.dumps((model_reporters(), agent_reporters())))
    assert reporters == (model_reporters(), agent_reporters())


@pytest.mark.parametrize("make", [model_reporters, agent_reporters])
def test_unknown_columns_are_refused_with_those_there_are(make):
    with pytest.raises(ConfigurationError, match=r"Unknown reporter\(s\) \['token'\]. There are: .*tokens"):
        make("calls", "token")


def test_a_trace_has_one_lane_an_agent(mode, tmp_path):
    model = SpeakersModel(3, ScriptedLLM(priced))
    reports = []
    for _ in range(2):
        model.step()
        reports += model.parallel_reports
    write_chrome_trace(tmp_path / "trace.json", reports)
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    lanes = {event["args"]["name"]: event["tid"] for event in events if event["name"] == "thread_name"}
    assert set(lanes) == {"steps", "Speaker 1", "Speaker 2", "Speaker 3"}
    assert len(set(lanes.values())) == 4
    complete = [event for event in events if event["ph"] == "X"]
    assert all(event["dur"] >= 0 and event["ts"] >= 0 for event in complete)
    for name in ("Speaker 1", "Speaker 2", "Speaker 3"):
        in_lane = [event["name"] for event in complete if event["tid"] == lanes[name]]
        assert sorted(in_lane) == sorted(["decide", "wait", "act", "model call"] * 2)
    told = [event["args"] for event in complete if event["name"] == "model call"]
    assert [(args["source"], args["latency_s"]) for args in told] == [("model", 0.0)] * 6
    steps = [event for event in complete if event["tid"] == lanes["steps"]]
    assert [event["name"] for event in steps] == ["step 1", "step 2"]
    assert steps[0]["ts"] + steps[0]["dur"] <= steps[1]["ts"] + 1000


def test_calls_of_one_agent_that_overlap_have_lanes_side_by_side():
    class AsksTwice(Speaker):
        async def astep(self):
            await asyncio.gather(self.llm.agenerate("one"), self.llm.agenerate("two"))
            await my_turn()

    model = SpeakersModel(1, ScriptedLLM("hello", hold_until=2), AsksTwice)
    step_agents_parallel_sync(model.agents)
    events = chrome_trace(model.parallel_reports)["traceEvents"]
    lanes = [event["args"]["name"] for event in events if event["name"] == "thread_name"]
    assert lanes == ["steps", "AsksTwice 1", "AsksTwice 1 (2)"]


def test_a_call_that_outlives_its_phase_does_not_cross_it():
    """Events of one lane must nest, or Perfetto draws them wrong."""

    class LeavesOneOpen(Speaker):
        async def astep(self):
            self.open = asyncio.get_running_loop().create_task(self.llm.agenerate("slow"))
            await asyncio.sleep(0)  # it is sent
            await my_turn()
            await self.open

    async def answer(request):
        await until(lambda: progress_of(model).acted)
        return "hello"

    model = SpeakersModel(1, ScriptedLLM(answer), LeavesOneOpen)
    step_agents_parallel_sync(model.agents)
    events = [event for event in chrome_trace(model.parallel_reports)["traceEvents"] if event["ph"] == "X"]
    (call,) = [event for event in events if event["name"] == "model call"]
    acts = [event for event in events if event["name"] == "act"]
    assert acts
    assert call["tid"] not in {event["tid"] for event in acts}


def test_a_trace_of_nothing_is_valid():
    assert [event["ph"] for event in chrome_trace([])["traceEvents"]] == ["M", "M"]


def test_logging_names_the_agents(mode, caplog):
    with caplog.at_level(logging.DEBUG, logger="mesa_llm"):
        model = SpeakersModel(2, ScriptedLLM("hello"))
        model.step()
    assert "Speaker 2 acted: decided in" in caplog.text
    assert "Step 1: 2 agents, 2 calls" in caplog.text


def test_spans_are_measured_by_the_steps_clock(monkeypatch):
    """With a clock that counts its readings, each span's length is known."""
    from mesa_llm.parallel_stepping.board import Board

    class Steps(Speaker):
        async def astep(self):
            await my_turn()
            self.tick(5)

        def step(self):
            wait_my_turn()

        def tick(self, seconds):
            nonlocal now
            now += seconds

    now = 100.0
    monkeypatch.setattr(Board, "clock", staticmethod(lambda: now))
    model = SpeakersModel(3, None, Steps)
    step_agents_parallel_sync(model.agents)
    (report,) = model.parallel_reports
    assert (report.wall_s, report.decide_s, report.act_s, report.settle_s) == (15, 0, 15, 0)
    assert [(agent.seconds("wait"), agent.seconds("act")) for agent in report.agents] == [(0, 5), (5, 5), (10, 5)]


def test_eager_steps_are_reported(mode):
    enable_automatic_parallel_stepping(mode=mode, activation="eager")
    model = SpeakersModel(3, ScriptedLLM("hello", hold_until=3))
    model.step()
    (report,) = model.parallel_reports
    assert (report.activation, report.calls, report.peak_concurrency) == ("eager", 3, 3)
    assert {agent.outcome for agent in report.agents} == {"acted"}
    acting = sum(agent.seconds("act") for agent in report.agents)
    assert report.act_s == pytest.approx(acting)
