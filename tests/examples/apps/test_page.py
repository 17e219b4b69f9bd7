"""The page, rendered without a browser; and Mesa's own page on a model that steps in parallel."""

import threading

import pytest

pytest.importorskip("solara", reason="the extra `app` is not installed")

import ipyvue
import ipyvuetify
import solara
from mesa import DataCollector, Model
from mesa.visualization import SolaraViz, make_plot_component

from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.reasoning import CoTReasoning
from mesa_llm.testing import ScriptedLLM
from mesa_llm_examples.apps import page
from mesa_llm_examples.apps.session import Session
from mesa_llm_examples.civil_violence import app as civil_violence

MOMENT = 60.0


@pytest.fixture
def sessions(monkeypatch):
    """The sessions that pages have opened."""
    opened = []

    class Seen(Session):
        def __init__(self, app, **settings):
            super().__init__(app, pause=0, **settings)
            opened.append(self)

    monkeypatch.setattr(page, "Session", Seen)
    return opened


def rendered(element):
    """A page with its side bar, as a server shows it."""
    _, context = solara.render(solara.AppLayout(children=[element]), handle_error=False)
    return context


@pytest.fixture
def shown(sessions):
    context = rendered(page.ModelPage(civil_violence.APP))
    yield context
    context.close()
    for session in sessions:
        session.join(MOMENT)


def button(context, label):
    (found,) = (widget for widget in context.find(ipyvuetify.Btn).widgets if widget.children[:1] == [label])
    return found


def text_of(context, name):
    return context.find(ipyvuetify.Html, class_=name).widget.children[0]


def wait_for_step(context, session, n):
    """Wait until the page shows that `n` steps have ended. Another thread that renders it may still be doing so."""
    session.join(MOMENT)
    context.find(ipyvuetify.Html, class_="steps").assert_wait(lambda text: text.children == [f"Step {n}"], MOMENT)
    with context.thread_lock:  # held while the page is rendered as a whole
        pass


def choice(context, label):
    return [widget for widget in context.find(ipyvuetify.Select).widgets if widget.label == label]


def slider(context, label):
    (found,) = (widget for widget in context.find(ipyvuetify.Slider).widgets if widget.label.startswith(label))
    return found


def test_solara_finds_the_page():
    assert civil_violence.page.component is page.ModelPage


def test_an_activation_can_be_chosen_where_there_is_one(shown, sessions):
    [activation] = choice(shown, "Activation")
    activation.v_model = "sequential"
    button(shown, "Apply and reset").click()
    assert sessions[0].frame.watched.model.parallel_stepping.activation == "sequential"
    [mode] = choice(shown, "Mode")
    mode.v_model = "off"
    assert choice(shown, "Activation") == []


def test_a_step_changes_steps_counters_and_agents(shown, sessions):
    assert text_of(shown, "steps") == "Step 0"
    assert text_of(shown, "counter-calls") == "0"
    button(shown, "Step").click()
    wait_for_step(shown, sessions[0], 1)
    assert text_of(shown, "steps") == "Step 1"
    assert text_of(shown, "counter-calls") == "143"  # one has no free cell
    assert text_of(shown, "last-step").startswith("Step 1: 72 agents in ")


def test_an_agent_is_chosen_and_looked_into(shown, sessions):
    button(shown, "Step").click()
    wait_for_step(shown, sessions[0], 1)
    shown.find(ipyvuetify.Autocomplete).widget.v_model = 3
    assert "agent_unique_id: 3" in text_of(shown, "observation")
    assert text_of(shown, "reasoning").startswith("I walk about.")
    assert "move_one_step(" in text_of(shown, "acts")
    assert text_of(shown, "messages") == "None."


def test_what_is_chosen_holds_from_the_next_reset_on(shown, sessions):
    slider(shown, "Citizens: 60").v_model = 20
    assert slider(shown, "Citizens: 20")
    assert len(sessions[0].frame.agents) == 72
    button(shown, "Apply and reset").click()
    assert len(sessions[0].frame.agents) == 32
    assert button(shown, "Reset")


def test_what_is_wrong_stands_on_the_page(shown, sessions):
    slider(shown, "Citizens: 60").v_model = -1
    button(shown, "Apply and reset").click()
    (error,) = (widget for widget in shown.find(ipyvuetify.Alert).widgets if "failure" in widget.class_)
    assert "citizens must be a whole number >= 0, got -1" in error.children[0]
    assert len(sessions[0].frame.agents) == 72


def test_a_model_and_its_address_are_asked_for_only_if_one_is_to_decide(shown, sessions):
    assert slider(shown, "Answers after: 0.2 s")
    (who,) = (widget for widget in shown.find(ipyvuetify.Select).widgets if widget.label == "Decided by")
    who.v_model = page.LANGUAGE_MODEL
    fields = {widget.label: widget for widget in shown.find(ipyvuetify.TextField).widgets}
    fields["LLM, as provider/name"].v_model = "openai/small"
    fields["LLM, as provider/name"].fire_event("keyup.enter", None)
    assert sessions[0].choices.llm_model == "openai/small"
    assert "Address of its server (empty: the provider's own)" in fields
    who.v_model = page.RULE
    assert sessions[0].choices.llm_model is None
    assert slider(shown, "Answers after: 0.2 s")


def test_a_model_without_a_name_is_an_error_and_not_the_rule(shown, sessions):
    (who,) = (widget for widget in shown.find(ipyvuetify.Select).widgets if widget.label == "Decided by")
    who.v_model = page.LANGUAGE_MODEL
    button(shown, "Apply and reset").click()
    (error,) = (widget for widget in shown.find(ipyvuetify.Alert).widgets if "failure" in widget.class_)
    assert error.children[0].startswith("Name the LLM, as provider/name")
    assert sessions[0].frame.watched.choices.llm_model is None  # of the model that stays


def test_an_address_that_gets_no_key_says_so(shown):
    (who,) = (widget for widget in shown.find(ipyvuetify.Select).widgets if widget.label == "Decided by")
    who.v_model = page.LANGUAGE_MODEL
    shown.find(ipyvuetify.Html, class_="no-key").assert_empty()
    address = next(
        widget for widget in shown.find(ipyvuetify.TextField).widgets if "Address of its server" in widget.label
    )
    address.v_model = "http://127.0.0.1:9/v1"
    address.fire_event("keyup.enter", None)
    assert "No key from the environment" in text_of(shown, "no-key")


def pictures_of(context):
    return [widget.svg for widget in context.find(ipyvue.VueTemplate).widgets if hasattr(widget, "svg")]


def test_the_pictures_are_those_of_the_frame_and_an_agent_is_marked(shown, sessions):
    frame = sessions[0].frame
    assert pictures_of(shown) == [frame.pictures.world.svg, *(plot.svg for plot in frame.pictures.states)]
    shown.find(ipyvuetify.Autocomplete).widget.v_model = 3
    world, *states = pictures_of(shown)
    assert world != frame.pictures.world.svg
    assert states == [plot.svg for plot in frame.pictures.states]


def test_nothing_is_read_from_a_model_while_it_steps(shown, sessions, monkeypatch):
    """Whatever is clicked meanwhile: the collected data and the world are drawn before the step and after it."""
    model = sessions[0].frame.watched.model
    begun, may_end, step = threading.Event(), threading.Event(), model.step

    def wait():
        begun.set()
        assert may_end.wait(MOMENT)
        step()

    model.step = wait
    reads = []
    monkeypatch.setattr(model.datacollector, "get_model_vars_dataframe", lambda: reads.append("collected"))
    monkeypatch.setattr(sessions[0], "_draw", lambda *_: reads.append("drawn"))
    before = pictures_of(shown)
    button(shown, "Step").click()
    assert begun.wait(MOMENT)
    shown.find(ipyvuetify.Autocomplete).widget.v_model = 3
    slider(shown, "Citizens: 60").v_model = 20
    assert pictures_of(shown) == before
    assert reads == []
    monkeypatch.undo()
    may_end.set()
    wait_for_step(shown, sessions[0], 1)
    assert pictures_of(shown) != before


def test_a_page_is_watched_while_a_browser_is_connected_to_it(monkeypatch):
    class Kernel:
        page_status = {}  # noqa: RUF012 - as Solara's, which is one of a kernel

    monkeypatch.setattr(page.kernel_context, "has_current_context", lambda: True)
    monkeypatch.setattr(page.kernel_context, "get_current_context", Kernel)
    is_watched = page._connection()
    status = page.kernel_context.PageStatus
    for statuses, watched in [
        ([], True), ([status.CONNECTED], True), ([status.DISCONNECTED, status.CONNECTED], True),
        ([status.DISCONNECTED], False), ([status.CLOSED], False),
    ]:  # fmt: skip
        Kernel.page_status.clear()
        Kernel.page_status.update(enumerate(statuses))
        assert is_watched() is watched


def test_a_page_that_is_closed_steps_no_more(sessions):
    context = rendered(page.ModelPage(civil_violence.APP))
    button(context, "Play").click()
    context.close()
    sessions[0].join(MOMENT)
    assert not sessions[0].frame.busy


class Town(Model):
    """Its agents are answered only when all ask at the same time. It steps when the test lets it."""

    def __init__(self, llm=None):
        super().__init__(rng=1)
        self.parallel_stepping = True
        for _ in range(5):
            LLMAgent(self, CoTReasoning, client=llm, step_prompt="Now?")
        self.datacollector = DataCollector({"agents": lambda model: len(model.agents)})
        self.may_step, self.stepped = threading.Semaphore(0), threading.Semaphore(0)

    def step(self):
        assert self.may_step.acquire(timeout=MOMENT)
        self.agents.shuffle_do("step")
        self.datacollector.collect(self)
        self.stepped.release()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_model_steps_in_parallel_on_mesas_own_page():
    enable_automatic_parallel_stepping()
    llm = ScriptedLLM("Action: wait.", hold_until=5)
    town = Town(llm)
    context = rendered(SolaraViz(town, components=[make_plot_component("agents")], play_interval=1))
    town.may_step.release()
    button(context, "Step").click()
    assert town.stepped.acquire(timeout=MOMENT)
    button(context, "▶").click()
    for _ in range(2):
        town.may_step.release()
        assert town.stepped.acquire(timeout=MOMENT)
    button(context, "❚❚").click()
    town.may_step.release()  # the thread that plays may have begun a step
    context.close()
    assert llm.peak_in_flight == 5
