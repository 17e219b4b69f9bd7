"""A replay is the recorded run, bit for bit, and asks nobody."""

import asyncio
import json
import threading
from dataclasses import replace

import pytest
from helpers.journals import REQUEST, Reporting, Twice, run, state_of, step
from helpers.moved_clock import MINUTE, outlast_the_others, until
from helpers.speakers import OneCall, Speaker, SpeakersModel, digest, seen_by
from hypothesis import given, settings
from hypothesis import strategies as st

from mesa_llm.clients import LLMResponse, Message, RuleBasedClient, Usage, tool_call
from mesa_llm.concurrency import transport_loop
from mesa_llm.errors import JournalMissError, ModelTimeoutError, RateLimitedError
from mesa_llm.journal import Journal, JournaledClient
from mesa_llm.journal import replay as replaying_module
from mesa_llm.parallel_stepping import ParallelStepError, ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM
from mesa_llm_examples.civil_violence import CivilViolence, policy

OTHER = {"asyncio": "threading", "threading": "asyncio"}


def recorded_and_replayed(path, inner, **kwargs):
    """A run, and its replay in the mode that is switched on then."""
    with JournaledClient(inner, path) as client:
        model = run(client, **kwargs)
    with JournaledClient(None, path, mode="replay") as client:
        twin = run(client, **kwargs)
    return model, twin


def test_a_replay_is_the_recorded_run_in_either_mode(mode, path):
    def latency(request):
        return seen_by(request) % 3 / 1000

    with JournaledClient(ScriptedLLM(digest, latency=latency), path) as client:
        model = run(client)
    assert len(model.log) == 12
    for replaying in (mode, OTHER[mode]):
        enable_automatic_parallel_stepping(mode=replaying)
        with JournaledClient(None, path, mode="replay") as client:
            assert state_of(run(client)) == state_of(model)
            assert client.replayed == 12


def test_agents_that_decide_twice_and_ask_in_between(mode, path):
    n_asked = iter(range(1000))
    model, twin = recorded_and_replayed(
        path, ScriptedLLM(lambda request: f"answer {next(n_asked)}"), agent_class=Twice, steps=2
    )
    assert len(model.log) == 16
    assert state_of(twin) == state_of(model)


def test_agents_that_nobody_runs_in_parallel(path):
    model, twin = recorded_and_replayed(path, ScriptedLLM(digest), parallel=False)
    assert twin.log == model.log
    assert len(model.log) == 12


def test_failures_are_replayed_where_agents_are_skipped(mode, path):
    def answer(request):
        if seen_by(request) in {2, 3}:
            raise RateLimitedError("slow down", model="a/b", status=429, retry_after=2.5, is_transient=True, retries=4)
        return digest(request)

    config = ParallelStepping(mode=mode, on_error="skip")
    model, twin = recorded_and_replayed(path, ScriptedLLM(answer), parallel=config)
    assert [agent_id for agent_id, *_ in state_of(model)["failures"][:4]] != []
    assert {outcome for _, outcome, _ in state_of(model)["failures"]} == {"acted", "failed"}
    assert state_of(twin) == state_of(model)


def test_a_step_that_failed_fails_again_and_the_model_steps_on(mode, path):
    calls = iter(range(1000))

    def answer(request):
        return ConnectionResetError(104, "reset") if next(calls) == 6 else "hello"

    model, twin = recorded_and_replayed(path, ScriptedLLM(answer))
    assert [who for who, _ in model.log].count("failed") == 1
    assert len(model.log) == 9
    assert state_of(twin) == state_of(model)


def test_timeouts_of_decisions_are_replayed(mode, path):
    """Agent 2 is never answered in time; when its run is replayed, it has all the time it wants."""

    async def answer(request):
        if seen_by(request) == 2:
            await outlast_the_others(MINUTE)
        return digest(request)

    config = ParallelStepping(mode=mode, decide_timeout=MINUTE, on_error="skip")
    inner = ScriptedLLM(answer)
    model, twin = recorded_and_replayed(path, inner, parallel=config, steps=2)
    timeouts = [failure for failure in state_of(model)["failures"] if failure[1] == "failed"]
    assert (
        timeouts == [(2, "failed", "DecisionTimeoutError: Speaker 2 has not decided within 60 s (decide_timeout).")] * 2
    )
    assert state_of(twin) == state_of(model)


def test_closing_waits_for_calls_that_are_being_cancelled(path):
    """The transport takes its time to drop a connection; meanwhile the step has ended, and the client is closed."""

    async def drops_slowly(request):
        if seen_by(request) != 2:
            return "hello"
        model = request.call.agent.model
        try:
            await outlast_the_others(MINUTE)
        finally:
            await until(lambda: model.reports)  # the step has ended

    enable_automatic_parallel_stepping()
    config = ParallelStepping(decide_timeout=MINUTE, on_error="skip")
    model, twin = recorded_and_replayed(path, ScriptedLLM(drops_slowly), parallel=config, steps=1)
    assert len(model.log) == 3
    assert state_of(twin) == state_of(model)


class Dawdles(Speaker):
    """Has its answer, and then its time to decide runs out before it has made anything of it."""

    async def astep(self):
        await self.llm.agenerate("Which way?")
        if self.unique_id == 2 and self.model.dawdling:
            await outlast_the_others(MINUTE)
        await super().astep()


def test_a_timeout_after_the_last_answer_is_replayed_too(path):
    def run_dawdlers(client, *, dawdling, steps):
        config = ParallelStepping(decide_timeout=MINUTE, on_error="skip")
        model = Reporting(3, client, Dawdles, parallel=config)
        model.dawdling = dawdling
        for _ in range(steps):
            step(model)
        return model

    enable_automatic_parallel_stepping()
    with JournaledClient(ScriptedLLM("hello"), path) as client:
        model = run_dawdlers(client, dawdling=True, steps=2)
    with JournaledClient(None, path, mode="replay") as client:
        twin = run_dawdlers(client, dawdling=False, steps=2)
    assert len(model.log) == 4
    assert state_of(twin) == state_of(model)


class TakesTheFirst(Speaker):
    """Asks two questions at once, takes the first answer and cancels the other call."""

    async def astep(self):
        calls = {name: asyncio.create_task(self.llm.agenerate(name)) for name in ("quick", "slow")}
        done, others = await asyncio.wait(calls.values(), return_when=asyncio.FIRST_COMPLETED)
        for call in others:
            call.cancel()
        self.model.log.append([name for name, call in calls.items() if call in done])
        await super().astep()


def test_a_call_that_its_agent_has_cancelled_is_not_answered_in_a_replay_either(path):
    enable_automatic_parallel_stepping()
    inner = ScriptedLLM("hello", latency=lambda request: 60 if request.messages[-1].content == "slow" else 0)
    model, twin = recorded_and_replayed(path, inner, agent_class=TakesTheFirst, n=2, steps=2)
    assert model.log.count(["quick"]) == 4
    assert state_of(twin) == state_of(model)
    assert {call.state for call in Journal(path).calls()} == {"answered", "cancelled"}


class ChangesItsMind(Speaker):
    """Cancels a call before the transport loop, which is busy, has begun it."""

    async def astep(self):
        busy, go_on = threading.Event(), threading.Event()

        def stand_still():
            busy.set()
            go_on.wait(30)

        transport_loop.call_later(0, stand_still)
        assert busy.wait(30)
        call = asyncio.create_task(self.llm.agenerate("never mind"))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        go_on.set()
        self.model.log.append(call.cancelled())
        await super().astep()


def test_a_call_that_its_agent_cancels_before_it_has_begun_is_recorded_and_not_asked(path):
    """A replay that did not know of the call would answer it with an error."""
    enable_automatic_parallel_stepping()
    inner = ScriptedLLM("hello")
    model, twin = recorded_and_replayed(path, inner, agent_class=ChangesItsMind, n=1, steps=1)
    assert model.log[0] is True
    assert state_of(twin) == state_of(model)
    assert [call.state for call in Journal(path).calls()] == ["cancelled", "answered"]
    assert len(inner.requests) == 1


def test_a_replay_that_nobody_cancels_says_so(path, monkeypatch):
    monkeypatch.setattr(replaying_module, "GRACE", 0.0)
    enable_automatic_parallel_stepping()

    class Patient(Speaker):
        async def astep(self):
            await self.llm.agenerate("slow")

    inner = ScriptedLLM("hello", latency=lambda request: 60 if request.messages[-1].content == "slow" else 0)
    with JournaledClient(inner, path) as client:
        run(client, agent_class=TakesTheFirst, n=1, steps=1)
    with JournaledClient(None, path, mode="replay") as client:
        (_, message), *_ = run(client, agent_class=Patient, n=1, steps=1).log
    assert "was cancelled by the agent itself, and has no answer" in message


class Repeats(Speaker):
    """Asks the same thing several times, one after the other and side by side."""

    async def astep(self):
        for _ in range(2):
            self.model.log.append((await self.llm.agenerate("again")).message.content)
        answers = await asyncio.gather(*(self.llm.agenerate(f"question {n % 2}") for n in range(4)))
        self.model.log.append([answer.message.content for answer in answers])
        await super().astep()


def test_equal_requests_of_one_agent_are_told_apart(mode, path):
    n_asked = iter(range(1000))
    model, twin = recorded_and_replayed(
        path, ScriptedLLM(lambda request: f"answer {next(n_asked)}"), agent_class=Repeats, n=1, steps=2
    )
    assert model.log[0] != model.log[1]
    assert state_of(twin) == state_of(model)


def test_an_agent_that_is_stepped_twice_in_one_step(mode, path):
    """Both of its parts ask the same, in the same step."""

    class Doubled(SpeakersModel):
        def step(self):
            from mesa_llm.parallel_stepping import step_agents_parallel_sync

            step_agents_parallel_sync([*self.agents, *self.agents])

    def run_doubled(client):
        model = Doubled(1, client)
        model.step()
        return model.log

    with JournaledClient(ScriptedLLM("hello"), path) as client:
        log = run_doubled(client)
    with JournaledClient(None, path, mode="replay") as client:
        assert run_doubled(client) == log
    assert len(list(Journal(path).calls())) == 2


def test_calls_outside_of_steps_are_replayed_in_order(path):
    with JournaledClient(ScriptedLLM(["one", "two", "three"]), path) as client:
        answers = [client.generate(request) for request in (REQUEST, REQUEST, REQUEST)]
    with JournaledClient(None, path, mode="replay") as client:
        replayed = [client.generate(REQUEST).message.content for _ in answers]
    assert replayed == ["one", "two", "three"]


def test_every_part_of_an_answer_is_kept(path):
    answer = LLMResponse(
        message=Message("assistant", "höflich \ud83d", tool_calls=(tool_call("move", direction="Nord"),)),
        model="provider/exact-name",
        usage=Usage(prompt_tokens=12, completion_tokens=7),
        finish_reason="tool_calls",
        cost=0.1 + 0.2,
        retries=3,
        reasoning="Hm.",
    )
    with JournaledClient(ScriptedLLM(answer), path) as client:
        assert client.generate(REQUEST) == answer
    with JournaledClient(None, path, mode="replay") as client:
        replayed = client.generate(REQUEST)
    assert replayed.source == "journal"
    assert replace(replayed, source="model") == answer


def test_an_error_of_a_model_is_raised_again_with_all_that_it_says(path):
    error = ModelTimeoutError(
        "too slow", model="a/b", endpoint="http://here", status=504, retry_after=1.5, is_transient=True, retries=2
    )
    with JournaledClient(ScriptedLLM(error), path) as client, pytest.raises(ModelTimeoutError):
        client.generate(REQUEST)
    with JournaledClient(None, path, mode="replay") as client, pytest.raises(ModelTimeoutError) as replayed:
        client.generate(REQUEST)
    assert type(replayed.value) is ModelTimeoutError
    assert replayed.value.args == error.args
    assert vars(replayed.value) == vars(error)


def test_a_miss_ends_a_step_even_where_failures_are_skipped(mode, path):
    config = ParallelStepping(mode=mode, on_error="skip")
    with JournaledClient(ScriptedLLM("hello"), path) as client:
        run(client, parallel=config, steps=1)
    with JournaledClient(None, path, mode="replay") as client:
        model = Reporting(4, client, parallel=config)
        model.step()
        with pytest.raises(ParallelStepError) as raised:
            model.step()
    assert all(isinstance(error, JournalMissError) for error in raised.value.exceptions)
    assert len(model.log) == 4


def violence(client, mode):
    enable_automatic_parallel_stepping(mode=mode)
    model = CivilViolence(20, 5, seed=3, client=client)
    for _ in range(4):
        model.step()
    return (
        model.datacollector.get_model_vars_dataframe().to_dict(),
        model.random.getstate(),
        [(agent.unique_id, agent.cell.coordinate, str(agent.internal_state)) for agent in model.agents],
        [[str(entry) for entry in agent.memory.entries] for agent in model.agents],
    )


def test_a_run_of_civil_violence_is_replayed_bit_for_bit(path):
    with JournaledClient(RuleBasedClient(policy, latency=0.001), path) as client:
        recorded = violence(client, "asyncio")
    with JournaledClient(None, path, mode="replay") as client:
        assert violence(client, "threading") == recorded
        assert client.replayed == len(list(Journal(path).calls())) > 150


@settings(max_examples=25)
@given(
    fates=st.lists(st.sampled_from(["answer", "late", "fail"]), min_size=6, max_size=6),
    replaying=st.sampled_from(["asyncio", "threading"]),
    policy_on_errors=st.sampled_from(["raise", "skip"]),
)
def test_whatever_becomes_of_the_calls_the_replay_is_the_run(tmp_path_factory, fates, replaying, policy_on_errors):
    path = tmp_path_factory.mktemp("any") / "run.db"

    def fate(request):
        return fates[int(digest(request), 16) % len(fates)]

    def answer(request):
        return ConnectionError(f"lost {digest(request)}") if fate(request) == "fail" else digest(request)

    inner = ScriptedLLM(answer, latency=lambda request: 0.002 if fate(request) == "late" else 0)
    enable_automatic_parallel_stepping()
    with JournaledClient(inner, path) as client:
        model = run(client, n=3, steps=3, parallel=ParallelStepping(on_error=policy_on_errors))
    with JournaledClient(None, path, mode="replay") as client:
        twin = run(client, n=3, steps=3, parallel=ParallelStepping(mode=replaying, on_error=policy_on_errors))
    assert state_of(twin) == state_of(model)


def test_the_order_of_side_by_side_calls_does_not_matter(path):
    """The replay answers at once, so calls of one agent may arrive in another order than they did."""
    enable_automatic_parallel_stepping()

    class Reorders(OneCall):
        pass

    class SideBySide(Speaker):
        async def astep(self):
            questions = ["a", "b"] if self.model.forwards else ["b", "a"]
            tasks = {q: asyncio.create_task(self.llm.agenerate(q)) for q in questions}
            self.model.log.append({q: (await tasks[q]).message.content for q in sorted(tasks)})
            await super().astep()

    logs = []
    for client, forwards in (
        (JournaledClient(ScriptedLLM(lambda request: request.messages[-1].content * 2), path), True),
        (JournaledClient(None, path, mode="replay"), False),
    ):
        with client:
            model = SpeakersModel(1, client, SideBySide)
            model.forwards = forwards
            model.step()
            logs.append(json.dumps(model.log))
    assert logs[0] == logs[1]
    assert '{"a": "aa", "b": "bb"}' in logs[0]
