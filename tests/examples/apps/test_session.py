"""What a visitor of a page has open, and what is chosen there."""

from dataclasses import replace

import pytest

from mesa_llm.clients import RuleBasedClient
from mesa_llm.errors import ConfigurationError
from mesa_llm.parallel_stepping import ParallelStepping
from mesa_llm_examples.apps.example import ExampleApp
from mesa_llm_examples.apps.session import Session
from mesa_llm_examples.apps.watching import Choices, watch
from mesa_llm_examples.civil_violence import CivilViolence, policy

MOMENT = 60.0


class Slider:
    """As Mesa's."""

    label, value, min, max, step, is_float_slider = "Citizens", 6, 1, 9, 1, False


APP = ExampleApp(
    title="Civil violence",
    make_model=CivilViolence,
    policy=policy,
    parameters={
        "citizens": Slider(),
        "cops": {"type": "SliderInt", "label": "Cops", "value": 2, "min": 0, "max": 9, "step": 1},
        "movement": {"type": "Checkbox", "label": "Moves", "value": True},
    },
    series={"active": "red"},
    portrayal=lambda agent: None,
    describe=lambda agent: "here",
)
FAST = Choices(parameters=APP.defaults(), latency=0.0)


@pytest.fixture
def session():
    session = Session(APP, pause=0)
    session.choices = FAST
    session.reset()
    yield session
    session.close()
    session.player.join(MOMENT)


def stepped(session):
    session.player.step()
    session.player.join(MOMENT)
    return session.frame


def test_parameters_as_they_are_at_first():
    assert APP.defaults() == {"citizens": 6, "cops": 2, "movement": True}


def test_sliders_show_their_values():
    widgets = APP.labelled({"citizens": 8, "cops": 3, "movement": False})
    assert widgets["citizens"] == {
        "type": "SliderInt", "label": "Citizens: 8", "value": 6, "min": 1, "max": 9, "step": 1,
    }  # fmt: skip
    assert widgets["cops"]["label"] == "Cops: 3"
    assert widgets["movement"] == APP.parameters["movement"]


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_a_mode_is_how_the_model_steps(mode):
    watched = watch(APP, replace(FAST, mode=mode))
    assert watched.model.parallel_stepping == ParallelStepping(mode=mode)
    watched.model.step()
    (report,) = watched.model.parallel_reports
    assert (report.mode, len(report.agents), report.calls) == (mode, 8, watched.client.counts().calls)


def test_off_is_one_agent_after_the_other():
    watched = watch(APP, replace(FAST, mode="off"))
    watched.model.step()
    assert not hasattr(watched.model, "parallel_reports")
    assert watched.client.counts().peak_in_flight == 1


def test_the_rule_answers_after_the_latency():
    client = watch(APP, replace(FAST, latency=0.75)).client.inner
    assert isinstance(client, RuleBasedClient)
    assert client.latency == 0.75


def test_a_model_is_asked_by_its_name_at_its_address():
    watched = watch(APP, replace(FAST, llm_model=" openai/small ", api_base="http://127.0.0.1:9/v1"))
    assert watched.model.llm_model == "openai/small"
    assert not isinstance(watched.client.inner, RuleBasedClient)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"mode": "fast"}, "mode must be one of 'asyncio', 'threading', 'off', got 'fast'"),
        ({"api_base": "http://127.0.0.1:9/v1"}, "needs a model too"),
        ({"parameters": {"citizens": -1}}, "citizens must be"),
    ],
)
def test_choices_that_cannot_work(wrong, says):
    with pytest.raises(ConfigurationError, match=says):
        watch(APP, replace(FAST, **wrong))


def test_a_session_begins_with_a_model_that_has_not_stepped():
    session = Session(APP)
    assert session.frame.state.steps == 0
    assert session.frame.watched.choices == session.choices == Choices(parameters=APP.defaults(), seed=APP.seed)
    assert len(session.frame.agents) == 8


def test_a_step_makes_a_new_frame(session):
    frames = []
    session.on_change = lambda: frames.append(session.frame)
    frame = stepped(session)
    assert [shown.state.steps for shown in frames] == [0, 1]
    assert frames[0].state.busy
    assert frame.agents[1].label == "Citizen 1 (here)"
    assert any(entry.type == "plan" for entry in frame.agents[1].entries)
    assert [report.step for report in frame.reports] == [1]


def test_reset_makes_the_same_run_again(session):
    first = stepped(session).watched.model.datacollector.model_vars
    session.reset()
    assert session.frame.state.steps == 0
    assert not any(record.entries for record in session.frame.agents.values())
    assert stepped(session).watched.model.datacollector.model_vars == first


def test_reset_takes_what_is_chosen(session):
    session.choices = replace(FAST, parameters={**FAST.parameters, "citizens": 4})
    assert len(session.frame.agents) == 8
    session.reset()
    assert len(session.frame.agents) == 6


def test_a_model_that_cannot_be_made_leaves_the_old_one_in_place(session):
    before = stepped(session)
    session.choices = replace(FAST, parameters={**FAST.parameters, "cops": -1})
    session.reset()
    assert "cops must be a whole number >= 0" in session.frame.error
    assert session.frame.watched is before.watched
    assert session.frame.agents == before.agents
    assert stepped(session).state.steps == 2
    assert session.frame.error is None


def test_of_a_model_that_was_reset_while_it_stepped_nothing_more_is_shown(session):
    old = session.player
    shown = []
    session.on_change = lambda: shown.append(session.frame)
    session.choices = replace(FAST, parameters={**FAST.parameters, "citizens": 4})
    old.play()
    session.reset()
    old.join(MOMENT)
    assert session.frame.state.steps == 0
    assert len(session.frame.agents) == 6
    assert not session.frame.state.busy


def test_a_step_that_fails_says_so(session):
    def fail():
        raise ConfigurationError("There is no key.")

    session.frame.watched.model.step = fail
    frame = stepped(session)
    assert frame.error == "There is no key."
    assert frame.state.steps == 0
    assert not frame.state.busy
