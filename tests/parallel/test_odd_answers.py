"""A run on a server that answers in every odd form: each decision is valid, an error with a cause, or counted as invalid."""

import itertools
import json
import random

import pytest
from mesa import Model

from mesa_llm.llm_agent import LLMAgent
from mesa_llm.module_llm import connect
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.reasoning import CoTReasoning, OneCallReasoning, ReActReasoning
from mesa_llm.testing import FakeOpenAIServer, Fault

CALL = {"id": "a", "type": "function", "function": {"name": "move", "arguments": '{"x": 1}'}}


def move(agent, x: int) -> str:
    """Move.

    Args:
        x: where to.
    """
    if agent.random.random() < 0.02:
        raise ZeroDivisionError("a mistake of the user's")
    agent.moves.append(x)
    return f"moved to {x}"


def whole(message, finish="stop", **more):
    choice = {"index": 0, "message": {"role": "assistant", "content": None} | message, "finish_reason": finish}
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    } | more


def calling(arguments, name="move"):
    return whole({"tool_calls": [CALL | {"function": {"name": name, "arguments": arguments}}]}, "tool_calls")


def error(status, message, **more):
    return Fault(status=status, body={"error": {"message": message} | more})


ODD = [
    *(
        whole({"content": text}, finish)
        for finish in ("length", "content_filter", "error", "stop")
        for text in ("", "I wi")
    ),
    whole({"content": "<think>hm"}),
    whole({"content": "hm</think>I move to 1."}),
    whole({"content": '<tool_call>{"name": "move", "arguments": {"x": 1}}</tool_call>'}),
    whole({"content": 'I call {"name": "move", "arguments": {"x": 1}} now.'}, "tool_calls"),
    whole({"content": None, "function_call": {"name": "move", "arguments": '{"x": 1}'}}, "function_call"),
    whole({"content": [{"type": "text", "text": "I move."}]}),
    whole({"content": None, "refusal": "I cannot."}),
    calling('{"x": 1'),
    calling('"{\\"x\\": 1}"'),
    calling("{'x': 1}"),
    calling('{"x": "many"}'),
    calling('{"x": 1, "speed": 2}'),
    calling('{"x": 1}{"x": 2}'),
    calling("over there"),
    calling('{"x": 1}', "functions.move"),
    calling('{"x": 1}', "fly"),
    calling('{"x": 1}', ""),
    whole({"tool_calls": [CALL, CALL | {"id": "b"}]}, "tool_calls"),
    {"choices": None},
    {"choices": []},
    {"error": {"message": "slow down", "code": "429"}},
    {"error": {"message": "Overloaded", "type": "overloaded_error"}},
    error(400, "Failed to call a function.", code="tool_use_failed", failed_generation="<function=move"),
    error(503, "busy"),
    error(500, "oops"),
    Fault(status=200, body=b"<html>Bad gateway</html>"),
    Fault(status=200, body=json.dumps(calling('{"x": 3}')).encode() + b" trailing"),
]


class Person(LLMAgent):
    """Moves."""

    def __init__(self, model, reasoning, client):
        super().__init__(model, reasoning, "openai/m", client=client, step_prompt="Where to?", tools=[move])
        self.moves = []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*could decide:RuntimeWarning")
@pytest.mark.parametrize("transport", ["direct", "litellm"])
def test_no_decision_is_silently_nothing(transport):
    agents, steps = (200, 20) if transport == "direct" else (60, 5)
    random_state = random.Random(7)
    sent = itertools.count()

    def answer(body):
        next(sent)
        if random_state.random() < 0.5:
            return random_state.choice(ODD)
        if body.get("response_format"):
            return '{"reasoning": "r", "action": "move to 1"}'
        return calling('{"x": 1}') if body.get("tools") and body.get("tool_choice") != "none" else "Action: move to 1"

    enable_automatic_parallel_stepping()
    with FakeOpenAIServer(answer) as server:
        client = connect(api_base=server.url, api_key="sk-12345678", transport=transport, max_attempts=2, max_elapsed=5)
        model = Model(rng=1)
        model.parallel_stepping = ParallelStepping(on_error="skip")
        for reasoning in itertools.islice(itertools.cycle([OneCallReasoning, CoTReasoning, ReActReasoning]), agents):
            Person(model, reasoning, client)
        kinds = dict.fromkeys(("valid", "refused", "crashed", "without a call", "failed"), 0)
        for _ in range(steps):
            before = {agent: len(agent.moves) for agent in model.agents}
            model.agents.shuffle_do("step")
            (report,) = model.parallel_reports[-1:]
            for agent in model.agents:
                part = report.of_agent(agent.unique_id)
                kinds[kind_of(part, len(agent.moves) - before[agent])] += 1
    assert sum(kinds.values()) == agents * steps
    assert min(kinds.values()) > 0, kinds
    assert next(sent) > agents * steps


def kind_of(part, n_moves):
    """What a decision was; fails if it was silently nothing."""
    if part.failed:
        assert part.error.partition(": ")[2], part
        assert n_moves == 0
        return "failed"
    assert part.outcome == "acted"
    assert part.decisions == 1
    made = part.tool_calls - part.refused_tool_calls - part.crashed_tool_calls
    assert made == n_moves
    if n_moves:
        assert part.without_call == 0
        return "valid"
    if part.crashed_tool_calls:
        return "crashed"
    assert part.without_call == 1
    return "refused" if part.refused_tool_calls else "without a call"
