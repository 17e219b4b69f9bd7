"""How agents decide: one body for sync and async, the prompts, and answers that cannot be used."""

import asyncio
import re
import threading

import pytest
from helpers.speakers import OneCall, SpeakersModel, tool_call
from inline_snapshot import snapshot
from mesa import Model

from mesa_llm.clients import Message, ToolCall
from mesa_llm.errors import ConfigurationError, DecisionError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import ParallelStepError, enable_automatic_parallel_stepping
from mesa_llm.reasoning import (
    CoTReasoning,
    OneCallReasoning,
    Plan,
    ReActReasoning,
    Reasoning,
    ReWOOReasoning,
    read_observation,
)
from mesa_llm.recording import state_hash
from mesa_llm.testing import ScriptedLLM

THINK_FIRST = [CoTReasoning, ReActReasoning, ReWOOReasoning]
ALL = [*THINK_FIRST, OneCallReasoning]
CALLS = [tool_call("go", '{"where": "north"}'), tool_call("go", '{"where": "south"}')]


def go(agent, where: str) -> str:
    """Go somewhere.

    Args:
        where: the direction.
    """
    return f"went {where}"


class Calendar(SpeakersModel):
    """Its steps come when they are asked for, and do nothing."""

    is_still = False

    def step(self):
        if not self.is_still:
            super().step()

    def advance(self):
        self.is_still = True
        self.step()
        self.is_still = False


def agent_with(reasoning, script, **kwargs):
    model = Calendar(0, None, parallel=False)
    client = script if isinstance(script, ScriptedLLM) else ScriptedLLM(script)
    settings = {
        "system_prompt": "You are a sailor.",
        "step_prompt": "Where to?",
        "tools": [go],
        "internal_state": ["wet"],
    }
    return LLMAgent(model, reasoning, client=client, **(settings | kwargs))


def thinks_then_calls(request):
    if request.tool_choice == "none":
        return '{"reasoning": "wind", "action": "sail"}'
    return CALLS


@pytest.mark.parametrize("reasoning", ALL)
async def test_plan_and_aplan_ask_the_same_and_decide_the_same(reasoning):
    plans, requests = [], []
    for is_async in (False, True):
        agent = agent_with(reasoning, thinks_then_calls)
        plans.append(await agent.reasoning.aplan(ttl=2) if is_async else agent.reasoning.plan(ttl=2))
        requests.append(agent.llm.client.requests)
    assert requests[0] == requests[1]
    assert plans[0] == plans[1]
    assert plans[0].ttl == 2
    assert len(requests[0]) == (1 if reasoning is OneCallReasoning else 2)


@pytest.mark.parametrize("reasoning", ALL)
def test_the_first_request_has_the_persona_and_each_only_the_selected_tools(reasoning):
    def other(agent) -> str:
        """Do something else."""

    agent = agent_with(reasoning, thinks_then_calls, tools=[go, other])
    agent.reasoning.plan(selected_tools=["go"], tool_calls="required")
    requests = agent.llm.client.requests
    assert ["You are a sailor." in request.messages[0].content for request in requests] == [True, False][
        : len(requests)
    ]
    assert all([spec.name for spec in request.tools] == ["go"] for request in requests)
    choices = ["required"] if reasoning is OneCallReasoning else ["none", "required"]
    assert [request.tool_choice for request in requests] == choices


@pytest.mark.parametrize("reasoning", ALL)
def test_a_prompt_of_ones_own_goes_before_the_step_prompt_and_an_observation_given_is_used(reasoning):
    agent = agent_with(reasoning, thinks_then_calls)
    observation = agent.generate_obs()
    agent.internal_state = ["dry"]
    agent.reasoning.plan(prompt="Dive?", obs=observation)
    text = agent.llm.client.requests[0].messages[1].content
    assert "Dive?" in text
    assert "Where to?" not in text
    assert read_observation(agent.llm.client.requests[0])["self_state"]["internal_state"] == ["wet"]


@pytest.mark.parametrize("tool_mode", ["native", "json_schema"])
@pytest.mark.parametrize("reasoning", ALL)
async def test_the_request_made_from_an_observation_carries_it(reasoning, tool_mode):
    agent = agent_with(reasoning, '{"reasoning": "wind", "action": "sail", "calls": []}', tool_mode=tool_mode)
    observation = agent.generate_obs()
    agent.reasoning.plan(obs=observation)
    await agent.reasoning.aplan(obs=observation)
    carried = [request.observation for request in agent.llm.client.requests]
    assert carried == [observation, *([] if reasoning is OneCallReasoning else [None])] * 2  # the words show no more


@pytest.mark.parametrize("reasoning", ALL)
def test_nothing_to_decide(reasoning):
    agent = agent_with(reasoning, thinks_then_calls, step_prompt=None)
    with pytest.raises(ConfigurationError, match="LLMAgent 1 has nothing to decide"):
        agent.reasoning.plan()


@pytest.mark.parametrize("reasoning", ALL)
def test_a_preview_is_the_first_request_asks_nobody_and_leaves_nothing(reasoning):
    agent = agent_with(reasoning, thinks_then_calls)
    agent.memory.add_to_memory("message", {"message": "ahoy", "sender": 9})
    before = state_hash(agent.model)
    previews = [agent.preview_prompt(), agent.preview_prompt("Dive?")]
    assert (state_hash(agent.model), agent.llm.client.requests) == (before, [])
    agent.reasoning.plan()
    assert agent.llm.client.requests[0].as_dict() == previews[0].as_dict()
    assert "# Task\nDive?" in previews[1].messages[-1].content
    agent.step_prompt = None
    with pytest.raises(ConfigurationError, match="nothing to decide"):
        agent.preview_prompt()


def test_prompts():
    agent = agent_with(CoTReasoning, thinks_then_calls)
    agent.memory.add_to_memory("message", {"message": "ahoy", "sender": 9})
    agent.reasoning.plan()
    thinking, calling = agent.llm.client.requests
    assert [message.content for message in thinking.messages] == snapshot(
        [
            """\
You are an agent in a simulation. Decide what to do next.
Think step by step, and answer in this form:
Thought 1: what the observation tells you
Thought 2: what your memory adds
Thought 3: the alternatives and their risks
Thought 4: your decision and why
Action: what you will do, in one sentence

# Who you are
You are a sailor.\
""",
            """\
# Memory
## Step 0
Agent 9: ahoy

# Observation
Step 0. You are agent 1. You see:
you: wet

# Task
Where to?\
""",
        ]
    )
    assert [message.content for message in calling.messages] == snapshot(
        [
            "You carry out the decision of an agent in a simulation by calling tools. Call exactly the tools that the decision asks for, in its order. If it asks for no action, call none.",
            '{"reasoning": "wind", "action": "sail"}',
        ]
    )


@pytest.mark.parametrize(
    ("reasoning", "beginning"),
    [
        (
            ReActReasoning,
            snapshot("""\
You are an agent in a simulation. Reason about your situation, using what you remember and what you observe, and decide
what to do next. Describe the action in words; do not call a tool yet.
Answer with a JSON object that has two texts: "reasoning" and "action".

# Who you are
You are a sailor.\
"""),
        ),
        (
            ReWOOReasoning,
            snapshot("""\
You are an agent in a simulation that plans several steps ahead and does not look again while it carries the plan out.
Make a plan of one to five actions that leads to your goal, and say what to do if things go differently. Answer in this
form:
Plan: your strategy and why
Step 1: the first action
Step 2: the next action, if any, and so on up to Step 5
Contingency: what to do if things go differently

# Who you are
You are a sailor.\
"""),
        ),
    ],
)
def test_instructions(reasoning, beginning):
    agent = agent_with(reasoning, thinks_then_calls)
    agent.reasoning.plan()
    assert agent.llm.client.requests[0].messages[0].content == beginning


@pytest.mark.parametrize("reasoning", ALL)
def test_what_agents_share_stands_before_what_changes(reasoning):
    agents = [agent_with(reasoning, thinks_then_calls, internal_state=[mood]) for mood in ("wet", "dry")]
    texts = []
    for agent in agents:
        agent.reasoning.plan()
        texts.append([message.content for message in agent.llm.client.requests[0].messages])
    assert texts[0][0] == texts[1][0]
    assert texts[0][1] != texts[1][1]


# ReAct


@pytest.mark.parametrize(
    "answer",
    [
        '{"reasoning": "r", "action": "sail"}',
        '```json\n{"reasoning": "r", "action": "sail"}\n```',
        'Sure! {"reasoning": "r", "action": "sail"} Good luck.',
    ],
)
def test_react_reads_json_with_anything_around_it(answer):
    agent = agent_with(ReActReasoning, [answer, CALLS])
    plan = agent.reasoning.plan()
    assert [call.arguments for call in plan.llm_plan.tool_calls] == [call.arguments for call in CALLS]
    assert agent.llm.client.requests[1].messages[1].content == "sail"


@pytest.mark.parametrize(
    "bad", ["", "I sail.", '{"reasoning": "r"}', '{"reasoning": "r", "action": ""}', '{"reasoning": "r", "act']
)
def test_react_asks_again_once_with_what_is_wrong(bad):
    agent = agent_with(ReActReasoning, [bad, '{"reasoning": "r", "action": "sail"}', CALLS])
    agent.reasoning.plan()
    answered, complaint = agent.llm.client.requests[1].messages[-2:]
    assert (answered.role, answered.content) == ("assistant", bad or "(nothing)")
    assert complaint.content.startswith("Your answer cannot be read: ")
    agent = agent_with(ReActReasoning, [bad, bad])
    with pytest.raises(DecisionError, match="LLMAgent 1: the model's answer is not the JSON asked for"):
        agent.reasoning.plan()
    assert len(agent.llm.client.requests) == 2


# ReWOO


def test_rewoo_makes_each_call_of_a_plan_once_over_its_steps():
    agent = agent_with(ReWOOReasoning, ["Plan: both ways.", CALLS, "Plan: again.", CALLS[:1]])
    made = []
    for _ in range(3):
        plan = agent.reasoning.plan()
        made.append([call.arguments for call in plan.llm_plan.tool_calls])
    assert made == [['{"where": "north"}'], ['{"where": "south"}'], ['{"where": "north"}']]
    assert len(agent.llm.client.requests) == 4
    assert agent.reasoning.remaining_tool_calls == 0


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_rewoo_in_a_step_that_is_called_off_still_has_its_calls(mode):
    enable_automatic_parallel_stepping(mode=mode)
    agent = agent_with(ReWOOReasoning, ["Plan: both ways.", CALLS])
    model = agent.model
    model.parallel_stepping = True
    model.step()
    assert agent.reasoning.remaining_tool_calls == 1
    bad = LLMAgent(model, OneCall, client=ScriptedLLM(ValueError("no")), step_prompt="?", tools=[])
    with pytest.raises(ParallelStepError):
        model.agents.do("step")
    assert agent.reasoning.remaining_tool_calls == 1
    bad.remove()
    model.agents.do("step")
    assert agent.reasoning.remaining_tool_calls == 0
    assert [entry.content["result"] for entry in agent.memory.entries if entry.type == "action"] == [
        "went north",
        "went south",
    ]


@pytest.mark.parametrize("is_async", [False, True])
async def test_rewoo_drops_what_is_left_of_a_plan_whose_ttl_is_over(is_async):
    agent = agent_with(ReWOOReasoning, ["Plan.", [*CALLS, *CALLS], "Plan again.", CALLS[:1]])
    made = []
    for _ in range(3):
        agent.model.advance()
        plan = await agent.reasoning.aplan(ttl=2) if is_async else agent.reasoning.plan(ttl=2)
        made.append([call.arguments for call in plan.llm_plan.tool_calls])
    assert made == [['{"where": "north"}'], ['{"where": "south"}'], ['{"where": "north"}']]
    assert len(agent.llm.client.requests) == 4


# One call.


def test_one_call_decides_and_calls_tools_at_once():
    agent = agent_with(OneCallReasoning, lambda request: CALLS)
    agent.step()
    (request,) = agent.llm.client.requests
    assert request.tool_choice == "auto"
    assert [tool.name for tool in request.tools] == ["go"]
    assert request.messages[0].content == snapshot("""\
You are an agent in a simulation. Decide what to do next, and do it by calling tools, in the order in which they are to
be carried out. Say in one or two sentences why. If nothing is to be done, call no tool.

# Who you are
You are a sailor.\
""")
    assert [str(entry) for entry in agent.memory.entries if entry.type != "observation"] == snapshot(
        [
            'Step 0. go({"where": "north"}), go({"where": "south"})',
            "Step 0. go(where: north) -> went north",
            "Step 0. go(where: south) -> went south",
        ]
    )


# Plans that hold.


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("reasoning", [CoTReasoning, ReActReasoning, OneCallReasoning])
async def test_a_plan_holds_for_its_ttl_and_is_made_anew_then(reasoning, is_async):
    agent = agent_with(reasoning, thinks_then_calls)
    calls_each = 1 if reasoning is OneCallReasoning else 2
    asked, steps = [], []
    for _ in range(4):
        agent.model.advance()
        plan = await agent.reasoning.aplan(ttl=3) if is_async else agent.reasoning.plan(ttl=3)
        assert [call.arguments for call in plan.llm_plan.tool_calls] == [call.arguments for call in CALLS]
        asked.append(len(agent.llm.client.requests) // calls_each)
        steps.append(plan.step)
    assert asked == [1, 1, 1, 2]
    assert steps == [1, 1, 1, 4]


@pytest.mark.parametrize(
    "other",
    [{"prompt": "Up or down?"}, {"selected_tools": []}, {"tool_calls": "required"}, {"max_tool_calls": 7}],
    ids=min,
)
def test_a_plan_does_not_hold_for_another_question(other):
    agent = agent_with(OneCallReasoning, lambda request: CALLS if request.tools else "I stay.")
    agent.model.advance()
    agent.reasoning.plan(ttl=9)
    agent.model.advance()
    agent.reasoning.plan(ttl=9, **other)
    assert len(agent.llm.client.requests) == 2
    agent.model.advance()
    agent.reasoning.plan(ttl=9)
    agent.reasoning.plan(ttl=9, **other)
    assert len(agent.llm.client.requests) == 2


def test_the_same_question_twice_in_one_step_is_asked_twice():
    agent = agent_with(OneCallReasoning, thinks_then_calls)
    agent.reasoning.plan(ttl=2)
    agent.reasoning.plan(ttl=2)
    assert len(agent.llm.client.requests) == 2


def test_what_is_done_to_a_plan_does_not_change_the_one_that_holds():
    agent = agent_with(OneCallReasoning, thinks_then_calls)
    agent.model.advance()
    agent.reasoning.plan(ttl=3).ttl = 0
    agent.model.advance()
    assert agent.reasoning.plan(ttl=3).ttl == 3


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_a_plan_of_a_step_that_is_called_off_does_not_hold(mode):
    enable_automatic_parallel_stepping(mode=mode)

    class Patient(OneCallReasoning):
        def decide(self, prompt, obs, *, ttl, selected_tools, tool_calls):
            return super().decide(prompt, obs, ttl=5, selected_tools=selected_tools, tool_calls=tool_calls)

    agent = agent_with(Patient, thinks_then_calls)
    model = agent.model
    model.parallel_stepping = True
    bad = LLMAgent(model, OneCall, client=ScriptedLLM(ValueError("no")), step_prompt="?", tools=[])
    with pytest.raises(ParallelStepError):
        model.step()
    assert len(agent.llm.client.requests) == 1
    bad.remove()
    for _ in range(3):
        model.step()
        assert len(agent.llm.client.requests) == 2


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("tool_mode", ["native", "json_schema", "auto"])
@pytest.mark.parametrize("reasoning", ALL)
def test_without_tool_calls_none_is_carried_out_whatever_the_model_answers(reasoning, tool_mode, is_async):
    made = []

    def fire(agent):
        """Fire."""
        made.append(agent)

    def answer(request):
        content = '{"reasoning": "r", "action": "a"}'
        return Message("assistant", content, tool_calls=(ToolCall("c", "fire", "{}"), ToolCall("d", "fire", "{}")))

    agent = LLMAgent(Model(), reasoning, client=ScriptedLLM(answer), step_prompt="?", tools=[fire], tool_mode=tool_mode)

    def plan(**kwargs):
        return asyncio.run(agent.reasoning.aplan(**kwargs)) if is_async else agent.reasoning.plan(**kwargs)

    if tool_mode != "json_schema":  # what ReWOO has left of an earlier plan is not carried out either
        agent.apply_plan(plan())
        assert made
        made.clear()
    decided = plan(tool_calls="none")
    assert str(decided) == '{"reasoning": "r", "action": "a"}'
    assert (agent.apply_plan(decided), made) == ([], [])


@pytest.mark.parametrize("reasoning", ALL)
@pytest.mark.parametrize("ttl", [0, -1])
def test_a_ttl_that_no_plan_can_have(reasoning, ttl):
    with pytest.raises(ConfigurationError, match=f"ttl must be at least 1 step, got {ttl}"):
        agent_with(reasoning, thinks_then_calls).reasoning.plan(ttl=ttl)


# What was on offer.


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("reasoning", ALL)
async def test_a_tool_that_was_not_on_offer_is_refused(reasoning, is_async):
    def stay(agent) -> str:
        """Stay where you are."""
        return "stayed"

    agent = agent_with(reasoning, thinks_then_calls, tools=[go, stay])
    for _ in range(2):  # ReWOO makes one call a step
        if is_async:
            results = await agent.aapply_plan(await agent.reasoning.aplan(selected_tools=["stay"]))
        else:
            results = agent.apply_plan(agent.reasoning.plan(selected_tools=["stay"]))
        assert {result["response"] for result in results} == {"Error: there is no tool 'go'; on offer: stay"}
    assert "there is no tool 'go'" in agent.memory.get_prompt_ready()


# Strategies of one's own.


class AsInMesaLLM03(Reasoning):
    """Written as for mesa-llm 0.3: overrides both methods, reads `choices`, hands words to the executor."""

    def plan(self, prompt=None, obs=None, ttl=1, selected_tools=None, tool_calls="auto"):
        rsp = self.agent.llm.generate(
            prompt=[str(obs), prompt],
            tool_schema=self.agent.tool_manager.get_all_tools_schema(selected_tools),
            tool_choice="none",
            system_prompt="Think.",
        )
        message = rsp.choices[0].message
        self.agent.memory.add_to_memory(type="plan", content={"content": message.content})
        return self.execute_tool_call(message.content, selected_tools=selected_tools, ttl=ttl, tool_calls=tool_calls)

    async def aplan(self, prompt=None, obs=None, ttl=1, selected_tools=None, tool_calls="auto"):
        rsp = await self.agent.llm.agenerate(
            prompt=[str(obs), prompt],
            tool_schema=self.agent.tool_manager.get_all_tools_schema(selected_tools),
            tool_choice="none",
            system_prompt="Think.",
        )
        message = rsp.choices[0].message
        await self.agent.memory.aadd_to_memory(type="plan", content={"content": message.content})
        return await self.aexecute_tool_call(
            message.content, selected_tools=selected_tools, ttl=ttl, tool_calls=tool_calls
        )


async def test_a_strategy_written_for_mesa_llm_03():
    agents = [agent_with(AsInMesaLLM03, ["to the north", CALLS]) for _ in range(2)]
    plans = [
        agents[0].reasoning.plan("?", agents[0].generate_obs(), 2, ["go"], "required"),
        await agents[1].reasoning.aplan("?", agents[1].generate_obs(), 2, ["go"], "required"),
    ]
    for agent, plan in zip(agents, plans, strict=True):
        assert (plan.ttl, plan.offered) == (2, ("go",))
        assert [(call.function.name, call.function.arguments) for call in plan.llm_plan.tool_calls] == [
            (call.name, call.arguments) for call in CALLS
        ]
        _, executing = agent.llm.client.requests
        assert executing.messages[-1].content == "to the north"
        assert executing.tool_choice == "required"
        assert [entry.type for entry in agent.memory.entries] == ["observation", "plan", "plan_execution"]
    assert agents[0].llm.client.requests == agents[1].llm.client.requests


class PlanOnly(Reasoning):
    def plan(self, prompt=None, obs=None, ttl=1, selected_tools=None, tool_calls="auto"):
        self.thread = threading.get_ident()
        return Plan(1, self.agent.llm.generate(prompt).message)


class AplanOnly(Reasoning):
    async def aplan(self, prompt=None, obs=None, ttl=1, selected_tools=None, tool_calls="auto"):
        return Plan(1, (await self.agent.llm.agenerate(prompt)).message)


class PlanOnParent(CoTReasoning):
    """Overrides plan nearer than the inherited decide."""

    def plan(self, *args, **kwargs):
        plan = super().plan(*args, **kwargs)
        plan.ttl = 9
        return plan


async def test_a_strategy_with_only_plan_runs_in_a_thread_under_aplan():
    agent = agent_with(PlanOnly, "ahoy")
    assert str(await agent.reasoning.aplan("?")) == "ahoy"
    assert agent.reasoning.thread != threading.get_ident()
    assert str(agent.reasoning.plan("?")) == "ahoy"
    assert agent.reasoning.thread == threading.get_ident()


async def test_many_plan_only_strategies_wait_together():
    client = ScriptedLLM("ahoy", hold_until=60)
    agents = [agent_with(PlanOnly, client) for _ in range(60)]
    await asyncio.gather(*(agent.reasoning.aplan("?") for agent in agents))


async def test_a_strategy_with_only_aplan_runs_under_plan():
    agent = agent_with(AplanOnly, "ahoy")
    assert str(agent.reasoning.plan("?")) == "ahoy"
    assert str(await agent.reasoning.aplan("?")) == "ahoy"


async def test_a_plan_that_calls_its_parents_plan_counts_under_aplan_too():
    agent = agent_with(PlanOnParent, thinks_then_calls)
    assert (await agent.reasoning.aplan()).ttl == 9


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
@pytest.mark.parametrize("reasoning", [PlanOnly, AplanOnly, PlanOnParent, OneCall, *ALL])
def test_every_strategy_waits_together_and_takes_one_turn(reasoning, mode):
    enable_automatic_parallel_stepping(mode=mode)
    client = ScriptedLLM(thinks_then_calls, hold_until=5)
    model = SpeakersModel(0, None)
    for _ in range(5):
        LLMAgent(model, reasoning, client=client, step_prompt="?", tools=[go])
    model.step()
    assert client.peak_in_flight == 5


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
@pytest.mark.parametrize("reasoning", ALL)
def test_personas_of_agents_that_decide_together_are_not_mixed_up(reasoning, mode):
    """Each agent thinks its own name, and must be asked by that name to carry it out."""
    enable_automatic_parallel_stepping(mode=mode)

    def name_in(request):
        return re.search(r"You are (x+)\.", "".join(message.content for message in request.messages))[1]

    def script(request):
        name = name_in(request)
        if request.tool_choice == "none":
            return f'{{"reasoning": "You are {name}.", "action": "You are {name}."}}'
        return [tool_call("go", f'{{"where": "{name}"}}')]

    client = ScriptedLLM(script, latency=lambda request: len(name_in(request)) % 3 / 200)
    model = SpeakersModel(0, None)
    names = ["x" * n for n in range(1, 13)]
    for name in names:
        LLMAgent(model, reasoning, client=client, system_prompt=f"You are {name}.", step_prompt="?", tools=[go])
    model.step()
    model.step()
    for agent, name in zip(model.agents, names, strict=True):
        results = [entry.content["result"] for entry in agent.memory.entries if entry.type == "action"]
        assert results == [f"went {name}"] * 2


def test_a_strategy_without_anything_says_what_it_needs():
    class Empty(Reasoning):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty has none of decide\(\), plan\(\) and aplan\(\)"):
        agent_with(Empty, "").reasoning.plan()


def test_a_strategy_may_handle_a_failed_call():
    class Stubborn(Reasoning):
        def decide(self, prompt, obs, *, ttl, selected_tools, tool_calls):
            request = self.agent.llm.request(prompt)
            try:
                response = yield request
            except ConnectionError:
                response = yield request
            return Plan(obs.step, response.message, ttl)

    assert str(agent_with(Stubborn, [ConnectionError("once"), "ahoy"]).reasoning.plan()) == "ahoy"


def test_reading_an_observation_from_a_request_without_one():
    agent = agent_with(OneCall, "x")
    with pytest.raises(DecisionError, match="No observation in the request"):
        read_observation(agent.llm.request("hello"))
