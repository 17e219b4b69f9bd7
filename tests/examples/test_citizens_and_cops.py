"""What citizens and cops can do to each other, and what the world refuses."""

import pytest

from mesa_llm.clients import RuleBasedClient, tool_call
from mesa_llm.errors import ToolError
from mesa_llm.parallel_stepping import step_agents_parallel_sync
from mesa_llm.spaces import directions_from
from mesa_llm_examples.civil_violence import Citizen, CivilViolence, Cop, agents, policy
from mesa_llm_examples.civil_violence.agents import arrest_citizen, change_state


def world(citizens=1, cops=1, **arguments):
    """Nobody moves, everybody sees everybody; every citizen rebels whatever the risk."""
    arguments = {"width": 3, "height": 3, "movement": False, "legitimacy": 0.0, "seed": 1} | arguments
    model = CivilViolence(citizens, cops, parallel_stepping=False, **arguments)
    for citizen in model.agents_by_type.get(Citizen, ()):
        citizen.state, citizen.hardship, citizen.risk_aversion = "active", 1.0, 0.0
    return list(model.agents_by_type.get(Citizen, ())), list(model.agents_by_type.get(Cop, ()))


def results(agent):
    return [entry.content["result"] for entry in agent.memory.entries if entry.type == "action"]


def test_each_class_is_offered_its_own_tools():
    [citizen], [cop] = world(movement=True)
    assert [spec.name for spec in citizen.tool_manager.specs()] == ["change_state", "move_one_step"]
    assert [spec.name for spec in cop.tool_manager.specs()] == ["arrest_citizen", "move_one_step"]
    [citizen], [cop] = world(movement=False)
    assert [spec.name for spec in citizen.tool_manager.specs()] == ["change_state"]
    assert [spec.name for spec in cop.tool_manager.specs()] == ["arrest_citizen"]


def test_the_states_on_offer_are_an_enum():
    [citizen], _ = world()
    [spec] = citizen.tool_manager.specs()
    assert spec.parameters["properties"]["state"]["enum"] == ["active", "quiet"]
    [refused] = citizen.tool_manager.execute(citizen, [tool_call("change_state", state="jailed")])
    assert not refused.ok
    assert citizen.state == "active"


def test_others_do_not_see_what_is_hidden():
    [citizen], [cop] = world()
    assert cop.generate_obs().local_state[str(citizen)]["internal_state"] == {"state": "active"}
    assert citizen.generate_obs().local_state[str(cop)]["internal_state"] == {}


def test_an_arrest():
    [citizen], [cop] = world(max_jail_term=3)
    assert arrest_citizen(cop, citizen.unique_id).startswith(f"Citizen {citizen.unique_id} is arrested")
    assert citizen.is_jailed
    assert 1 <= citizen.jailed_through <= 3
    assert "You were arrested" in str(citizen.memory.entries[-1])
    with pytest.raises(ToolError, match="already in jail"):
        arrest_citizen(cop, citizen.unique_id)
    with pytest.raises(ToolError, match="in jail"):
        change_state(citizen, "active")


def test_a_quiet_citizen_is_not_arrested():
    [citizen], [cop] = world()
    change_state(citizen, "quiet")
    with pytest.raises(ToolError, match="is quiet"):
        arrest_citizen(cop, citizen.unique_id)


def test_nobody_is_arrested_who_is_no_citizen_in_sight():
    [citizen], [cop, other_cop] = world(cops=2)
    with pytest.raises(ToolError, match=f"no citizen {other_cop.unique_id} in your sight"):
        arrest_citizen(cop, other_cop.unique_id)
    [citizen], [blind_cop] = world(cop_vision=0)
    with pytest.raises(ToolError, match=f"no citizen {citizen.unique_id} in your sight"):
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
        if request.tool_choice == "none":
            asked.append((int(model.time), request.tools[0].name))
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
    assert [step for step, _ in asked] == [1, 4]


def test_two_cops_choose_the_same_citizen():
    [citizen], cops = world(cops=2)
    step_agents_parallel_sync([*cops, citizen])
    assert results(cops[0])[0].startswith(f"Citizen {citizen.unique_id} is arrested")
    assert results(cops[1]) == [f"Error: Citizen {citizen.unique_id} has just been arrested by another cop."]
    assert [report.conflicts for report in citizen.model.parallel_reports] == [1]


def test_who_is_arrested_before_its_turn_does_not_act():
    [citizen], [cop] = world(movement=True)
    cell = citizen.cell
    step_agents_parallel_sync([cop, citizen])
    assert citizen.is_jailed
    assert citizen.cell is cell
    assert results(citizen) == ["You were arrested before you could do anything."]


def test_who_turns_quiet_before_the_cop_acts_is_not_arrested():
    [citizen], [cop] = world()
    citizen.hardship = 0.0
    step_agents_parallel_sync([citizen, cop])
    assert citizen.state == "quiet"
    assert results(cop) == [f"Error: Citizen {citizen.unique_id} is quiet. Only active citizens can be arrested."]


def test_a_released_citizen_is_seen_in_jail_by_all_who_decide_in_that_step():
    seen = []

    def watched(request):
        if request.tool_choice == "none" and request.tools[0].name == "arrest_citizen":
            seen.append('"state": "jailed"' in request.messages[-1].content.partition("# Observation")[2])
        return policy(request)

    [citizen], [cop] = world(client=RuleBasedClient(watched))
    citizen.go_to_jail(0)
    step_agents_parallel_sync([citizen, cop])
    assert citizen.state == "quiet"
    assert seen == [True]


def test_the_free_cells_around_an_agent_are_looked_for_only_when_it_observes(monkeypatch):
    looked = []

    def counted(agent, **options):
        looked.append(agent.unique_id)
        return directions_from(agent, **options)

    monkeypatch.setattr(agents, "directions_from", counted)
    citizens, cops = world(citizens=5, cops=2, movement=True)
    for agent in [*citizens, *cops]:
        assert agent.generate_obs().local_state
        assert looked == [agent.unique_id]
        looked.clear()
