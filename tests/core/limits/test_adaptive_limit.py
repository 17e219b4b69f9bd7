"""How the adaptive limit reacts to answers and refusals, told in scripted time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesa_llm.errors import ConfigurationError
from mesa_llm.limits import AdaptiveConcurrency, AdaptiveLimit


class Script:
    """Sends and ends calls on one limit, and keeps count of those in flight."""

    def __init__(self, **settings):
        self.limit = AdaptiveLimit(AdaptiveConcurrency(**settings))
        self.flying = []
        self.now = 0.0

    def send(self, n=1):
        for _ in range(n):
            assert self.wait() == 0.0
            self.flying.append(self.limit.sent(len(self.flying) + 1, self.now))

    def fill(self):
        while self.wait() == 0.0:
            self.send()

    def wait(self):
        return self.limit.seconds_until_free(len(self.flying), self.now)

    def end(self, outcome, n=1, *, last=False, **more):
        for _ in range(n):
            call = self.flying[-1 if last else 0]
            self.limit.ended(call, outcome, in_flight=len(self.flying), now=self.now, **more)
            self.flying.remove(call)

    def round(self, outcome="answered"):
        """All that may be in flight are, and all end alike."""
        self.fill()
        self.end(outcome, len(self.flying))

    @property
    def level(self):
        return self.limit.limit


def test_it_doubles_until_the_first_refusal_and_then_grows_by_a_few_per_cent():
    script = Script(start=20, ceiling=500)
    levels = []
    for _ in range(5):
        script.round()
        levels.append(script.level)
    assert levels == [40, 80, 160, 320, 500]

    script.fill()
    script.end("refused")
    assert script.level == 450
    script.end("answered", 499)
    script.now += 15
    script.round()
    script.round()
    assert script.level == 450 + 22 + 23


def test_growth_is_one_at_least():
    script = Script(start=3)
    script.fill()
    script.end("refused")
    script.end("answered", 2)
    assert script.level == 2
    script.now += 15
    script.round()
    assert script.level == 3


def test_a_limit_that_nobody_has_reached_stays():
    script = Script(start=10)
    for _ in range(100):
        script.send(9)
        script.end("answered", 9)
    assert script.level == 10


def test_a_round_needs_as_many_answers_as_the_limit_allows_to_calls_sent_since_it_began():
    script = Script(start=4)
    script.fill()
    script.end("answered", 3)
    assert script.level == 4
    script.end("answered")
    assert script.level == 8
    script.fill()
    script.end("answered", 4)
    script.fill()
    script.end("answered", 3)
    assert script.level == 8
    script.end("answered")
    assert script.level == 16
    script.fill()
    script.end("answered", 4)  # these had been sent before: they do not show that 16 are well
    script.end("answered", 11)
    assert script.level == 16


@pytest.mark.parametrize("outcome", ["failed", "unknown"])
def test_other_failures_do_not_shrink_it(outcome):
    script = Script(start=4)
    for _ in range(3):
        script.round(outcome)
    assert script.level == 4


def test_a_failure_that_can_pass_begins_the_round_anew():
    script = Script(start=4)
    script.fill()
    script.end("answered", 3)
    script.end("failed")
    script.send()
    script.end("answered")
    assert script.level == 4
    script.round()
    assert script.level == 8


def test_a_call_that_says_nothing_does_not():
    script = Script(start=4)
    script.fill()
    script.end("unknown")
    script.send()
    script.end("answered", 4)
    assert script.level == 8


def test_a_lone_refusal_leaves_the_factor_of_what_was_in_flight():
    script = Script(start=100, decrease_factor=0.8)
    script.fill()
    script.end("answered", 10)
    script.send(5)
    script.end("refused")
    assert script.level == 80  # not 76: one refusal is worth one factor of the limit at most


def test_a_burst_falls_to_the_number_that_was_not_refused():
    script = Script(start=1000)
    script.send(200)
    script.end("refused", 190)
    assert script.level == 10
    script.end("answered", 10)
    assert script.level == 10


def test_refusals_of_calls_sent_before_do_not_cut_again_however_late_they_come():
    script = Script(start=100)
    script.fill()
    script.end("refused")
    assert script.level == 90
    script.end("answered", 20)
    script.now += 1000
    script.send(10)
    script.end("refused", 5)  # sent with the first hundred
    assert script.level == 90
    script.end("refused", last=True)  # sent since
    assert script.level < 90


def test_refusals_of_calls_sent_before_count_for_nothing_once_it_has_grown_again():
    script = Script(start=100)
    script.send(100)
    script.end("refused")
    script.end("answered", 79)
    script.now += 15
    for _ in range(2):
        script.fill()
        script.end("answered", 70, last=True)
    level = script.level
    assert level > 90
    script.end("refused", 20)
    assert script.level == level


def test_refusals_from_two_episodes_ago_count_for_nothing():
    script = Script(start=100)
    script.fill()
    script.end("refused")
    script.end("answered", 20)
    script.now += 20
    script.send(10)
    script.end("refused", last=True)
    level = script.level
    script.end("refused", 30)
    assert script.level == level


def test_within_the_cooldown_it_leaves_no_further_margin_and_does_not_grow():
    script = Script(start=100, cooldown=15)
    script.fill()
    script.end("refused")
    script.end("answered", 99)
    assert script.level == 90
    script.now = 14.9
    script.round()
    assert script.level == 90
    script.fill()
    script.end("refused")
    assert script.level == 89  # it had been refused one of 90
    script.end("answered", 89)
    script.now = 30
    script.fill()
    script.end("refused")
    assert script.level == 80  # a factor again


def test_it_does_not_grow_either_while_the_server_does_not_want_to_be_asked_or_just_after():
    script = Script(start=100, cooldown=15)
    script.fill()
    script.end("refused", retry_after=40.0)
    script.end("answered", 99)
    script.now = 39.0
    script.limit.ended(script.limit.sent(90, script.now), "answered", in_flight=90, now=script.now)
    script.now = 40.0
    script.fill()
    script.end("answered", 89)
    assert script.level == 90
    script.end("answered")
    assert script.level == 94


def test_few_refusals_among_few_calls_do_not_undo_what_was_learnt_with_many():
    script = Script(start=100, floor=1)
    script.send(4)
    script.end("refused", 2)
    assert script.level == 81


def test_floor_and_ceiling():
    script = Script(start=8, floor=5, ceiling=9)
    script.round()
    assert script.level == 9
    script.fill()
    script.end("refused", 8)
    assert script.level == 5


def test_start_at_the_ceiling_binds_only_after_a_refusal():
    script = Script(start=1000, ceiling=1000)
    script.send(1000)
    assert script.wait() == math.inf
    script.end("refused", 900)
    assert script.level == 100


def test_retry_after_pauses_sending_with_whatever_error_it_comes():
    for outcome in ("refused", "failed"):
        script = Script(start=10)
        script.send(5)
        script.end(outcome, retry_after=30.0)
        assert script.wait() == 30.0
        script.now = 12.0
        script.end("answered", 3)
        assert script.wait() == 18.0, "an answer does not end a pause that the server has asked for"
        script.end(outcome, retry_after=1.0)
        assert script.wait() == 18.0, "nor does a shorter one"
        script.now = 30.0
        assert script.wait() == 0.0


def test_a_pause_that_is_too_long_is_none():
    script = Script(start=10, longest_pause=60.0)
    script.send(2)
    script.end("refused", retry_after=3600.0)
    assert script.wait() == 0.0
    script.end("refused", retry_after=3600.0)  # all refused
    assert script.wait() == 0.0


def test_if_everything_is_refused_the_limit_stays_and_calls_go_one_at_a_time_with_doubling_pauses():
    script = Script(start=20, longest_pause=10.0)
    script.fill()
    script.end("refused", 20)
    assert script.level == 20
    waits = []
    for _ in range(5):
        waits.append(script.wait())
        script.now += script.wait()
        script.send()
        assert script.wait() == waits[-1], "one at a time"
        script.end("refused")
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0]
    assert script.level == 20

    script.now += script.wait()
    script.send()
    script.end("answered")
    script.fill()
    assert len(script.flying) == 20

    script.now += 60
    script.round()
    assert script.level == 40, "nor does it end the slow start"


def test_while_everything_is_refused_no_refusal_lowers_it():
    script = Script(start=20)
    script.fill()
    script.end("refused", 20)
    for _ in range(3):  # slow ones, so that several are in flight
        script.now += script.wait()
        script.send()
    script.end("refused", last=True)
    assert script.level == 20


def test_a_call_that_was_sent_before_does_not_end_these_pauses():
    script = Script(start=20)
    script.fill()
    script.end("refused")
    script.end("answered", 10)
    script.send()
    script.end("refused", last=True)
    assert script.wait() == 1.0
    script.end("answered")
    assert script.wait() == 1.0


def test_the_server_says_how_long_while_everything_is_refused():
    script = Script(start=2)
    script.fill()
    script.end("refused", 2, retry_after=7.0)
    assert script.wait() == 7.0


events = st.tuples(
    st.sampled_from(["send", "answered", "refused", "failed", "unknown"]),
    st.integers(0, 10**6),
    st.sampled_from([None, None, None, 0.5, 5.0, 1000.0]),
    st.floats(0, 20),
)


@given(st.lists(events, max_size=200), st.integers(1, 5), st.integers(0, 20), st.integers(0, 50))
def test_whatever_happens_it_keeps_its_bounds_and_lets_somebody_go_in_the_end(happenings, floor, more, most):
    script = Script(start=floor + more, floor=floor, ceiling=floor + more + most)
    for what, which, retry_after, seconds in happenings:
        script.now += seconds
        if what == "send":
            if script.wait() == 0.0:
                script.send()
        elif script.flying:
            call = script.flying[which % len(script.flying)]
            script.limit.ended(call, what, in_flight=len(script.flying), now=script.now, retry_after=retry_after)
            script.flying.remove(call)
        assert floor <= script.level <= floor + more + most
        assert len(script.flying) < script.level or script.wait() == math.inf
    script.end("unknown", len(script.flying))
    assert script.wait() <= 60.0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"start": 0}, r"start must be an integer >= 1, got 0"),
        ({"floor": 2.5}, r"floor must be an integer >= 1, got 2\.5"),
        ({"start": 5, "ceiling": 4}, r"floor <= start <= ceiling must hold, got floor=1, start=5, ceiling=4"),
        ({"start": 5, "floor": 6}, r"floor <= start <= ceiling must hold, got floor=6, start=5.*max_concurrency=5"),
        ({"decrease_factor": 1.0}, r"decrease_factor must be below 1, got 1\.0"),
        ({"decrease_factor": 0}, r"decrease_factor must be > 0, got 0"),
        ({"growth": -1}, r"growth must be >= 0, got -1"),
        ({"cooldown": -1}, r"cooldown must be >= 0 seconds, got -1"),
        ({"longest_pause": float("nan")}, r"longest_pause must be >= 0 seconds, got nan"),
        ({"longest_pause": True}, r"longest_pause must be >= 0 seconds, got True"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, says):
    with pytest.raises(ConfigurationError, match=says):
        AdaptiveConcurrency(**settings)
