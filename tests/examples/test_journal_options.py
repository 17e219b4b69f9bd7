"""Recording, replaying and resuming on the command line."""

import contextlib
import re
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest
from helpers.rules import at_ease

from mesa_llm.journal import Journal, JournaledClient
from mesa_llm.testing import FakeOpenAIServer, Fault, ScriptedLLM

SMALL = ("run", "civil-violence", "--citizens", "6", "--cops", "2", "--steps", "2")
RECORDED = ("run", "civil-violence")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.db"


def states(output):
    """The table of the summary, without the times."""
    return re.findall(r"^ +(\d+) +(\d+) +(\d+) +(\d+) *(\d*)", output, re.MULTILINE)


def test_a_recorded_run_is_repeated_with_its_options_and_its_seed(here, path):
    status, recorded, errors = here(*SMALL, "--latency", "0", "--journal", path)
    assert (status, errors) == (0, "")
    assert f"Recorded as run '1' in {path}. Repeat it with --replay." in recorded
    status, replayed, errors = here(*RECORDED, "--journal", path, "--replay")
    assert (status, errors) == (0, "")
    assert states(replayed) == states(recorded) != []
    assert replayed.splitlines()[0] == recorded.splitlines()[0]  # the seed is in it
    assert f"Decisions: those recorded in {path}. No LLM is called." in replayed
    assert "The journal had the answers to all of them; no LLM was called." in replayed


def test_in_another_mode_and_with_the_same_options_given_again(here, path):
    _, recorded, _ = here(*SMALL, "--latency", "0", "--journal", path, "--seed", "5")
    _, replayed, errors = here(*SMALL, "--journal", path, "--replay", "--seed", "5", "--mode", "threading")
    assert errors == ""
    assert states(replayed) == states(recorded)


def test_one_agent_after_the_other(here, path):
    _, recorded, _ = here(*SMALL, "--latency", "0", "--journal", path, "--mode", "off")
    status, replayed, _ = here(*RECORDED, "--journal", path, "--replay")
    assert status == 0
    assert states(replayed) == states(recorded)
    status, _, errors = here(*RECORDED, "--journal", path, "--replay", "--mode", "asyncio")
    assert status == 2
    assert "was recorded with --mode off, not with --mode asyncio" in errors


def test_a_replay_of_a_model_needs_neither_key_nor_endpoint(here, path):
    with FakeOpenAIServer(at_ease) as server:
        status, recorded, _ = here(*SMALL, "--llm", "openai/x", "--api-base", server.url, "--journal", path)
        assert status == 0
    for model in ((), ("--llm", "openai/x")):
        status, replayed, errors = here(*RECORDED, *model, "--journal", path, "--replay")
        assert (status, errors) == (0, "")
        assert states(replayed) == states(recorded)


@pytest.mark.slow
def test_a_run_that_broke_off_is_resumed(here, path):
    """The server fails in the second step; what it had answered is not asked again."""
    down = True

    def answer_until(body):
        return Fault(status=500) if down and len(server.requests) > 20 else at_ease(body)

    with FakeOpenAIServer(answer_until) as server:
        options = ("--llm", "openai/x", "--api-base", server.url, "--journal", path)
        status, _, _ = here(*SMALL, *options)
        assert status == 2
        down = False
        before = len(server.requests)
        status, output, errors = here(*RECORDED, "--api-base", server.url, "--journal", path, "--resume")
        assert (status, errors) == (0, "")
        answered = sum(call.state == "answered" for call in Journal(path).calls())
        assert answered == 32
        assert len(server.requests) - before == 32 - 20
    assert "The journal had the answers to 20 of them; 12 were made now." in output


def test_a_run_goes_on_beyond_its_end(here, path):
    here(*SMALL, "--latency", "0", "--journal", path, "--run", "long")
    status, output, _ = here(
        *RECORDED, "--latency", "0", "--journal", path, "--resume", "--steps", "3", "--run", "long"
    )
    assert status == 0
    assert [row[0] for row in states(output)] == ["0", "1", "2", "3"]
    assert [(run.name, run.steps) for run in Journal(path).runs()] == [("long", 3)]


def test_a_replay_of_more_steps_than_there_are_shows_what_it_misses(here, path):
    here(*SMALL, "--latency", "0", "--journal", path)
    status, _, errors = here(*RECORDED, "--journal", path, "--replay", "--steps", "3")
    first, *diff = errors.splitlines()
    assert status == 2
    assert re.match(
        r"mesa-llm-examples: Call 1 of \w+ \d in step 3 is not recorded in run '1' of .*, which ends with step 2\.",
        first,
    )
    assert diff[0].startswith("--- recorded: call ")
    assert diff[1] == "+++ asked now"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--replay"], "--replay needs --record, for example --record run.sqlite"),
        (["--resume"], "--resume needs --record"),
        (["--run", "a"], "--run needs --record"),
        (["--journal", "run.db", "--replay", "--resume"], "--replay and --resume cannot go together"),
        (["--journal", "run.db", "--replay"], "There is no journal at run.db"),
        (["--journal", ".", "--replay"], ". is a folder"),
        (["--journal", "nowhere/run.db"], "There is no folder nowhere"),
    ],
)
def test_bad_options(here, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, errors = here(*SMALL, *arguments)
    assert status == 2
    assert errors.count("\n") == 1
    assert message in errors


def test_options_that_differ_from_the_recorded_ones_are_named(here, path):
    here(*SMALL, "--latency", "0", "--journal", path, "--seed", "5")
    status, _, errors = here(*SMALL, "--journal", path, "--resume", "--seed", "6", "--cops", "1", "--llm", "openai/x")
    assert status == 2
    assert errors.count("\n") == 1
    assert (
        f"Run '1' of {path} was recorded with --cops 2 and with --seed 5 and without --llm, not with --cops 1 and with "
        "--seed 6 and with --llm openai/x. Leave out the options that are to stay as recorded." in errors
    )


def test_a_run_that_is_not_there(here, path):
    here(*SMALL, "--latency", "0", "--journal", path)
    status, _, errors = here(*RECORDED, "--journal", path, "--replay", "--run", "other")
    assert status == 2
    assert "There is no run 'other'" in errors


def test_a_journal_of_something_else(here, path):
    JournaledClient(ScriptedLLM("hello"), path, run="mine").close()
    with JournaledClient(ScriptedLLM("hello"), path, run="mine") as client:
        from helpers.journals import REQUEST

        client.generate(REQUEST)
    status, _, errors = here(*RECORDED, "--journal", path, "--replay")
    assert status == 2
    assert "was not recorded by 'civil-violence' on the command line" in errors


@pytest.mark.parametrize("how", ["--replay", "--resume"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            "UPDATE calls SET outcome = replace(outcome, 'role', 'rule') WHERE step = 1",
            "Call 1 of .* is damaged: row .* its digest",
        ),
        ("UPDATE runs SET metadata = replace(metadata, 'seed', 'need')", "The run '1' of .* is damaged: row 1 of the"),
        ("DROP TABLE runs", "is damaged: its table runs has no column copy_of"),
    ],
)
def test_a_damaged_journal_is_one_line(here, path, damage, message, how):
    here(*SMALL, "--latency", "0", "--journal", path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(damage)
    status, _, errors = here(*RECORDED, "--journal", path, how)
    assert status == 2
    assert errors.count("\n") == 1
    assert re.match(f"mesa-llm-examples: .*{message}", errors)
    assert str(path) in errors
    assert "Restore the file from a copy, or record the run again." in errors


def test_a_run_without_options_was_not_recorded_on_the_command_line(here, path):
    from helpers.journals import REQUEST

    with JournaledClient(ScriptedLLM("hello"), path, metadata={"example": "civil-violence"}) as client:
        client.generate(REQUEST)
    status, _, errors = here(*RECORDED, "--journal", path, "--replay")
    assert status == 2
    assert "was not recorded by 'civil-violence' on the command line" in errors


def test_ctrl_c_says_how_to_go_on(path):
    all_asked, asked = threading.Event(), iter(range(8))

    def never_answer(body):
        if next(asked) == 7:
            all_asked.set()
        return Fault.hang()

    with FakeOpenAIServer(never_answer) as server:
        arguments = [*SMALL, "--llm", "openai/some-model", "--api-base", server.url, "--journal", str(path)]
        process = subprocess.Popen(
            [sys.executable, "-m", "mesa_llm_examples", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert all_asked.wait(60)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == "mesa-llm-examples: Interrupted in step 1 of 2. Go on with --resume.\n"
