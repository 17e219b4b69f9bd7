"""What happens in a run: as lines of JSON on standard output, or recorded as a whole in a file."""

import json
import re
import signal
import subprocess
import sys
import threading
from dataclasses import fields

from helpers.rules import at_ease

from mesa_llm.runs import describe, replay
from mesa_llm.testing import FakeOpenAIServer, Fault
from mesa_llm_examples.civil_violence import CivilViolence
from mesa_llm_examples.reports.run_file import read_run
from mesa_llm_examples.simulation import DecisionCounts

SMALL = ("run", "civil-violence", "--citizens", "6", "--cops", "2", "--steps", "2", "--seed", "42")
AGENTS = 8


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


def test_json_is_all_that_stands_on_standard_output(here):
    status, output, errors = here(*SMALL, "--latency", "0", "--json")
    assert (status, errors) == (0, "")
    first, *steps, last = lines_of(output)
    assert (first["type"], first["example"], first["decisions"]) == ("run", "civil-violence", "rule-based policy")
    assert first["options"] | {"citizens": 6, "seed": 42, "steps": 2, "mode": "asyncio"} == first["options"]
    assert first["versions"].keys() >= {"mesa", "mesa-llm-parallel", "python"}
    assert [line["type"] for line in steps] == ["step"] * 3
    assert [line["step"] for line in steps] == [0, 1, 2]
    assert [sum(line["states"].values()) for line in steps] == [6, 6, 6]
    assert [[len(report["agents"]) for report in line["reports"]] for line in steps] == [[], [AGENTS], [AGENTS]]
    assert (last["type"], last["status"], last["steps"]) == ("end", "completed", 2)
    assert last["calls"] == sum(line["calls"] for line in steps) == 2 * 2 * AGENTS
    assert last["result"].endswith(".")
    assert last["error"] is None
    for name in [part.name for part in fields(DecisionCounts)]:
        assert last[name] == sum(line[name] for line in steps)
        assert name == "failed_decisions" or [line[name] for line in steps[1:]] == [
            sum(agent[name] for agent in line["reports"][0]["agents"]) for line in steps[1:]
        ]
    assert (last["decisions"], last["failed_decisions"]) == (4 * AGENTS, 0)


def test_a_record_holds_the_same_steps_while_the_run_is_shown(here, tmp_path):
    path = tmp_path / "run.sqlite"
    status, output, _ = here(*SMALL, "--latency", "0", "--record", path)
    assert status == 0
    assert re.search(r"^ +2( +\d+){4} +\d+\.\d\d$", output, re.MULTILINE)
    assert f"Recorded as run '1' in {path}" in output
    _, output, _ = here(*SMALL, "--latency", "0", "--json")
    first, *steps, last = lines_of(output)
    run = read_run(path)
    assert [line.states for line in run.steps] == [line["states"] for line in steps]
    assert [line.calls for line in run.steps] == [line["calls"] for line in steps]
    assert run.run.options == first["options"]
    assert (run.run.headline, run.run.decisions) == (first["headline"], first["decisions"])
    different = {"seconds", "waited_s", "measured_calls", "peak_in_flight", "type", "cost"}
    ended = run.end.model_dump()
    assert {name: value for name, value in last.items() if name not in different} == {
        name: ended[name] for name in last if name not in different
    }


def test_a_recorded_run_is_one_of_mesa_llm_runs(here, tmp_path):
    path = tmp_path / "run.sqlite"
    here(*SMALL, "--latency", "0", "--record", path)
    described = describe(path)
    assert described.data["model"]["class"] == "CivilViolence"
    assert described.data["activation"]["mode"] == "asyncio"
    assert replay(path, CivilViolence).compared == 3


def test_a_run_one_agent_at_a_time_has_no_reports(here):
    _, output, _ = here(*SMALL, "--latency", "0", "--json", "--mode", "off")
    assert [line["reports"] for line in lines_of(output)[1:-1]] == [[], [], []]


def test_what_is_no_record_is_not_overwritten(here, tmp_path):
    path = tmp_path / "run.sqlite"
    path.write_text("precious")
    status, _, errors = here(*SMALL, "--record", path)
    assert status == 2
    assert "cannot be used as a journal: file is not a database" in " ".join(errors.split())
    assert path.read_text() == "precious"


def test_a_record_that_cannot_be_made_is_one_line(here, tmp_path):
    status, _, errors = here(*SMALL, "--record", tmp_path / "nowhere" / "run.sqlite")
    assert status == 2
    assert "There is no folder" in errors


def test_of_a_run_that_fails_the_record_says_where_and_why(here, tmp_path):
    path = tmp_path / "run.sqlite"
    calls = iter(range(1000))
    fails = 2 * AGENTS  # all calls of the first step are answered

    def answer(body):
        return Fault(status=400, body="too long") if next(calls) >= fails else at_ease(body)

    with FakeOpenAIServer(answer) as server:
        status, _, errors = here(
            *SMALL, "--model", "openai/some-model", "--api-base", server.url, "--record", path, "--max-attempts", "1"
        )
    assert status == 2
    run = read_run(path)
    assert run.run.decisions == f"openai/some-model at {server.url}"
    assert [bool(line.states) for line in run.steps] == [True, True, False]
    assert run.steps[-1].reports[0].failures == AGENTS
    assert (run.end.status, run.end.steps, run.end.failures) == ("failed", 1, AGENTS)
    assert "too long" in run.end.error
    assert "too long" in errors


def test_of_a_run_that_is_interrupted_the_record_says_so(tmp_path):
    path = tmp_path / "run.sqlite"
    asked = threading.Event()

    def never_answer(body):
        asked.set()
        return Fault.hang()

    with FakeOpenAIServer(never_answer) as server:
        arguments = [*SMALL, "--model", "openai/some-model", "--api-base", server.url, "--record", path]
        process = subprocess.Popen([sys.executable, "-m", "mesa_llm_examples", *arguments], stderr=subprocess.DEVNULL)
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    run = read_run(path)
    assert (run.end.status, run.end.steps) == ("interrupted", 0)


def test_whoever_stops_reading_ends_the_run():
    arguments = [sys.executable, "-m", "mesa_llm_examples", *SMALL, "--json"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
