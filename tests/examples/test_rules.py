"""The rules of all examples: their choices follow from what an agent sees, not from how a prompt says it."""

from dataclasses import replace

import pytest
from helpers.rules import as_model

from mesa_llm.clients import Message, RuleBasedClient
from mesa_llm.clients.messages import request_key
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.reasoning import read_observation
from mesa_llm.testing import ScriptedLLM
from mesa_llm_examples import civil_violence, negotiation, opinion, sugarscape
from mesa_llm_examples.civil_violence import CivilViolence
from mesa_llm_examples.negotiation import Negotiation
from mesa_llm_examples.opinion import Opinion
from mesa_llm_examples.shared import choose
from mesa_llm_examples.sugarscape import Sugarscape

EXAMPLES = [
    (civil_violence.policy, CivilViolence, {"citizens": 15, "cops": 4}),
    (negotiation.policy, Negotiation, {"buyers": 5, "sellers": 5}),
    (sugarscape.policy, Sugarscape, {"traders": 12, "width": 6, "height": 6}),
    (opinion.policy, Opinion, {"people": 14, "neighbors": 4}),
]
EACH_EXAMPLE = pytest.mark.parametrize(
    ("policy", "model_class", "size"), EXAMPLES, ids=[model_class.__name__ for _, model_class, _ in EXAMPLES]
)


def states_of(model_class, size, client, steps=5, *, reworded=False):
    enable_automatic_parallel_stepping()
    model = model_class(**size, seed=8, client=client)
    for agent in model.agents if reworded else ():
        agent.system_prompt = "Be somebody else."
        agent.explains_positions = False
    for _ in range(steps):
        model.step()
    return model.datacollector.model_vars


@EACH_EXAMPLE
def test_another_wording_gives_the_same_run(policy, model_class, size):
    asked = []

    def noting(request):
        asked.append(request_key(request))
        return policy(request)

    states = states_of(model_class, size, RuleBasedClient(noting))
    first = set(asked)
    asked.clear()
    assert states_of(model_class, size, RuleBasedClient(noting), reworded=True) == states
    assert first.isdisjoint(asked)


def test_a_choice_depends_on_each_fact_and_on_nothing_else():
    seen = {"step": 1, "self_state": {"agent_unique_id": 1, "location": [0, 1]}, "local_state": {}}
    options = range(1000)
    chosen = choose(list(options), seen, "cell")
    assert chosen == choose(list(options), dict(reversed(seen.items())), "cell")
    others = [seen | {"step": 2}, seen | {"self_state": {"agent_unique_id": 2, "location": [0, 1]}}]
    assert chosen not in [choose(list(options), other, "cell") for other in others]
    assert chosen != choose(list(options), seen, "partner")
    assert {choose(list("abc"), seen | {"step": step}, "cell") for step in range(20)} == set("abc")


def test_the_words_of_a_message_are_read_where_a_request_has_no_observation():
    llm = ScriptedLLM(as_model(civil_violence.policy))
    CivilViolence(1, 0, seed=1, client=llm, parallel_stepping=False).step()
    request = llm.requests[0]
    other = replace(request, messages=(Message("user", '# Observation\n{"step": 7}'),))
    assert read_observation(other) == read_observation(request)
    assert read_observation(replace(other, observation=None)) == {"step": 7}
