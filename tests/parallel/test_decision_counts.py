"""What decisions were worth is counted: per agent, per step and per class, whoever steps the agents."""

import copy
import json
import math
import pickle

import pytest
from mesa import Agent, DataCollector, Model

from mesa_llm.activation.call import one_at_a_time
from mesa_llm.clients import tool_call
from mesa_llm.errors import ConfigurationError, ToolError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import (
    StepReport,
    agent_reporters,
    decision_quality,
    enable_automatic_parallel_stepping,
    model_reporters,
    step_agents_parallel_sync,
)
from mesa_llm.reasoning import CoTReasoning, OneCallReasoning, ReActReasoning, ReWOOReasoning
from mesa_llm.testing import ScriptedLLM

COUNTS = ("decisions", "without_call", "asked_again", "tool_calls", "refused_tool_calls", "crashed_tool_calls")
MODES = {
    "asyncio": {"mode": "asyncio"},
    "threading": {"mode": "threading"},
    "eager": {"mode": "asyncio", "activation": "eager"},
    "eager in threads": {"mode": "threading", "activation": "eager"},
    "off": None,
}


def give(agent, tokens: int) -> str:
    """Give.

    Args:
        tokens: how many.
    """
    return "given"


def knock() -> str:
    """Knock at a door."""
    raise ToolError("nobody opens")


def trip() -> str:
    """Trip over a bug."""
    raise LookupError("a bug of the user's")


class Once(LLMAgent):
    """Observes, decides, acts."""


class Holds(LLMAgent):
    def step(self):
        self.apply_plan(self.reasoning.plan(ttl=2))


class Twice(LLMAgent):
    async def astep(self):
        for _ in range(2):
            await self.aapply_plan(await self.reasoning.aplan())


class Silent(LLMAgent):
    async def astep(self):
        await self.aapply_plan(await self.reasoning.aplan(tool_calls="none"))


class Cow(Agent):
    def step(self):
        pass


GIVE, WRONG, UNKNOWN = [tool_call("give", tokens=3)], [tool_call("give", tokens="lots")], [tool_call("donate")]
PLAN, REASONS = "Step 1: give. Step 2: give.", '{"reasoning": "I am rich.", "action": "give 3"}'

FORMS = {
    "a valid call": (Once, OneCallReasoning, [GIVE, GIVE], [(1, 0, 0, 1, 0, 0)] * 2),
    "a call that stays invalid": (Once, OneCallReasoning, [WRONG] * 4, [(1, 1, 1, 1, 1, 0)] * 2),
    "a tool that is not there": (Once, OneCallReasoning, [UNKNOWN] * 4, [(1, 1, 1, 1, 1, 0)] * 2),
    "a valid call beside an invalid one": (Once, OneCallReasoning, [GIVE + WRONG] * 4, [(1, 0, 1, 2, 1, 0)] * 2),
    "no call": (Once, OneCallReasoning, ["I rest."] * 2, [(1, 1, 0, 0, 0, 0)] * 2),
    "a better second answer": (Once, OneCallReasoning, [WRONG, GIVE, GIVE], [(1, 0, 1, 1, 0, 0), (1, 0, 0, 1, 0, 0)]),
    "a tool that refuses": (Once, OneCallReasoning, [[tool_call("knock")]] * 2, [(1, 0, 0, 1, 1, 0)] * 2),
    "a tool that crashes": (Once, OneCallReasoning, [[tool_call("trip")]] * 2, [(1, 0, 0, 1, 0, 1)] * 2),
    "three calls": (
        Once,
        OneCallReasoning,
        [[*GIVE, tool_call("trip"), tool_call("knock")], "I rest."],
        [(1, 0, 0, 3, 1, 1), (1, 1, 0, 0, 0, 0)],
    ),
    "a plan that holds": (Holds, OneCallReasoning, [GIVE], [(1, 0, 0, 1, 0, 0), (0, 0, 0, 1, 0, 0)]),
    "thoughts first": (Once, CoTReasoning, ["I give.", GIVE] * 2, [(1, 0, 0, 1, 0, 0)] * 2),
    "thoughts that cannot be read at first": (
        Once,
        ReActReasoning,
        ["I give.", REASONS, GIVE, REASONS, "I do nothing."],
        [(1, 0, 1, 1, 0, 0), (1, 1, 0, 0, 0, 0)],
    ),
    "a plan for several steps": (
        Once,
        ReWOOReasoning,
        [PLAN, [*GIVE, tool_call("trip")]],
        [(1, 0, 0, 1, 0, 0), (0, 0, 0, 1, 0, 1)],
    ),
    "two decisions in a step": (Twice, OneCallReasoning, [GIVE, "I rest."] * 2, [(2, 1, 0, 1, 0, 0)] * 2),
    "no tools on offer": (Silent, OneCallReasoning, ["I rest."] * 2, [(0, 0, 0, 0, 0, 0)] * 2),
}


class Town(Model):
    """One agent for each form, and a cow; collects all columns."""

    def __init__(self, *, parallel, forms=FORMS):
        super().__init__(rng=1)
        self.parallel_stepping = parallel
        self.forms = {}
        for name, (agent_class, reasoning, script, _) in forms.items():
            client = ScriptedLLM(list(script))
            agent = agent_class(self, reasoning, client=client, step_prompt="?", tools=[give, knock, trip])
            self.forms[agent.unique_id] = name
        self.cow = Cow(self)
        self.datacollector = DataCollector(model_reporters=model_reporters(), agent_reporters=agent_reporters())

    def step(self):
        self.agents.shuffle_do("step")
        self.datacollector.collect(self)


@pytest.fixture(params=MODES)
def mode(request):
    if MODES[request.param] is not None:
        enable_automatic_parallel_stepping(**MODES[request.param])
    return request.param


def test_each_form_has_its_numbers_for_each_agent_and_each_step(mode):
    town = Town(parallel=mode != "off")
    for step in range(2):
        town.step()
        right = {agent_id: FORMS[name][3][step] for agent_id, name in town.forms.items()} | {
            town.cow.unique_id: (0,) * 6
        }
        reporters = agent_reporters(*COUNTS).values()
        assert {agent.unique_id: tuple(of(agent) for of in reporters) for agent in town.agents} == right
        totals = tuple(map(sum, zip(*right.values(), strict=True)))
        assert tuple(of(town) for of in model_reporters(*COUNTS).values()) == totals
        if mode != "off":
            (report,) = town.parallel_reports
            assert tuple(getattr(report, name) for name in COUNTS) == totals
            frame = report.to_dataframe()
            assert {agent_id: tuple(frame.loc[agent_id, list(COUNTS)]) for agent_id in frame.index} == right


def test_the_frames_of_the_data_collector_have_them(mode):
    town = Town(parallel=mode != "off")
    town.step()
    town.step()
    of_model = town.datacollector.get_model_vars_dataframe()
    of_agents = town.datacollector.get_agent_vars_dataframe()
    for step in range(2):
        of_step = of_agents.xs(step + 1, level="Step")
        for number, name in enumerate(COUNTS):
            right = [FORMS[form][3][step][number] for form in town.forms.values()] + [0]
            assert list(of_step[name]) == right
            assert of_model[name].iloc[step] == sum(right)
        calls = sum(len(agent.llm.client.requests) for agent in town.agents if isinstance(agent, LLMAgent))
    assert of_model.calls.sum() == of_agents.calls.sum() == calls
    unknown = {"wall_s", "decide_s", "act_s", "settle_s", "failures", "settle_failures", "calls_while_acting"}
    assert {name for name in of_model if of_model[name].isna().all()} == (
        unknown | {"peak_concurrency", "rounds"} if mode == "off" else set()
    )
    of_cow = of_agents.xs(town.cow.unique_id, level="AgentID")
    assert (of_cow[list(COUNTS)] == 0).all(axis=None), "it decides nothing, and that is known"


def test_reports_with_these_numbers_pickle_and_are_read_back(mode):
    town = Town(parallel=mode != "off")
    town.step()
    if mode == "off":
        twin, town = pickle.loads(pickle.dumps((copy.deepcopy(town), town)))
        assert [of(twin) for of in model_reporters(*COUNTS).values()] == [
            of(town) for of in model_reporters(*COUNTS).values()
        ]
        assert one_at_a_time(twin).tally.decisions > 0
        return
    (report,) = town.parallel_reports
    assert pickle.loads(pickle.dumps(report)) == report
    assert StepReport.from_dict(json.loads(json.dumps(report.as_dict()))) == report


def test_a_report_of_an_earlier_version_has_none_of_them():
    enable_automatic_parallel_stepping()
    town = Town(parallel=True)
    town.step()
    old = json.loads(json.dumps(town.parallel_reports[0].as_dict()))
    for part in (old, *old["agents"]):
        for name in COUNTS:
            del part[name]
    read = StepReport.from_dict(old)
    assert [getattr(read, name) for name in COUNTS] == [0] * 6
    assert read.calls == town.parallel_reports[0].calls


# Decisions that fail


FAILING = {
    "a valid call": FORMS["a valid call"],
    "nothing that can be used": (Once, OneCallReasoning, [""] * 2, None),
}


@pytest.mark.parametrize("activation", ["simultaneous", "eager"])
@pytest.mark.parametrize("how", ["asyncio", "threading"])
@pytest.mark.parametrize(
    ("on_error", "outcome", "numbers"),
    [
        ("skip", "failed", (0, 0, 1, 0, 0, 0)),
        (lambda agent, error: agent.tool_manager.execute(agent, [*GIVE, *WRONG]), "fell back", (0, 0, 1, 2, 1, 0)),
    ],
    ids=["skip", "fallback"],
)
def test_a_decision_that_fails_is_none_and_its_fallback_counts(how, activation, on_error, outcome, numbers):
    enable_automatic_parallel_stepping(mode=how, activation=activation, on_error=on_error)
    town = Town(parallel=True, forms=FAILING)
    town.step()
    (report,) = town.parallel_reports
    failed = report.of_agent(2)
    assert failed.outcome == outcome
    assert tuple(getattr(failed, name) for name in COUNTS) == numbers
    assert tuple(of(town.agents[1]) for of in agent_reporters(*COUNTS).values()) == numbers
    assert decision_quality(town).loc["Once", ["decisions", "failed_decisions"]].to_list() == [1, 1]


# One agent at a time


def make(model, *script, agent_class=Once):
    return agent_class(model, OneCallReasoning, client=ScriptedLLM(list(script)), step_prompt="?", tools=[give])


def test_an_agent_that_has_left_counts_in_its_model():
    class Leaves(LLMAgent):
        def step(self):
            super().step()
            self.remove()

    model = Model(rng=1)
    make(model, GIVE, agent_class=Leaves)
    make(model, "I rest.")
    model.agents.do("step")
    assert [of(model) for of in model_reporters("decisions", "without_call", "tool_calls", "calls").values()] == [
        2,
        1,
        1,
        2,
    ]
    assert list(decision_quality(model).decisions) == [1, 1]


def test_steps_in_parallel_and_alone_within_one_step_of_the_model_add_up():
    enable_automatic_parallel_stepping()
    model = Model(rng=1)
    first, second = make(model, GIVE, "I rest."), make(model, GIVE)
    step_agents_parallel_sync(model.agents)
    first.step()
    decisions, wall = agent_reporters("decisions")["decisions"], agent_reporters("decide_s")["decide_s"]
    assert [decisions(first), decisions(second)] == [2, 1]
    assert math.isnan(wall(first))
    assert wall(second) > 0
    assert model_reporters("decisions")["decisions"](model) == 3
    assert math.isnan(model_reporters("failures")["failures"](model))


@pytest.mark.parametrize("parallel", [True, False])
def test_what_agents_do_outside_of_their_steps_counts_in_the_models_current_step(parallel):
    class Village(Model):
        def step(self):
            self.asker.tool_manager.execute(self.asker, WRONG)
            self.agents.do("step")
            self.asker.llm.generate("Well?")

    enable_automatic_parallel_stepping()
    village = Village(rng=1)
    village.parallel_stepping = parallel
    village.asker = make(village, GIVE, "Well.", GIVE, "Well.")
    for _ in range(2):
        village.step()
        for owner, reporters in ((village, model_reporters), (village.asker, agent_reporters)):
            names = ("calls", "decisions", "tool_calls", "refused_tool_calls")
            assert [of(owner) for of in reporters(*names).values()] == [2, 1, 2, 1]
        of_times = model_reporters("decide_s")["decide_s"](village)
        assert math.isnan(of_times) == (not parallel)


def test_what_an_agent_makes_another_one_do_in_a_parallel_step_counts_once():
    class Boss(LLMAgent):
        def step(self):
            super().step()
            self.worker.tool_manager.execute(self.worker, GIVE)

    enable_automatic_parallel_stepping()
    model = Model(rng=1)
    boss = make(model, "Work!", agent_class=Boss)
    boss.worker = make(model, GIVE)
    step_agents_parallel_sync(model.agents)
    tool_calls = agent_reporters("tool_calls")["tool_calls"]
    assert (tool_calls(boss), tool_calls(boss.worker)) == (0, 2)
    assert model_reporters("tool_calls")["tool_calls"](model) == 2


def test_agents_whose_decisions_nobody_sees_have_no_numbers():
    """An agent of one's own with `astep` is seen by a runner; Mesa calls its `step`, and nothing is known of that."""

    class Own(Agent):
        def step(self):
            pass

        async def astep(self):
            pass

    enable_automatic_parallel_stepping()
    model = Model(rng=1)
    own = Own(model)
    Cow(model)
    calls = [(agent_reporters("calls")["calls"], own), (model_reporters("calls")["calls"], model)]
    model.agents.do("step")
    assert all(math.isnan(of(owner)) for of, owner in calls)
    step_agents_parallel_sync(model.agents)
    assert [of(owner) for of, owner in calls] == [0, 0]


def test_a_model_whose_time_stands_still_does_not_grow():
    model = Model(rng=1)
    agent = make(model, *["I rest."] * 50)
    agent.step()
    before = len(pickle.dumps((vars(model)["_mesa_llm_one_at_a_time"], vars(agent)["_mesa_llm_one_at_a_time"])))
    for _ in range(49):
        agent.step()
    after = len(pickle.dumps((vars(model)["_mesa_llm_one_at_a_time"], vars(agent)["_mesa_llm_one_at_a_time"])))
    assert after <= before + 20
    assert agent_reporters("decisions")["decisions"](agent) == 50


# By class of agents


def test_the_quality_of_a_run_by_class_of_agents(mode):
    reports = []
    if mode != "off":
        enable_automatic_parallel_stepping(**MODES[mode], on_report=reports.append)
    town = Town(parallel=mode != "off")
    town.step()
    frame = decision_quality(town)
    right = {
        agent_class: [
            tuple(
                map(sum, zip(*(steps[step] for cls, _, _, steps in FORMS.values() if cls is agent_class), strict=True))
            )
            for step in range(2)
        ]
        for agent_class in (Once, Holds, Twice, Silent)
    }
    for agent_class, counts in right.items():
        assert tuple(frame.loc[agent_class.__name__, list(COUNTS)]) == counts[0]
    once = frame.loc["Once"]
    decisions, without_call, _, tool_calls, refused, crashed = right[Once][0]
    assert once.share_without_call == without_call / decisions
    assert (once.share_refused, once.share_crashed) == (refused / tool_calls, crashed / tool_calls)
    assert math.isnan(frame.loc["Silent"].share_without_call), "no decision, no share"
    if mode == "off":
        assert frame.failed_decisions.isna().all()
        assert "Cow" not in frame.index, "Mesa steps it, and nothing is known of that"
        return
    assert (frame.failed_decisions == 0).all()
    town.step()
    both = decision_quality(iter(reports))
    for agent_class, counts in right.items():
        assert tuple(both.loc[agent_class.__name__, list(COUNTS)]) == tuple(map(sum, zip(*counts, strict=True)))
    read = [StepReport.from_dict(report.as_dict()) for report in reports]
    assert decision_quality(read).equals(both)
    assert decision_quality(reports[0]).equals(frame)


def test_nothing_has_no_quality():
    frame = decision_quality([])
    assert len(frame) == 0
    assert list(frame.columns) == list(decision_quality(Model(rng=1)).columns)
    assert frame.index.name == "agent_class"


@pytest.mark.parametrize("reports", [3, None, ["a report"]], ids=str)
def test_what_is_neither_reports_nor_a_model_is_refused(reports):
    with pytest.raises(ConfigurationError, match="decision_quality takes step reports or a model, got"):
        decision_quality(reports)
