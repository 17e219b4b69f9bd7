"""How far a step has come can be seen while it runs."""

import threading
import weakref

import pytest
from helpers.left_over import soon
from helpers.speakers import Speaker, SpeakersModel, seen_by

from mesa_llm.parallel_stepping import (
    ParallelStepError,
    ParallelStepping,
    enable_automatic_parallel_stepping,
    progress_of,
    step_agents_parallel_sync,
)
from mesa_llm.testing import ScriptedLLM

AGENTS = 5


@pytest.fixture(params=["asyncio", "threading"])
def mode(request):
    enable_automatic_parallel_stepping(mode=request.param)
    return request.param


class Watched(Speaker):
    """Looks at the progress of its model's step while it acts."""

    def say(self, plan):
        super().say(plan)
        self.model.seen.append(progress_of(self.model))


class WatchedModel(SpeakersModel):
    def __init__(self, answer, **model):
        super().__init__(AGENTS, ScriptedLLM(answer), Watched, **model)
        self.seen = []


def test_whoever_acts_finds_all_others_decided(mode):
    model = WatchedModel("hello")
    model.step()
    assert [(seen.decided, seen.acted, seen.failed) for seen in model.seen] == [
        (AGENTS, acted, 0) for acted in range(1, AGENTS + 1)
    ]
    assert {(seen.step, seen.agents) for seen in model.seen} == {(1, AGENTS)}
    assert all(seen.seconds > 0 for seen in model.seen)


def test_who_is_still_being_answered_has_not_decided(mode):
    asked = []

    def answer(request):
        asked.append(progress_of(model))
        return "hello"

    model = WatchedModel(answer)
    model.step()
    assert len(asked) == AGENTS
    assert all(seen.acted == 0 and seen.decided < AGENTS for seen in asked)


def test_failures_are_told_of_before_the_step_has_ended(mode):
    def answer(request):
        if seen_by(request) == 2:
            raise ConnectionResetError("reset")
        return "hello"

    model = WatchedModel(answer, parallel=ParallelStepping(mode=mode, on_error="skip"))
    model.step()
    assert [(seen.decided, seen.acted, seen.failed) for seen in model.seen] == [
        (AGENTS - 1, acted, 1) for acted in range(1, AGENTS)
    ]


def test_between_steps_there_is_no_progress(mode):
    model = WatchedModel("hello")
    assert progress_of(model) is None
    model.step()
    assert progress_of(model) is None


def test_after_a_step_that_failed_there_is_no_progress(mode):
    model = WatchedModel(ConnectionResetError("reset"))
    with pytest.raises(ParallelStepError):
        model.step()
    assert progress_of(model) is None


def test_of_a_step_within_a_step_the_inner_one_is_told():
    class Leader(Speaker):
        def say(self, plan):
            before = progress_of(self.model)
            step_agents_parallel_sync([agent for agent in self.model.agents if type(agent) is Speaker])
            self.model.log.append((before.agents, progress_of(self.model).agents))

    def answer(request):
        told.append(progress_of(model).agents)
        return "hello"

    told = []
    model = SpeakersModel(3, ScriptedLLM(answer))
    step_agents_parallel_sync([Leader(model, ScriptedLLM("hello"))])
    assert told == [3, 3, 3]
    assert model.log[-1] == (1, 1)


def test_progress_can_be_read_from_another_thread():
    def answer(request):
        reader = threading.Thread(target=lambda: told.append(progress_of(model)))
        reader.start()
        reader.join()
        return "hello"

    told = []
    model = WatchedModel(answer)
    enable_automatic_parallel_stepping()
    model.step()
    assert {seen.agents for seen in told} == {AGENTS}


def test_what_was_shown_does_not_keep_a_model_alive():
    enable_automatic_parallel_stepping()
    model = WatchedModel("hello")
    model.step()
    gone = weakref.ref(model)
    del model
    assert soon(lambda: gone() is None)
