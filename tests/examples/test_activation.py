"""`--activation`: what agents decide on, on the command line, in records and in their reports."""

import json
import re

import pytest

from mesa_llm.clients import CallCounts
from mesa_llm.journal import Journal
from mesa_llm_examples.compare import ModeRun, differing, in_words
from mesa_llm_examples.setting import Activation, Mode

FEW = ("opinion", "--people", "8", "--neighbors", "2", "--steps", "2", "--seed", "5", "--latency", "0")
SEQUENTIAL = ("--activation", "sequential")


def records(output):
    lines = [json.loads(line) for line in output.splitlines()]
    return [line for line in lines if line["type"] == "step"], lines[-1]


@pytest.mark.parametrize("activation", list(Activation))
def test_the_steps_of_a_run_have_the_activation(here, activation):
    status, output, errors = here("run", *FEW, "--activation", activation, "--json")
    assert (status, errors) == (0, "")
    steps, _ = records(output)
    assert {report["activation"] for step in steps for report in step["reports"]} == {activation}


def test_a_sequential_run_is_the_run_of_mode_off(here):
    _, alone, _ = here("run", *FEW, "--mode", "off", "--json")
    _, ahead, _ = here("run", *FEW, *SEQUENTIAL, "--json")
    states = [[step["states"] for step in records(output)[0]] for output in (alone, ahead)]
    assert states[0] == states[1]


def test_the_summary_shows_rounds_and_wasted_calls_beside_the_calls(here):
    _, output, _ = here("run", *FEW, *SEQUENTIAL, "--json")
    steps, end = records(output)
    looks = [report["look_ahead"] for step in steps for report in step["reports"]]
    rounds, wasted = sum(look["rounds"] for look in looks), sum(look["wasted_calls"] for look in looks)
    assert end["calls"] == wasted + sum(report["calls"] for step in steps for report in step["reports"])
    assert end["failures"] == 0, "calls that were not needed any more have not failed"
    _, output, _ = here("run", *FEW, *SEQUENTIAL)
    assert re.search(r"^Asked ahead: \d+ rounds?, \d+ calls? wasted\.$", output, re.MULTILINE)
    assert 0 < rounds <= 16
    assert "each agent in its turn, the LLM asked ahead." in output
    _, output, _ = here("run", *FEW)
    assert "round" not in output


def test_sequential_is_compared_with_mode_off_state_for_state(here):
    status, output, errors = here("compare", *FEW, *SEQUENTIAL, "--json")
    assert (status, errors) == (0, "")
    said = json.loads(output)
    assert [run["mode"] for run in said["runs"]] == ["off", "asyncio"]
    assert len({run["digest"] for run in said["runs"]}) == 1
    status, output, _ = here("compare", *FEW, *SEQUENTIAL)
    assert status == 0
    assert "off and asyncio gave the same run, state for state." in output
    assert "another run" not in output


@pytest.mark.parametrize(
    ("activation", "digests", "different", "said"),
    [
        ("sequential", "aa", [], "off and asyncio gave the same run, state for state."),
        ("sequential", "ab", ["asyncio"], "off and asyncio should have given the same run, and did not."),
        ("simultaneous", "ab", [], "With off, agents see what those before them have done"),
        ("simultaneous", "abb", [], "asyncio and threading gave the same run, request for request."),
        ("eager", "abc", ["threading"], "with eager activation, they depend on how fast answers come."),
    ],
)
def test_what_is_held_to_what(activation, digests, different, said):
    modes = (Mode.OFF, Mode.ASYNCIO, Mode.THREADING)
    runs = [
        ModeRun(mode=mode, seconds=1.0, counts=CallCounts(), digest=digest)
        for mode, digest in zip(modes, digests, strict=False)
    ]
    assert differing(runs, Activation(activation)) == different
    assert said in in_words(runs, same_answers=True, activation=Activation(activation))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", *FEW, *SEQUENTIAL, "--mode", "off"], "--activation sequential and --mode off cannot go together"),
        (["run", *FEW, "--activation", "eager", "--mode", "off"], "--activation eager and --mode off cannot"),
        (["compare", *FEW, *SEQUENTIAL, "--mode", "off"], "--activation sequential and --mode off cannot go together"),
        (["run", *FEW, *SEQUENTIAL, "--mode", "threading"], "--activation sequential needs --mode asyncio"),
        (["compare", *FEW, *SEQUENTIAL, "--mode", "threading"], "--activation sequential needs --mode asyncio"),
        (["run", *FEW, "--activation", "lazy"], "'lazy' is not one of"),
    ],
)
def test_bad_arguments(here, arguments, message):
    status, _, errors = here(*arguments)
    assert status == 2
    assert errors.count("\n") == 1
    assert message in errors


@pytest.mark.parametrize(
    ("recorded", "replayed"),
    [
        (("--mode", "off"), SEQUENTIAL),
        (SEQUENTIAL, ("--mode", "off")),
        (SEQUENTIAL, ()),
        (SEQUENTIAL, ("--mode", "asyncio")),
    ],
)
def test_a_journal_of_a_sequential_run_is_one_of_mode_off(here, tmp_path, recorded, replayed):
    path = tmp_path / "run.db"
    status, _, errors = here("run", *FEW, *recorded, "--journal", path, "--json")
    assert (status, errors) == (0, "")
    n_calls = len(list(Journal(path).calls()))
    status, output, errors = here("run", "opinion", *replayed, "--journal", path, "--replay", "--json")
    assert (status, errors) == (0, "")
    assert records(output)[1]["calls"] == n_calls, "each call once, also one that was asked ahead"


def test_a_recorded_call_that_was_asked_ahead_counts_once(here, tmp_path):
    _, output, _ = here("run", *FEW, *SEQUENTIAL, "--journal", tmp_path / "run.db", "--json")
    steps, end = records(output)
    used = sum(report["calls"] for step in steps for report in step["reports"])
    wasted = sum(report["look_ahead"]["wasted_calls"] for step in steps for report in step["reports"])
    assert end["calls"] == used + wasted


def test_a_journal_of_simultaneous_activation_is_another_run(here, tmp_path):
    path = tmp_path / "run.db"
    here("run", *FEW, "--journal", path)
    status, _, errors = here("run", "opinion", *SEQUENTIAL, "--journal", path, "--replay")
    assert status == 2
    assert "was recorded with --activation simultaneous, not with --activation sequential" in errors


def test_a_sequential_run_can_be_reported(here, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
    path = tmp_path / "run.jsonl"
    here("run", *FEW, *SEQUENTIAL, "--record", path)
    status, _, errors = here("report", path)
    assert (status, errors) == (0, "")
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert re.search(r"0 failed; asked ahead: \d+ rounds?, \d+ calls? wasted<", path.with_suffix(".html").read_text())
