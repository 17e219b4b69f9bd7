"""Actions in a model's step: all choose on the same world, then one after the other acts; in every mode and regime."""

import json

import pytest
from helpers.speakers import Twice
from mesa import Model
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid

from mesa_llm.actions import ActionChoice, ActionManager, action, move_one_step, wait
from mesa_llm.clients import Message, RuleBasedClient, ToolCall, tool_call
from mesa_llm.errors import ActionChoiceError, ConflictError
from mesa_llm.journal import JournaledClient
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import EpisodicMemory, LongTermMemory, ShortTermMemory, STLTMemory
from mesa_llm.parallel_stepping import (
    ParallelStepError,
    ParallelStepping,
    enable_automatic_parallel_stepping,
    model_reporters,
)
from mesa_llm.reasoning import OneCallReasoning, read_observation
from mesa_llm.recording import record_model
from mesa_llm.testing import ScriptedLLM
from mesa_llm.tools import VisibleAgentId

N = 4


def chosen(name, **arguments):
    return json.dumps({"rationale": "because", "action": {"name": name, "arguments": arguments}})


LOCAL = ActionManager()


def has_food(agent):
    return agent.model.food > 0


@action(action_manager=LOCAL, available=has_food)
def take_food(agent, amount: int = 1) -> str:
    """Take some of the food that all share.

    Args:
        amount: how much.
    """
    agent.model.food -= amount
    agent.model.log.append(agent.unique_id)
    return f"You took {amount}."


class Eater(LLMAgent):
    """Chooses once in a step. Has both step and astep."""

    def __init__(self, model, client, **settings):
        super().__init__(model, OneCallReasoning, client=client, actions=[take_food, wait], **settings)

    def step(self):
        self.done = self.act(f"# Observation\n{self.generate_obs().as_json()}")

    async def astep(self):
        self.done = await self.aact(f"# Observation\n{(await self.agenerate_obs()).as_json()}")


class OnlyStep(Eater):
    def step(self):
        super().step()


class Food(Model):
    def __init__(self, client, food=100, agent_class=Eater, parallel=True, **settings):
        super().__init__(rng=3)
        self.parallel_stepping = parallel
        self.food, self.log = food, []
        for _ in range(N):
            agent_class(self, client, **settings)

    def step(self):
        self.agents.shuffle_do("step")


@pytest.fixture(params=["asyncio", "threading"])
def mode(request):
    enable_automatic_parallel_stepping(mode=request.param)
    return request.param


@pytest.fixture
def switched_on():
    enable_automatic_parallel_stepping()


def id_in(request):
    return read_observation(request)["self_state"]["agent_unique_id"]


def seeded_order():
    model = Food(ScriptedLLM(chosen("take_food")), parallel=False)
    model.step()
    return model.log


@pytest.mark.parametrize("agent_class", [Eater, OnlyStep])
def test_all_choose_together_and_act_in_the_seeded_order(mode, agent_class):
    llm = ScriptedLLM(chosen("take_food"), hold_until=N, latency=lambda request: 0.02 / id_in(request))
    model = Food(llm, agent_class=agent_class)
    model.step()
    assert model.log == seeded_order()
    assert all(agent.done.result == "You took 1." for agent in model.agents)


def test_eager_agents_act_when_they_have_chosen(mode):
    model = Food(ScriptedLLM(chosen("take_food"), hold_until=N), parallel=ParallelStepping(activation="eager"))
    model.step()
    assert sorted(model.log) == [1, 2, 3, 4]


def test_the_report_counts_choices_as_decisions_and_actions_as_calls(mode):
    model = Food(ScriptedLLM(lambda request: chosen("take_food", amount=id_in(request))))
    model.step()
    (report,) = model.parallel_reports
    assert (report.decisions, report.without_call, report.tool_calls) == (N, 0, N)
    assert (report.refused_tool_calls, report.crashed_tool_calls, report.asked_again, report.conflicts) == (0, 0, 0, 0)


def test_who_comes_too_late_is_refused_remembers_it_and_is_counted(mode):
    model = Food(ScriptedLLM(chosen("take_food")), food=1)
    model.step()
    assert model.log == seeded_order()[:1]
    (report,) = model.parallel_reports
    assert (report.conflicts, report.refused_tool_calls, report.tool_calls) == (N - 1, N - 1, N)
    late = [agent for agent in model.agents if agent.unique_id not in model.log]
    for agent in late:
        assert agent.done.result.startswith("Error: There is no action 'take_food' on offer. There are: wait.")
        entry = agent.memory.entries[-1]
        assert entry.type == "action"
        assert entry.content["action"]["name"] == "take_food"
        assert entry.content["result"] == agent.done.result


def test_who_comes_too_late_one_after_the_other_never_gets_the_offer():
    llm = ScriptedLLM(lambda request: chosen("take_food" if '"take_food"' in request.messages[1].content else "wait"))
    model = Food(llm, food=1, parallel=False)
    model.step()
    assert sorted(agent.done.action.name for agent in model.agents) == ["take_food", "wait", "wait", "wait"]


WRONG = [
    "no JSON at all",
    '{"name": "fly", "arguments": {}}',
    chosen("take_food", amount="many"),
    chosen("take_food", colour="red"),
    '{"rationale": "x", "action": {"arguments": {}}}',
]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_choice_that_does_not_fit_is_asked_for_again_once(switched_on, wrong):
    llm = ScriptedLLM(lambda request: wrong if len(request.messages) == 3 else chosen("wait"))
    model = Food(llm)
    model.step()
    assert [agent.done.result for agent in model.agents] == ["waited"] * N
    (report,) = model.parallel_reports
    assert (report.asked_again, report.decisions) == (N, N)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_choice_that_never_fits_is_that_agents_failed_decision(mode, wrong):
    llm = ScriptedLLM(lambda request: wrong if id_in(request) == 2 else chosen("take_food"))
    model = Food(llm)
    with pytest.raises(ParallelStepError) as caught:
        model.step()
    assert caught.value.agent_ids == (2,)
    assert isinstance(caught.value.exceptions[0], ActionChoiceError | ValueError)
    assert model.log == []
    assert all(agent.memory.entries == () for agent in model.agents)
    skipping = Food(llm, parallel=ParallelStepping(on_error="skip"))
    skipping.step()
    assert sorted(skipping.log) == [1, 3, 4]


def test_a_function_can_act_for_an_agent_that_could_not_choose(mode):
    def rest(agent, error):
        agent.done = agent.execute_action(ActionChoice(name="wait", arguments={}))

    llm = ScriptedLLM(lambda request: "no" if id_in(request) == 2 else chosen("wait"))
    model = Food(llm, parallel=ParallelStepping(on_error=rest))
    model.step()
    assert model.agents.get("done")[1] == "waited"


class TwiceEater(Eater):
    """Chooses a second time, when everybody has taken something."""

    async def astep(self):
        await self.aact("Now?", observe=True)
        await self.aact("And now?", observe=True)

    def step(self):
        self.act("Now?", observe=True)
        self.act("And now?", observe=True)

    @property
    def internal_state(self):
        return {"food": self.model.food}


def test_what_an_agent_observes_for_a_second_choice_has_changed_by_the_acts_of_all(mode):
    seen = []

    def rule(request):
        seen.append(read_observation(request)["self_state"]["internal_state"]["food"])
        return tool_call("take_food", amount=1)

    Food(RuleBasedClient(rule), agent_class=TwiceEater).step()
    assert seen == [100] * N + [96] * N


def test_actions_are_counted_alike_with_and_without_a_runner(mode):
    rule = RuleBasedClient(lambda request: tool_call("take_food" if id_in(request) < 3 else "wait"))
    counts = []
    for parallel in (True, False):
        model = Food(rule, parallel=parallel)
        model.step()
        names = ["decisions", "without_call", "tool_calls", "crashed_tool_calls"]
        counts.append({name: reporter(model) for name, reporter in model_reporters(*names).items()})
    assert counts[0] == counts[1] == {"decisions": N, "without_call": 0, "tool_calls": N, "crashed_tool_calls": 0}


@pytest.mark.parametrize("memory", [ShortTermMemory, STLTMemory, LongTermMemory, EpisodicMemory])
def test_every_memory_keeps_the_action_and_shows_it(mode, memory):
    def rule(request):
        return tool_call("take_food", amount=2)

    model = Food(RuleBasedClient(rule), memory=memory)
    model.step()
    assert all("You took 2." in agent.memory.get_prompt_ready() for agent in model.agents)


def test_an_event_is_recorded_for_each_action(mode, tmp_path):
    @record_model(output_dir=tmp_path)
    class Recorded(Food):
        pass

    model = Recorded(ScriptedLLM(chosen("take_food")))
    model.step()
    events = [event for event in model.recorder.events if event.event_type == "action"]
    assert [event.agent_id for event in events] == model.log
    assert events[0].content == {
        "action": {"name": "take_food", "arguments": {}, "rationale": "because"},
        "result": "You took 1.",
    }


@pytest.mark.parametrize("tool_mode", ["auto", "native", "json_schema"])
def test_every_tool_mode_offers_what_is_legal_and_reads_the_choice(mode, tool_mode):
    asked = []

    def rule(request):
        asked.append(request)
        return tool_call("take_food", amount=1)

    model = Food(RuleBasedClient(rule), tool_mode=tool_mode)
    model.step()
    assert sorted(model.log) == [1, 2, 3, 4]
    assert len(asked) == N
    request = asked[0]
    if tool_mode == "native":
        assert [tool.name for tool in request.tools] == ["take_food", "wait"]
        assert (request.tool_choice, request.max_tool_calls) == ("required", 1)
    else:
        assert request.tools == ()
        names = [
            each["properties"]["name"]["enum"]
            for each in request.response_format.schema["properties"]["action"]["anyOf"]
        ]
        assert names == [["take_food"], ["wait"]]
    (report,) = model.parallel_reports
    assert (report.decisions, report.tool_calls) == (N, N)


@pytest.mark.parametrize(
    "wrong",
    [
        "I eat.",
        [tool_call("fly")],
        [tool_call("take_food", amount="many")],
        [tool_call("wait"), tool_call("take_food")],
    ],
)
def test_natively_a_choice_that_does_not_fit_is_asked_for_again_once(switched_on, wrong):
    good = [tool_call("wait")]
    model = Food(ScriptedLLM(lambda request: wrong if len(request.messages) == 2 else good), tool_mode="native")
    model.step()
    assert [agent.done.result for agent in model.agents] == ["waited"] * N
    failing = Food(ScriptedLLM(lambda request: wrong), tool_mode="native")
    with pytest.raises(ParallelStepError):
        failing.step()
    assert failing.log == []


def test_natively_the_words_are_the_rationale(switched_on):
    answer = Message("assistant", "I am hungry.", tool_calls=(ToolCall("1", "take_food", "{}"),))
    model = Food(ScriptedLLM(answer), tool_mode="native")
    model.step()
    assert {agent.done.action.rationale for agent in model.agents} == {"I am hungry."}


def test_a_replay_gives_the_same_run(mode, tmp_path):
    path = tmp_path / "run.db"
    llm = ScriptedLLM(lambda request: chosen("take_food", amount=id_in(request)))
    with JournaledClient(llm, path) as client:
        recorded = Food(client)
        recorded.step()
    with JournaledClient(None, path, mode="replay") as client:
        replayed = Food(client)
        replayed.step()
    assert (replayed.log, replayed.food) == (recorded.log, recorded.food)


class Walker(Eater, CellAgent):
    def __init__(self, model, client, **settings):
        LLMAgent.__init__(self, model, OneCallReasoning, client=client, actions=[move_one_step], **settings)


class Room(Food):
    """Two walkers on both sides of the only free cell."""

    def __init__(self, client):
        Model.__init__(self, rng=3)
        self.parallel_stepping = True
        self.grid = OrthogonalMooreGrid((1, 3), capacity=1, random=self.random)
        for column in (0, 2):
            Walker(self, client).cell = self.grid[(0, column)]


def test_two_who_want_the_same_cell_are_a_conflict(mode):
    asked = []

    def rule(request):
        asked.append(request)
        (walk,) = request.response_format.schema["properties"]["action"]["anyOf"]
        (direction,) = walk["properties"]["arguments"]["properties"]["direction"]["enum"]
        return tool_call("move_one_step", direction=direction)

    model = Room(RuleBasedClient(rule))
    model.step()
    assert len(asked) == 2
    (report,) = model.parallel_reports
    assert report.conflicts == 1
    results = sorted((agent.done.result for agent in model.agents), key=len)
    assert "moved" in results[0]
    assert results[1].startswith("Error: ")


class Staged(LLMAgent):
    """An agent whose own `act`, `aact`-less, is a stage of its activation, as is its `plan`."""

    def __init__(self, model, client):
        super().__init__(model, OneCallReasoning, client=client, tools=[], step_prompt="?")

    def plan(self):
        self.decision = self.reasoning.plan()

    def act(self):
        self.model.log.append((self.unique_id, str(self.decision)))


def test_a_class_with_its_own_act_is_left_alone(mode):
    class Stages(Food):
        def step(self):
            self.agents.do("plan")
            self.agents.shuffle_do("act")

    model = Stages(ScriptedLLM("Rest."), agent_class=Staged, parallel=False)
    model.step()
    assert sorted(model.log) == [(each, "Rest.") for each in (1, 2, 3, 4)]


def test_a_choice_can_be_vetoed_before_the_turn_is_used(mode):
    class Careful(Eater):
        def step(self):
            choice = self.choose_action(f"# Observation\n{self.generate_obs().as_json()}")
            self.vetoed = choice.arguments["amount"] > 1
            if not self.vetoed:
                self.execute_action(choice)

    model = Food(ScriptedLLM(lambda request: chosen("take_food", amount=id_in(request))), agent_class=Careful)
    model.step()
    assert model.log == [1]


def test_an_action_of_the_code_waits_for_its_turn_too(mode):
    class Mixed(Eater):
        def step(self):
            if self.unique_id % 2:
                self.execute_action({"name": "take_food", "arguments": {"amount": 2}})
            else:
                self.act(f"There are {self.model.food}.")

    llm = ScriptedLLM(chosen("take_food"))
    model = Food(llm, agent_class=Mixed)
    model.step()
    assert [request.messages[-1].content for request in llm.requests] == ["There are 100."] * 2
    assert model.log == seeded_order()


def test_a_conflict_that_an_action_raises_is_a_result_whoever_has_chosen():
    @action(action_manager=ActionManager())
    def late(agent):
        """Come too late."""
        raise ConflictError("Somebody was faster.")

    agent = LLMAgent(Model(), OneCallReasoning, client=ScriptedLLM("unused"), actions=[late])
    assert agent.execute_action({"name": "late", "arguments": {}}) == "Error: Somebody was faster."


class Greedy(Twice, Eater):
    """Acts twice in a step."""


def test_a_second_choice_sees_what_all_have_done_by_then(mode):
    llm = ScriptedLLM(chosen("take_food"), hold_until=N)
    model = Food(llm, agent_class=Greedy)
    model.step()
    assert model.log == seeded_order() * 2


class Hooked(Eater):
    def post_step(self):
        self.model.log.append(f"post {self.unique_id}")


def test_a_step_that_fails_before_the_turn_has_no_hook_and_one_that_fails_in_it_has(mode):
    failing = Food(ScriptedLLM("no"), agent_class=Hooked)
    with pytest.raises(ParallelStepError):
        failing.step()
    assert failing.log == []

    class Dropping(Hooked):
        def step(self):
            super().step()
            raise RuntimeError("dropped it")

    model = Food(ScriptedLLM(chosen("take_food")), agent_class=Dropping)
    with pytest.raises(RuntimeError, match="dropped it"):
        model.step()
    first = seeded_order()[0]
    assert model.log == [first, f"post {first}"]


def test_the_blocking_method_on_a_loop_that_runs_agents_names_the_other_one(switched_on):
    class Blocking(Eater):
        async def astep(self):
            self.act("?")

    model = Food(ScriptedLLM(chosen("take_food")), agent_class=Blocking)
    with pytest.raises(ParallelStepError) as caught:
        model.step()
    assert "aact" in str(caught.value)


def test_an_action_that_names_an_agent_in_sight(mode):
    asked = []

    def rule(request):
        asked.append(request)
        (greeting,) = request.response_format.schema["properties"]["action"]["anyOf"]
        ids = greeting["properties"]["arguments"]["properties"]["other"]["enum"]
        return tool_call("greet", other=99 if request.messages[-2].role == "assistant" else ids[0])

    class Crowd(Food):
        def __init__(self, client):
            Model.__init__(self, rng=3)
            self.parallel_stepping, self.log = True, []
            for _ in range(2):
                LLMAgent.__init__(
                    agent := Eater.__new__(Eater), self, OneCallReasoning, client=client, actions=greet, vision=-1
                )
                assert agent.unique_id

    model = Crowd(RuleBasedClient(rule))
    model.step()
    assert sorted(model.log) == [(1, 2), (2, 1)]


@action(action_manager=ActionManager())
def greet(agent, other: VisibleAgentId) -> str:
    """Greet somebody.

    Args:
        other: who.
    """
    agent.model.log.append((agent.unique_id, other))
    return "hello"


def test_an_agent_that_has_gone_meanwhile_is_a_conflict(mode):
    @action(action_manager=ActionManager())
    def eat_up(agent, other: VisibleAgentId) -> str:
        """Eat another one.

        Args:
            other: who.
        """
        agent.model.log.append((agent.unique_id, other))
        next(each for each in agent.model.agents if each.unique_id == other).remove()
        return "gulp"

    class Shark(Eater):
        def __init__(self, model, client):
            LLMAgent.__init__(self, model, OneCallReasoning, client=client, actions=[eat_up], vision=-1)

    first, *others = seeded_order()
    prey = others[-1]

    def rule(request):
        return tool_call("eat_up", other=prey if id_in(request) != prey else first)

    model = Food(RuleBasedClient(rule), agent_class=Shark)
    model.step()
    assert model.log == [(first, prey)]
    (report,) = model.parallel_reports
    assert report.conflicts == N - 2
    refusals = {entry.content["result"] for agent in model.agents for entry in agent.memory.entries[-1:]}
    assert any(". It was possible when the agent chose it." in refusal for refusal in refusals), refusals
