"""An LLM agent: what it observes, how its step runs, what it does and says."""

import asyncio
import json
import warnings

import mesa
import numpy as np
import pytest
from helpers.speakers import OneCall, Speaker, SpeakersModel, tool_call
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid
from mesa.experimental.continuous_space import ContinuousSpace, ContinuousSpaceAgent
from mesa.experimental.meta_agents import MetaAgent

from mesa_llm.clients import Message
from mesa_llm.errors import ConfigurationError, NotParallelWarning, TurnError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import ShortTermMemory
from mesa_llm.parallel_stepping import ParallelStepError, enable_automatic_parallel_stepping
from mesa_llm.reasoning import CoTReasoning, OneCallReasoning, Plan
from mesa_llm.testing import ScriptedLLM
from mesa_llm.tools import ToolManager, tool

BOX = ToolManager([])


@tool(tool_manager=BOX)
def note(agent, word: str) -> str:
    """Write a word down.

    Args:
        word: the word.
    """
    agent.model.log.append((agent.unique_id, word))
    return f"noted {word}"


@tool(tool_manager=BOX)
async def anote(agent, word: str) -> str:
    """Write a word down, later.

    Args:
        word: the word.
    """
    agent.model.log.append((agent.unique_id, f"later {word}"))
    return f"noted {word}"


class World(mesa.Model):
    def __init__(self, *, parallel=False):
        super().__init__(rng=1)
        self.grid = OrthogonalMooreGrid((9, 9), torus=False, capacity=4, random=self.random)
        self.log = []
        self.parallel_stepping = parallel

    def step(self):
        self.agents.do("step")


class Walker(LLMAgent, CellAgent):
    def __init__(self, model, client=None, cell=(4, 4), **kwargs):
        settings = {"step_prompt": "Go on.", "tools": [note, anote]} | kwargs
        super().__init__(model, OneCall, client=client or ScriptedLLM("hm"), **settings)
        self.cell = model.grid[cell]


def test_arguments_are_kept():
    client = ScriptedLLM("hm")
    agent = LLMAgent(
        World(),
        CoTReasoning,
        "openai/x",
        system_prompt="You are old.",
        vision=2,
        internal_state="tired",
        step_prompt="Walk?",
        api_base="http://localhost:1/v1",
        client=client,
        memory=lambda agent: ShortTermMemory(agent, n=2),
    )
    assert (agent.llm.llm_model, agent.llm.api_base, agent.system_prompt) == (
        "openai/x",
        "http://localhost:1/v1",
        "You are old.",
    )
    assert (agent.vision, agent.internal_state, agent.step_prompt) == (2, ["tired"], "Walk?")
    assert agent.memory.n == 2
    agent.system_prompt = "You are young."
    assert agent.llm.system_prompt == "You are young."


@pytest.mark.parametrize(
    ("vision", "seen"),
    [(None, []), (0, []), (1, ["Walker 2"]), (3, ["Walker 2", "Walker 3"]), (-1, ["Walker 2", "Walker 3", "Walker 4"])],
)
def test_it_sees_as_far_as_its_vision(vision, seen):
    world = World()
    agent = Walker(world, vision=vision)
    for cell in [(4, 5), (7, 4), (0, 0)]:
        Walker(world, cell=cell)
    assert list(agent.generate_obs().local_state) == seen


def test_what_it_sees_of_itself_and_of_others():
    world = World()
    agent = Walker(world, vision=1, internal_state={"mood": "calm", "_secret": 1})
    Walker(world, cell=(4, 5), internal_state=["awake", "_plots"])
    Walker(world, cell=(4, 3), internal_state={"mood": "angry", "_hunger": 0.5})
    observation = agent.generate_obs()
    assert observation.self_state == {
        "agent_unique_id": 1,
        "location": (4, 4),
        "internal_state": {"mood": "calm", "_secret": 1},
    }
    assert observation.local_state == {
        "Walker 2": {"position": (4, 5), "internal_state": ["awake"]},
        "Walker 3": {"position": (4, 3), "internal_state": {"mood": "angry"}},
    }


@pytest.mark.parametrize("state", [3, 2.5, None, ("a", 1), {"x"}, {"n": [1]}, object()])
def test_any_printable_internal_state_gets_into_a_prompt(state):
    world = World()
    agent = Walker(world, vision=1, internal_state=state)
    other = Walker(world, internal_state=state)
    json.loads(agent.generate_obs().as_json())
    json.loads(other.generate_obs().as_json())


def test_numpy_numbers_stay_numbers_in_a_prompt():
    import numpy as np

    world = World()
    agent = Walker(world, internal_state={"wealth": np.int64(3), "path": np.array([1.5, 2])})
    assert json.loads(agent.generate_obs().as_json())["self_state"]["internal_state"] == {
        "wealth": 3,
        "path": [1.5, 2.0],
    }


def test_an_observation_does_not_change_with_the_world():
    world = World()
    agent = Walker(world, internal_state={"mood": "calm"})
    observation = agent.generate_obs()
    agent.internal_state["mood"] = "angry"
    assert observation.self_state["internal_state"] == {"mood": "calm"}


# Acting.


CALLS = Message("assistant", tool_calls=(tool_call("note", '{"word": "a"}'), tool_call("anote", '{"word": "b"}')))


async def test_a_plan_is_carried_out_in_order_and_remembered():
    world = World()
    agents = [Walker(world), Walker(world)]
    results = [agents[0].apply_plan(Plan(1, CALLS)), await agents[1].aapply_plan(Plan(1, CALLS))]
    assert [said for _, said in world.log] == ["a", "later b"] * 2
    assert [result["response"] for result in results[0]] == ["noted a", "noted b"]
    assert results[0] == results[1]
    for agent in agents:
        assert [dict(entry.content) for entry in agent.memory.entries] == [
            {"tool": "note", "arguments": {"word": "a"}, "result": "noted a"},
            {"tool": "anote", "arguments": {"word": "b"}, "result": "noted b"},
        ]


def test_a_refused_call_is_remembered_and_the_others_go_on():
    world = World()
    agent = Walker(world)
    agent.apply_plan(Plan(1, Message("assistant", tool_calls=(tool_call("fly"), *CALLS.tool_calls[:1]))))
    refused, noted = agent.memory.entries
    assert "fly" in refused.content["result"]
    assert noted.content["result"] == "noted a"


def test_messages_are_in_the_recipients_memory_at_once():
    world = World()
    speaker, listener, stranger = Walker(world), Walker(world), mesa.Agent(world)
    told = speaker.send_message("hello", [speaker, listener, stranger])
    assert listener.memory.get_communication_history() == "[step 0] Agent 1 says: hello"
    assert [entry.content["recipients"] for entry in speaker.memory.entries] == [[2]]
    assert "[2]" in told
    assert "[3]" in told


def test_a_message_to_nobody_is_told_so():
    world = World()
    speaker = Walker(world)
    assert "Nobody" in speaker.send_message("hello", [])
    assert speaker.memory.entries == ()


RECIPIENTS = [
    (lambda a, b, gone, plain: [b, b, 2, b], [2], "Agents [2] got the message."),
    (lambda a, b, gone, plain: b, [2], "Agents [2] got the message."),
    (lambda a, b, gone, plain: 2, [2], "Agents [2] got the message."),
    (lambda a, b, gone, plain: np.int64(2), [2], "Agents [2] got the message."),
    (lambda a, b, gone, plain: (each for each in [1, 2]), [2], "Agents [2] got the message."),
    (lambda a, b, gone, plain: a.model.agents, [2], "Agents [2] got the message. Agents [4] have no memory and were "
     "left out."),
    (lambda a, b, gone, plain: [gone, b], [2], "Agents [2] got the message. There are no agents [3]."),
    (lambda a, b, gone, plain: [gone, 3], [], "Nobody could be given the message. There are no agents [3]."),
    (lambda a, b, gone, plain: [99, 2, 98, 99], [2], "Agents [2] got the message. There are no agents [99, 98]."),
    (lambda a, b, gone, plain: [plain, plain], [], "Nobody could be given the message. Agents [4] have no "
     "memory and were left out."),
    (lambda a, b, gone, plain: [a, 1], [], "Nobody could be given the message."),
    (lambda a, b, gone, plain: Walker(World()), [], "Nobody could be given the message. There are no agents "
     "[1]."),
]  # fmt: skip


@pytest.mark.parametrize(("named", "heard", "reply"), RECIPIENTS)
async def test_whoever_is_meant_gets_a_message_once(named, heard, reply):
    world = World()
    a, b, gone = Walker(world), Walker(world), Walker(world)
    plain = mesa.Agent(world)
    gone.remove()
    for send in (a.send_message, a.asend_message):
        said = send("hello", named(a, b, gone, plain))
        assert (said if isinstance(said, str) else await said) == reply
    assert [len(agent.memory.entries) for agent in (a, b, gone)] == [2 * len(heard), 2 * len(heard), 0]


class Guild(LLMAgent, MetaAgent):
    """Can be iterated over, and is one agent."""


def test_a_meta_agent_is_one_recipient_and_its_members_are_several():
    world = World()
    speaker, *members = Walker(world), Walker(world), Walker(world)
    guild = Guild(world, OneCall, client=ScriptedLLM("hm"), tools=[], agents=members)
    assert speaker.send_message("hello", guild) == "Agents [4] got the message."
    assert speaker.send_message("hello", guild.agents) == "Agents [2, 3] got the message."


@pytest.mark.parametrize("recipients", [None, "2", ["2"], [None], [True], 2.0])
def test_what_cannot_be_a_recipient_is_an_error(recipients):
    with pytest.raises(TypeError, match=r"^The recipients of a message are agents or their unique ids, got "):
        Walker(World()).send_message("hello", recipients)


class Compared(mesa.Agent):
    """Counts how often it is compared with another agent."""

    compared = 0

    def __init__(self, model, *, hears):
        super().__init__(model)
        if hears:
            self.memory = ShortTermMemory(self)

    def __eq__(self, other):
        Compared.compared += 1
        return self is other

    __hash__ = mesa.Agent.__hash__


def test_a_broadcast_compares_nobody_with_everybody_and_is_one_short_line_for_the_speaker():
    world = World()
    speaker = Walker(world)
    for hears in [True, False] * 50:
        Compared(world, hears=hears)
    Compared.compared = 0
    reply = speaker.send_message("hello", list(world.agents))
    assert Compared.compared <= 300  # a few times each, to look them up
    (sent,) = speaker.memory.entries
    assert sent.content["recipients"] == list(range(2, 102, 2))
    shown = "[2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, ...] (50 agents)"
    assert str(sent) == f"Step 0. You to {shown}: hello"
    assert reply.startswith(f"Agents {shown} got the message. Agents [3, 5, ")


@pytest.mark.parametrize("act", ["apply", "send"])
def test_acting_before_the_turn_is_refused(act):
    class Hasty(Walker):
        async def astep(self):
            if act == "apply":
                self.apply_plan(Plan(1, CALLS))
            else:
                self.send_message("now", list(self.model.agents))

    enable_automatic_parallel_stepping()
    world = World(parallel=True)
    Hasty(world), Hasty(world)
    with pytest.raises(ParallelStepError) as caught:
        world.step()
    assert all(isinstance(error, TurnError) and "my_turn" in str(error) for error in caught.value.exceptions)
    assert world.log == []


def test_aapply_plan_waits_for_the_turn():
    class Patient(Walker):
        async def astep(self):
            self.model.log.append((self.unique_id, "ready"))
            await self.aapply_plan(Plan(1, CALLS))

    enable_automatic_parallel_stepping()
    world = World(parallel=True)
    Patient(world), Patient(world)
    world.step()
    assert world.log == [(1, "ready"), (2, "ready"), (1, "a"), (1, "later b"), (2, "a"), (2, "later b")]


# The step.


def note_word(request):
    return [tool_call("note", '{"word": "w"}')]


@pytest.mark.parametrize("mode", ["asyncio", "threading", "off"])
def test_the_default_step_observes_decides_and_acts(mode):
    if mode != "off":
        enable_automatic_parallel_stepping(mode=mode)
    world = World(parallel=mode != "off")
    agents = [Walker(world, ScriptedLLM(note_word)) for _ in range(3)]
    world.step()
    assert [said for _, said in world.log] == ["w"] * 3
    assert [entry.type for entry in agents[0].memory.entries] == ["observation", "action"]


def test_without_a_prompt_its_step_does_nothing_and_says_so_once():
    """So it is in mesa-llm, where models step agents that the model's own code asks."""

    class Silent(LLMAgent):
        pass

    llm = ScriptedLLM("hello")
    agents = [Silent(World(), OneCallReasoning, client=llm, tools=[]) for _ in range(2)]
    with pytest.warns(UserWarning, match=r"Silent 1 has neither a step of its own nor a step_prompt"):
        agents[0].step()
    for agent in agents:
        agent.step()
        asyncio.run(agent.astep())
    assert not llm.requests
    assert not agents[0].memory.entries
    with pytest.raises(ConfigurationError, match=r"Silent 1 has nothing to decide.*step_prompt"):
        agents[0].reasoning.plan()


def test_a_class_can_say_in_which_steps_it_has_something_to_decide():
    class Monday(LLMAgent):
        @property
        def step_prompt(self):
            return "What now?" if self.model.steps == 1 else None

    llm = ScriptedLLM("hello")
    agent = Monday(World(), OneCallReasoning, client=llm, tools=[])
    for agent.model.steps in range(3):
        agent.step()
    assert len(llm.requests) == 1


class Hooked(Speaker):
    """Notes its hooks; the sync ones only."""

    def pre_step(self):
        self.model.log.append((self.unique_id, "pre"))

    def post_step(self):
        self.model.log.append((self.unique_id, "post"))


class AsyncHooked(Speaker):
    """Notes its hooks; the async ones only."""

    async def apre_step(self):
        self.model.log.append((self.unique_id, "pre"))

    async def apost_step(self):
        self.model.log.append((self.unique_id, "post"))


class SuperHooked(Hooked):
    """Calls its parent's step, whose hooks must not run a second time."""

    def step(self):
        super().step()

    async def astep(self):
        await super().astep()


@pytest.mark.parametrize("mode", ["asyncio", "threading", "off"])
@pytest.mark.parametrize("agent_class", [Hooked, AsyncHooked, SuperHooked])
def test_hooks_run_once_around_each_step(agent_class, mode):
    if mode != "off":
        enable_automatic_parallel_stepping(mode=mode)
    model = SpeakersModel(1, ScriptedLLM("hello"), agent_class, parallel=mode != "off")
    model.step()
    model.step()
    assert [said for _, said in model.log] == ["pre", "hello", "post"] * 2


def test_a_step_that_failed_has_its_hooks_again_the_next_time():
    answers = iter([ValueError("no"), "hello"])
    model = SpeakersModel(1, ScriptedLLM(lambda request: next(answers)), Hooked, parallel=False)
    with pytest.raises(ValueError, match="no"):
        model.agents.do("step")
    model.agents.do("step")
    assert [said for _, said in model.log] == ["pre", "post", "pre", "hello", "post"]


class Mixin:
    """Brings an astep along; is no LLMAgent."""

    async def astep(self):
        self.model.log.append((self.unique_id, "mixin"))


class Mixed(Mixin, Speaker):
    pass


def test_a_mixins_astep_counts_as_nearer_and_has_hooks():
    class MixedAndHooked(Mixin, Hooked):
        pass

    model = SpeakersModel(1, ScriptedLLM("hello"), Mixed, parallel=False)
    MixedAndHooked(model, None)
    model.agents.do("step")
    assert [said for _, said in model.log] == ["mixin", "pre", "mixin", "post"]


async def test_astep_of_an_agent_with_only_step_does_not_block_the_loop():
    model = SpeakersModel(3, ScriptedLLM("hello", hold_until=3), OnlyStep, parallel=False)
    import asyncio

    await asyncio.gather(*(agent.astep() for agent in model.agents))
    assert len(model.log) == 3


class OnlyStep(LLMAgent):
    def __init__(self, model, client):
        super().__init__(model, OneCall, client=client, step_prompt="?", tools=[])

    def step(self):
        self.model.log.append(str(self.reasoning.plan()))


# Honesty.


def test_it_says_once_when_a_step_that_asked_for_parallelism_does_not_run_in_parallel():
    class Unaware(SpeakersModel):
        pass

    model = Unaware(2, ScriptedLLM("hello"))
    with pytest.warns(NotParallelWarning, match=r"Unaware sets parallel_stepping, but Speaker .* steps by itself"):
        model.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.step()


def test_it_says_nothing_when_the_step_runs_in_parallel_or_nobody_asked():
    enable_automatic_parallel_stepping()
    SpeakersModel(2, ScriptedLLM("hello")).step()
    SpeakersModel(2, ScriptedLLM("hello"), parallel=False).step()


def test_none_handed_on_is_the_default():
    agent = LLMAgent(mesa.Model(rng=1), CoTReasoning, None, None, None, None, "Go on.", None, client=ScriptedLLM("hm"),
                     tools=None, memory=None, api_key=None, temperature=None)  # fmt: skip
    plain = LLMAgent(mesa.Model(rng=1), CoTReasoning, client=ScriptedLLM("hm"), step_prompt="Go on.")
    agent.step()
    assert agent.llm.llm_model == plain.llm.llm_model
    assert type(agent.memory) is type(plain.memory)
    assert agent.llm.options == plain.llm.options


@pytest.mark.parametrize("reasoning", [None, "cot"])
def test_a_reasoning_that_is_no_class(reasoning):
    model = mesa.Model(rng=1)
    with pytest.raises(ConfigurationError, match=f"e.g. CoTReasoning, got {reasoning!r}"):
        LLMAgent(model, reasoning, client=ScriptedLLM("hm"))
    assert len(model.agents) == 0


def broken(agent):
    raise OSError("no memory")


class Flier(LLMAgent, ContinuousSpaceAgent):
    """An agent whose other base puts it into a space."""


@pytest.mark.parametrize(
    "wrong",
    [
        {"reasoning": None},
        {"llm_model": "nameless"},
        {"vision": -3},
        {"actions": ["fly"]},
        {"tools": ["fly"]},
        {"memory": broken},
        {"tool_calls": "maybe"},
        {"max_tool_calls": 0},
        {"temperature": -1},
        {"colour": "red"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_constructor_that_fails_leaves_no_agent_behind(wrong):
    model = mesa.Model()
    space = ContinuousSpace([[0, 9], [0, 9]], random=model.random)
    with pytest.raises((ConfigurationError, OSError, TypeError)):
        LLMAgent(model, **{"reasoning": OneCallReasoning} | wrong)
    with pytest.raises((ConfigurationError, OSError, TypeError)):
        Flier(model, **{"reasoning": OneCallReasoning, "space": space} | wrong)
    assert (len(model.agents), len(space.agents)) == (0, 0)
