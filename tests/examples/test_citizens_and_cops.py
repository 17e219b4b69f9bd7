"""What citizens and cops can do to each other, and what the world refuses."""

import pytest

from mesa_llm.clients import RuleBasedClient
from mesa_llm.errors import ActionError, ConflictError
from mesa_llm.parallel_stepping import step_agents_parallel_sync
from mesa_llm.reasoning import read_observation
from mesa_llm_examples.civil_violence import Citizen, CivilViolence, Cop, policy
from mesa_llm_examples.civil_violence.agents import arrest_citizen, keep_quiet, rebel
from mesa_llm_examples.shared import offered


def world(citizens=1, cops=1, **arguments):
    """Nobody moves, everybody sees everybody; every citizen rebels whatever the risk."""
    arguments = {"width": 3, "height": 3, "movement": False, "legitimacy": 0.0, "seed": 1} | arguments
    model = CivilViolence(citizens, cops, parallel_stepping=False, **arguments)
    for citizen in model.agents_by_type.get(Citizen, ()):
        citizen.state, citizen.hardship, citizen.risk_aversion = "active", 1.0, 0.0
    return list(model.agents_by_type.get(Citizen, ())), list(model.agents_by_type.get(Cop, ()))


def results(agent):
    return [entry.content["result"] for entry in agent.memory.entries if entry.type == "action"]


def test_each_class_has_its_own_actions():
    [citizen], [cop] = world()
    assert list(citizen.action_manager.actions) == ["rebel", "keep_quiet", "move_one_step"]
    assert list(cop.action_manager.actions) == ["arrest_citizen", "wait", "move_one_step"]


def test_what_is_on_offer_is_what_the_agent_can_do_now():
    def noting(request):
        actions = offered(request)
        noted.append({name: schema["properties"] for name, schema in actions.items()})
        return policy(request)

    noted = []
    [citizen], cops = world(cops=8, client=RuleBasedClient(noting), movement=True)  # no cell is free
    step_agents_parallel_sync([citizen, *cops[:1]])
    assert [list(actions) for actions in noted] == [["rebel", "keep_quiet"], ["arrest_citizen", "wait"]]
    assert noted[1]["arrest_citizen"]["citizen_id"]["enum"] == [citizen.unique_id]


def test_others_do_not_see_what_is_hidden():
    [citizen], [cop] = world()
    assert cop.generate_obs().local_state[str(citizen)]["internal_state"] == {"state": "active"}
    assert citizen.generate_obs().local_state[str(cop)]["internal_state"] == []


def test_an_arrest():
    [citizen], [cop] = world(max_jail_term=3)
    assert arrest_citizen(cop, citizen.unique_id).startswith(f"Citizen {citizen.unique_id} is arrested")
    assert citizen.is_jailed
    assert 1 <= citizen.jailed_through <= 3
    assert "You were arrested" in str(citizen.memory.entries[-1])
    with pytest.raises(ActionError, match=r"is jailed\. Only active citizens can be arrested"):
        arrest_citizen(cop, citizen.unique_id)
    for act in (rebel, keep_quiet):
        with pytest.raises(ConflictError, match="You were arrested before you could do anything"):
            act(citizen)
    assert citizen.is_jailed


def test_a_quiet_citizen_is_not_arrested():
    [citizen], [cop] = world()
    assert (rebel(citizen), keep_quiet(citizen)) == ("You are active.", "You are quiet.")
    with pytest.raises(ActionError, match="is quiet"):
        arrest_citizen(cop, citizen.unique_id)


def test_nobody_is_arrested_who_is_no_citizen_in_sight():
    [citizen], [cop, other_cop] = world(cops=2)
    with pytest.raises(ActionError, match=f"no citizen {other_cop.unique_id} in your sight"):
        arrest_citizen(cop, other_cop.unique_id)
    [citizen], [blind_cop] = world(cop_vision=0)
    with pytest.raises(ActionError, match=f"no citizen {citizen.unique_id} in your sight"):
        arrest_citizen(blind_cop, citizen.unique_id)


def test_terms_are_whole_steps_up_to_the_longest_and_seeded():
    def terms(seed):
        [citizen], [cop] = world(max_jail_term=4, seed=seed)
        drawn = []
        for _ in range(200):
            citizen.state = "active"
            arrest_citizen(cop, citizen.unique_id)
            drawn.append(citizen.jailed_through)
        return drawn

    assert set(terms(1)) == {1, 2, 3, 4}
    assert terms(1) == terms(1) != terms(2)


def test_a_term_of_two_steps_is_two_steps_without_a_decision():
    [citizen], [cop] = world()
    model = citizen.model
    asked = []

    def watched(request):
        asked.append(int(model.time))
        return policy(request)

    model.client.policy = watched
    cop.remove()
    model.step()
    citizen.go_to_jail(2)
    states = [citizen.state]
    for _ in range(3):
        model.step()
        states.append(citizen.state)
    assert states == ["jailed", "jailed", "quiet", "active"]
    assert asked == [1, 4]


def test_two_cops_choose_the_same_citizen():
    [citizen], cops = world(cops=2)
    step_agents_parallel_sync([*cops, citizen])
    assert results(cops[0])[0].startswith(f"Citizen {citizen.unique_id} is arrested")
    assert results(cops[1]) == [f"Error: Citizen {citizen.unique_id} has just been arrested by another cop."]
    assert [report.conflicts for report in citizen.model.parallel_reports] == [2]  # the citizen is beaten too


def test_who_is_arrested_before_its_turn_does_not_act():
    [citizen], [cop] = world(movement=True)
    step_agents_parallel_sync([cop, citizen])
    assert citizen.is_jailed
    assert results(citizen)[1:] == ["Error: You were arrested before you could do anything."]
    refusals = [
        words for report in citizen.model.parallel_reports for words in report.of_agent(citizen.unique_id).conflicts
    ]
    assert any("arrested" in words for words in refusals)


def test_who_turns_quiet_before_the_cop_acts_is_not_arrested():
    [citizen], [cop] = world()
    citizen.hardship = 0.0
    step_agents_parallel_sync([citizen, cop])
    assert citizen.state == "quiet"
    assert results(cop) == [f"Error: Citizen {citizen.unique_id} is quiet. Only active citizens can be arrested."]


def test_a_released_citizen_is_seen_free_by_all_who_decide_whom_to_arrest():
    seen = []

    def watched(request):
        if "arrest_citizen" in offered(request):
            seen.extend(read_observation(request)["local_state"].values())
        return policy(request)

    [citizen], [cop] = world(client=RuleBasedClient(watched))
    citizen.go_to_jail(0)
    step_agents_parallel_sync([citizen, cop])
    assert citizen.state == "quiet"
    assert [citizen["internal_state"] for citizen in seen] == [{"state": "quiet"}]
