"""A run that broke off goes on: what is recorded is not asked again, and the end is that of an undisturbed run."""

import asyncio
import itertools
import os
import signal

import pytest
from helpers.journals import REQUEST, Twice, run, state_of
from helpers.speakers import Speaker, SpeakersModel, digest, seen_by

from mesa_llm.clients import LLMRequest, Message
from mesa_llm.errors import BudgetExhaustedError, JournalMissError, RateLimitedError
from mesa_llm.journal import Journal, JournaledClient
from mesa_llm.parallel_stepping import ParallelStepError, ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM


def undisturbed(**kwargs):
    return state_of(run(ScriptedLLM(digest), **kwargs))


def resumed(path, inner, **kwargs):
    with JournaledClient(inner, path, mode="resume") as client:
        return run(client, **kwargs)


def states_in(path):
    return [call.state for call in Journal(path).calls()]


def test_a_run_that_has_ended_goes_on_after_its_end(mode, path):
    with JournaledClient(ScriptedLLM(digest), path) as client:
        run(client, steps=2)
    inner = ScriptedLLM(digest)
    with JournaledClient(inner, path, mode="resume") as client:
        assert state_of(run(client, steps=3)) == undisturbed(steps=3)
        assert client.replayed == 8
    assert len(inner.requests) == 4
    with JournaledClient(None, path, mode="replay") as client:
        assert state_of(run(client, steps=3)) == undisturbed(steps=3)


def test_a_step_that_failed_is_asked_again_where_it_failed(mode, path):
    """As a user does who mends the endpoint and starts the script again."""
    mended = False

    def answer(request):
        if seen_by(request) == 3 and '"step": 2' in request.messages[1].content and not mended:
            raise RateLimitedError("slow down")
        return digest(request)

    with JournaledClient(ScriptedLLM(answer), path) as client:
        model = SpeakersModel(4, client)
        model.step()
        with pytest.raises(ParallelStepError):
            model.step()
    assert states_in(path).count("failed") == 1

    mended = True
    inner = ScriptedLLM(answer)
    assert state_of(resumed(path, inner)) == undisturbed()
    assert [seen_by(request) for request in inner.requests[:1]] == [3]
    assert len(inner.requests) == 1 + 4
    assert states_in(path) == ["answered"] * 12


def test_failures_that_the_run_has_left_behind_are_not_asked_again(mode, path):
    def answer(request):
        return RateLimitedError("slow down") if seen_by(request) == 3 else digest(request)

    config = ParallelStepping(mode=mode, on_error="skip")
    with JournaledClient(ScriptedLLM(answer), path) as client:
        model = run(client, steps=3, parallel=config)
    inner = ScriptedLLM(answer)
    twin = resumed(path, inner, steps=3, parallel=config)
    assert state_of(twin) == state_of(model)
    assert [seen_by(request) for request in inner.requests] == [3]  # that of the last step


def test_a_failure_in_process_stays_one_when_the_model_had_stepped_on(mode, path):
    calls = itertools.count(1)
    with JournaledClient(
        ScriptedLLM(lambda request: ConnectionResetError("reset") if next(calls) == 2 else digest(request)), path
    ) as client:
        model = run(client, steps=2)
    inner = ScriptedLLM(digest)
    twin = resumed(path, inner, steps=3)
    assert model.log[0][0] == "failed"
    assert twin.log[: len(model.log)] == model.log
    assert len(inner.requests) == 4


def test_a_budget_that_is_exhausted_is_no_outcome(mode, path):
    calls = itertools.count(1)
    with JournaledClient(
        ScriptedLLM(lambda request: BudgetExhaustedError("spent") if next(calls) > 6 else digest(request)), path
    ) as client:
        model = SpeakersModel(4, client)
        model.step()
        with pytest.raises(ParallelStepError):
            model.step()
    assert states_in(path) == ["answered"] * 6
    inner = ScriptedLLM(digest)
    assert state_of(resumed(path, inner, steps=2)) == undisturbed(steps=2)
    assert len(inner.requests) == 2


def test_another_model_is_noticed_in_a_step_that_the_run_had_left_behind(mode, path):
    class Other(Speaker):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.step_prompt = "Say nothing."

    with JournaledClient(ScriptedLLM(digest), path) as client:
        run(client, steps=2, agent_class=Speaker)
    inner = ScriptedLLM(digest)
    with JournaledClient(inner, path, mode="resume") as client, pytest.raises(ParallelStepError) as raised:
        SpeakersModel(4, client, Other).step()
    assert all(isinstance(error, JournalMissError) for error in raised.value.exceptions)
    assert "-Say something.\n+Say nothing." in str(raised.value.exceptions[0])
    assert inner.requests == []


class LooksAtTheLog(Speaker):
    """While it acts, it asks about what has been said before."""

    async def astep(self):
        await super().astep()
        await self.llm.agenerate(f"What now, after {self.model.log}?")


class InOrder(SpeakersModel):
    def step(self):
        self.agents.do("step")


def test_in_the_last_step_a_request_that_is_not_recorded_is_asked(path):
    """The run broke off in the middle of it: who failed then may do now what changes what others ask."""
    enable_automatic_parallel_stepping()
    config = ParallelStepping(on_error="skip")
    mended = False

    def answer(request):
        is_first = request.messages[-1].content == "Say something." and seen_by(request) == 1
        return RateLimitedError("slow down") if is_first and not mended else "hello"

    with JournaledClient(ScriptedLLM(answer), path) as client:
        InOrder(2, client, LooksAtTheLog, parallel=config).step()
    mended = True
    inner = ScriptedLLM(answer)
    with JournaledClient(inner, path, mode="resume") as client:
        model = InOrder(2, client, LooksAtTheLog, parallel=config)
        model.step()
    assert model.log == [(1, "hello"), (2, "hello")]
    # Agent 2 has its decision from the journal; what it asks while it acts is new, since agent 1 has acted before it.
    assert [request.messages[-1].content for request in inner.requests] == [
        "Say something.",
        "What now, after [(1, 'hello')]?",
        "What now, after [(1, 'hello'), (2, 'hello')]?",
    ]


class Nests(Speaker):
    """While it acts, agent 1 steps two others, and then asks once more."""

    async def astep(self):
        await super().astep()
        if self.unique_id == 1:
            self.model.agents.select(lambda agent: agent.unique_id > 2).do("step")
        await self.llm.agenerate(f"And now? {len(self.model.log)}")


class Nesting(SpeakersModel):
    def step(self):
        self.agents.select(lambda agent: agent.unique_id < 3).do("step")


@pytest.mark.parametrize("answered", range(3, 16, 2))
def test_a_run_that_broke_off_around_a_step_within_a_step(path, answered):
    """The inner step has a later number, but the outer one has not been left behind."""

    def in_two_steps(client):
        model = Nesting(4, client, Nests)
        for _ in range(2):
            model.step()
        return model.log

    enable_automatic_parallel_stepping()
    calls = itertools.count(1)

    def answer(request):
        return BudgetExhaustedError("spent") if next(calls) > answered else digest(request)

    with JournaledClient(ScriptedLLM(answer), path) as client, pytest.raises((BudgetExhaustedError, ParallelStepError)):
        in_two_steps(client)
    inner = ScriptedLLM(digest)
    with JournaledClient(inner, path, mode="resume") as client:
        assert in_two_steps(client) == in_two_steps(ScriptedLLM(digest))
    assert len(inner.requests) + answered == 16


def run_on(model):
    while True:
        model.step()


@pytest.mark.parametrize("at", [1, 4, 9, 14, 23])
def test_wherever_a_run_breaks_off_it_comes_to_the_same_end(mode, path, at):
    calls = itertools.count(1)

    def answer(request):
        return BudgetExhaustedError("spent") if next(calls) > at else digest(request)

    with JournaledClient(ScriptedLLM(answer), path) as client, pytest.raises((BudgetExhaustedError, ParallelStepError)):
        run_on(SpeakersModel(4, client, Twice))
    inner = ScriptedLLM(digest)
    assert state_of(resumed(path, inner, agent_class=Twice, steps=2)) == undisturbed(agent_class=Twice, steps=2)
    assert len(inner.requests) == 24 - at


def test_after_ctrl_c_only_what_was_in_flight_is_asked_again(path):
    enable_automatic_parallel_stepping()

    async def answer(request):
        if '"step": 2' not in request.messages[1].content or seen_by(request) in {1, 3}:
            return digest(request)
        if seen_by(request) == 4:
            while len(inner.requests) < 8 or states_in(path).count("answered") < 6:  # noqa: ASYNC110 - of the file
                await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGINT)
        return await asyncio.Future()

    inner = ScriptedLLM(answer)
    with JournaledClient(inner, path) as client:
        model = SpeakersModel(4, client)
        model.step()
        with pytest.raises(KeyboardInterrupt):
            model.step()
    assert sorted(states_in(path)) == ["answered"] * 6 + ["started"] * 2
    inner = ScriptedLLM(digest)
    assert state_of(resumed(path, inner)) == undisturbed()
    assert sorted(seen_by(request) for request in inner.requests[:2]) == [2, 4]
    assert len(inner.requests) == 2 + 4


def test_calls_outside_of_steps(path):
    """A failure among them is asked again, unless agents have stepped since."""
    other = LLMRequest(model="a/b", messages=(Message("user", "bye"),))
    enable_automatic_parallel_stepping()

    def script(client):
        said = []
        for request in (REQUEST, other):
            try:
                said.append(client.generate(request).message.content)
            except ConnectionError as error:
                said.append(str(error))
            if request is REQUEST:
                run(client, steps=1)
        return said

    with JournaledClient(
        ScriptedLLM(lambda r: ConnectionError("down") if r in (REQUEST, other) else "hello"), path
    ) as client:
        assert script(client) == ["down", "down"]
    inner = ScriptedLLM("up")
    with JournaledClient(inner, path, mode="resume") as client:
        assert script(client) == ["down", "up"]
    assert inner.requests == [other]
