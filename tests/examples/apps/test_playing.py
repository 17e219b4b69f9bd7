"""A session steps its model on a thread of its own."""

import threading
from typing import NamedTuple

import pytest

from mesa_llm_examples.apps.example import ExampleApp
from mesa_llm_examples.apps.session import Session

MOMENT = 30.0


class State(NamedTuple):
    """What a frame says of the steps."""

    steps: int = 0
    busy: bool = False
    playing: bool = False
    error: str | None = None


def state_of(session):
    frame = session.frame
    return State(frame.steps, frame.busy, frame.playing, frame.error)


def session_of(model, on_change=lambda state: None, **settings):
    app = ExampleApp(title="", make_model=lambda **_: model, policy=lambda request: "I wait.", parameters={}, series={})
    session = Session(app, **{"pause": 0} | settings)
    session.on_change = lambda: on_change(state_of(session))
    return session


class Steps:
    """Steps as often as it is let: `let()` ends a step that has begun."""

    agents = ()
    steps = 0

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.done = 0
        self.error = None
        self._may_end = threading.Semaphore(0)

    def step(self):
        self.begun.release()
        assert self._may_end.acquire(timeout=MOMENT)
        if self.error is not None:
            raise self.error
        self.done += 1

    def let(self, times=1):
        self._may_end.release(times)

    def wait_until_begun(self):
        assert self.begun.acquire(timeout=MOMENT)


@pytest.fixture
def model():
    return Steps()


@pytest.fixture
def told():
    return []


@pytest.fixture
def player(model, told):
    return session_of(model, told.append)


def test_a_step_does_not_keep_the_caller_waiting(model, player, told):
    player.step()
    model.wait_until_begun()
    assert state_of(player) == State(steps=0, busy=True)
    model.let()
    player.join(MOMENT)
    assert told == [State(busy=True), State(steps=1)]
    assert model.done == 1


def test_a_step_while_one_is_running_is_none(model, player):
    player.step()
    model.wait_until_begun()
    player.step()
    model.let()
    player.join(MOMENT)
    assert state_of(player) == State(steps=1)


def test_it_plays_until_it_is_paused_and_the_running_step_ends(model, player):
    player.play()
    model.let(2)
    for _ in range(3):
        model.wait_until_begun()
    player.pause()
    assert state_of(player) == State(steps=2, busy=True, playing=False)
    model.let()
    player.join(MOMENT)
    assert state_of(player) == State(steps=3)


def test_play_while_a_step_is_running_goes_on_after_it(model, player):
    player.step()
    model.wait_until_begun()
    player.play()
    model.let()
    model.wait_until_begun()
    player.pause()
    model.let()
    player.join(MOMENT)
    assert state_of(player).steps == 2


def test_pausing_between_two_steps_does_not_wait_for_the_next(model):
    ended = threading.Event()
    player = session_of(model, lambda state: state.steps and ended.set(), pause=10 * MOMENT)
    player.play()
    model.let()
    assert ended.wait(MOMENT)
    player.pause()
    player.join(MOMENT)
    assert state_of(player) == State(steps=1)


def test_after_a_step_one_is_told_before_the_next_begins(model):
    seen = []
    player = session_of(model, lambda state: seen.append((state.steps, model.done)))
    player.play()
    model.let(3)
    for _ in range(4):
        model.wait_until_begun()
    player.pause()
    model.let()
    player.join(MOMENT)
    assert {1, 2, 3, 4} <= {steps for steps, _ in seen}
    assert all(steps == done for steps, done in seen)


def test_an_error_ends_play_in_one_line_and_the_next_step_clears_it(model, player):
    model.error = ValueError("no\nmore")
    player.play()
    model.let()
    player.join(MOMENT)
    assert state_of(player) == State(error="no more")
    model.error = None
    player.step()
    model.let()
    player.join(MOMENT)
    assert state_of(player) == State(steps=1)


def test_once_closed_it_ends_its_step_and_tells_nobody(model, player, told):
    player.play()
    model.wait_until_begun()
    before = list(told)
    player.close()
    model.let()
    player.join(MOMENT)
    player.step()
    assert model.done == 1
    assert told == before


def test_play_stops_after_the_running_step_when_nobody_watches(model):
    watched = True
    player = session_of(model, is_watched=lambda: watched)
    player.play()
    model.let()
    for _ in range(2):
        model.wait_until_begun()
    watched = False
    model.let()
    player.join(MOMENT)
    assert state_of(player) == State(steps=2)


def test_a_page_that_cannot_be_changed_does_not_keep_the_player_busy(model, caplog):
    def fail(state):
        raise RuntimeError("The page is gone.")

    player = session_of(model, fail)
    player.step()
    model.let()
    player.join(MOMENT)
    assert state_of(player) == State(steps=1)
    assert "The page is gone." in caplog.text


def test_a_failed_step_is_logged_with_its_traceback(model, player, caplog):
    model.error = ValueError("no more")
    player.step()
    model.let()
    player.join(MOMENT)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("mesa_llm_examples.apps.session", "ERROR")
    assert record.exc_info[1] is model.error
