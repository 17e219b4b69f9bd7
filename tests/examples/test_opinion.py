"""People on a network: what bounded confidence obeys, what is measured, what is said and heard."""

from statistics import pvariance

import pytest
from helpers.rules import answered, as_model, asked
from hypothesis import given, settings
from hypothesis import strategies as st

from mesa_llm.actions import ActionChoice
from mesa_llm.clients import LLMRequest, Message, RuleBasedClient, tool_call
from mesa_llm.errors import ActionError, ConfigurationError, DecisionError
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.reasoning import read_observation
from mesa_llm.testing import ScriptedLLM
from mesa_llm_examples.opinion import Opinion, policy
from mesa_llm_examples.opinion.model import moved
from mesa_llm_examples.shared import id_in


def network(people=14, **arguments):
    enable_automatic_parallel_stepping()
    return Opinion(people, **{"neighbors": 4, "seed": 6} | arguments)


def after(steps, model):
    for _ in range(steps):
        model.step()
    return model


def told_in(step, agent):
    """How many messages an agent was given in a step."""
    messages = [entry for entry in agent.memory.entries if entry.type == "message" and entry.step == step]
    return sum(message.content["sender"] != agent.unique_id for message in messages)


unit = st.floats(0, 1)


@given(opinion=unit, heard=st.lists(unit, max_size=6), confidence=unit, convergence=st.floats(0, 0.5))
def test_nobody_is_moved_by_who_thinks_otherwise_nor_beyond_who_thinks_alike(opinion, heard, confidence, convergence):
    now = moved(opinion, heard, confidence=confidence, convergence=convergence)
    assert min([opinion, *heard]) - 1e-4 <= now <= max([opinion, *heard]) + 1e-4
    assert abs(now - opinion) <= len(heard) * convergence * confidence + 1e-4
    if all(abs(other - opinion) >= confidence for other in heard):
        assert now == round(opinion, 4)


@given(opinion=unit, other=unit, confidence=unit, convergence=st.floats(0, 0.5))
def test_who_listens_comes_closer_and_never_farther_away(opinion, other, confidence, convergence):
    now = moved(opinion, [other], confidence=confidence, convergence=convergence)
    assert abs(now - other) <= abs(opinion - other) + 1e-4
    if abs(opinion - other) < confidence:
        assert now == pytest.approx(opinion + convergence * (other - opinion), abs=1e-4)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**31), confidence=unit, convergence=st.floats(0, 0.5))
def test_opinions_stay_in_the_range_that_they_had(seed, confidence, convergence):
    model = network(seed=seed, confidence=confidence, convergence=convergence)
    lowest, highest = model.opinions[0], model.opinions[-1]
    for step in range(5):
        before = {agent.unique_id: (agent.opinion, told_in(step, agent)) for agent in model.agents}
        model.step()
        assert lowest - 1e-4 <= model.opinions[0] <= model.opinions[-1] <= highest + 1e-4
        assert 0 <= model.opinions[0] <= model.opinions[-1] <= 1
        for agent in model.agents:
            opinion, told = before[agent.unique_id]
            assert abs(agent.opinion - opinion) <= told * convergence * confidence + 1e-4


def test_in_the_first_step_nobody_has_heard_anything_yet():
    model = network()
    before = model.opinions
    model.step()
    assert model.opinions == before
    model.step()
    assert model.opinions != before


def test_without_confidence_nobody_is_moved():
    model = network(confidence=0.0)
    before = model.opinions
    assert after(4, model).opinions == before
    assert model.clusters == 14


def test_the_more_confidence_the_fewer_groups():
    """Deffuant et al. (2000): consensus at d = 0.5; below that about 1 / (2d) groups."""

    def final(confidence):
        return after(25, network(41, neighbors=40, confidence=confidence, seed=2))

    consensus, split = final(0.5), final(0.15)
    assert consensus.clusters == 1
    assert consensus.variance < 0.002
    assert 2 <= split.clusters <= 5
    assert split.variance > 0.03


def test_what_is_measured():
    model = network(4, neighbors=2, rewiring=0.0, confidence=0.25)  # a ring of four
    measured = model.datacollector.model_vars
    assert list(measured) == ["mean", "variance", "clusters"]
    for agent, opinion in zip(model.agents, (0.1, 0.2, 0.9, 0.3), strict=True):
        agent.opinion = opinion
    assert model.opinions == [0.1, 0.2, 0.3, 0.9]
    assert model.mean == pytest.approx(0.375)
    assert model.variance == pytest.approx(pvariance([0.1, 0.2, 0.3, 0.9]))
    assert model.clusters == 2  # 0.2 - 0.1 - 0.3 around the ring, and 0.9
    after(2, model)
    assert {len(values) for values in measured.values()} == {3}
    assert model.result().endswith(f"2 groups that do not listen to each other, mean {model.mean:.2f}.")


def test_people_who_think_alike_but_do_not_know_each_other_are_two_groups():
    model = network(4, neighbors=0, confidence=1.0)
    assert model.clusters == 4
    assert "one group" in after(1, network(3, neighbors=2, confidence=1.0)).result()


def test_messages_are_heard_in_the_next_step_by_whom_they_were_told():
    llm = ScriptedLLM(as_model(policy))
    model = after(1, network(client=llm))
    said = {}
    for agent in model.agents:
        [spoken] = [
            e.content for e in agent.memory.entries if e.type == "message" and e.content["sender"] == agent.unique_id
        ]
        assert spoken["message"] == f"My opinion is {agent.opinion:g}."
        [listener] = spoken["recipients"]
        said.setdefault(listener, []).append({"from": str(agent), "message": spoken["message"]})
    asked = len(llm.requests)
    model.step()
    heard = {}
    for request in llm.requests[asked:]:
        me = read_observation(request)["self_state"]
        heard[me["agent_unique_id"]] = me["internal_state"]["_heard"]
    assert heard == {agent.unique_id: said.get(agent.unique_id, []) for agent in model.agents}
    assert sum(map(len, heard.values())) == 14


def test_one_after_another_each_message_is_heard_once_too():
    told, heard = [], []

    def watched(request):
        heard.extend(read_observation(request)["self_state"]["internal_state"]["_heard"])
        answer = policy(request)
        told.extend(answer.tool_calls)
        return answer

    after(4, network(client=RuleBasedClient(watched), parallel_stepping=False))
    assert len(told) == 4 * 14
    assert len(heard) == 3 * 14  # those of the last step are still to be heard


def test_people_speak_to_those_whom_they_are_connected_with():
    model = after(3, network())
    for agent in model.agents:
        known = {other.unique_id for cell in agent.cell.connections.values() for other in cell.agents}
        spoken = [
            e.content for e in agent.memory.entries if e.type == "message" and e.content["sender"] == agent.unique_id
        ]
        assert len(spoken) == 3
        assert {listener for message in spoken for listener in message["recipients"]} <= known


def test_nobody_sees_what_others_think():
    model = network()
    agent = next(iter(model.agents))
    shown = agent.generate_obs().local_state
    assert len(shown) >= 1
    assert all("_opinion" not in other["internal_state"] for other in shown.values())
    assert {len(other["internal_state"]) for other in shown.values()} == {0}


def test_an_opinion_is_from_0_to_1():
    agent = next(iter(network().agents))
    [listener, *_] = agent.generate_obs().local_state
    told = {"listener_id": id_in(listener), "opinion": 1}
    agent.execute_action(ActionChoice(name="tell", arguments=told | {"message": "So much for that."}))
    assert "My opinion is 1. So much for that." in agent.memory.get_communication_history()
    assert agent.opinion == 1.0
    for refused in (-0.1, 1.1, float("nan")):
        with pytest.raises(ActionError, match="opinion"):
            agent.execute_action(ActionChoice(name="tell", arguments=told | {"opinion": refused}))
    assert agent.opinion == 1.0


def asking(opinion, *heard, people=(4, 5), confidence=0.25, convergence=0.5):
    state = {
        "_opinion": opinion,
        "_confidence": confidence,
        "_convergence": convergence,
        "_heard": [{"from": "Person 4", "message": message} for message in heard],
    }
    return asked({"tell": {}}, state, {f"Person {number}": {} for number in people})


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (asking(0.5, "My opinion is 0.6."), 0.55),
        (asking(0.5, "My opinion is 0.6. Think of the children."), 0.55),
        (asking(0.5, "My opinion is 0.8."), 0.5),
        (asking(0.5, "Good morning!"), 0.5),
        (asking(0.5, "My opinion is 1.", confidence=0.6), 0.75),
        (asking(0.5, "My opinion is 0.7.", "My opinion is 0.8."), 0.7),  # one after the other: 0.5 -> 0.6 -> 0.7
        (asking(0.5), 0.5),
    ],
)
def test_bounded_confidence(request_, expected):
    name, arguments = answered(policy(request_))
    assert (name, arguments["opinion"]) == ("tell", expected)
    assert arguments["listener_id"] in {4, 5}


def test_everybody_in_sight_is_spoken_to_sometimes():
    asks = [asking(number / 100, people=(4, 5, 6)) for number in range(40)]
    assert {answered(policy(request))[1]["listener_id"] for request in asks} == {4, 5, 6}


def test_who_knows_nobody_is_not_asked():
    llm = ScriptedLLM("Nobody asks.")
    after(2, network(3, neighbors=0, client=llm))
    assert llm.requests == []


def test_a_request_without_an_observation_is_refused():
    with pytest.raises(DecisionError, match="No observation"):
        policy(LLMRequest(model="m", messages=(Message("user", "Hello"),)))


def test_the_network_is_seeded():
    edges = [sorted(network(seed=seed, rewiring=0.5).grid.G.edges) for seed in (1, 1, 2)]
    assert edges[0] == edges[1] != edges[2]
    assert {degree for _, degree in network(rewiring=0.0).grid.G.degree} == {4}


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_all_decide_at_once_in_one_call_each(mode):
    llm = ScriptedLLM(as_model(policy), hold_until=14)
    network(client=llm, parallel_stepping=ParallelStepping(mode=mode)).step()
    assert len(llm.requests) == llm.peak_in_flight == 14


def test_what_a_model_says_in_its_own_words_is_heard_as_it_is():
    heard = []

    def in_its_own_words(request):
        me = read_observation(request)["self_state"]
        heard.append(me["internal_state"]["_heard"])
        listener = me["agent_unique_id"] % 3 + 1
        return tool_call("tell", listener_id=listener, opinion=0.25, message="Cars out!")

    after(2, network(3, neighbors=2, client=RuleBasedClient(in_its_own_words)))
    assert [[told["message"] for told in of_one] for of_one in heard[3:]] == [["My opinion is 0.25. Cars out!"]] * 3


def test_a_network_of_nobody_steps():
    model = after(2, network(0, neighbors=0))
    assert model.datacollector.model_vars == {"mean": [None] * 3, "variance": [None] * 3, "clusters": [0] * 3}
    assert model.result() == "There was nobody."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"people": -1}, "people must be a whole number >= 0, got -1"),
        ({"neighbors": -2}, "neighbors must be a whole number >= 0, got -2"),
        ({"neighbors": 3}, "neighbors must be even, half of them on either side, got 3"),
        ({"people": 4}, "neighbors must be less than people, got 4 and 4. Use more people"),
        ({"rewiring": 1.1}, r"rewiring must be from 0 to 1, got 1\.1"),
        ({"confidence": float("nan")}, "confidence must be from 0 to 1, got nan"),
        ({"confidence": "much"}, "confidence must be from 0 to 1, got 'much'"),
        ({"convergence": 0.6}, r"convergence must be from 0 to 0\.5, got 0\.6. At 0\.5 a listener moves half"),
    ],
)
def test_what_cannot_work_is_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        network(**arguments)
