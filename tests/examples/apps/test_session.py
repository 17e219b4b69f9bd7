"""What a visitor of a page has open, and what is chosen there."""

import threading
from contextlib import suppress
from dataclasses import replace

import pytest
from helpers.rules import at_ease

from mesa_llm.clients import RuleBasedClient
from mesa_llm.errors import ConfigurationError
from mesa_llm.parallel_stepping import ParallelStepError, ParallelStepping
from mesa_llm.testing import FakeOpenAIServer, Fault
from mesa_llm_examples.apps.example import ExampleApp
from mesa_llm_examples.apps.session import ACTIVATIONS, Choices, Picture, Pictures, Session, gets_key, watch
from mesa_llm_examples.apps.views import last_step
from mesa_llm_examples.civil_violence import CivilViolence, policy
from mesa_llm_examples.negotiation import app as negotiation
from mesa_llm_examples.simulation import DecisionCounts

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
    session.join(MOMENT)


def stepped(session):
    session.step()
    session.join(MOMENT)
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


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_is_what_the_agents_decide_on(activation):
    watched = watch(APP, replace(FAST, activation=activation))
    watched.model.step()
    (report,) = watched.model.parallel_reports
    assert report.activation == activation
    assert ("wasted" in last_step([report])) == (activation == "sequential")


@pytest.mark.parametrize("mode", ["asyncio", "threading", "off"])
def test_decisions_are_counted_over_all_steps_until_a_reset(session, mode):
    session.choices = replace(FAST, mode=mode)
    session.reset()
    first = stepped(session).decided
    both = stepped(session).decided
    assert first.decisions < both.decisions == session.frame.watched.client.counts().calls
    session.reset()
    assert session.frame.decided == DecisionCounts()


def test_off_is_one_agent_after_the_other():
    watched = watch(APP, replace(FAST, mode="off"))
    watched.model.step()
    assert not hasattr(watched.model, "parallel_reports")
    assert watched.client.counts().peak_in_flight == 1


def test_the_rule_answers_after_the_latency():
    client = watch(APP, replace(FAST, latency=0.75)).calls.inner
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
        ({"mode": "threading", "activation": "sequential"}, "mode='threading' cannot be combined with activation="),
        ({"api_base": "http://127.0.0.1:9/v1"}, "needs an LLM too"),
        ({"llm_model": ""}, "Name the LLM, as provider/name"),
        ({"llm_model": "  "}, "Name the LLM, as provider/name"),
        ({"llm_model": "huggingface/http://127.0.0.1:9"}, "has no address in it, got 'huggingface/http://127.0.0.1:9'"),
        ({"llm_model": "anthropic/small", "api_base": "http://127.0.0.1:9"}, "Start the app with --api-base URL"),
        ({"llm_model": "openai/small", "api_base": "http://[127.0.0.1/v1"}, "must be an http or https URL, got"),
        ({"parameters": {"citizens": -1}}, "citizens must be"),
    ],
)
def test_choices_that_cannot_work(wrong, says):
    with pytest.raises(ConfigurationError, match=says):
        watch(APP, replace(FAST, **wrong))


def test_a_session_begins_with_a_model_that_has_not_stepped():
    session = Session(APP)
    assert session.frame.steps == 0
    assert session.frame.watched.choices == session.choices == Choices(parameters=APP.defaults(), seed=APP.seed)
    assert len(session.frame.agents) == 8


def test_a_step_makes_a_new_frame(session):
    frames = []
    session.on_change = lambda: frames.append(session.frame)
    frame = stepped(session)
    assert [shown.steps for shown in frames] == [0, 1]
    assert frames[0].busy
    assert frame.agents[1].label == "Citizen 1 (here)"
    assert any(entry.type == "action" for entry in frame.agents[1].entries)
    assert [report.step for report in frame.reports] == [1]


def test_reset_makes_the_same_run_again(session):
    first = stepped(session).watched.model.datacollector.model_vars
    session.reset()
    assert session.frame.steps == 0
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
    assert stepped(session).steps == 2
    assert session.frame.error is None


def test_of_a_model_that_was_reset_while_it_stepped_nothing_more_is_shown(session):
    shown = []
    session.on_change = lambda: shown.append(session.frame)
    session.choices = replace(FAST, parameters={**FAST.parameters, "citizens": 4})
    session.play()
    session.reset()
    session.join(MOMENT)
    assert session.frame.steps == 0
    assert len(session.frame.agents) == 6
    assert not session.frame.busy


def test_a_step_that_fails_says_so(session):
    def fail():
        raise ConfigurationError("There is no key.")

    session.frame.watched.model.step = fail
    frame = stepped(session)
    assert frame.error == "There is no key."
    assert frame.steps == 0
    assert not frame.busy


KEY = "key-of-the-environment"


@pytest.fixture
def keys(monkeypatch):
    """A key in the environment, and no addresses there."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "MESA_LLM_APP_API_BASE"):
        monkeypatch.delenv(name, raising=False)


def sent_to(server, choices):
    """What a server gets in a step as `Authorization`."""
    watched = watch(APP, choices)
    with suppress(ParallelStepError):  # a redirect is an error
        watched.model.step()
    assert server.requests
    return {request.headers.get("authorization", "").removeprefix("Bearer ") for request in server.requests}


def test_an_address_of_the_page_gets_no_key(keys):
    with FakeOpenAIServer(at_ease) as server:
        assert KEY not in sent_to(server, replace(FAST, llm_model="openai/small", api_base=server.url)).pop()
    assert not gets_key("openai/small", server.url)


def test_an_address_of_the_page_gets_the_password_that_stands_in_it_and_no_key(keys):
    with FakeOpenAIServer(at_ease) as server:
        address = server.url.replace("//", "//me:secret@")
        assert sent_to(server, replace(FAST, llm_model="openai/small", api_base=address)) == {"Basic bWU6c2VjcmV0"}


@pytest.mark.parametrize("variable", ["MESA_LLM_APP_API_BASE", "OPENAI_BASE_URL"])
def test_the_address_of_the_start_gets_the_key(keys, monkeypatch, variable):
    with FakeOpenAIServer(at_ease) as server:
        monkeypatch.setenv(variable, server.url)
        assert gets_key("openai/small", f"{server.url}/")
        assert sent_to(server, replace(FAST, llm_model="openai/small", api_base=server.url)) == {KEY}


@pytest.mark.parametrize(
    ("address", "gets"),
    [("", True), ("https://api.openai.com/v1", True), ("https://api.openai.com.evil.example/v1", False)],
)
def test_the_address_of_the_provider_gets_the_key(keys, address, gets):
    assert gets_key("openai/small", address) is gets


def test_a_redirect_from_an_address_of_the_page_is_not_followed(keys):
    with FakeOpenAIServer(at_ease) as other:
        away = Fault(status=307, headers={"Location": f"{other.url}/chat/completions"})
        with FakeOpenAIServer(away) as server:
            sent_to(server, replace(FAST, llm_model="openai/small", api_base=server.url))
        assert other.requests == []


def test_a_session_begins_with_the_model_of_the_start(monkeypatch):
    monkeypatch.setenv("MESA_LLM_APP_MODEL", "openai/small")
    monkeypatch.setenv("MESA_LLM_APP_API_BASE", "http://127.0.0.1:9/v1")
    choices = Session(APP).choices
    assert (choices.llm_model, choices.api_base) == ("openai/small", "http://127.0.0.1:9/v1")
    monkeypatch.delenv("MESA_LLM_APP_MODEL")
    assert (Session(APP).choices.llm_model, Session(APP).choices.api_base) == (None, "")


def test_a_model_that_cannot_be_made_is_logged(session, caplog):
    session.choices = replace(FAST, parameters={**FAST.parameters, "cops": -1})
    session.reset()
    (record,) = caplog.records
    assert record.name == "mesa_llm_examples.apps.session"
    assert session.frame.error in record.getMessage()
    assert isinstance(record.exc_info[1], ConfigurationError)


class Drawn:
    """Draws as bytes which agent is marked, and fails while it is to."""

    def __init__(self):
        self.threads = []
        self.error = None

    def __call__(self, model, chosen):
        self.threads.append(threading.current_thread().name)
        if self.error is not None:
            raise self.error
        steps = len(model.datacollector.model_vars["active"]) - 1
        return Pictures(world=Picture(svg=f"step {steps}, agent {chosen}"))


@pytest.fixture
def drawn():
    return Drawn()


@pytest.fixture
def drawing(drawn):
    session = Session(APP, draw=drawn, pause=0)
    session.choices = FAST
    session.reset()
    yield session
    session.close()
    session.join(MOMENT)


def test_a_model_is_drawn_between_two_steps_by_the_thread_that_steps(drawing, drawn):
    assert drawing.frame.pictures.world.svg == "step 0, agent None"
    drawn.threads.clear()
    assert stepped(drawing).pictures.world.svg == "step 1, agent None"
    assert drawn.threads == ["model steps"]


def test_an_agent_is_marked_at_once_and_while_a_step_runs_when_it_ends(drawing):
    drawing.mark(3)
    assert drawing.frame.pictures.world.svg == "step 0, agent 3"
    model = drawing.frame.watched.model
    begun, may_end, step = threading.Event(), threading.Event(), model.step

    def wait():
        begun.set()
        assert may_end.wait(MOMENT)
        step()

    model.step = wait
    drawing.step()
    assert begun.wait(MOMENT)
    drawing.mark(4)
    assert drawing.chosen == 4
    assert drawing.frame.pictures.world.svg == "step 0, agent 3"
    may_end.set()
    drawing.join(MOMENT)
    assert drawing.frame.pictures.world.svg == "step 1, agent 4"


def test_a_picture_that_fails_says_so_and_pauses(drawing, drawn, caplog):
    drawn.error = ValueError("No such colour.")
    drawing.play()
    drawing.join(MOMENT)
    assert drawing.frame.error == "No such colour."
    assert drawing.frame.steps == 1
    assert not drawing.frame.busy
    drawing.mark(3)
    drawing.reset()
    assert [record.exc_info[1] for record in caplog.records] == [drawn.error] * 3
    drawn.error = None
    assert stepped(drawing).error is None


def test_nothing_is_drawn_for_a_page_that_was_closed(drawing, drawn):
    begun, may_end = threading.Event(), threading.Event()

    def wait():
        begun.set()
        assert may_end.wait(MOMENT)

    drawing.frame.watched.model.step = wait
    drawing.step()
    assert begun.wait(MOMENT)
    drawn.threads.clear()
    drawing.close()
    may_end.set()
    drawing.join(MOMENT)
    assert drawn.threads == []
    assert not drawing.frame.busy


def test_an_error_between_two_steps_stays_on_the_page_when_play_is_paused():
    session = Session(APP, pause=10 * MOMENT)
    stepped_once = threading.Event()
    session.on_change = lambda: session.frame.steps and stepped_once.set()
    session.choices = FAST
    session.reset()
    session.play()
    assert stepped_once.wait(MOMENT)
    session.choices = replace(FAST, parameters={**FAST.parameters, "cops": -1})
    session.reset()
    session.pause()
    session.join(MOMENT)
    assert "cops must be a whole number >= 0" in session.frame.error


def test_play_stops_when_no_page_shows_the_session():
    session = Session(APP, is_watched=lambda: False, pause=0)
    session.play()
    session.join(MOMENT)
    assert session.frame.steps == 1


def test_a_model_that_has_come_to_its_end_is_not_stepped_any_more():
    session = Session(negotiation.APP, pause=0)
    session.choices = replace(session.choices, latency=0.0, parameters=session.choices.parameters | {"rounds": 3})
    session.reset()
    session.play()
    session.join(MOMENT)
    assert (session.frame.steps, session.frame.finished, session.frame.playing) == (3, True, False)
    assert session.frame.result == session.frame.watched.model.result()
    session.step()
    session.join(MOMENT)
    assert session.frame.steps == 3
    session.reset()
    assert not session.frame.finished
