"""Methods other than `step` in parallel, as staged activation has them; and agents that are members of a group."""

import asyncio
import warnings

import pytest
from helpers.speakers import OneCall, SpeakersModel
from mesa.experimental.meta_agents import MetaAgent

from mesa_llm.errors import ConfigurationError, NotParallelWarning
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.module_llm import ModuleLLM
from mesa_llm.parallel_stepping import (
    ParallelStepError,
    ParallelStepping,
    enable_automatic_parallel_stepping,
    step_agents_parallel_sync,
    wait_my_turn,
)
from mesa_llm.testing import ScriptedLLM

STAGES = ("observe", "decide", "act")


class Staged(LLMAgent):
    """Looks, decides and acts in methods of its own."""

    def __init__(self, model, client):
        super().__init__(model, OneCall, client=client, step_prompt="?", tools=[], vision=-1, internal_state=["new"])

    def observe(self):
        self.obs = self.generate_obs()

    def decide(self, word="said"):
        self.word = word
        self.plan_ = self.reasoning.plan(obs=self.obs)

    def act(self):
        self.apply_plan(self.plan_)
        self.model.log.append((self.unique_id, f"{self.word} {self.plan_}"))
        self.internal_state.append("acted")


class AsyncStaged(Staged):
    async def adecide(self, word="said"):
        self.word = word
        self.plan_ = await self.reasoning.aplan(obs=self.obs)


class PlainlyAsyncStaged(Staged):
    async def decide(self, word="said"):
        self.word = word
        self.plan_ = await self.reasoning.aplan(obs=self.obs)


class Stages(SpeakersModel):
    def step(self):
        self.agents.shuffle_do("observe")
        self.agents.shuffle_do("decide", word="says")
        self.agents.do("act")


@pytest.fixture(params=["asyncio", "threading"])
def mode(request):
    enable_automatic_parallel_stepping(mode=request.param)
    return request.param


def staged(mode, n=4, agent_class=Staged):
    config = ParallelStepping(mode=mode, methods=STAGES)
    return Stages(n, ScriptedLLM("hello", hold_until=n), agent_class, parallel=config)


@pytest.mark.parametrize("agent_class", [Staged, AsyncStaged, PlainlyAsyncStaged])
def test_the_model_calls_of_a_named_method_run_together(mode, agent_class):
    model = staged(mode, agent_class=agent_class)
    client = next(iter(model.agents)).llm.client
    for _ in range(2):
        model.step()
    assert client.peak_in_flight == 4
    assert model.log == [(number, "says hello") for number in (1, 2, 3, 4)] * 2
    assert [sorted(agent.agent_id for agent in report.agents) for report in model.parallel_reports] == [
        [1, 2, 3, 4]
    ] * 3
    assert [report.calls for report in model.parallel_reports] == [0, 4, 0]
    assert [sum(agent.decisions for agent in report.agents) for report in model.parallel_reports] == [0, 0, 0]


def test_it_is_what_mesa_alone_computes(mode):
    """The order, the random state, memories, and the identities of all calls."""
    runs = []
    for parallel in (True, False):
        calls = []

        def answer(request, calls=calls):
            origin = request.call.origin
            calls.append((origin.agent_id, origin.step, origin.call))
            return "hello"

        config = ParallelStepping(mode=mode, methods=STAGES) if parallel else False
        model = Stages(4, ScriptedLLM(answer), Staged, parallel=config)
        for _ in range(3):
            model.step()
        memories = [[str(entry) for entry in agent.memory.entries] for agent in model.agents]
        runs.append((model.log, model.random.getstate(), memories, sorted(calls)))
    assert len(runs[0][-1]) == 12
    assert runs[0] == runs[1]


def test_a_failed_decision_of_a_method_names_the_agents_and_nobody_acts(mode):
    model = Stages(2, ScriptedLLM(["hello", ConnectionError("lost")]), Staged,
                   parallel=ParallelStepping(mode=mode, methods=STAGES))  # fmt: skip
    with pytest.raises(ParallelStepError):
        model.step()
    assert model.log == []


def test_each_stage_may_be_given_as_a_function(mode):
    model = staged(mode)
    model.agents.shuffle_do(Staged.observe)
    model.agents.do(Staged.decide)
    assert len(model.parallel_reports) == 2


def test_a_method_whose_name_only_looks_like_a_twin_is_none(mode):
    class Bides(Staged):
        def bide(self):
            self.model.log.append("bides")

        def abide(self):
            self.model.log.append("abides")

    model = SpeakersModel(2, ScriptedLLM("hello"), Bides, parallel=ParallelStepping(mode=mode, methods=("bide",)))
    model.agents.do("bide")
    assert model.log == ["bides"] * 2


def test_a_method_that_is_not_named_is_warned_about_once(mode):
    class Unnamed(Stages):
        pass

    model = Unnamed(3, ScriptedLLM("hello"), Staged, parallel=True)
    said = r"Unnamed sets parallel_stepping, but 3 agents .* in 'decide': only step .*methods=\('step', 'decide'\)"
    with pytest.warns(NotParallelWarning, match=said) as caught:
        model.step()
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.step()
    with pytest.warns(NotParallelWarning, match="in '<lambda>': .* by its name"):
        model.agents.do(lambda agent: agent.decide())


def test_nothing_is_said_of_methods_that_ask_no_model_or_where_one_agent_does(mode):
    class Quiet(Stages):
        pass

    model = Quiet(3, ScriptedLLM("hello"), Staged, parallel=True)
    model.agents.do("observe")
    model.agents.select(at_most=1).do("decide")
    Quiet(3, ScriptedLLM("hello"), Staged, parallel=False).step()


@pytest.mark.parametrize("methods", ["step", (), None, ("a b",), (1,), 3])
def test_methods_that_are_no_names(methods):
    with pytest.raises(ConfigurationError, match=r"methods must be a tuple of names such as \('step',\), got "):
        ParallelStepping(methods=methods)


def test_a_list_of_methods_can_be_compared():
    assert ParallelStepping(methods=["observe"]) == ParallelStepping(methods=("observe",))
    assert len({ParallelStepping(methods=["observe"]), ParallelStepping()}) == 2


# Groups.


class Member(LLMAgent):
    def __init__(self, model, client):
        super().__init__(model, OneCall, client=client, step_prompt="?", tools=[])

    def step(self):
        self.model.log.append((self.unique_id, str(self.reasoning.plan())))


class Team(MetaAgent):
    """Steps its members one after the other."""

    def step(self):
        for agent in sorted(self.agents, key=lambda agent: agent.unique_id):
            agent.step()


class TeamInParallel(MetaAgent):
    """Steps its members all at once."""

    def step(self):
        wait_my_turn()  # in threading mode plain agents step before the acts
        self.agents.do("step")


def league(mode, team_class, *, step_members):
    model = SpeakersModel(5, ScriptedLLM("hello"), Member,
                          parallel=ParallelStepping(mode=mode, step_members=step_members))  # fmt: skip
    team = team_class(model, list(model.agents)[:3])
    team_class(model, [team, list(model.agents)[3]])
    return model


@pytest.mark.parametrize("team_class", [Team, TeamInParallel])
@pytest.mark.parametrize("way", ["do", "shuffle_do", "hand"])
def test_members_are_left_to_their_group(mode, team_class, way):
    """5 members: three in a team, which is in another one together with the fourth; the last one is in none."""
    model = league(mode, team_class, step_members=False)
    reference = league(mode, team_class, step_members=True)
    for each in (model, reference):
        if way == "hand":
            step_agents_parallel_sync(list(each.agents))
        else:
            getattr(each.agents, way)("step")
    assert sorted(number for number, _ in model.log) == [1, 2, 3, 4, 5]
    assert sorted(number for number, _ in reference.log) == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5]
    assert model.random.getstate() == reference.random.getstate()


def test_members_step_in_sets_without_their_group(mode):
    model = league(mode, Team, step_members=False)
    model.agents_by_type[Member].do("step")
    assert [number for number, _ in model.log] == [1, 2, 3, 4, 5]


def test_an_attribute_of_that_name_makes_no_group(mode):
    model = SpeakersModel(2, ScriptedLLM("hello"), Member, parallel=ParallelStepping(mode=mode, step_members=False))
    for agent in model.agents:
        agent.meta_agents, agent.meta_agent = None, "chess club"
    model.agents.do("step")
    assert len(model.log) == 2


def test_step_members_is_a_bool():
    with pytest.raises(ConfigurationError, match="step_members must be True or False, got 'no'"):
        ParallelStepping(step_members="no")


def test_settings_of_all_models_have_both():
    enable_automatic_parallel_stepping(methods=("step", "decide"), step_members=False)
    model = league("asyncio", Team, step_members=False)
    model.parallel_stepping = True
    model.agents.do("step")
    assert len(model.log) == 5


# Agents that ask one after the other, outside of their steps and of what the patch sees.


def in_a_loop(model):
    for agent in model.agents:
        agent.decide()


WAYS_IN_A_ROW = {
    "shuffle_do": lambda model: model.agents.shuffle_do("decide"),
    "do": lambda model: model.agents.do("decide"),
    "a function": lambda model: model.agents.do(lambda agent: agent.decide()),
    "map": lambda model: model.agents.map("decide"),
    "map of a function": lambda model: model.agents.map(lambda agent: agent.decide()),
    "groups": lambda model: model.agents.groupby(lambda agent: agent.unique_id % 2).map("map", "decide"),
    "a loop": in_a_loop,
}


def watched_stages(parallel_stepping=True):
    class Watched(Stages):  # a class of its own, which has not been warned of
        pass

    model = Watched(3, ScriptedLLM("ok"), Staged)
    model.parallel_stepping = parallel_stepping
    for agent in model.agents:
        agent.obs = agent.generate_obs()
    return model


@pytest.mark.parametrize("patched", [False, True])
@pytest.mark.parametrize("way", WAYS_IN_A_ROW)
def test_agents_that_ask_one_after_the_other_are_warned_about_once(way, patched):
    if patched:
        enable_automatic_parallel_stepping()
    model = watched_stages()
    with pytest.warns(NotParallelWarning, match=r"Watched sets parallel_stepping, but .*one after the\s+other") as said:
        WAYS_IN_A_ROW[way](model)
    assert len(said) == 1
    assert "mesa_llm" not in said[0].filename
    WAYS_IN_A_ROW[way](model)


@pytest.mark.parametrize("way", WAYS_IN_A_ROW)
def test_without_the_flag_nothing_is_said(way):
    WAYS_IN_A_ROW[way](watched_stages(parallel_stepping=False))


def test_one_agent_that_asks_alone_is_no_reason_to_warn():
    model = watched_stages()
    first, second, _ = model.agents
    first.decide()
    first.decide()
    model.time += 1  # the next step, as Mesa 3.5 and 4 count
    if hasattr(model, "steps"):
        model.steps += 1
    second.decide()


def test_calls_that_are_made_side_by_side_are_no_reason_to_warn():
    model = watched_stages()
    model.agents.do("remove")
    agents = [AsyncStaged(model, ScriptedLLM("ok", hold_until=1)) for _ in range(2)]
    llm = ScriptedLLM("ok", hold_until=2)

    async def ask():
        await asyncio.gather(*(agent.reasoning.aplan(obs=agent.generate_obs()) for agent in agents))

    for agent in agents:
        agent.llm = ModuleLLM("a/b", client=llm)
        agent.llm.agent = agent
    asyncio.run(ask())
    assert llm.peak_in_flight == 2
