"""The command `mesa-llm`: what it shows of recorded runs, and its exit status."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from mesa_llm.journal import JournaledClient
from mesa_llm.recording import load_recording
from mesa_llm.runs import cli
from tests.runs.conftest import Market, gives


@pytest.fixture
def command(capsys):
    def command(*arguments):
        status = cli.main(list(map(str, arguments)))
        output, errors = capsys.readouterr()
        return status, output, errors

    return command


def test_the_runs_in_a_folder_are_listed(command, record, tmp_path):
    record("one")
    record("two", steps=1, givers=3)
    (tmp_path / "note.txt").write_text("no run")
    status, output, _ = command("runs", "list", tmp_path)
    heading, *rows = output.splitlines()
    assert (status, heading.split()) == (
        0,
        ["run", "model", "seed", "steps", "calls", "activation", "started", "status"],
    )
    assert [row.split()[1:6] for row in rows] == [
        ["Market", "1", "3", "6", "simultaneous"],
        ["Market", "1", "1", "3", "simultaneous"],
    ]


def test_a_run_is_shown_as_a_whole_and_by_agent_and_step(command, record):
    path = record("one")
    _, output, _ = command("runs", "show", path)
    assert "We ran Market for 3 steps with 2 Giver and seed 1." in output
    assert "coins 194" in output
    _, output, _ = command("runs", "show", f"{path}:1", "--agent", 2, "--step", 3)
    assert "step 3, Giver 2, call 1: openai/some-model, answered" in output
    assert '< give({"coins": 1})' in output
    assert "How many coins do you give?" in output
    assert '"result": "gave 1"' in output
    assert "You are generous." not in output
    assert "Giver 1" not in output
    _, output, _ = command("runs", "show", path, "--agent", 2, "--step", 3, "--whole")
    assert "You are generous." in output


def test_one_prompt_of_each_kind(command, record):
    _, output, _ = command("runs", "prompts", record("one"))
    assert output.count("# Giver: give") == 1
    assert "You are generous." in output


@pytest.mark.parametrize(
    ("format_", "expected"),
    [("text", "US$ 0.0600"), ("json", '"prompt_tokens": 600'), ("odd", "## 4. Design concepts")],
)
def test_a_run_is_described(command, record, format_, expected):
    status, output, _ = command("runs", "describe", record("one"), "--format", format_)
    assert status == 0
    assert expected in output
    if format_ == "json":
        data = json.loads(output)
        assert data["decisions"] | {"decisions": 6, "tool_calls": 6, "refused_tool_calls": 0} == data["decisions"]
        assert data["llms"][0] | {"model": "openai/some-model", "options": {"temperature": 0.5}} == data["llms"][0]
        assert data["measures"] == {"coins": 194}


def test_runs_that_differ_have_an_exit_status_of_their_own(command, record):
    one, same = record("one"), record("same")
    other = record("other", lambda agent_id, step: 2)
    assert command("runs", "diff", one, same)[:2] == (
        0,
        "Both runs went the same way, step by step and call by call.\n",
    )
    status, output, errors = command("runs", "diff", one, other)
    assert (status, errors) == (1, "")
    assert "in step 1 asks the same, and is answered in another way" in output


def test_a_run_is_replayed_by_the_name_of_its_class(record):
    path = record("one")
    program = "import sys; from mesa_llm.runs.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), "tests"])}
    command = [sys.executable, "-c", program, "runs", "replay", str(path), "tests.runs.conftest:Market"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert done.stdout == "3 steps and 6 calls again, without a model; the state was equal 4 times.\n"


def test_a_run_is_exported(command, record, tmp_path):
    path = record("one")
    for format_ in ("jsonl", "csv", "trace"):
        assert command("runs", "export", path, "--format", format_, "--output", tmp_path / format_)[0] == 0
    events = [(event.step, event.agent_id, event.event_type, event.content) for event in load_recording(path)]
    assert events == [(e.step, e.agent_id, e.event_type, e.content) for e in load_recording(tmp_path / "jsonl")]
    calls = pd.read_csv(tmp_path / "csv" / "calls.csv")
    assert list(calls["called"]) == ['["give"]'] * 6
    assert list(pd.read_csv(tmp_path / "csv" / "steps.csv")["coins"]) == [200, 198, 196, 194]
    assert len(json.loads((tmp_path / "trace").read_text())["traceEvents"]) > 20
    status, _, errors = command("runs", "export", path, "--output", tmp_path / "jsonl")
    assert (status, "exists already" in errors) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("runs", "show", "nothing.sqlite"), "There is no journal at nothing.sqlite"),
        (("runs", "list", "."), "There are no recorded runs in ."),
        (("runs", "replay", "nothing.sqlite", "Town"), "The model must be MODULE:CLASS, got 'Town'"),
    ],
)
def test_what_does_not_work_is_one_line(command, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, output, errors = command(*arguments)
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert message in errors


def test_an_agent_that_is_not_there(command, record):
    status, _, errors = command("runs", "show", record("one"), "--agent", 9)
    assert (status, "has nothing of this agent" in errors) == (2, True)


def test_the_doctor_shows_versions_and_no_keys(command, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "tinykey-q1w2e3r4t5y6")
    monkeypatch.setenv("SOME_API_KEY", "k")
    status, output, _ = command("doctor")
    assert status == 0
    assert "OPENAI_API_KEY: set, 20 characters (openai)" in output
    assert "SOME_API_KEY: set, 1 characters (asked through litellm)" in output
    assert "tinykey" not in output
    assert "mesa-llm-parallel" in output


def test_a_journal_of_calls_alone_is_shown_and_described_too(command, tmp_path):
    path = tmp_path / "calls.db"
    with JournaledClient(gives(lambda agent_id, step: 1), path) as client:
        Market(client=client, parallel=False).step()
    assert "- " in command("runs", "list", path)[1]
    assert "The run made 2 model calls" in command("runs", "show", path)[1]
    assert "Giver 1, call 1" in command("runs", "show", path, "--agent", 1)[1]
    assert "2 calls, 0 failed" in command("runs", "describe", path, "--format", "odd")[1]
    assert json.loads(command("runs", "describe", path, "--format", "json")[1])["status"] == "unknown"
    assert command("runs", "diff", path, path)[0] == 0
    assert command("runs", "export", path, "--format", "csv", "--output", tmp_path / "tables")[0] == 0
