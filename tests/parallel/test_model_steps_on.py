"""After a failed step the model steps on: Mesa 3.5 and 4 would silently run nothing."""

import copy
import pickle

import mesa
import pytest
from helpers.speakers import Speaker, SpeakersModel

from mesa_llm.parallel_stepping import ParallelStepError, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM


class Failing(Speaker):
    """Fails while it decides or while it acts, in the steps that its model names."""

    def generate_obs(self):
        if self.model.fails == "deciding":
            raise LookupError("deciding")
        return super().generate_obs()

    def say(self, plan):
        if self.model.fails == "acting":
            raise LookupError("acting")
        super().say(plan)


class FailingModel(SpeakersModel):
    """Counts its steps; may catch the error itself."""

    def __init__(self, *, catches=False):
        super().__init__(2, ScriptedLLM("hello"), Failing)
        self.fails, self.catches, self.begun = None, catches, 0

    def step(self):
        self.begun += 1
        try:
            super().step()
        except (LookupError, ParallelStepError):
            if not self.catches:
                raise


ADVANCES = [pytest.param(lambda model: model.step(), id="step")]
if hasattr(mesa.Model, "run_for"):  # from 3.5 on
    ADVANCES.append(pytest.param(lambda model: model.run_for(1), id="run_for"))


@pytest.fixture(params=["asyncio", "threading"], autouse=True)
def _mode(request):
    enable_automatic_parallel_stepping(mode=request.param)


@pytest.mark.parametrize("fails", ["deciding", "acting"])
@pytest.mark.parametrize("advance", ADVANCES)
@pytest.mark.parametrize("catches", [True, False], ids=["caught", "raised"])
def test_the_next_step_runs_once(fails, advance, catches):
    model = FailingModel(catches=catches)
    for expected in (2, 4, 6):
        model.fails = fails
        if catches:
            advance(model)
        else:
            with pytest.raises((LookupError, ParallelStepError)):
                advance(model)
        assert model.begun == expected - 1
        model.fails = None
        model.log.clear()
        advance(model)
        assert model.begun == expected
        assert len(model.log) == 2


def test_two_failures_in_one_step_leave_one_next_step():
    class Twice(FailingModel):
        def step(self):
            super().step()
            super().step()

    model = Twice(catches=True)
    model.fails = "deciding"
    model.step()
    model.fails = None
    model.step()
    assert model.begun == 4
    assert len(model.log) == 4


def test_a_set_stepped_by_hand_between_steps_may_fail_too():
    model = FailingModel()
    model.step()
    model.fails = "deciding"
    with pytest.raises(ParallelStepError):
        model.agents.shuffle_do("step")
    model.fails = None
    model.log.clear()
    model.step()
    assert model.begun == 2
    assert len(model.log) == 2


@pytest.mark.parametrize(
    "twin", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"]
)
def test_a_model_that_has_failed_copies_and_steps_on(twin):
    model = FailingModel()
    model.fails = "deciding"
    with pytest.raises(ParallelStepError):
        model.step()
    model.fails = None
    again = twin(model)
    again.step()
    assert (model.begun, again.begun) == (1, 2)
    assert len(again.log) == 2
