"""The time that an agent has for its decision is its own: what others take does not count."""

import asyncio
import threading

import mesa
import pytest
from helpers.moved_clock import MINUTE, pass_time, until, until_decided
from helpers.speakers import Speaker, SpeakersModel, seen_by

from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping, wait_my_turn
from mesa_llm.parallel_stepping.board import PausableTimer
from mesa_llm.testing import ScriptedLLM

LIMIT = 4 * MINUTE


@pytest.fixture(params=["asyncio", "threading"])
def mode(request):
    enable_automatic_parallel_stepping()
    return request.param


def outcomes(model):
    (report,) = model.parallel_reports
    return [agent.outcome for agent in report.agents]


def test_the_starts_of_others_do_not_count(mode):
    """Eight agents observe, one after the other: for twice the limit, though each needs a quarter of it."""

    class Looks(Speaker):
        def generate_obs(self):
            if mode == "threading":  # else the loop stands still, and answers wait
                asyncio.run(until_decided(self.unique_id - 1))
            pass_time(LIMIT / 4)
            return super().generate_obs()

    config = ParallelStepping(mode=mode, decide_timeout=LIMIT, on_error="skip")
    model = SpeakersModel(8, ScriptedLLM("hello"), Looks, parallel=config)
    model.agents.do("step")
    assert outcomes(model) == ["acted"] * 8


def test_the_acts_of_others_do_not_count_when_each_acts_as_soon_as_it_has_decided(mode):
    """Each is answered when those before it have acted, for half the limit each."""

    class Ponders(Speaker):
        def say(self, plan):
            pass_time(LIMIT / 2)
            super().say(plan)

    async def answer(request):
        await until(lambda: len(model.log) == seen_by(request) - 1)
        return "hello"

    config = ParallelStepping(mode=mode, activation="eager", decide_timeout=LIMIT, on_error="skip")
    model = SpeakersModel(5, ScriptedLLM(answer), Ponders, parallel=config)
    model.agents.do("step")
    assert outcomes(model) == ["acted"] * 5


@pytest.mark.filterwarnings("ignore:Blocks 2 did not end within:RuntimeWarning")
@pytest.mark.parametrize("asks_first", [False, True])
def test_who_blocks_longer_than_it_has_holds_up_nobody(asks_first):
    """With one slot for all threads, the one that blocks would keep it from the others for ever."""
    never = threading.Event()

    async def answer(request):
        if request.messages[-1].content == "2":
            await until_decided(3)
        return "hello"

    class Blocks(Speaker):
        def step(self):
            if asks_first:
                self.llm.generate(str(self.unique_id))
            if self.unique_id == 2:
                pass_time(LIMIT)
                never.wait()
            wait_my_turn()
            self.say("hello")

    enable_automatic_parallel_stepping()
    config = ParallelStepping(mode="threading", max_workers=1, decide_timeout=LIMIT, on_error="skip")
    model = SpeakersModel(4, ScriptedLLM(answer), Blocks, parallel=config)
    model.agents.do("step")
    never.set()
    assert outcomes(model) == ["acted", "failed", "acted", "acted"]


def test_who_has_nothing_to_decide_has_no_limit(mode):
    class Plain(mesa.Agent):
        def step(self):
            pass_time(LIMIT)
            self.model.log.append(self.unique_id)

    config = ParallelStepping(mode=mode, decide_timeout=LIMIT, on_error="skip")
    model = SpeakersModel(1, ScriptedLLM("hello"), parallel=config)
    Plain(model)
    model.agents.do("step")
    assert set(model.log) == {(1, "hello"), 2}


class Clocked:
    """An event loop's timers on a clock of the test's own."""

    def __init__(self):
        self.now, self.soon, self.later = 0.0, [], []

    def time(self):
        return self.now

    def call_soon(self, callback, *args):
        self.soon.append((callback, args))
        return Cancellable(self.soon, self.soon[-1])

    def call_later(self, seconds, callback):
        self.later.append((self.now + seconds, callback))
        return Cancellable(self.later, self.later[-1])

    def advance(self, seconds):
        self.now += seconds
        due = [entry for entry in self.later if entry[0] <= self.now]
        self.later = [entry for entry in self.later if entry not in due]
        for _, callback in due:
            callback()

    def run_soon(self):
        ready, self.soon = self.soon, []
        for callback, args in ready:
            callback(*args)


class Cancellable:
    def __init__(self, entries, entry):
        self.entries, self.entry = entries, entry

    def cancel(self):
        if self.entry in self.entries:
            self.entries.remove(self.entry)


def test_a_timer_lets_what_is_ready_go_first_and_does_not_count_what_is_not_its_own():
    loop, called, uncounted = Clocked(), [], [0.0]
    PausableTimer(loop, 1.0, lambda: called.append(loop.now), uncounted=lambda: uncounted[0])
    uncounted[0] = 0.5
    loop.advance(1.0)
    assert loop.later == [(1.5, loop.later[0][1])]
    loop.advance(0.5)
    loop.run_soon()
    assert called == []
    loop.run_soon()
    assert called == [1.5]
