"""What a language model might answer in the examples: the choice of one action, as a JSON object."""

import json

from mesa_llm.clients import LLMRequest, Message, ToolSpec
from mesa_llm.reasoning import Observation
from mesa_llm.testing.fake_openai_server import read_request
from mesa_llm_examples.shared import offered


def choice(name, rationale="", **arguments):
    return json.dumps({"rationale": rationale, "action": {"name": name, "arguments": arguments}})


def as_model(policy):
    """A script that gives a rule's answers in the form that a model is asked for."""

    def answer(request):
        message = policy(request)
        (call,) = message.tool_calls
        return choice(call.name, message.content, **json.loads(call.arguments))

    return answer


def at_ease(asked, rationale="I stay."):
    """Civil violence: go in the first direction that is free, rebel never, and arrest nobody.

    Args:
        asked: a request, or the body that a server gets.
        rationale: the reason.
    """
    actions = offered(asked if isinstance(asked, LLMRequest) else read_request(asked))
    if "move_one_step" in actions:
        direction = actions["move_one_step"]["properties"]["direction"]["enum"][0]
        return choice("move_one_step", rationale, direction=direction)
    return choice("keep_quiet" if "keep_quiet" in actions else "wait", rationale)


def asked(actions, internal_state, others=(), *, environment=None, step=1, note=""):
    """A request to choose one of some actions, each with the choices of one argument: `{"wait": {}}`.

    Args:
        actions: by name, the arguments and their choices.
        internal_state: of agent 1, who is asked; it is at (0, 0).
        others: the internal states of the agents in sight, by name.
        environment: what is on the cells in sight.
        step: the step of the model.
        note: what the agent remembers.
    """
    seen = Observation(
        step,
        {"agent_unique_id": 1, "location": [0, 0], "internal_state": internal_state},
        {name: {"position": [0, 1], "internal_state": state} for name, state in dict(others).items()},
        environment or {},
    )
    tools = [
        ToolSpec(name, "", {"properties": {argument: {"enum": enum} for argument, enum in arguments.items()}})
        for name, arguments in actions.items()
    ]
    return LLMRequest(model="m", messages=(Message("user", note),), tools=tuple(tools), observation=seen)


def answered(message):
    """The action that a rule has chosen, and its arguments."""
    (call,) = message.tool_calls
    return call.name, json.loads(call.arguments)
