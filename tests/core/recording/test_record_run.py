"""A run as a whole in one file: what was run, steps with the state of the model, calls, events, and how it ended."""

import copy
import gc
import linecache
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
import weakref
from contextlib import nullcontext

import pytest
from helpers.left_over import soon
from helpers.speakers import Speaker, seen_by
from mesa import DataCollector, Model

from mesa_llm.activation import step_of
from mesa_llm.clients import LLMRequest, Message, RuleBasedClient
from mesa_llm.clients.client import ask
from mesa_llm.errors import ConfigurationError, JournalError, JournalMissError, ReplayDifferenceError
from mesa_llm.journal import Journal, JournaledClient
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.recording import load_recording, record_model, record_run, recording_to_dataframe, state_hash
from mesa_llm.testing import ScriptedLLM


def answer(request):
    return f"I am {seen_by(request)}"


class Person(Speaker):
    def say(self, plan):
        super().say(plan)
        self.memory.add_to_memory("action", {"tool": "say", "arguments": {"words": str(plan)}, "result": "said"})


def said(model):
    """How many things were said."""
    return len(model.log)


class Town(Model):
    def __init__(self, people=2, *, client=None, parallel=False, rng=7, luck=0):
        super().__init__(rng=rng)
        self.log = []
        self.luck = luck
        self.parallel_stepping = parallel
        for _ in range(people):
            Person(self, client or RuleBasedClient(answer))
        self.datacollector = DataCollector({"said": said})
        self.datacollector.collect(self)

    def step(self):
        self.agents.shuffle_do("step")
        self.datacollector.collect(self)

    def result(self):
        return f"{len(self.log)} things were said."


@pytest.fixture
def path(tmp_path):
    return tmp_path / "town.sqlite"


def run(path, steps=3, mode="record", *, run=None, **parameters):
    with record_run(Town, parameters, path=path, mode=mode, run=run) as town:
        for _ in range(steps):
            town.step()
    return town


def hashes(path, name=None):
    return [step.state_hash for step in Journal(path).steps(name)]


def test_a_run_is_in_the_file_as_a_whole(path):
    llm = ScriptedLLM(answer)
    town = run(path, people=2, client=llm)
    recorded = Journal(path).run()
    assert (recorded.status, recorded.steps, recorded.calls) == ("completed", 3, len(llm.requests))
    assert recorded.end | {"step": 3, "error": None, "result": "6 things were said."} == recorded.end
    steps = list(Journal(path).steps())
    assert [step.step for step in steps] == [0, 1, 2, 3]
    assert [step.measures for step in steps] == [{"said": 0}, {"said": 2}, {"said": 4}, {"said": 6}]
    assert steps[-1].state_hash == state_hash(town)
    assert steps[-1].state["agents"].keys() == {"Person 1", "Person 2"}
    assert sum(of["calls"] for of in steps[1].tallies.values()) == 2
    assert [(event.step, event.event_type) for event in load_recording(path) if event.agent_id is None] == [
        (0, "simulation_start"),
        *((step, name) for step in (1, 2, 3) for name in ("step_start", "step_end")),
    ]
    assert [event.content["result"] for event in load_recording(path) if event.event_type == "action"] == ["said"] * 6
    assert len(recording_to_dataframe(path, run="1")) == recorded.end["events"]


def test_the_identity_says_what_was_run(path):
    run(path, 0, people=3, client=ScriptedLLM("x"), luck=float("inf"))
    identity = Journal(path).run().identity
    assert identity["model"]["class"] == "Town"
    assert identity["model"]["parameters"] == {"people": 3, "parallel": False, "rng": 7}
    assert identity["model"]["objects"] == {"client": "ScriptedLLM", "luck": '"inf"'}
    assert identity["seed"] == 7
    assert identity["activation"]["activation"] == "mesa"
    person = identity["agents"]["Person"]
    assert (person["agents"], person["reasoning"], person["memory"]) == (3, "OneCall", "STLTMemory")
    assert set(identity["versions"]) >= {"python", "mesa", "mesa-llm-core", "mesa-llm-parallel"}
    assert identity["llms"][0]["clients"] == ["ScriptedLLM"]
    assert all(len(digest) == 64 for digest in identity["sources"].values())
    assert any("test_record_run" in module for module in identity["sources"])


def test_it_can_be_read_while_it_goes_on(path):
    with record_run(Town, {}, path=path) as town:
        for step in (1, 2):
            town.step()
            assert len(list(town.recorder.events)) == town.recorder._writer.events  # waits until all is written
            recorded = Journal(path).run()
            assert (recorded.status, recorded.steps) == ("unfinished", step)


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no"), "failed"), (KeyboardInterrupt(), "interrupted"), (None, "completed")]
)
def test_how_a_run_ends_is_in_the_file(path, error, status):
    def simulate():
        with record_run(Town, {}, path=path) as town:
            town.step()
            if error is not None:
                raise error

    with nullcontext() if error is None else pytest.raises(type(error)):
        simulate()
    assert Journal(path).run().status == status


def test_a_step_that_fails_is_recorded_with_its_error(path):
    with pytest.raises(ValueError, match="no answer"):
        run(path, client=ScriptedLLM([*["x"] * 2, ValueError("no answer")]))
    first, _, last = Journal(path).steps()
    assert (first.error, last.error, last.state_hash) == (None, "ValueError: no answer", None)
    assert Journal(path).run().end["error"] == "ValueError: no answer"


TOGETHER = [True, ParallelStepping(mode="threading")]
IN_TURNS = [False, ParallelStepping(activation="sequential")]


@pytest.mark.parametrize(
    ("recorded", "replayed"), [(one, other) for alike in (TOGETHER, IN_TURNS) for one in alike for other in alike]
)
def test_a_replay_asks_nobody_and_comes_to_the_same_states(path, recorded, replayed):
    enable_automatic_parallel_stepping()
    llm = ScriptedLLM(answer)
    town = run(path, people=3, client=llm, parallel=recorded)
    asked, size = len(llm.requests), path.stat().st_size
    twin = run(path, mode="replay", people=3, client=llm, parallel=replayed)
    assert len(llm.requests) == asked
    assert twin.recorder.compared == 4
    assert state_hash(twin) == state_hash(town)
    assert path.stat().st_size == size


def test_a_replay_that_parts_names_step_agent_and_attribute(path):
    class Moody(Person):
        def say(self, plan):
            super().say(plan)
            self.mood = self.model.luck if step_of(self.model) == 2 else 0

    class Other(Town):
        def __init__(self, luck=0):
            super().__init__(0, luck=0)
            self.luck = luck
            Moody(self, RuleBasedClient(answer))

    def simulate(mode, luck):
        with record_run(Other, {"luck": luck}, path=path, mode=mode) as town:
            town.luck = 0 if mode == "replay" else luck  # as if something outside decided
            for _ in range(3):
                town.step()

    simulate("record", 5)
    with pytest.raises(ReplayDifferenceError, match=r"After step 0, .* the model, luck: 5 and 6"):
        simulate("replay", 6)
    with pytest.raises(ReplayDifferenceError, match=r"After step 1, .* the model, luck: 5 and 0"):
        simulate("replay", 5)


def test_an_interrupted_run_is_resumed_and_has_the_hashes_of_an_unbroken_one(path, tmp_path):
    whole = tmp_path / "whole.sqlite"
    run(whole, 5, people=3, client=ScriptedLLM(answer))
    with pytest.raises(RuntimeError):
        broken(path, fails_after=7)
    assert Journal(path).run().status == "failed"
    llm = ScriptedLLM(answer)
    town = run(path, 5, "resume", people=3, client=llm)
    assert len(llm.requests) == 5 * 3 - 7
    assert town.recorder.compared == 3
    assert hashes(path) == hashes(whole)
    assert Journal(path).run().status == "completed"
    assert events_of(path) == events_of(whole)


def events_of(path):
    return [(event.step, event.agent_id, event.event_type, event.content) for event in load_recording(path)]


def broken(path, fails_after):
    left = iter(range(fails_after))

    def until(request):
        if next(left, None) is None:
            raise RuntimeError("out of luck")
        return answer(request)

    run(path, 5, people=3, client=RuleBasedClient(until))


KILLED = """
import os, signal, sys
from tests.core.recording.test_record_run import Town, answer
from mesa_llm.clients import RuleBasedClient
from mesa_llm.recording import record_run
calls = iter(range(100))
def until(request):
    if next(calls) == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer(request)
with record_run(Town, {"people": 3, "client": RuleBasedClient(until)}, path=sys.argv[1]) as town:
    for _ in range(9):
        town.step()
"""


@pytest.mark.slow
def test_a_run_killed_in_its_seventh_step_is_whole_up_to_the_sixth_and_goes_on(path, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), "tests"])}
    killed = subprocess.run([sys.executable, "-c", KILLED, path], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert Journal(path).run().status == "unfinished"
    assert [step.step for step in Journal(path).steps()] == [*range(7)]
    assert {event.step for event in load_recording(path)} == {*range(7)}
    run(path, 9, "resume", people=3, client=RuleBasedClient(answer))
    run(whole := tmp_path / "whole.sqlite", 9, people=3, client=RuleBasedClient(answer))
    assert hashes(path) == hashes(whole)
    assert events_of(path) == events_of(whole)


def test_calls_that_the_model_makes_itself_are_recorded_too(path):
    request = LLMRequest(model="a/b", messages=(Message("user", "Who lives here?"),))

    class Narrated(Model):
        def __init__(self, client):
            super().__init__(rng=1)
            self.client = client
            self.told = [ask(client, request).message.content]

        def step(self):
            self.told.append(ask(self.client, request).message.content)

    with record_run(Narrated, {"client": ScriptedLLM(["Ann.", "Bob."])}, path=path) as model:
        model.step()
    with record_run(Narrated, {"client": ScriptedLLM([])}, path=path, mode="replay") as model:
        model.step()
    assert model.told == ["Ann.", "Bob."]
    assert [call.agent_id for call in Journal(path).calls()] == [None, None]


def test_models_of_a_decorated_class_record_a_run_each(path):
    @record_model(path=path)
    class Decorated(Town):
        def step(self):
            super().step()

    for people in (1, 2):
        Decorated(people).step()
    assert soon(lambda: (gc.collect(), all(run.end for run in Journal(path).runs()))[1])
    first, second = Journal(path).runs()
    assert [run.identity["model"]["parameters"]["people"] for run in (first, second)] == [1, 2]
    assert (first.status, first.calls, second.calls) == ("completed", 1, 2)


def test_only_the_model_that_is_meant_is_recorded(path):
    with record_run(Town, {}, path=path) as town:
        other = Town(3)
        other.step()
        town.step()
    assert not hasattr(other, "recorder")
    assert Journal(path).run().calls == 2
    Town().step()
    assert len(Journal(path).runs()) == 1


def test_a_model_is_collected_and_its_run_ends_then(path):
    @record_model(path=path)
    class Decorated(Town):
        pass

    town = Decorated()
    town.step()
    gone = weakref.ref(town)
    del town
    assert soon(lambda: (gc.collect(), gone() is None)[1])
    assert soon(lambda: Journal(path).run().status == "completed")


def test_a_journal_of_version_2_is_read_and_upgraded_when_it_is_written(path):
    with JournaledClient(ScriptedLLM("x"), path) as client:
        client.generate(LLMRequest(model="a/b", messages=(Message("user", "?"),)))
    with sqlite3.connect(path) as connection:
        for table in ("facts", "steps", "events", "interviews"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    assert [(run.calls, run.status) for run in Journal(path).runs()] == [(1, "unknown")]
    assert list(Journal(path).steps()) == list(load_recording(path)) == []
    run(path)
    assert [run.status for run in Journal(path).runs()] == ["unknown", "completed"]
    assert len(hashes(path)) == 4


def test_a_step_that_is_damaged_is_noticed(path):
    run(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE steps SET seconds = 5 WHERE step = 2")
    connection.close()
    with pytest.raises(JournalError, match="row 2 of the table steps does not match its digest"):
        hashes(path)


def test_what_state_hashes_do_not_cover_is_named(path):
    class Locked(Town):
        def __init__(self, client=None):
            super().__init__(1, client=client)
            self.generator = (number for number in [1])

    with record_run(Locked, {}, path=path):
        pass
    assert Journal(path).run().opaque == ("Locked.generator",)


def test_no_key_is_in_the_file(path):
    secret = "tinykey-q1w2e3r4t5y6u7i8o9p0-ABCDEFGHIJ"

    class Keyed(Town):
        def __init__(self, api_key, api_base, client=None):
            super().__init__(1, client=client)
            for agent in self.agents:
                agent.llm.api_key = secret
                agent.llm.api_base = api_base
                agent.llm.options = {
                    "extra_headers": {"X-Auth": secret, "Accept": "text/plain"},
                    "extra_body": {"api_key": secret, "top_k": 5},
                    "api_key": secret,
                    "base_url": f"http://me:{secret}@127.0.0.1/v1",
                    "temperature": 0.5,
                }

    parameters = {"api_key": secret, "api_base": f"http://me:{secret}@127.0.0.1/v1", "client": ScriptedLLM("x")}
    with record_run(Keyed, parameters, path=path) as town:
        town.step()
    with record_run(Keyed, parameters, path=path, mode="replay") as town:
        town.step()
    assert town.recorder.journal.replayed == 1
    with record_run(Keyed, parameters, path=path, mode="replay") as town:
        town.step()
        with pytest.raises(JournalMissError) as missed:
            town.step()
    assert secret[:12] not in str(missed.value)
    assert secret[:12].encode() not in path.read_bytes()
    (call,) = Journal(path).calls()
    assert call.request["extra_headers"] == {"X-Auth": "***", "Accept": "text/plain"}
    assert call.request["extra_body"] == {"api_key": "***", "top_k": 5}
    assert call.request["base_url"] == "http://***@127.0.0.1/v1"
    assert call.request["temperature"] == 0.5


def test_a_replay_of_another_program_says_what_is_asked_instead(path):
    run(path, people=2)
    with pytest.raises(ReplayDifferenceError, match=r"After step 0.*random"):
        run(path, mode="replay", people=2, rng=8)
    with pytest.raises(JournalMissError, match="which ends with step 3"):
        run(path, 4, "replay", people=2)


def test_a_model_instead_of_a_class_is_refused(path):
    with (
        pytest.raises(ConfigurationError, match=r"model_class must be a class of models, got <.*Town"),
        record_run(Town(), path=path),
    ):
        pass


def test_a_copy_of_a_model_records_a_run_of_its_own(path):
    @record_model(path=path)
    class Decorated(Town):
        pass

    globals()["Decorated"] = Decorated
    Decorated.__qualname__ = "Decorated"
    town = Decorated()
    town.step()
    twin = copy.deepcopy(town)
    other = pickle.loads(pickle.dumps(town))
    for model in (town, twin, other):
        model.step()
        model.recorder.close()
    runs = Journal(path).runs()
    assert [(run.name, run.copy_of, run.calls, run.status) for run in runs] == [
        ("1", None, 4, "completed"),
        ("1.1", "1", 2, "completed"),
        ("1.2", "1", 2, "completed"),
    ]
    assert hashes(path, "1.1")[-1] == hashes(path, "1.2")[-1] == hashes(path, "1")[-1]
    assert {event.step for event in load_recording(path, run="1.1")} == {2}


def test_a_forked_child_records_a_run_of_its_own(path):
    with record_run(Town, {}, path=path) as town:
        town.step()
        child = os.fork()
        if not child:
            town.step()
            town.recorder.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        town.step()
    assert [(run.name, run.steps) for run in Journal(path).runs()] == [("1", 2), ("1.1", 2)]
    assert hashes(path, "1.1")[-1] == hashes(path, "1")[-1]


def test_a_run_of_a_decorated_class_is_replayed(path):
    @record_model(path=path)
    class Decorated(Town):
        pass

    model = Decorated(3)
    model.step()
    model.recorder.close()
    with record_run(Decorated, {"people": 3}, path=path, mode="replay") as town:
        town.step()
    assert town.recorder.compared == 2
    assert len(Journal(path).runs()) == 1


def test_events_of_one_long_step_are_written_in_parts(path, monkeypatch):
    monkeypatch.setattr("mesa_llm.recording.run_writer.MOST_HELD", 3)
    town = run(path)
    numbers = [event.event_id for event in load_recording(path)]
    assert numbers == sorted(numbers)
    assert len(numbers) == town.recorder._writer.events > 20


def test_several_runs_are_recorded_at_once_in_one_file(path):
    threads = [threading.Thread(target=run, args=(path, 3), kwargs={"people": people}) for people in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((run.calls, run.steps, run.status) for run in Journal(path).runs()) == [
        (3, 3, "completed"),
        (6, 3, "completed"),
        (9, 3, "completed"),
    ]


def test_events_of_a_step_that_broke_off_are_replaced_when_it_is_made_again(path):
    trouble = [True]

    class Talkative(Town):
        def step(self):
            if step_of(self) == 2 and trouble:
                for _ in range(30):
                    self.recorder.record_event("worry", "what now?")
                raise ValueError("broken")
            super().step()

    def attempt(mode):
        with record_run(Talkative, {"client": RuleBasedClient(answer)}, path=path, mode=mode) as town:
            for _ in range(2):
                town.step()
        return town

    with pytest.raises(ValueError, match="broken"):
        attempt("record")
    assert sum(event.event_type == "worry" for event in load_recording(path)) == 30
    trouble.clear()
    town = attempt("resume")
    events = list(load_recording(path))
    assert not [event for event in events if event.event_type == "worry"]
    assert len(events) == town.recorder._writer.events


def test_a_run_that_is_resumed_is_unfinished_again(path):
    run(path, 1)
    with record_run(Town, {}, path=path, mode="resume") as town:
        town.step()
        town.recorder._writer.journal.session().drain()
        assert Journal(path).run().status == "unfinished"
    assert Journal(path).run().status == "completed"


def test_agents_of_other_classes_that_join_are_part_of_the_identity(path):
    class Latecomer(Person):
        pass

    with record_run(Town, {}, path=path) as town:
        town.step()
        Latecomer(town, RuleBasedClient(answer))
        town.step()
    assert Journal(path).run().identity["agents"].keys() == {"Person", "Latecomer"}


def test_a_class_of_a_notebook_has_a_digest_of_its_methods(path):
    def defined(hope):
        """A class as a notebook defines it: its source is known to `linecache` alone."""
        cell = f"class Cell(Town):\n    def hope(self):\n        return {hope}\n"
        name = f"<cell {hope}>"
        linecache.cache[name] = len(cell), None, cell.splitlines(keepends=True), name
        namespace = {"Town": Town, "__name__": "a_notebook"}
        exec(compile(cell, name, "exec"), namespace)
        return namespace["Cell"]

    digests = []
    for hope in (1, 2, 2):
        with record_run(defined(hope), {}, path=path):
            pass
        sources = Journal(path).run().identity["sources"]
        digests.append(sources["a_notebook.Cell"])
    assert digests[0] != digests[1] == digests[2]
