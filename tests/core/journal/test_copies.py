"""One run, one model: copies, pickles and forks go on in runs of their own, and nothing is left behind."""

import copy
import gc
import os
import pickle
import warnings
import weakref

import pytest
from helpers.journals import REQUEST, run
from helpers.left_over import Since, soon
from helpers.speakers import SpeakersModel, digest

from mesa_llm.clients import RuleBasedClient
from mesa_llm.errors import JournalError
from mesa_llm.journal import Journal, JournaledClient
from mesa_llm.parallel_stepping import ParallelStepError, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM


def test_two_models_in_one_run_are_refused(mode, path):
    with JournaledClient(ScriptedLLM(digest), path) as client:
        SpeakersModel(2, client).step()
        other = SpeakersModel(2, client)
        with pytest.raises(ParallelStepError) as raised:
            other.step()
    assert isinstance(raised.value.exceptions[0], JournalError)
    assert "Give each model a JournaledClient of its own" in str(raised.value)


def test_a_model_that_is_gone_does_not_make_room_for_another(path):
    """Else it would depend on the garbage collector whether it is refused."""
    enable_automatic_parallel_stepping()
    with JournaledClient(ScriptedLLM(digest), path) as client:
        SpeakersModel(2, client).step()
        gc.collect()
        with pytest.raises(ParallelStepError, match="belongs to another SpeakersModel"):
            SpeakersModel(2, client).step()


def test_two_models_share_a_file(path):
    enable_automatic_parallel_stepping()
    for seed in (1, 2):
        with JournaledClient(ScriptedLLM(digest), path) as client:
            run(client, seed=seed)
    assert [recorded.calls for recorded in Journal(path).runs()] == [12, 12]


TWINS = {"deepcopy": copy.deepcopy, "pickle": lambda model: pickle.loads(pickle.dumps(model))}


@pytest.mark.parametrize("twin_of", TWINS.values(), ids=TWINS)
def test_a_copied_model_goes_on_in_a_run_of_its_own(mode, path, twin_of):
    with JournaledClient(RuleBasedClient(digest), path, run="a") as client:
        model = SpeakersModel(3, client)
        model.step()
        twin, other = twin_of(model), twin_of(model)
        for each in (other, model, twin):
            each.step()
        copied = next(iter(twin.agents)).llm.client
        assert (copied.run, copied.path) == ("a.1", path)
    assert twin.log == model.log == other.log
    assert [(r.name, r.copy_of, r.calls) for r in sorted(Journal(path).runs(), key=lambda r: r.name)] == [
        ("a", None, 6),
        ("a.1", "a", 3),
        ("a.2", "a", 3),
    ]


@pytest.mark.parametrize("replaying", ["replay", "resume"])
def test_a_model_that_looks_ahead_with_copies_of_itself_is_replayed(mode, path, replaying):
    """The copy's own run is found again; what it has asked is not asked again."""

    class LooksAhead(SpeakersModel):
        def step(self):
            if len(self.log) == 3:
                ahead = copy.deepcopy(self)
                ahead.log.append("ahead")
                for agent in ahead.agents:
                    agent.step_prompt = "What if?"
                ahead.agents.shuffle_do("step")
                self.log.append(ahead.log[-3:])
            super().step()

    def steps(client):
        model = LooksAhead(3, client)
        for _ in range(3):
            model.step()
        return model.log

    with JournaledClient(RuleBasedClient(digest), path) as client:
        log = steps(client)
    asked = []

    def note(request):
        asked.append(request)
        return digest(request)

    with JournaledClient(RuleBasedClient(note) if replaying == "resume" else None, path, mode=replaying) as client:
        assert steps(client) == log
    assert asked == []
    assert [r.calls for r in Journal(path).runs()] == [9, 3]


def test_a_copy_without_a_run_of_its_own_replays_the_first_one(path):
    enable_automatic_parallel_stepping()
    with JournaledClient(RuleBasedClient(digest), path) as client:
        log = run(client).log
    with JournaledClient(None, path, mode="replay") as client:
        model = SpeakersModel(4, client)
        model.step()
        twin = copy.deepcopy(copy.deepcopy(model))
        for _ in range(2):
            twin.step()
    assert twin.log == log


def test_without_a_name_no_run_of_a_copy_is_meant(path):
    with JournaledClient(RuleBasedClient(digest), path) as client:
        client.generate(REQUEST)
        with copy.deepcopy(client) as twin:
            twin.generate(REQUEST)
    assert [recorded.name for recorded in Journal(path).runs()] == ["1", "1.1"]
    assert Journal(path).run().name == "1"
    for mode in ("replay", "resume"):
        with JournaledClient(ScriptedLLM([]), path, mode=mode) as client:
            assert client.run == "1"


def test_a_copy_whose_run_is_taken_gets_the_next(path):
    """A pickle can be read more than once."""
    with JournaledClient(RuleBasedClient(digest), path) as client:
        pickled = pickle.dumps(client)
    names = []
    for _ in range(2):
        with pickle.loads(pickled) as twin:
            assert twin.run is None
            twin.generate(REQUEST)
            names.append(twin.run)
    assert names == ["1.1", "1.2"]


def test_a_copy_of_a_closed_client_is_open(path):
    client = JournaledClient(RuleBasedClient(digest), path)
    client.close()
    with pytest.raises(JournalError, match=r"was closed\. Make a new client to go on"):
        client.generate(REQUEST)
    with copy.deepcopy(client) as twin:
        assert twin.generate(REQUEST).message.content == digest(REQUEST)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_records_a_run_of_its_own(path):
    with JournaledClient(RuleBasedClient(digest), path) as client:
        client.generate(REQUEST)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: what is tested here
            child = os.fork()
        if child == 0:
            status = 1
            try:
                client.generate(REQUEST)
                assert client.run == "1.1"
                client.close()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        client.generate(REQUEST)
        with pytest.raises(JournalError, match="is being written"):  # the lock is the parent's, still
            JournaledClient(RuleBasedClient(digest), path, mode="resume", run="1")
    assert [(r.name, r.calls) for r in Journal(path).runs()] == [("1", 2), ("1.1", 1)]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts file descriptors by /proc")
@pytest.mark.parametrize("closing", [True, False], ids=["closed", "dropped"])
def test_clients_leave_no_threads_and_no_files_open(path, closing):
    enable_automatic_parallel_stepping()
    run(ScriptedLLM(digest))

    def once(mode):
        client = JournaledClient(ScriptedLLM(digest), path, mode=mode)
        model = run(client)
        if closing:
            client.close()
        return weakref.ref(model)

    since = Since()
    for mode in ("record", "resume", "replay"):
        gone = once(mode)
        assert since.leaves_nothing(), since.left_over()
        assert soon(lambda gone=gone: gone() is None)


@pytest.mark.parametrize("mode", ["record", "resume", "replay"])
def test_a_journal_does_not_keep_its_model(path, mode):
    enable_automatic_parallel_stepping()
    JournaledClient(ScriptedLLM(digest), path).generate(REQUEST)
    gc.collect()
    with JournaledClient(ScriptedLLM(digest), path, mode=mode) as client:
        model = weakref.ref(run(client))
        assert soon(lambda: model() is None)
