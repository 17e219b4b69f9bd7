"""The file, its runs, who may write them, and how they are read."""

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace

import pytest
from helpers.journals import REQUEST, run
from helpers.speakers import SpeakersModel, digest
from mesa import Model

from mesa_llm.clients import RuleBasedClient, tool_call
from mesa_llm.errors import ConfigurationError, JournalError, RateLimitedError
from mesa_llm.journal import Journal, JournaledClient, schema
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.testing import ScriptedLLM


def record(path, answer="hello", **kwargs):
    with JournaledClient(ScriptedLLM(answer), path, **kwargs) as client:
        client.generate(REQUEST)
        return client.run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "rewind"}, "mode must be 'record', 'replay', 'resume' or 'off', got 'rewind'"),
        ({"inner": None}, "mode='record' needs a client to ask"),
        ({"inner": None, "mode": "resume"}, "mode='resume' needs a client to ask"),
        ({"run": " "}, "run must be a name, got ' '"),
        ({"run": 3}, "run must be a name, got 3"),
        ({"metadata": {"seed": {1}}}, "metadata must have a form in JSON"),
    ],
)
def test_arguments_that_cannot_work(path, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        JournaledClient(**({"inner": ScriptedLLM("hello"), "path": path} | arguments))


@pytest.mark.parametrize("mode", ["replay", "resume"])
def test_there_is_no_file(path, mode):
    with pytest.raises(JournalError, match=r"There is no journal at .*run\.db\. Record a run first"):
        JournaledClient(ScriptedLLM("hello"), path, mode=mode)
    assert not path.exists()


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(JournalError, match=r"is a folder\. Give a file .* for example .*run\.db"):
        record(tmp_path)


def test_there_is_no_folder_for_it(tmp_path):
    with pytest.raises(JournalError, match=r"There is no folder .*nowhere for the journal run\.db\. Make it first"):
        record(tmp_path / "nowhere" / "run.db")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a folder that nobody can write to")
def test_a_folder_that_cannot_be_written_to():
    with pytest.raises(JournalError, match=r"/proc/self/run\.db cannot be used as a journal: unable to open"):
        record("/proc/self/run.db")


@pytest.mark.parametrize("mode", ["record", "replay", "resume"])
def test_a_file_of_another_kind(path, mode):
    path.write_bytes(b"Dear diary, " * 100)
    with pytest.raises(JournalError, match="cannot be used as a journal: file is not a database"):
        JournaledClient(ScriptedLLM("hello"), path, mode=mode)
    assert path.read_bytes() == b"Dear diary, " * 100


@pytest.mark.parametrize("mode", ["record", "replay"])
def test_a_database_that_is_no_journal(path, mode):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE runs (id)")
    connection.close()
    with pytest.raises(JournalError, match="is an SQLite database, but no journal"):
        JournaledClient(ScriptedLLM("hello"), path, mode=mode)


def test_a_journal_of_a_later_version(path):
    record(path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    with pytest.raises(JournalError, match=r"a later mesa-llm-core \(version 4 of its tables; this one knows 3\)"):
        JournaledClient(None, path, mode="replay")


@pytest.mark.parametrize("name", ["100% of it?#1.db", "mit Leerzeichen.db", "日誌.db"])
def test_names_that_mean_something_in_an_address(tmp_path, name):
    record(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


def test_an_empty_file_becomes_a_journal(path):
    path.touch()
    assert record(path) == "1"


def test_runs_are_numbered_or_named(path):
    assert [record(path), record(path, run="baseline"), record(path)] == ["1", "baseline", "3"]
    assert [(run.name, run.calls, run.steps) for run in Journal(path).runs()] == [
        ("1", 1, 0),
        ("baseline", 1, 0),
        ("3", 1, 0),
    ]


def test_a_name_that_is_taken(path):
    record(path, run="baseline")
    with pytest.raises(JournalError, match=r"Run 'baseline' is in .* already\. Give another name, or mode='resume'"):
        record(path, run="baseline")


@pytest.mark.parametrize("mode", ["replay", "resume"])
def test_a_run_that_is_not_there(path, mode):
    for n in range(12):
        record(path, run=f"run {n}")
    with pytest.raises(JournalError) as raised:
        JournaledClient(ScriptedLLM("hello"), path, mode=mode, run="baseline")
    assert "There is no run 'baseline'" in str(raised.value)
    assert "It holds 'run 11', 'run 10'," in str(raised.value)
    assert "and 2 older ones" in str(raised.value)


def test_without_a_name_the_newest_run_is_replayed(path):
    for answer in ("one", "two"):
        record(path, answer)
    for name, answer in ((None, "two"), ("1", "one")):
        with JournaledClient(None, path, mode="replay", run=name) as client:
            assert client.generate(REQUEST).message.content == answer


def test_a_run_in_which_nothing_was_asked_is_removed(path):
    record(path)
    JournaledClient(ScriptedLLM("hello"), path).close()
    assert [run.name for run in Journal(path).runs()] == ["1"]


def test_an_empty_journal_has_nothing_to_replay(path):
    JournaledClient(ScriptedLLM("hello"), path).close()
    with pytest.raises(JournalError, match="holds no runs"):
        JournaledClient(None, path, mode="replay")


def test_metadata_goes_along_with_a_run(path):
    record(path, metadata={"seed": 42, "city": "Zürich"})
    assert Journal(path).run().metadata == {"seed": 42, "city": "Zürich"}
    assert Journal(path).run("1").started > 0


@pytest.mark.parametrize("mode", ["record", "resume"])
def test_a_run_has_one_writer(path, mode):
    with JournaledClient(ScriptedLLM("hello"), path, run="mine") as client:
        client.generate(REQUEST)
        with pytest.raises(JournalError, match=r"Run 'mine' of .* is being written by another client"):
            JournaledClient(ScriptedLLM("hello"), path, mode="resume", run="mine")
        with JournaledClient(None, path, mode="replay", run="mine") as reader:
            assert reader.generate(REQUEST).message.content == "hello"
        client.generate(REQUEST)
    with JournaledClient(ScriptedLLM("hello"), path, mode="resume", run="mine") as client:
        client.generate(REQUEST)


def in_another_process(code):
    return subprocess.run([sys.executable, "-c", code], input="", capture_output=True, text=True, check=False)


IMPORTS = """
import os
from mesa_llm.clients import LLMRequest, Message
from mesa_llm.journal import JournaledClient
from mesa_llm.testing import ScriptedLLM
REQUEST = LLMRequest(model="a/b", messages=(Message("user", "hello"),))
"""


def test_a_run_has_one_writer_across_processes(path):
    """A process that holds a run and is killed leaves the run free; one that lives does not."""
    holding = IMPORTS + f"client = JournaledClient(ScriptedLLM('hello'), {str(path)!r}, run='mine')\n"
    holding += "client.generate(REQUEST)\n"
    resuming = IMPORTS + f"JournaledClient(ScriptedLLM('hello'), {str(path)!r}, mode='resume', run='mine')\n"
    result = in_another_process(holding + "import signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert result.returncode == -9
    with JournaledClient(ScriptedLLM("hello"), path, mode="resume", run="mine"):
        result = in_another_process(resuming)
    assert "JournalError: Run 'mine' of" in result.stderr
    assert "is being written by another client" in result.stderr
    assert in_another_process(resuming).returncode == 0
    assert [run.calls for run in Journal(path).runs()] == [1]


def test_several_processes_record_runs_in_one_file_at_once(path):
    """They find no file, and make it together."""
    code = IMPORTS + f"with JournaledClient(ScriptedLLM('hello'), {str(path)!r}) as client:\n"
    code += "    for _ in range(50): client.generate(REQUEST)\n"
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(in_another_process, [code] * 4))
    assert [result.stderr for result in results] == [""] * 4
    assert sorted(run.name for run in Journal(path).runs()) == ["1", "2", "3", "4"]
    assert {run.calls for run in Journal(path).runs()} == {50}


def test_a_process_that_just_ends_has_recorded_everything(path):
    code = IMPORTS + f"client = JournaledClient(ScriptedLLM('hello'), {str(path)!r})\nclient.generate(REQUEST)\n"
    result = in_another_process(code)
    assert (result.returncode, result.stderr) == (0, "")
    assert os.listdir(path.parent) == ["run.db"]  # closed: no write-ahead log and no lock is left
    assert [call.state for call in Journal(path).calls()] == ["answered"]


def test_calls_are_read_as_data(path):
    record(path)
    (call,) = Journal(path).calls()
    with pytest.raises(FrozenInstanceError):
        call.state = "failed"
    assert repr(Journal(path)) == f"Journal({str(path)!r})"


def test_a_frame_of_all_calls(path):
    def answer(request):
        if request == REQUEST:
            raise RateLimitedError("slow down", retries=3)
        return digest(request)

    enable_automatic_parallel_stepping()
    with JournaledClient(ScriptedLLM(answer), path) as client:
        run(client, n=2, steps=2)
        with pytest.raises(RateLimitedError):
            client.generate(REQUEST)
    frame = Journal(path).to_dataframe()
    assert frame.shape == (5, 22)
    assert list(frame["step"][:4]) == [1, 1, 2, 2]
    assert list(frame["state"]) == ["answered"] * 4 + ["failed"]
    assert frame["error"].iloc[-1] == "RateLimitedError: slow down"
    assert frame["retries"].iloc[-1] == 3
    assert frame["answer"].iloc[0] in {answer for _, answer in SpeakersAnswers.of(2)}
    with JournaledClient(ScriptedLLM("hello"), path) as client:
        assert Journal(path).to_dataframe().shape == (0, 22)


def test_the_frame_has_the_whole_question_and_the_decision(path):
    def contribute(agent, tokens: int) -> str:
        """Contribute.

        Args:
            tokens: 0 to 20.
        """
        return "thanks"

    def answer(request):
        return tool_call("contribute", tokens=7) if request.tools else "I rest."

    with JournaledClient(RuleBasedClient(answer), path) as client:
        settings = {"client": client, "system_prompt": "You are generous.", "temperature": 0.5, "max_tokens": 9}
        LLMAgent(Model(), OneCallReasoning, step_prompt="?", tools=[contribute], **settings).step()
        client.generate(replace(REQUEST, options={"tools": [{"type": "web_search"}]}))
    decision, question = Journal(path).to_dataframe().to_dict("records")
    assert (decision["tools"], decision["tool_calls"], decision["called"]) == (["contribute"], 1, ["contribute"])
    assert decision["arguments"] == [{"tokens": 7}]
    assert "You are generous." in decision["system_prompt"]
    assert decision["options"] == {"temperature": 0.5, "max_tokens": 9}
    assert [question[name] for name in ("tools", "called", "arguments", "system_prompt")] == [
        [],
        [],
        [],
        "You are brief.",
    ]


class SpeakersAnswers:
    @staticmethod
    def of(n):
        model = SpeakersModel(n, ScriptedLLM(digest))
        model.step()
        return model.log


def test_the_frame_of_a_run_is_read_while_it_is_written(path):
    with JournaledClient(ScriptedLLM("hello"), path) as client:
        client.generate(REQUEST)
        assert len(Journal(path).to_dataframe()) == 1
