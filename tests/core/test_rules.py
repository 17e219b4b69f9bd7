"""One rule answers every question of every reasoning and memory, in every tool mode, on a client and behind a server."""

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesa import Model
from pydantic import BaseModel

from mesa_llm.clients import (
    DirectClient,
    LiteLLMClient,
    LLMRequest,
    LLMResponse,
    Message,
    RuleBasedClient,
    ToolCall,
    ToolSpec,
    tool_call,
)
from mesa_llm.clients.chat_completion import to_response, write_request
from mesa_llm.clients.questions import instructions_of
from mesa_llm.clients.rule_based import answer_instead, fitted
from mesa_llm.errors import ConfigurationError, DecisionError, ModelCallError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import EpisodicMemory, LongTermMemory, ShortTermMemory, STLTMemory
from mesa_llm.module_llm.dialogue import read_structured
from mesa_llm.parallel_stepping import ParallelStepError, ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.reasoning import (
    CoTReasoning,
    OneCallReasoning,
    Plan,
    ReActReasoning,
    Reasoning,
    ReWOOReasoning,
    ask_structured,
    question_of,
    read_observation,
    register_question,
)
from mesa_llm.reasoning.react import ReActOutput
from mesa_llm.testing import FakeOpenAIServer, ScriptedLLM
from mesa_llm.testing.fake_openai_server import read_request

THINK_FIRST = [CoTReasoning, ReActReasoning, ReWOOReasoning]
REASONINGS = [OneCallReasoning, *THINK_FIRST]
MEMORIES = [ShortTermMemory, STLTMemory, LongTermMemory, EpisodicMemory]
MODES = ["native", "json_schema", "auto"]


def eat(agent, amount: int) -> str:
    """Eat.

    Args:
        amount: how much.
    """
    agent.internal_state["hunger"] -= amount
    agent.model.log.append((agent.unique_id, "eat", amount))
    return "eaten"


def walk(agent, to: str = "home") -> str:
    """Walk.

    Args:
        to: where.
    """
    agent.internal_state["hunger"] += 2
    agent.model.log.append((agent.unique_id, "walk", to))
    return f"at {to}"


def by_calls(request):
    """A rule that knows of `OneCallReasoning` only."""
    me = read_observation(request)["self_state"]["internal_state"]
    if me["hunger"] > 5:
        return [tool_call("eat", amount=4)]
    return tool_call("walk", to="</think> the Café {1}") if me["hunger"] != 3 else [tool_call("walk")]


def by_calls_or_words(request):
    me = read_observation(request)["self_state"]["internal_state"]
    if me["hunger"] > 5:
        return "I rest."
    return Message("assistant", "I have to go.", (tool_call("walk"),))


class Walker(LLMAgent):
    def describe_observation(self, obs, before=None):
        return obs.as_json()  # for rules behind a server, which get the text alone

    def step(self):
        self.apply_plan(self.reasoning.plan(obs=self.generate_obs()))


class Town(Model):
    def __init__(self, client, reasoning=OneCallReasoning, memory=ShortTermMemory, *, parallel=False, n=3, **llm):
        super().__init__(rng=1)
        self.log = []
        self.parallel_stepping = parallel
        for number in range(n):
            walker = Walker(
                self,
                reasoning,
                llm.get("llm_model", "rules/v1"),
                api_base=llm.get("api_base"),
                client=client,
                step_prompt="What now?",
                system_prompt="You are a walker.",
                internal_state={"hunger": number},
                tools=[eat, walk],
                tool_mode=llm.get("tool_mode", "native"),
            )
            walker.memory = memory(walker)

    def step(self):
        self.agents.do("step")

    @property
    def hunger(self):
        return [agent.internal_state["hunger"] for agent in self.agents]

    def prompts(self):
        return [agent.memory.get_prompt_ready() for agent in self.agents]


def run(client, *args, steps=6, **kwargs):
    town = Town(client, *args, **kwargs)
    for _ in range(steps):
        town.step()
    return town


# Which question it is


def thinks_then_calls(request):
    if request.response_format is not None and "1" in request.response_format.schema["properties"]:
        return "no grade"  # so that it is asked again
    if request.response_format is not None and "action" in request.response_format.schema["properties"]:
        return "no JSON" if len(request.messages) == 2 else '{"reasoning": "hunger", "action": "eat"}'
    if "calls" in str(request.response_format):
        return "no JSON" if len(request.messages) == 2 else '{"calls": [{"tool": "walk", "arguments": {}}]}'
    return [tool_call("walk")] if request.tools and request.tool_choice != "none" else "I walk."


def over_http(request):
    """A request as a server reads it."""
    return read_request(json.loads(write_request(request, "v1")))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("reasoning", "questions"),
    [
        (OneCallReasoning, {"native": "d", "json_schema": "dd"}),
        (CoTReasoning, {"native": "dc", "json_schema": "dcc"}),
        (ReActReasoning, {"native": "ddc", "json_schema": "ddcc"}),
        (ReWOOReasoning, {"native": "dc", "json_schema": "dcc"}),
    ],
)
def test_questions_of_reasonings(reasoning, mode, questions):
    client = ScriptedLLM(thinks_then_calls)
    run(client, reasoning, n=1, steps=1, tool_mode=mode)
    expected = questions.get(mode, questions["native"])
    assert "".join(question_of(request)[0] for request in client.requests) == expected
    assert "".join(question_of(over_http(request))[0] for request in client.requests) == expected


@pytest.mark.parametrize(("memory", "asked"), [(LongTermMemory, ["sum up"]), (EpisodicMemory, ["grade", "grade"])])
async def test_questions_of_memories(memory, asked):
    client = ScriptedLLM(thinks_then_calls)
    (walker,) = Town(client, memory=memory, n=1).agents
    walker.memory.add_to_memory("note", {"text": "It rains."})
    with suppress(DecisionError):
        await walker.memory.asettle()
    for read in (lambda request: request, over_http):
        assert [question_of(read(request)) for request in client.requests] == asked


def test_a_second_call_of_a_strategy_of_ones_own_calls_tools():
    client = ScriptedLLM([[tool_call("walk")]])
    (walker,) = Town(client, n=1).agents
    walker.reasoning.execute_tool_call("Go for a walk.")
    assert question_of(client.requests[0]) == "call tools"


def ask(system, *rest):
    return LLMRequest(model="m", messages=(Message("system", system), *rest))


def test_the_persona_does_not_count_and_unknown_instructions_are_for_a_decision():
    (walker,) = Town(ScriptedLLM("I walk."), CoTReasoning, n=1).agents
    walker.reasoning.plan()
    first, second = (request.messages[0].content for request in walker.llm.client.requests)
    instructions = second.partition("\n\n")[0]
    assert question_of(ask(f"{first}\n\n{instructions}")) == "decide"
    assert question_of(ask(f"Persona: {instructions}")) == "decide"
    assert question_of(ask(f"# Tools\n{{}}\n\nAny.\n\n{second}\n\n{first}")) == "call tools"
    assert question_of(ask("Whatever.")) == question_of(LLMRequest(model="m", messages=())) == "decide"
    merged = LLMRequest(model="m", messages=(Message("user", f"{second}\n\nI walk."),))
    assert question_of(merged) == "call tools"  # for a server that takes no system message


def test_a_memory_of_ones_own_says_what_it_asks():
    register_question("sum up", "Tell the story of {who} in a line.")
    register_question("sum up", "Tell the story of {who} in a line.")
    assert question_of(ask("Tell the story of Ada in a line.")) == "sum up"
    with pytest.raises(ConfigurationError, match="'Tell the story of' are registered for 'sum up' already"):
        register_question("grade", "Tell the story of {who}")


@pytest.mark.parametrize(
    ("question", "text", "error"),
    [("decided", "x", "question must be one of 'decide', .* got 'decided'"), ("decide", " {x}", r"got ' \{x\}'")],
)
def test_what_cannot_be_registered(question, text, error):
    with pytest.raises(ConfigurationError, match=error):
        register_question(question, text)


# A rule for decisions


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reasoning", THINK_FIRST)
def test_a_rule_for_one_call_does_the_same_with_every_reasoning(reasoning, mode):
    expected = run(RuleBasedClient(by_calls))
    assert {deed for _, deed, *_ in expected.log} == {"eat", "walk"}
    asked = []

    def watched(request):
        asked.append(question_of(request))
        return by_calls(request)

    town = run(RuleBasedClient(watched), reasoning, tool_mode=mode)
    assert town.log == expected.log
    assert town.hunger == expected.hunger
    assert set(asked) == {"decide"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reasoning", REASONINGS)
def test_words_that_call_no_tools(reasoning, mode):
    expected = run(RuleBasedClient(by_calls_or_words))
    client = RuleBasedClient(by_calls_or_words, answers={"decide"})
    assert run(client, reasoning, tool_mode=mode).log == expected.log
    assert 0 < len(expected.log) < 18


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reasoning", REASONINGS)
@pytest.mark.parametrize("nothing", [[], (), "", Message("assistant", "")])
def test_no_calls_is_a_decision_too(reasoning, mode, nothing):
    town = run(RuleBasedClient(lambda request: read_observation(request) and nothing), reasoning, tool_mode=mode)
    assert town.log == []


@pytest.mark.parametrize("reasoning", THINK_FIRST)
def test_several_calls_are_made_in_their_order(reasoning):
    calls = [tool_call("walk"), tool_call("eat", amount=1), tool_call("walk")]
    town = run(
        RuleBasedClient(lambda request: calls), reasoning, n=1, steps=1 if reasoning is not ReWOOReasoning else 3
    )
    assert [deed for _, deed, *_ in town.log] == ["walk", "eat", "walk"]


@pytest.mark.parametrize("reasoning", THINK_FIRST)
def test_a_rule_that_decides_in_words_is_asked_for_the_calls(reasoning):
    def rule(request):
        if question_of(request) == "call tools":
            assert request.messages[1].content == "I walk to {1}."
            return tool_call("walk", to="sea")
        return "I walk to {1}."

    assert run(RuleBasedClient(rule), reasoning, n=1, steps=1).log == [(1, "walk", "sea")]


def test_a_rule_may_fill_the_form_of_react_itself():
    def rule(request):
        if question_of(request) == "decide":
            return "```json\n{'reasoning': 'hunger', 'action': 'walk'}\n```"
        assert request.messages[1].content == "walk"
        return [tool_call("walk")]

    assert run(RuleBasedClient(rule), ReActReasoning, n=1, steps=1).log == [(1, "walk", "home")]


@pytest.mark.parametrize("reasoning", REASONINGS)
def test_calls_of_tools_that_are_not_on_offer_are_refused_and_remembered(reasoning):
    client = RuleBasedClient(lambda request: [tool_call("walk")])
    agent = LLMAgent(Model(rng=1), reasoning, client=client, step_prompt="?", tools=[])
    agent.step()
    (action,) = [entry for entry in agent.memory.entries if entry.type == "action"]
    assert "walk" in str(action)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reasoning", REASONINGS)
def test_a_plan_without_calls_has_them_as_words(reasoning, mode):
    (walker,) = Town(RuleBasedClient(lambda request: [tool_call("walk")]), reasoning, n=1, tool_mode=mode).agents
    message = walker.reasoning.plan(tool_calls="none").llm_plan
    assert message.tool_calls == ()
    assert message.content == 'I call these tools:\n{"calls": [{"tool": "walk", "arguments": {}}]}'


ARGUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
CALLS = st.builds(
    lambda name, arguments: tool_call(name, **arguments), st.text(), st.dictionaries(st.text(), ARGUMENTS)
)
BROKEN = st.builds(lambda name, text: ToolCall(tool_call(name).id, name, text), st.text(), st.text())


def requests_of(reasoning):
    (walker,) = Town(ScriptedLLM('{"reasoning": "r", "action": "a"}'), reasoning, n=1).agents
    walker.reasoning.plan()
    return walker.llm.client.requests


@given(st.lists(CALLS | BROKEN, max_size=3), st.text(), st.sampled_from([CoTReasoning, ReActReasoning]))
def test_calls_in_words_come_back_as_they_were(calls, text, reasoning):
    thinking, calling = requests_of(reasoning)
    message = Message("assistant", text if calls else "", to_response(calls, model="m").message.tool_calls)
    answer = fitted(LLMResponse(message=message, model="m"), thinking, instructions_of(thinking))
    words = answer.message.content
    if reasoning is ReActReasoning:
        words = read_structured(words, ReActOutput).action
    assert "<" not in words.removeprefix(text), "a tag in an argument would end a model's thoughts"
    again = replace(calling, messages=(calling.messages[0], Message("user", words)))
    back = to_response(answer_instead("call tools", again, frozenset({"decide"})), model="m").message.tool_calls
    assert [(call.name, call.arguments) for call in back] == [(call.name, call.arguments) for call in calls]


# Memories


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
@pytest.mark.parametrize("memory", MEMORIES)
def test_memories_run_on_a_rule_for_decisions(memory, mode):
    asked = []

    def watched(request):
        asked.append(question_of(request))
        return by_calls(request)

    alone = run(RuleBasedClient(watched), CoTReasoning, memory, steps=20)
    assert set(asked) == {"decide"}
    enable_automatic_parallel_stepping(mode=mode)
    town = Town(RuleBasedClient(by_calls, latency=0.001), CoTReasoning, memory, parallel=ParallelStepping(mode=mode))
    for _ in range(20):
        town.step()
        assert [report.settle_failures for report in town.parallel_reports] == [0]
    assert town.log == alone.log
    assert town.prompts() == alone.prompts()


async def test_what_the_client_answers_a_memory():
    client = RuleBasedClient(by_calls)
    (walker,) = Town(client, memory=LongTermMemory, n=1).agents
    for number in range(100):
        walker.memory.add_to_memory("note", {"text": f"It is the day number {number}."})
    keep = await walker.memory.asettle()
    keep()
    lines = walker.memory.long_term_memory.splitlines()
    assert lines[-1] == "note: It is the day number 99."
    assert set(lines) < {"## Step 0", *(f"note: It is the day number {number}." for number in range(100))}
    assert 500 < len(walker.memory.long_term_memory) <= 600
    walker.memory = EpisodicMemory(walker)
    assert await walker.memory.agrade_event_importance("note", {"text": "It rains."}) == 5


def test_a_line_that_is_too_long_keeps_its_end():
    request = ask("x", Message("user", f"# Memory so far\nold\n\n# What has happened since\n{'a' * 1000}the end"))
    summary = answer_instead("sum up", request, frozenset())
    assert summary.endswith("the end")
    assert len(summary) == 600
    assert answer_instead("sum up", ask("x"), frozenset()) == "Nothing has happened."


@pytest.mark.parametrize("memory", [STLTMemory, LongTermMemory, EpisodicMemory])
def test_a_rule_that_answers_memories_itself(memory):
    asked = set()

    def rule(request):
        asked.add(question := question_of(request))
        match question:
            case "decide":
                return by_calls(request)
            case "sum up":
                return "I have walked."
            case "grade":
                return json.dumps(dict.fromkeys(request.response_format.schema["properties"], 9))

    town = run(RuleBasedClient(rule, answers={"decide", "sum up", "grade"}), memory=memory, steps=10)
    for agent in town.agents:
        if memory is EpisodicMemory:
            assert {episode.importance for episode in agent.memory._episodes} == {9}
        else:
            assert agent.memory.long_term_memory == "I have walked."
    assert asked == {"decide", "grade" if memory is EpisodicMemory else "sum up"}


# What cannot be


@pytest.mark.parametrize("answers", [{"sum up"}, "decide", {"decide", "dream"}, []])
def test_questions_that_a_rule_cannot_answer(answers):
    with pytest.raises(
        ConfigurationError, match="answers must have 'decide' and may have 'call tools', 'sum up', 'gra"
    ):
        RuleBasedClient(by_calls, answers=answers)


def broken(request):
    return {"mood": 1}["hunger"]


@pytest.mark.parametrize(
    ("rule", "reasoning", "kind", "errors"),
    [
        (broken, OneCallReasoning, KeyError, [r"asked to 'decide' \(broken\)\."]),
        (lambda request: None, CoTReasoning, TypeError, [r"None.*is not an answer", r"asked to 'decide' \(<lambda>\)"]),
        (
            lambda request: read_observation(request) and "I rest.",
            CoTReasoning,
            DecisionError,
            [r"asked to 'call tools' \(<lambda>\): No observation in the request", r"answers=\{'decide'\}"],
        ),
        (
            lambda request: "I rest." if question_of(request) == "decide" else broken(request),
            CoTReasoning,
            KeyError,
            [r"asked to 'call tools' \(<lambda>\)\. It is asked because it has decided in words"],
        ),
    ],
)
def test_what_a_rule_raises_names_the_question(rule, reasoning, kind, errors):
    for error in errors:
        with pytest.raises(kind, match=f"(?s){error}"):
            run(RuleBasedClient(rule), reasoning, n=1, steps=1)


def test_a_failure_of_a_model_that_a_rule_shows_stays_what_it_is():
    failure = ModelCallError("busy", is_transient=True)

    def rule(request):
        raise failure

    for _ in range(2):
        with pytest.raises(ModelCallError, match="busy") as caught:
            run(RuleBasedClient(rule), n=1, steps=1)
        assert caught.value is failure
    assert not any("The rule was asked" in note for note in getattr(failure, "__notes__", ()))
    cut = LLMResponse(message=Message("assistant", ""), model="m", finish_reason="length")
    assert RuleBasedClient(lambda request: cut).generate(ask("x")).finish_reason == "length"


class Mood(BaseModel):
    mood: str


class Moody(Reasoning):
    """Asks for a form of its own."""

    def decide(self, prompt, obs, *, ttl, selected_tools, tool_calls):
        request = self.agent.llm.request(f"# Observation\n{obs.as_json()}", system_prompt="How do you feel?")
        mood = yield from ask_structured(request, Mood, asker=self.agent)
        return Plan(step=obs.step, llm_plan=Message("assistant", mood.mood), ttl=ttl)


@pytest.mark.parametrize("answer", [tool_call("walk"), "I am well."])
def test_a_form_that_a_rule_does_not_fill(answer):
    with pytest.raises(DecisionError, match=r"'decide' .*not the JSON object asked for, with 'mood': '.*(walk|well)"):
        run(RuleBasedClient(lambda request: answer), Moody, n=1, steps=1)
    (agent,) = run(RuleBasedClient(lambda request: 'Well: {"mood": "fine"}'), Moody, n=1, steps=1).agents
    assert "fine" in str(agent.reasoning.plan())


async def test_a_summary_is_a_text():
    client = RuleBasedClient(lambda request: tool_call("walk"), answers={"decide", "sum up"})
    (walker,) = Town(client, memory=LongTermMemory, n=1).agents
    walker.memory.add_to_memory("note", {"text": "It rains."})
    with pytest.raises(DecisionError, match=r"asked to 'sum up' .*called the tool 'walk', where a text was asked for"):
        await walker.memory.asettle()


# Behind a server


@pytest.mark.parametrize("transport", [DirectClient, LiteLLMClient])
@pytest.mark.parametrize("mode", ["native", "json_schema"])
@pytest.mark.parametrize(
    ("reasoning", "memory"),
    list(zip(REASONINGS, [EpisodicMemory, STLTMemory, LongTermMemory, EpisodicMemory], strict=True)),
)
def test_a_rule_behind_a_server_gives_the_same_run(reasoning, memory, mode, transport):
    rule = RuleBasedClient(by_calls)
    expected = run(rule, reasoning, memory, tool_mode=mode, steps=9)
    with FakeOpenAIServer(rule) as server:
        client = transport(api_base=server.url, api_key="key")
        town = run(client, reasoning, memory, tool_mode=mode, steps=9, llm_model="openai/v1")
        assert len(server.requests) > 9
    assert town.log == expected.log
    assert town.prompts() == expected.prompts()


def test_what_a_server_reads_is_what_was_asked():
    call = tool_call("walk", to="sea")
    request = LLMRequest(
        model="v1",
        messages=(
            Message("system", "Be brief."),
            Message("user", "Go."),
            Message("assistant", "", (call,)),
            Message("tool", "gone", tool_call_id=call.id),
        ),
        tools=(ToolSpec("walk", "Walk.", {"type": "object", "properties": {"to": {"type": "string"}}}),),
        tool_choice="required",
        options={"temperature": 0.5, "response_format": {"type": "json_object"}},
    )
    assert over_http(request) == request
    (walker,) = Town(ScriptedLLM('{"reasoning": "r", "action": "a"}'), ReActReasoning, n=1).agents
    walker.reasoning.plan()
    for made in walker.llm.client.requests:
        assert over_http(made).as_dict() == made.as_dict() | {"model": "v1"}
    body = {"model": "m", "tool_choice": {"type": "function"}, "messages": [{"role": "developer", "content": None}]}
    assert read_request(body | {"messages": [{"role": "developer", "content": [{"type": "text", "text": "x"}]}]}) == (
        LLMRequest(model="m", messages=(Message("system", "x"),), options={"tool_choice": {"type": "function"}})
    )
    assert read_request(body).messages == (Message("system", ""),)


def test_the_error_of_a_rule_behind_a_server_is_sent():
    with FakeOpenAIServer(RuleBasedClient(broken)) as server:
        client = DirectClient(api_base=server.url)
        with pytest.raises(ModelCallError, match=r"KeyError: 'hunger' The rule was asked to 'decide' \(broken\)"):
            client.generate(LLMRequest(model="openai/v1", messages=(Message("user", "?"),)))


def test_a_failing_rule_in_a_parallel_step_names_agents_and_question():
    enable_automatic_parallel_stepping()
    town = Town(RuleBasedClient(lambda request: read_observation(request) and "I rest."), CoTReasoning, parallel=True)
    with pytest.raises(ParallelStepError) as caught:
        town.step()
    assert all("asked to 'call tools'" in str(error) for error in caught.value.exceptions)
