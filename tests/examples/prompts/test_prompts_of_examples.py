"""All that one agent of each kind asks a model, as text in the files beside this one: a changed word is a diff.

`uv run pytest -n0 --inline-snapshot=create,fix tests/examples/prompts` writes the files.
"""

from pathlib import Path

import mesa
import pytest
from helpers.rules import as_model
from helpers.shown_requests import as_page
from inline_snapshot import external_file

from mesa_llm.testing import ScriptedLLM
from mesa_llm_examples import civil_violence, negotiation, opinion, sugarscape

FOLDER = Path(__file__).parent
SHOWN = (1, 6)


def civil(llm):
    return civil_violence.CivilViolence(12, 3, seed=3, client=llm, parallel_stepping=False, width=6, height=6)


def bargaining(llm):
    return negotiation.Negotiation(3, 3, seed=3, client=llm, parallel_stepping=False)


def talking(llm):
    return opinion.Opinion(8, neighbors=4, seed=3, client=llm, parallel_stepping=False)


def trading(llm):
    return sugarscape.Sugarscape(12, seed=3, client=llm, parallel_stepping=False, width=8, height=8)


KINDS = {
    "citizen": (civil, civil_violence.policy, "You are a citizen"),
    "cop": (civil, civil_violence.policy, "You are a cop"),
    "buyer": (bargaining, negotiation.policy, "You are a buyer"),
    "seller": (bargaining, negotiation.policy, "You are a seller"),
    "person": (talking, opinion.policy, "You discuss"),
    "trader": (trading, sugarscape.policy, "You live on a landscape"),
}


@pytest.mark.skipif(mesa.__version__.startswith("4."), reason="Mesa 4 draws other numbers: the runs are others")
@pytest.mark.parametrize("kind", KINDS)
def test_every_request(kind):
    make, policy, persona = KINDS[kind]
    llm = ScriptedLLM(as_model(policy))
    model = make(llm)
    by_step = {}
    for step in range(1, max(SHOWN) + 1):
        before = len(llm.requests)
        model.step()
        by_step[step] = [request for request in llm.requests[before:] if persona in request.messages[0].content]
    # The first agent of the kind that decides in all of these steps.
    agents = [{agent_of(request): None for request in by_step[step]} for step in SHOWN]
    one = next(agent for agent in agents[0] if agent in agents[1])
    shown = [(step, [request for request in by_step[step] if agent_of(request) == one]) for step in SHOWN]
    titled = [(f"step {step}, request {n}", request) for step, asked in shown for n, request in enumerate(asked, 1)]
    assert as_page(titled) == external_file(FOLDER / f"{kind}.txt")


def agent_of(request):
    return request.observation.self_state["agent_unique_id"]
